"""The root of the process: what starts, in which order, and what ends what.

`serve` reads as the start order, and backwards as the shutdown order: database, writer lock, HTTP, which answers
503 until the rows are loaded, committer, effects, tasks. A stop closes the event streams, lets the requests in flight end, waits until what they staged is durable, and
only then gives up the writer lock.
"""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter

import trio
import trio_asyncio

from bbs.config import Config, ConfigInvalid, TaskSettings, local_keyring
from bbs.convergence.loop import repeat_passes
from bbs.convergence.tasks import TaskConvergence
from bbs.embedded_postgres import embedded_postgres
from bbs.log import Logger
from bbs.models.errors import Unrecoverable
from bbs.peers.effects import Effects
from bbs.peers.opened import Peers, open_peers
from bbs.peers.task_effects import TaskEffects
from bbs.routes.context import Context
from bbs.routes.http import Call, Hooks, HTTPServer, Peer, open_listeners
from bbs.routes.table import route_table
from bbs.routes.tasks import TaskResolution
from bbs.store.backend import DroppedRow
from bbs.store.dsn import parse_dsn
from bbs.store.postgres import PostgresBackend
from bbs.store.store import Store
from bbs.sync.event_hub import EventHubs
from bbs.tls import server_context

GC_YOUNG_OBJECTS: int = 50_000
"""New objects between two young collections. A request makes about a hundred, none of them in a cycle."""


async def serve(config: Config, *, log: Logger, stop: trio.Event, ready: Callable[[str], None]) -> None:
    """Run a server until ``stop`` is set, then end it cleanly.

    ``ready`` is called once, with the URL, when requests are answered.

    Raises:
      ConfigInvalid, TLSFilesInvalid, EmbeddedPostgresFailed, SchemaError, BackendUnavailable: it cannot start.
      WriterLockLost: another process writes to the database now; nothing was written since it does.
    """
    tls = (
        server_context(
            ca_file=config.tls.ca_file, cert_file=config.tls.cert_file, key_file=config.tls.key_file
        )
        if config.tls is not None
        else None
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(trio_asyncio.open_loop())
        dsn = config.database_url
        if dsn is None:
            dsn = (await stack.enter_async_context(embedded_postgres(config.data_dir))).dsn
        backend = await stack.enter_async_context(_backend(dsn, config, log))
        hubs = EventHubs(log=log)
        store = Store(
            backend,
            publish=hubs.publish,
            write_retry_s=config.write_retry_s,
            batch_rows_max=config.batch_rows_max,
            on_trouble=lambda trouble: log.error("database-unavailable", error=trouble),
        )
        peers = await stack.enter_async_context(
            open_peers(
                auctioneer=config.auctioneer,
                identity=config.tls,
                communication_timeout_s=config.tasks.communication_timeout_s,
                callback_workers=config.tasks.task_callback_workers,
                log=log,
            )
        )
        effects = Effects(auctioneer=peers.auctioneer, reps=peers.reps, cells=peers.cells, log=log)
        context = Context(
            store=store,
            hubs=hubs,
            effects=effects,
            log=log,
            callbacks=peers.callbacks,
            update_workers=config.update_workers,
            max_task_retries=config.tasks.max_task_retries,
        )
        loaded = trio.Event()
        http = HTTPServer(
            route_table(context, on_unrecoverable=lambda error: _give_up(error, stop, log)),
            tls=tls,
            gate=loaded.is_set,
            hooks=_hooks(log),
            limits=config.limits,
            fast_lane=config.fast_lane,
        )
        async with trio.open_nursery() as root:
            listeners = await _listeners(config.listen_address)
            url = _url(listeners[0], secure=tls is not None)
            async with trio.open_nursery() as front:
                await front.start(partial(http.serve, listeners, stop=stop))
                await _load(store, log)
                await root.start(store.run)
                await root.start(effects.run)
                await _start_tasks(root, context, peers, config.tasks)
                loaded.set()
                log.info("started")
                ready(url)
                await stop.wait()
                # A stream is a request in flight that would never end by itself.
                hubs.close()
            await store.drain()
            root.cancel_scope.cancel()
        log.info("exited")


async def _start_tasks(root: trio.Nursery, context: Context, peers: Peers, settings: TaskSettings) -> None:
    """Call back those whose tasks are over, and let no task wait or run for nothing."""
    resolution = TaskResolution(context.store, now_ns=context.now_ns)
    convergence = TaskConvergence(
        context.store,
        peers.present_cells,
        effects=TaskEffects(
            auctioneer=peers.auctioneer,
            reps=peers.reps,
            cells=peers.cells,
            callbacks=peers.callbacks,
            log=context.log,
        ),
        limits=settings.limits(),
        log=context.log.session("executing-convergence"),
        now_ns=context.now_ns,
    )
    await root.start(partial(peers.callbacks.run, resolving=resolution.resolving, delete=resolution.delete))
    root.start_soon(
        partial(repeat_passes, [convergence.converge], repeat_interval_s=settings.converge_repeat_interval_s)
    )


async def _listeners(address: str) -> list[trio.SocketListener]:
    """Opened once this process is master: until then nobody is to think that it can be asked (spec: api.md §1.1)."""
    try:
        return await open_listeners(address)
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"cannot listen on {address}: {error}; choose another --listen") from error


@asynccontextmanager
async def _backend(dsn: str, config: Config, log: Logger) -> AsyncIterator[PostgresBackend]:
    """The database, its schema in place, with the writer lock held."""

    def on_dropped(row: DroppedRow) -> None:
        action = "deleted-undecodable-row" if row.deleted else "failed-reading-row"
        log.error(action, error=row.reason, table=row.table, key=list(row.key))

    backend = PostgresBackend(parse_dsn(dsn), local_keyring(config.data_dir), on_dropped=on_dropped)
    try:
        log.info("waiting-for-writer-lock")
        await backend.acquire_writer_lock()
        log.info("acquired-writer-lock")
        yield backend
    finally:
        await backend.aclose()


async def _load(store: Store, log: Logger) -> None:
    """Bring every row into memory, and keep the garbage collector from walking them for ever after."""
    began = perf_counter()
    gc.disable()  # it would walk the growing tables again and again, and there is nothing to find
    rows = await store.load()
    gc.freeze()
    gc.enable()
    gc.set_threshold(GC_YOUNG_OBJECTS, 20, 100)
    log.info("loaded", rows=rows, duration=int((perf_counter() - began) * 1e9))


def _url(listener: trio.SocketListener, *, secure: bool) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _hooks(log: Logger) -> Hooks:
    def on_bug(bug: Exception, call: Call) -> None:
        log.fatal("handler-failed", error=bug, request=call.target, remote_addr=call.remote_addr)

    def on_connection_failed(failure: Exception, peer: Peer) -> None:
        log.fatal("connection-failed", error=failure, remote_addr=peer.remote_addr)

    def on_accept_failed(failure: OSError) -> None:
        log.error("accept-failed", error=failure)

    return Hooks(on_bug=on_bug, on_connection_failed=on_connection_failed, on_accept_failed=on_accept_failed)


def _give_up(error: Unrecoverable, stop: trio.Event, log: Logger) -> None:
    """A table is missing: the answer still goes out, then the process stops as on an interrupt (spec: config.md §6)."""
    log.error("unrecoverable-error", error=error)
    stop.set()
