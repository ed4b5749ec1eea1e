"""One BBS process: its parts, and the members that run them in the order in which they start.

Up to ``lock`` every process runs the same members; those after it run in the master only, and a standby reads ahead
while it waits. ``store`` starts before whatever writes and ends after it, and lets go of the database before the lock
is released. ``server`` ends with the last handler; ``connections``, which has the answers still under way, ends after
the lock is released, so that no slow reader keeps the next master waiting. Names and order are upstream's, but for
these two, ``store`` and ``connections``, which it has no need of (spec: config.md §4, §6).
"""

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Final

import trio

from bbs import __version__
from bbs.concurrency.members import Member, Ready, all_started, as_member, root_cause, unless, until_stopped
from bbs.convergence.audit import Audit
from bbs.http.endpoints import Call, EventStream, Peer, Route
from bbs.http.handshakes import tell_on_stderr
from bbs.http.listener import Hooks, HTTPServer
from bbs.log import LagerSink, LineStatistics, Logger
from bbs.metrics.gauges import gauges
from bbs.metrics.metrics import Metrics, Sources
from bbs.metrics.prometheus import page
from bbs.models.errors import Unrecoverable
from bbs.peers.interfaces import Peers
from bbs.ports.debug import serve_debug
from bbs.ports.health import serve_health
from bbs.ports.listen import take
from bbs.process import garbage, notifiers
from bbs.process.notifiers import Words, told
from bbs.process.reencryption import ReencryptionFailed, seal_anew
from bbs.process.settings import Settings
from bbs.process.standby import Standby
from bbs.routes.request_log import AccessLog, RequestLog
from bbs.service import Service, ServiceSettings
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.dsn import DSN
from bbs.store.health_check import HealthCheck, PostgresProbe
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_audit import PostgresAudit
from bbs.sync.locket.lock import Lock, LockLost

GIVE_BACK_S: Final = 2.0
"""How long a process that is broken off tries to give its lock back."""

CONVERGER: Final = Words(begins="", ends="done")
ENCRYPTOR: Final = Words(is_ready="", ends="exited")


class KeyLabelUnknown(Exception):
    """The database's values are sealed with a key that we are not given. The text is upstream's."""

    def __init__(self, label: str) -> None:
        super().__init__(f"Existing encryption key version ({label}) is not among the known keys")
        self.label = label


