"""The auctioneer, over HTTP (spec: peers.md §2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import trio

from bbs.log import Logger
from bbs.models.task import Task
from bbs.peers import bodies
from bbs.peers.http import JSON_CONTENT, REQUEST_ID, BadStatus, HTTPClient, NoResponse
from bbs.peers.interfaces import LRPStart

ACCEPTED: Final = 202

ATTEMPTS: Final = 3
"""How often a call is made as long as no response comes; then as often again without TLS, where that is allowed. Upstream's
number. With a single attempt one lost packet would leave an instance to the next pass of convergence, half a minute later.
Any response ends the attempts, also a refusal: the auctioneer has decided then, and would decide the same again."""

PAUSE_S: Final = 0.5
"""Pause after every attempt without a response, the last one included, as upstream. An auctioneer that restarts is back
within the attempts, and the pause after the last one holds back callers that would ask again at once."""


@dataclass(frozen=True, slots=True)
class _Route:
    """``session`` and ``name`` are the log's."""

    session: str
    name: str
    path: str


_LRPS: Final = _Route("request-lrp-auctions", "CreateLRPAuctions", "/v1/lrps")
_TASKS: Final = _Route("request-task-auctions", "CreateTaskAuctions", "/v1/tasks")


class HTTPAuctioneer:
    """An `Auctioneer` at ``address``, the configured base URL.

    ``plain`` is what to try again with over ``http://`` when ``http`` gets no response at all: upstream's fallback for
    auctioneers without TLS. ``None``: there is none, because TLS is required or no certificates are set.
    """

    def __init__(self, address: str, *, http: HTTPClient, plain: HTTPClient | None = None) -> None:
        self._address = address
        self._http = http
        self._plain = plain

    async def request_lrp_auctions(self, starts: Sequence[LRPStart], *, trace_id: str, log: Logger) -> None:
        """Ask for the instances of ``starts`` to be placed.

        Raises:
          PeerUnavailable: no response, or another than 202.
        """
        await self._ask(_LRPS, await bodies.array(starts, bodies.lrp_start), trace_id, log)

    async def request_task_auctions(self, tasks: Sequence[Task], *, trace_id: str, log: Logger) -> None:
        """Ask for ``tasks`` to be placed.

        Raises:
          PeerUnavailable: no response, or another than 202.
        """
        await self._ask(_TASKS, await bodies.array(tasks, bodies.task_start), trace_id, log)

    async def _ask(self, route: _Route, body: bytes, trace_id: str, log: Logger) -> None:
        # Unlike with reps, the header is there even when it is empty.
        headers = (*JSON_CONTENT, (REQUEST_ID, trace_id))
        call = _Call(route, self._address, headers, body, log.session(route.session))
        try:
            status = await call.make(self._http)
        except NoResponse as error:
            if self._plain is None:
                raise
            call.log.error("retrying-on-http", error=error)
            call.address = "http" + self._address.removeprefix("https").removeprefix("http")
            status = await call.make(self._plain)
        if status != ACCEPTED:
            raise BadStatus(status)


@dataclass(slots=True)
class _Call:
    """A request to the auctioneer, and what the log says of its attempts."""

    route: _Route
    address: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    log: Logger

    async def make(self, http: HTTPClient) -> int:
        """The status of the first response that any attempt gets. The client's timeout is each attempt's own.

        Raises:
          NoResponse: what the last attempt ended with, after its pause.
        """
        log, url = self.log.session("do-request"), self.address + self.route.path
        path = urlsplit(url).path
        for attempt in range(1, ATTEMPTS + 1):
            log.debug("creating-request", attempt=attempt, request_name=self.route.name)
            log.debug("doing-request", attempt=attempt, request_path=path)
            try:
                status = await http.send("POST", url, headers=self.headers, body=self.body)
            except NoResponse as error:
                log.error("failed-doing-request", attempt=attempt, error=error)
                last = error
            else:
                log.debug("complete", request_path=path)
                return status
            await trio.sleep(PAUSE_S)
        raise last
