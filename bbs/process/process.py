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
from typing import Final

import trio

from bbs import __version__
from bbs.concurrency.members import Member
from bbs.convergence.audit import Audit
from bbs.dashboard.dashboard import Dashboard
from bbs.dashboard.sources import Part, Passes, Role
from bbs.dashboard.sources import Sources as DashboardSources
from bbs.log import LagerSink, LineStatistics, Logger
from bbs.metrics.gauges import (
    gauges_of_following,
    gauges_of_passes,
    gauges_of_serving,
    gauges_of_writing,
)
from bbs.metrics.metrics import Gauge, Metrics, Sources
from bbs.metrics.prometheus import page
from bbs.models.errors import Unrecoverable
from bbs.models.outcome import Announcement
from bbs.peers.interfaces import Peers
from bbs.ports.health import serve_health
from bbs.process import garbage, notifiers
from bbs.process.api_port import APIPort
from bbs.process.at_least import at_least_line
from bbs.process.debug_port import DebugPort
from bbs.process.http_hooks import http_hooks
from bbs.process.key_rotation import KeyRotation
from bbs.process.mastership import LocketMastership, WriterLockMastership
from bbs.process.notifiers import Words, told
from bbs.process.probes import Standing, probes_of
from bbs.process.settings import Settings
from bbs.process.standby import Standby
from bbs.process.takeover import Takeover
from bbs.routes.request_log import AccessLog, RequestLog
from bbs.service import Service
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.database import Database
from bbs.store.following import Following
from bbs.store.health_check import HealthCheck
from bbs.sync.locket.lock import Lock
from bbs.sync.locket.master import MasterKnown, MasterLookup

CONVERGER: Final = Words(begins="", ends="done")
ENCRYPTOR: Final = Words(is_ready="", ends="exited")