class Process:
    """Put together by its caller, who also closes what it brings. Nothing runs until the `members` do.

    Without a ``lock`` the database's writer lock alone decides who is master.
    ``stop`` is set when the process is to end by itself.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dsn: DSN,
        keyring: Keyring,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
        sink: LagerSink,
        lines: Callable[[], Mapping[str, LineStatistics]],
        metrics: Metrics,
        access_log: AccessLog | None = None,
        peers: Peers,
        lock: Lock | None,
        log: Logger,
        stop: trio.Event,
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._log = log
        self._sink = sink
        self._lines = lines
        self._metrics = metrics
        self._stop = stop
        self._dsn = dsn
        self._keyring = keyring
        self._migration_log = log.session("migration-manager")
        self._may_listen = trio.Event()
        self._backend = PostgresBackend(
            dsn,
            keyring,
            on_dropped=partial(_tell_of_dropped, log),
            on_migration=self._migrating,
        )
        self._is_open = False
        self._is_migrated = trio.Event()
        self._stored_key_label = ""
        self._port: int | None = None
        self.service = service = Service(
            self._backend,
            peers=peers,
            log=log,
            settings=_service_settings(settings),
            app_log=lambda process_guid, error: metrics.emitter.app_log(
                process_guid, type(error).__name__, str(error)
            ),
            on_unrecoverable=self._give_up,
            on_batch=lambda batch: metrics.batch_committed(
                outcomes=batch.outcomes, rows=batch.rows, waited_s=batch.waited_s, took_s=batch.took_s
            ),
            on_trouble=lambda trouble: log.error("database-unavailable", error=trouble),
            before_passes=self._run_audit,
        )
        self._standby = Standby(
            service.store, PostgresBackend(dsn, keyring, on_dropped=lambda row: None), log=log
        )
        self._http = HTTPServer(
            service.routes,
            tls=tls,
            gate=self._may_answer,
            hooks=self._hooks(access_log),
            limits=settings.limits,
            fast_lane=settings.fast_lane,
        )
        self._database_audit = PostgresAudit(dsn)
        self.audit = Audit(
            service.store,
            self._database_audit,
            keyring,
            sessions=lambda: self._backend.statistics().connects,
            log=log,
        )

    def _may_answer(self) -> bool:
        """Whether memory is the truth: all rows are loaded, and nobody else can be master yet."""
        return self._is_open and (self._lock is None or not self._lock.may_have_run_out)

    @property
    def port(self) -> int | None:
        """Where requests are answered; ``None`` while they are not."""
        return self._port if self._is_open else None

    def members(self) -> list[Member]:
        """All members, in the order in which they start."""
        settings, log, metrics, sources = self._settings, self._log, self._metrics, self._sources()
        metrics_page = page(metrics, sources, version=__version__)
        members = [
            Member("metrics", as_member(partial(all_started, metrics.run_runtime, metrics.loop_lag.run)))
        ]
        if settings.debug_address is not None:
            debug = partial(
                serve_debug, settings.debug_address, sink=self._sink, metrics=metrics_page, log=log
            )
            members.append(Member("debug-server", as_member(debug)))
        if settings.health_check is not None:
            members.append(Member("db-healthcheck", self._check_database))
        if settings.health_address is not None:
            health = partial(serve_health, settings.health_address, log=log)
            members.append(Member("healthcheck", as_member(health)))

        workpool = log.session("task-completion-workpool")
        encryptor = log.session("encryptor")
        return [
            *members,
            notifiers.file_descriptors(metrics, log),
            notifiers.lock_held(metrics, log),
            Member("connections", until_stopped(self._http.keep_connections)),
            Member("lock", self._be_sole_writer if self._lock is None else self._hold_lock),
            notifiers.set_lock_held(metrics, log),
            Member("store", self._write),
            Member("workpool", told(partial(self._call_back, workpool), workpool, Words())),
            Member("server", self._serve),
            Member("migration-manager", self._take_over),
            Member("encryptor", told(partial(self._rotate_keys, encryptor), encryptor, ENCRYPTOR)),
            Member("hub-maintainer", told(self._keep_hubs, log.session("hub-maintainer"))),
            notifiers.election(metrics, log),
            notifiers.requests(metrics, log),
            Member("converger", told(self._converge, log.session("converger-process"), CONVERGER)),
            notifiers.lrps(metrics, sources),
            notifiers.tasks(metrics, sources),
            notifiers.database(metrics, sources, log),
        ]

    def _sources(self) -> Sources:
        service = self.service
        return Sources(
            lrps=service.lrp_convergence.statistics,
            tasks=service.task_convergence.statistics,
            task_counts=service.context.task_counts.statistics,
            database=self._backend.query_statistics,
            gauges=gauges(
                store=service.store,
                audit=self.audit.statistics,
                effects=service.effects,
                http=self._http,
                hubs=service.hubs,
                callbacks=service.callbacks,
                lines=self._lines,
            ),
        )

    async def _hold_lock(self, stop: trio.Event, ready: Ready) -> None:
        """Be the one master that Locket knows, and write no longer than that."""
        assert self._lock is not None
        is_held = False
        async with self._standby.reading_ahead() as end_reading:

            def acquired() -> None:
                nonlocal is_held
                is_held = True
                end_reading()
                ready()

            try:
                await self._lock.run(stop, acquired)
            except LockLost as lost:
                self._backend.fence(str(lost))
                raise
            except trio.Cancelled:
                # All members are broken off at once, for a failure outside them. Nothing is written from here on, so
                # nobody has to wait until the lock expires.
                self._backend.fence("this process is ending")
                if is_held:
                    with trio.CancelScope(deadline=trio.current_time() + GIVE_BACK_S, shield=True):
                        await self._lock.give_back()
                raise

    async def _be_sole_writer(self, stop: trio.Event, ready: Ready) -> None:
        self._log.info("waiting-for-writer-lock")
        async with self._standby.reading_ahead():
            if not await unless(stop, self._backend.acquire_writer_lock):
                return
        self._log.info("acquired-writer-lock")
        ready()
        await stop.wait()

    async def _write(self, stop: trio.Event, ready: Ready) -> None:
        """Make decisions durable and ask peers for what they want of them, until nobody is left to decide anything."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.service.write)
                ready()
                await stop.wait()
                await self.service.store.drain()
                nursery.cancel_scope.cancel()
        finally:
            await self._backend.aclose()

    async def _call_back(self, log: Logger, stop: trio.Event, ready: Ready) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(self.service.call_back, log=log))
            ready()
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _serve(self, stop: trio.Event, ready: Ready) -> None:
        """Take the address now, so that one in use ends this before anything is loaded; but listen only when there is
        something to say. Clients try again when they are refused, and take a 503 for a failure of the user's.
        """
        taken = await take(self._settings.listen_address)
        try:
            self._port = taken.port
            ready()
            if not await unless(stop, self._may_listen.wait):
                return
            await self._http.accept(taken.listen(), stop=stop)
        finally:
            taken.close()

    async def _take_over(self, stop: trio.Event, ready: Ready) -> None:
        """Make the database ours, and memory what the database is; then the gate opens."""
        log = self._migration_log
        log.info("starting")
        began = perf_counter()
        try:
            if await unless(stop, self._load):
                self._metrics.migrated(perf_counter() - began)
                log.info("finished-migrations")
                self._is_migrated.set()
                ready()
                await stop.wait()
            log.info("migration-interrupt")
        except Exception as error:
            log.error("migration-failed", error=root_cause(error))
            raise
        finally:
            log.info("exited")

    async def _load(self) -> None:
        await self._standby.has_ended.wait()
        if self._lock is None:
            await self._backend.acquire_writer_lock()
        else:
            await self._backend.take_writer_lock()
        self._stored_key_label = await self._backend.stored_key_label()
        if self._key_is_unknown():
            self._may_listen.set()
            return  # it is for the encryptor to say so; until then nothing is read, and nobody answered
        await self.audit.begin()
        began = perf_counter()
        with garbage.loading():
            rows = await self.service.store.load()
        self._log.info("loaded", rows=rows, duration=int((perf_counter() - began) * 1e9))
        self._is_open = True
        self._may_listen.set()

    def _migrating(self, action: str, data: Mapping[str, object]) -> None:
        """It may take a while: requests are answered with 503 until it is done (spec: config.md §5)."""
        self._migration_log.info(action, data)
        self._may_listen.set()

    def _key_is_unknown(self) -> bool:
        return bool(self._stored_key_label) and self._stored_key_label not in self._keyring.labels

    async def _rotate_keys(self, log: Logger, stop: trio.Event, ready: Ready) -> None:
        """Have all values sealed with the active key. A stop waits until they are (spec: storage.md §4)."""
        stored, active = self._stored_key_label, self._keyring.active_label
        if self._key_is_unknown():
            unknown = KeyLabelUnknown(stored)
            log.error("unknown-encryption-key-lable", error=unknown)
            raise unknown
        ready()
        if stored != active:
            labels = {"desired-key-label": active, "existing-key-label": stored}
            log.info("encryption-started", labels)
            began = perf_counter()
            try:
                await seal_anew(self.service.store)
            except ReencryptionFailed as error:
                log.error("encryption-failed", labels, error=error)
            else:
                await self._backend.record_key_label()
            self._metrics.reencrypted(perf_counter() - began)
            log.info("encryption-finished", {**labels, "total_time": int((perf_counter() - began) * 1e9)})
        await stop.wait()

    async def _check_database(self, stop: trio.Event, ready: Ready) -> None:
        assert self._settings.health_check is not None
        probe = PostgresProbe(self._dsn, connect_s=self._settings.health_check.timeout_s)
        check = HealthCheck(probe.attempt, self._settings.health_check, log=self._log)
        ready()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(check.run, self._is_migrated)
                await stop.wait()
                nursery.cancel_scope.cancel()
        finally:
            await probe.aclose()

    async def _keep_hubs(self, stop: trio.Event, ready: Ready) -> None:
        ready()
        await stop.wait()
        # A stream is a request in flight that would never end by itself.
        self.service.hubs.close()

    async def _converge(self, stop: trio.Event, ready: Ready) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.service.converge)
            ready()
            await stop.wait()
            nursery.cancel_scope.cancel()
        await self._database_audit.aclose()

    def _hooks(self, access_log: AccessLog | None) -> Hooks:
        log, requests = self._log, RequestLog(self._log, access_log=access_log)
        counts = self._metrics.requests

        def on_bug(bug: Exception, call: Call) -> None:
            log.fatal("handler-failed", error=bug, request=call.target, remote_addr=call.remote_addr)

        def on_connection_failed(failure: Exception, peer: Peer) -> None:
            log.fatal("connection-failed", error=failure, remote_addr=peer.remote_addr)

        def on_accept_failed(failure: OSError) -> None:
            log.error("accept-failed", error=failure)

        def on_request_end(route: Route, call: Call, duration_ns: int) -> None:
            requests.end(route, call, duration_ns)
            counts.ended(route.name, duration_ns, is_stream=isinstance(route.endpoint, EventStream))

        return Hooks(
            on_bug=on_bug,
            on_connection_failed=on_connection_failed,
            on_accept_failed=on_accept_failed,
            on_request_begin=requests.begin,
            on_request_end=on_request_end,
            on_handshake_failed=tell_on_stderr,
        )

    async def _run_audit(self) -> None:
        await self.audit.run()

    def _give_up(self, error: Unrecoverable) -> None:
        """A table is missing: the answer still goes out, then the process stops as on an interrupt (spec: config.md §6)."""
        self._log.error("unrecoverable-error", error=error)
        self._stop.set()


def _service_settings(settings: Settings) -> ServiceSettings:
    return ServiceSettings(
        write_retry_s=settings.write_retry_s,
        batch_rows_max=settings.batch_rows_max,
        update_workers=settings.update_workers,
        convergence_workers=settings.convergence_workers,
        converge_repeat_interval_s=settings.tasks.converge_repeat_interval_s,
        presence_poll_s=settings.presence_poll_s,
        desired_lrp_instances_max=settings.desired_lrp_instances_max,
        max_task_retries=settings.tasks.max_task_retries,
        task_limits=settings.tasks.limits(),
        debug_lrp_start_heartbeats=settings.debug_lrp_start_heartbeats,
    )


def _tell_of_dropped(log: Logger, row: DroppedRow) -> None:
    action = "deleted-undecodable-row" if row.deleted else "failed-reading-row"
    log.error(action, error=row.reason, table=row.table, key=list(row.key))
