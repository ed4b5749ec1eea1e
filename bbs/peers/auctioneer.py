"""The auctioneer, over HTTP (spec: peers.md §2)."""

from collections.abc import Sequence
from typing import Final

from bbs.log import Logger
from bbs.models.task import Task
from bbs.peers import bodies
from bbs.peers.http import JSON_CONTENT, REQUEST_ID, HTTPClient, NoResponse, StatusRefused
from bbs.peers.interfaces import LRPStart

ACCEPTED: Final = 202


class HTTPAuctioneer:
    """``address`` is the configured base URL.

    ``plain`` is what to try again with over ``http://``, once, when ``http`` gets no response at all: upstream's
    fallback for auctioneers without TLS. ``None``: there is none, because TLS is required or no certificates are set.
    """

    def __init__(
        self, address: str, *, http: HTTPClient, plain: HTTPClient | None = None, log: Logger
    ) -> None:
        self._address = address
        self._http = http
        self._plain = plain
        self._log = log

    async def request_lrp_auctions(self, starts: Sequence[LRPStart], *, trace_id: str) -> None:
        """Ask for the instances of ``starts`` to be placed.

        Raises:
          PeerUnavailable: no response, or another than 202.
        """
        await self._ask("/v1/lrps", await bodies.array(starts, bodies.lrp_start), trace_id)

    async def request_task_auctions(self, tasks: Sequence[Task], *, trace_id: str) -> None:
        """Ask for ``tasks`` to be placed.

        Raises:
          PeerUnavailable: no response, or another than 202.
        """
        await self._ask("/v1/tasks", await bodies.array(tasks, bodies.task_start), trace_id)

    async def _ask(self, path: str, body: bytes, trace_id: str) -> None:
        # Unlike with reps, the header is there even when it is empty.
        headers = (*JSON_CONTENT, (REQUEST_ID, trace_id))
        try:
            status = await self._http.send("POST", self._address + path, headers=headers, body=body)
        except NoResponse as error:
            if self._plain is None:
                raise
            self._log.error("retrying-on-http", error=error)
            plain_address = "http" + self._address.removeprefix("https").removeprefix("http")
            status = await self._plain.send("POST", plain_address + path, headers=headers, body=body)
        if status != ACCEPTED:
            raise StatusRefused(status)
