"""`serve`: a server that brings what it needs, a Postgres and a Locket of its own unless it is told otherwise."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import trio

from bbs.commands.local_keyring import local_keyring
from bbs.commands.serve_config import ServeConfig
from bbs.concurrency.causes import root_cause
from bbs.concurrency.members import Member, run_members
from bbs.config.errors import ConfigInvalid
from bbs.embedded_postgres import embedded_postgres
from bbs.log import LagerSink, LineWriters, Logger
from bbs.metrics.emitter import Emitter
from bbs.metrics.loggregator import NoLoggregator
from bbs.metrics.metrics import Metrics, Reporting
from bbs.peers.opened import open_peers
from bbs.ports import descriptors
from bbs.ports.listen import AddressInvalid, ListenFailed, PortUnknown
from bbs.ports.loopback import is_here
from bbs.process.process import Process
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.database import database_at
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.server import embedded_locket
from bbs.sync.locket.table import LocalLocket, LocketTable
from bbs.tls.contexts import server_context
from bbs.tls.reloading import Certificates


class DatabaseFailed(Exception):
    """The database failed a server that had started, so no flag is to blame; the text says how."""


LISTEN_FLAGS = {"healthcheck": "--health-listen", "debug-server": "--debug-listen"}
"""What says where a member listens, if not ``--listen``."""

LOOKUP_S = 10.0
"""The deadline of a look at Locket, which is in the same process here and answers at once."""


async def serve(
    config: ServeConfig,
    *,
    log: Logger,
    sink: LagerSink,
    writers: LineWriters,
    until_stopped: trio.CancelScope,
    ready: Callable[[str, str], None],
) -> None:
    """Run a server until ``until_stopped`` is cancelled, then end it cleanly.

    ``ready`` is called once, with the URL and Locket's address, when requests are answered; never, if it does not come to that.

    Raises:
      ConfigInvalid, TLSFilesInvalid, EmbeddedPostgresFailed, SchemaError, BackendUnavailable: it cannot start.
      DatabaseFailed: the database refused or lost what the server cannot do without, while it ran.
      WriterLockLost: another process writes to the database now; nothing was written since it does.
      EmbeddedPostgresLost: it died while the server ran, and can't be started again.
    """
    tls = (
        server_context(
            ca_file=config.tls.ca_file, cert_file=config.tls.cert_file, key_file=config.tls.key_file
        )
        if config.tls is not None
        else None
    )
    limits, shares = descriptors.claim(config.settings.limits, log=log)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_asyncio_loop(log))
        database_url, postgres = config.database_url, list[Member]()
        if database_url is None:
            embedded = await stack.enter_async_context(embedded_postgres(config.data_dir))
            database_url = embedded.dsn
            # Started before, and stopped after, all members that want the database.
            postgres = [Member("embedded-postgres", partial(embedded.keep_running, log=log))]
        table = LocketTable(trio.current_time)
        locket = LocalLocket(table)
        peers = await stack.enter_async_context(
            open_peers(
                auctioneer=config.auctioneer,
                identity=config.tls,
                reps_tls=config.tls,
                cells=Presences(locket, deadline_s=LOOKUP_S),
                communication_timeout_s=config.settings.tasks.communication_timeout_s,
                callback_workers=config.settings.tasks.task_callback_workers,
                connections_max=shares.peers,
            )
        )
        metrics = Metrics(Emitter(NoLoggregator(), log=log), Reporting(), log=log)
        if config.tls is not None:
            metrics.certificates_end_s = Certificates([], read_once=[config.tls], log=log).end_s
        process = Process(
            replace(config.settings, limits=limits),
            database=database_at(database_url),
            keyring=local_keyring(config.data_dir),
            tls=tls,
            sink=sink,
            lines=writers.statistics,
            metrics=metrics,
            peers=peers,
            lock=None,
            log=log,
            until_stopped=until_stopped,
        )
        stack.enter_context(table.observed(lambda change: process.service.presence_watch.wake()))
        try:
            locket_address = await stack.enter_async_context(
                embedded_locket(table, config.locket_listen_address, tls=config.tls, log=log)
            )
        except OSError as error:
            raise ConfigInvalid(f"{error}; choose another --locket-listen") from error

        has_started = False

        def started() -> None:
            nonlocal has_started
            if process.port is not None:
                has_started = True
                host = _host(config.settings.listen_address)
                url = f"{'https' if tls else 'http'}://{host}:{process.port}"
                log.info(
                    "started",
                    {
                        "url": url,
                        "locket": locket_address,
                        "data-dir": str(config.data_dir),
                        "database-version": process.database_version,
                        "embedded": config.database_url is None,
                        "auctioneer": config.auctioneer.address if config.auctioneer else "",
                        "tls": tls is not None,
                        "loopback": is_here(host.strip("[]")),
                        "dashboard": process.dashboard_url,
                    },
                )
                ready(url, locket_address)

        exits = await run_members(
            [*postgres, *process.members()], until_stopped=until_stopped, on_started=started
        )
    # The first failure is the cause; those behind it are mostly what members met while they were stopped for it.
    for exit_ in exits:
        if exit_.failure is None:
            continue
        cause = root_cause(exit_.failure)
        if isinstance(cause, AddressInvalid | PortUnknown | ListenFailed):
            flag = LISTEN_FLAGS.get(exit_.name, "--listen")
            raise ConfigInvalid(f"cannot listen: {cause}; choose another {flag}") from cause
        if has_started and isinstance(cause, BackendUnavailable | StatementRejected):
            raise DatabaseFailed(str(cause)) from cause
        raise exit_.failure
    log.info("exited")


def _host(address: str) -> str:
    return address.rpartition(":")[0]