class Process:
    """Put together by its caller, who also closes what it brings. Nothing runs until the `members` do.

    Without a ``lock`` the database's writer lock alone decides who is master. ``master`` tells the probes of a standby who is.
    ``until_stopped`` is cancelled when the process is to end by itself.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        keyring: Keyring,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
        sink: LagerSink,
        lines: Callable[[], Mapping[str, LineStatistics]],
        metrics: Metrics,
        access_log: AccessLog | None = None,
        peers: Peers,
        lock: Lock | None,
        master: MasterLookup | None = None,
        log: Logger,
        until_stopped: trio.CancelScope,
    ) -> None:
        self._settings = settings
        self._log = log
        self._lines = lines
        self._metrics = metrics
        self._until_stopped = until_stopped
        self._is_tls = tls is not None
        self._lock = lock
        self._master = master
        self._database = database
        # Made first, since sessions are numbered as they are made, and upstream's first one is this.
        migration_log = log.session("migration-manager")
        # The lambdas here and below name parts that are made further down. Nothing calls them before `members` run.
        self._backend = database.backend(
            keyring,
            on_dropped=partial(_tell_of_dropped, log),
            on_migration=lambda action, data: self._takeover.migrating(action, data),
        )
        self.service = service = Service(
            self._backend,
            peers=peers,
            log=log,
            settings=settings.of_service(),
            app_log=lambda process_guid, error: metrics.emitter.app_log(
                process_guid, type(error).__name__, str(error)
            ),
            on_unrecoverable=self._give_up,
            on_published=self._show if settings.dashboard else None,
            on_batch=lambda batch: metrics.batch_committed(
                outcomes=batch.outcomes, rows=batch.rows, waited_s=batch.waited_s, took_s=batch.took_s
            ),
            on_trouble=lambda trouble: log.error("database-unavailable", error=trouble),
            before_passes=lambda: self.audit.run(),
        )
        # A standby reads on a connection of its own, which is closed when it becomes master. Rows that it cannot decode are
        # the master's to tell of and to delete.
        source = database.backend(keyring)
        self._following = Following(
            service.store, source, database.changes(keyring), loading=garbage.loading, log=log
        )
        self._standby = Standby(service.store, self._following, source=source, writer=self._backend)
        self._database_audit = database.audit()
        self.audit = Audit(
            service.store,
            self._database_audit,
            keyring,
            sessions=lambda: self._backend.connects,
            log=log,
        )
        backend = self._backend
        self._mastership = (
            WriterLockMastership(backend, self._standby, log=log)
            if lock is None
            else LocketMastership(lock, backend, self._standby, confirm=self._confirm_mastership)
        )
        self._key_rotation = KeyRotation(service.store, backend, keyring, metrics=metrics)
        self._takeover = Takeover(
            service.store,
            self._standby,
            self.audit,
            self._key_rotation,
            take_writer_lock=backend.acquire_writer_lock if lock is None else backend.take_writer_lock,
            metrics=metrics,
            log=log,
            migration_log=migration_log,
        )
        self._api = APIPort(
            service,
            service.routes,
            settings,
            tls=tls,
            gate=self._may_answer,
            hooks=http_hooks(RequestLog(log, access_log=access_log), metrics.requests, log=log),
            may_listen=self._takeover.may_listen,
            answer_head=at_least_line(lambda: self._backend.token),
        )
        self._dashboard = Dashboard(self._dashboards_sources(peers), log=log) if settings.dashboard else None
        self._debug = DebugPort(
            settings,
            tls=tls,
            sink=sink,
            metrics=page(metrics, self._sources(), self._gauges(), version=__version__),
            rep_failures=peers.rep_failures.json,
            dashboard=None if self._dashboard is None else self._dashboard.mount,
            log=log,
        )

    @property
    def database_version(self) -> str:
        """Name and version of the database's server; '' before there was a connection."""
        return self._backend.server_version

    def _may_answer(self) -> bool:
        """Whether memory is the truth: all rows are loaded, and nobody else can be master yet.

        The server asks before a handler is called and again before its answer is sent. A process that is stopped in between,
        or whose machine is paused, may wake up long after its lock ran out, and what the handler has read may be old by then.
        Its renewal has not failed yet at that moment, so the clock is asked, and not whether the lock is held. Nor does a
        renewal that is granted then make it certain again: somebody else may have been master, and ended, while it slept.
        """
        return self._takeover.is_loaded.is_set() and self._mastership.is_certain

    async def _confirm_mastership(self) -> None:
        """Ask the database whether somebody else has written since the rows were loaded; see `LocketMastership`."""
        await self._takeover.is_loaded.wait()
        await self.service.store.confirm()

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard is to be seen: `DebugPort.dashboard_url`."""
        return self._debug.dashboard_url

    @property
    def port(self) -> int | None:
        """Where requests are answered; ``None`` while they are not."""
        return self._api.port if self._takeover.is_loaded.is_set() else None

    def members(self) -> list[Member]:
        """All members, in the order in which they start. They are stopped in the opposite order, each when the one after it
        has ended, so each may rely on those above it: see the comments in the list.
        """
        settings, log, metrics, sources = self._settings, self._log, self._metrics, self._sources()
        members = [Member("metrics", metrics.run_runtime)]
        if self._dashboard is not None:
            members.append(Member("dashboard", self._dashboard.run))
        members += self._debug.members()
        if settings.health_check is not None:
            members.append(Member("db-healthcheck", self._check_database))
        if settings.health_address is not None:
            probes = probes_of(self._standing, self._master)
            health = partial(serve_health, settings.health_address, probes, log=log)
            members.append(Member("healthcheck", health))

        workpool = log.session("task-completion-workpool")
        encryptor = log.session("encryptor")
        call_back = partial(self.service.call_back, log=workpool)
        return [
            *members,
            notifiers.file_descriptors(metrics, log),
            notifiers.lock_held(metrics, log),
            Member("connections", self._api.run_connections),
            # From here on there is only one such process. Those above run in a standby, too, and say that it lives.
            Member("lock", self._mastership.run),
            notifiers.set_lock_held(metrics, log),
            # Ends when the last handler, callback and pass has ended, since all of these stage rows.
            Member("store", self._write),
            Member("workpool", told(call_back, workpool, Words())),
            # Before the rows are loaded: a port in use ends this process before it has changed anything.
            Member("server", self._api.run_server),
            Member("migration-manager", self._takeover.run),
            Member("encryptor", told(partial(self._key_rotation.run, encryptor), encryptor, ENCRYPTOR)),
            # After the server, so that it closes the streams before the server waits for its last request.
            Member("hub-maintainer", told(self._api.run_hubs, log.session("hub-maintainer"))),
            notifiers.election(metrics, log),
            notifiers.requests(metrics, log),
            Member("converger", told(self._converge, log.session("converger-process"), CONVERGER)),
            notifiers.lrps(metrics, sources),
            notifiers.tasks(metrics, sources),
            notifiers.database(metrics, sources, log),
        ]

    def _standing(self) -> Standing:
        since_ns = self._mastership.since_ns
        if since_ns is None:
            not_ready = "this process is not the master, and only the master answers"
        elif not self._takeover.is_loaded.is_set():
            not_ready = "this process is the master, and has not read all rows yet"
        elif not self._api.is_open:
            not_ready = "this process is stopping"
        else:
            not_ready = ""
        return Standing(active_since_ns=since_ns, itself=self._itself(), not_ready=not_ready)

    def _itself(self) -> MasterKnown:
        """As Locket knows this process; without Locket, where it listens."""
        if self._lock is not None:
            return MasterKnown(self._lock.owner, self._lock.value)
        host = self._settings.listen_address.rpartition(":")[0]
        return MasterKnown("", f"{'https' if self._is_tls else 'http'}://{host}:{self._api.port}")

    def _gauges(self) -> dict[str, Gauge]:
        service = self.service
        writing = gauges_of_writing(
            store=service.store,
            audit=self.audit.statistics,
            effects=service.effects,
            callbacks=service.callbacks,
        )
        serving = gauges_of_serving(http=self._api.http, hubs=service.hubs, lines=self._lines)
        following = gauges_of_following(self._following, is_master=self._takeover.is_loaded.is_set)
        passes = gauges_of_passes(lambda: service.passes.times)
        return {**writing, **passes, **serving, **following}

    def _sources(self) -> Sources:
        service = self.service
        return Sources(
            lrps=service.lrp_convergence.statistics,
            tasks=service.task_convergence.statistics,
            task_counts=service.context.task_counts.statistics,
            database=self._backend.query_statistics,
        )

    def _dashboards_sources(self, peers: Peers) -> DashboardSources:
        service = self.service
        return DashboardSources(
            tables=service.store.committed,
            cells=peers.cells,
            role=self._role,
            metrics=self._metrics,
            store=service.store.statistics,
            hubs=service.hubs.statistics,
            passes=Passes(
                times=lambda: service.passes.times,
                lrps=service.lrp_convergence.statistics,
                tasks=service.task_convergence.statistics,
            ),
            rep_failures=peers.rep_failures,
            version=__version__,
        )

    def _role(self) -> Role:
        standing = self._standing()
        if standing.active_since_ns is None:
            return Role(
                part=Part.STANDBY,
                not_ready=standing.not_ready,
                staleness_s=trio.current_time() - self._following.as_of,
            )
        url = standing.itself.url
        return Role(
            part=Part.MASTER, since_ns=standing.active_since_ns, not_ready=standing.not_ready, url=url
        )

    def _show(self, announcements: tuple[Announcement, ...]) -> None:
        assert self._dashboard is not None
        self._dashboard.published(announcements)

    async def _write(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Make decisions durable and ask peers for what they want of them, until nobody is left to decide anything.

        Raises:
          WriterLockLost: in a group; another process has become master.
        Cancellation:
          What is staged is dropped. A stop through the scope that it hands over waits for it; every write has its deadline.
        """
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.service.write)
                with trio.CancelScope() as until_stopped:
                    task_status.started(until_stopped)
                    await trio.sleep_forever()
                await self.service.store.drain()
                nursery.cancel_scope.cancel()
        finally:
            await self._backend.aclose()

    async def _check_database(self, *, task_status: trio.TaskStatus[None]) -> None:
        # It waits for the migration, during which the database may be slow to answer others: a new master would give up over
        # its own work. A standby, which never gets so far, checks nothing.
        assert self._settings.health_check is not None
        probe = self._database.probe(connect_s=self._settings.health_check.timeout_s)
        check = HealthCheck(probe.attempt, self._settings.health_check, log=self._log)
        try:
            await check.run(self._takeover.is_migrated, task_status=task_status)
        finally:
            await probe.aclose()

    async def _converge(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.service.converge)
                task_status.started()
        finally:
            await self._database_audit.aclose()

    def _give_up(self, error: Unrecoverable) -> None:
        """A table is missing: the answer still goes out, then the process stops as on an interrupt (spec: config.md §6)."""
        self._log.error("unrecoverable-error", error=error)
        self._until_stopped.cancel()


def _tell_of_dropped(log: Logger, row: DroppedRow) -> None:
    action = "deleted-undecodable-row" if row.deleted else "failed-reading-row"
    log.error(action, error=row.reason, table=row.table, key=list(row.key))
