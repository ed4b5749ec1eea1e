"""The debug port of a process, and where its dashboard is to be seen."""

import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from bbs.concurrency.members import Member
from bbs.http.sockets import EVERY_INTERFACE
from bbs.log import LagerSink, Logger
from bbs.ports.dashboard_guard import TOP
from bbs.ports.debug import JSONPage, MetricsPage, Mount, serve_debug
from bbs.ports.listen import split_address
from bbs.ports.loopback import is_here
from bbs.process.settings import Settings

LOOPBACK: Final = "127.0.0.1"


class DebugPort:
    """What ``settings`` say of the debug port. ``tls`` is the API's: the port speaks it beside plain HTTP. ``dashboard`` adds the
    dashboard's pages, and is called only if ``settings`` want them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
        sink: LagerSink,
        metrics: MetricsPage,
        rep_failures: JSONPage | None = None,
        dashboard: Mount | None,
        log: Logger,
    ) -> None:
        self.dashboard_url = ""
        """Where the dashboard can be seen. Known once the port listens; '' if there is none, or it is out of everybody's reach."""
        self._settings = settings
        self._is_tls = tls is not None
        self._log = log
        self._serve = partial(
            serve_debug,
            sink=sink,
            metrics=metrics,
            rep_failures=rep_failures,
            dashboard=dashboard if settings.dashboard else None,
            tls=tls,
            any_port=settings.debug_any_port,
            log=log,
        )

    def members(self) -> list[Member]:
        """One, or none if the settings want no such port."""
        return [] if self._settings.debug_address is None else [Member("debug-server", self._run)]

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        address = self._settings.debug_address
        assert address is not None
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(self._serve, address)
            if self._settings.dashboard:
                self.dashboard_url = dashboard_url(address, port, is_tls=self._is_tls)
                if self.dashboard_url:
                    self._log.info("dashboard", {"url": self.dashboard_url})
                else:
                    self._log.info("dashboard-out-of-reach", {"debug-address": address})
            task_status.started()


def dashboard_url(address: str, port: int, *, is_tls: bool) -> str:
    """Where to look for the dashboard of a debug port that listens on ``address``, with the ``port`` that it got; '' if nobody is
    let in there. On the machine itself if that can be, since a browser needs no certificate then.

    Raises:
      AddressInvalid, PortUnknown: it is no address.
    """
    host, _ = split_address(address)
    if host in EVERY_INTERFACE:
        host = LOOPBACK
    is_plain = is_here(host)
    if not is_plain and not is_tls:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if is_plain else 'https'}://{shown}:{port}{TOP}/"
