"""One follower: a process that only reads, and serves what it reads. It takes no lock, decides nothing and calls nobody.

Its copy is kept by `bbs.store.following`. What it tells is at most a limit old: beyond that, requests are answered 503 and event
streams end, so that clients go elsewhere. Until its copy is whole it does not listen.
"""

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NoReturn

import trio

from bbs import __version__
from bbs.concurrency.members import Member
from bbs.convergence.taken_over import announcements_of
from bbs.dashboard.dashboard import Dashboard
from bbs.dashboard.sources import Part, Role, Sources
from bbs.log import LagerSink, LineStatistics, Logger
from bbs.metrics.gauges import gauges_of_following, gauges_of_serving
from bbs.metrics.metrics import Metrics
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
from bbs.process.notifiers import told
from bbs.process.probes import Standing, probes_of
from bbs.process.settings import Settings
from bbs.routes.followed import AT_LEAST_MAX_S, followed
from bbs.routes.request_log import AccessLog, RequestLog
from bbs.service import Service
from bbs.store.crypto import Keyring
from bbs.store.database import Database
from bbs.store.following import Following
from bbs.store.tokens import Token
from bbs.sync.locket.master import MasterLookup

STALENESS_MAX_S: Final = 10.0

LOOK_INTERVAL_S: Final = 2.0
"""Pause between two looks through the database, where its changes can't be followed."""

CURRENT_CHECK_S: Final = 0.1
"""How late it may be noticed that the copy has become too old, for streams that are open."""


class Follower:
    """Put together by its caller, who also closes what it brings. Nothing runs until the `members` do.

    What is more than ``staleness_max_s`` old is not told to anybody. A request waits ``at_least_max_s`` at most for what its
    answer is to know of.
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
        master: MasterLookup,
        staleness_max_s: float = STALENESS_MAX_S,
        at_least_max_s: float = AT_LEAST_MAX_S,
        log: Logger,
    ) -> None:
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._staleness_max_s = staleness_max_s
        self._master = master
        self._backend = database.backend(keyring)  # reads only: it never takes the writer lock
        self.service = service = Service(
            self._backend,
            peers=peers,
            log=log,
            settings=settings.of_service(),
            on_unrecoverable=_never,
            on_published=self._show if settings.dashboard else None,
        )
        self.following = Following(
            service.store,
            self._backend,
            database.changes(keyring),
            announce=announcements_of(service.store.committed),
            look_interval_s=LOOK_INTERVAL_S,
            loading=garbage.loading,
            log=log,
        )
        self._api = APIPort(
            service,
            followed(service.routes, self.following, master, at_least_max_s=at_least_max_s),
            settings,
            tls=tls,
            gate=self.is_current,
            hooks=http_hooks(RequestLog(log, access_log=access_log), metrics.requests, log=log),
            may_listen=self.following.has_loaded,
            answer_head=self._answer_head,
        )
        self._at_least = at_least_line(self._token)
        gauges = {
            **gauges_of_serving(http=self._api.http, hubs=service.hubs, lines=lines),
            **gauges_of_following(self.following, is_master=lambda: False),
        }
        sources = Sources(
            tables=service.store.committed,
            cells=peers.cells,
            role=self._role,
            metrics=metrics,
            store=service.store.statistics,
            hubs=service.hubs.statistics,
            passes=None,
            rep_failures=peers.rep_failures,
            version=__version__,
        )
        self._dashboard = Dashboard(sources, log=log) if settings.dashboard else None
        self._debug = DebugPort(
            settings,
            tls=tls,
            sink=sink,
            metrics=page(metrics, None, gauges, version=__version__),
            dashboard=None if self._dashboard is None else self._dashboard.mount,
            log=log,
        )

    def is_current(self) -> bool:
        """Whether what the copy says is no older than it may be."""
        return trio.current_time() - self.following.as_of <= self._staleness_max_s

    @property
    def port(self) -> int | None:
        return self._api.port

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """For clients in this process: a connection to this server, whatever the host and port, without TLS. It is served as
        those at the port are.

        Raises:
          OSError: the server does not run.
        """
        await trio.lowlevel.checkpoint()
        return self._api.http.connect("this process")

    def members(self) -> list[Member]:
        """All members, in the order in which they start; see `bbs.process.process.Process.members`."""
        settings, log = self._settings, self._log
        members = [Member("metrics", self._metrics.run_runtime)]
        if self._dashboard is not None:
            members.append(Member("dashboard", self._dashboard.run))
        members += self._debug.members()
        if settings.health_address is not None:
            probes = probes_of(self._standing, self._master)
            health = partial(serve_health, settings.health_address, probes, log=log)
            members.append(Member("healthcheck", health))
        return [
            *members,
            notifiers.file_descriptors(self._metrics, log),
            Member("connections", self._api.run_connections),
            Member("server", self._api.run_server),
            Member("hub-maintainer", told(self._api.run_hubs, log.session("hub-maintainer"))),
            Member("following", self._follow),
            notifiers.requests(self._metrics, log),
        ]

    def _standing(self) -> Standing:
        if not self.following.has_loaded.is_set():
            return Standing(not_ready="this follower has not read all rows yet")
        if not self.is_current():
            behind_s = trio.current_time() - self.following.as_of
            return Standing(not_ready=f"this follower is {behind_s:.0f} s behind the database")
        return Standing() if self._api.is_open else Standing(not_ready="this follower is stopping")

    async def _follow(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.following.run)
                nursery.start_soon(self._end_streams_that_are_late)
        finally:
            await self._backend.aclose()
        raise AssertionError("following never ends")

    async def _end_streams_that_are_late(self) -> NoReturn:
        """Whoever subscribes hears of changes, and can't tell that there are none from that none come any more."""
        was_current = False
        while True:
            is_current = self.is_current()
            if was_current and not is_current:
                staleness_s = trio.current_time() - self.following.as_of
                self._log.error("too-far-behind", staleness=int(staleness_s * 1e9))
                self.service.hubs.end_streams()
            elif is_current and not was_current:
                self._log.info("current")
            was_current = is_current
            await trio.sleep(CURRENT_CHECK_S)

    def _role(self) -> Role:
        staleness_s = trio.current_time() - self.following.as_of
        return Role(part=Part.FOLLOWER, not_ready=self._standing().not_ready, staleness_s=staleness_s)

    def _show(self, announcements: tuple[Announcement, ...]) -> None:
        assert self._dashboard is not None
        self._dashboard.published(announcements)

    def _token(self) -> Token | None:
        position = self.following.position
        return position if position.timeline else None

    def _answer_head(self) -> bytes:
        staleness_ms = 1e3 * (trio.current_time() - self.following.as_of)
        return self._at_least() + b"X-Bbs-Staleness-Ms: %d\r\n" % max(0, staleness_ms)


def _never(error: Unrecoverable) -> None:
    raise AssertionError("a follower writes nothing, so the database refuses nothing") from error
