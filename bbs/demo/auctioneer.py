"""A simulated auctioneer: it takes auctions over HTTPS and has cells begin what they are about."""

import ssl
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import trio

from bbs.client import InternalBBSClient, TransportError
from bbs.demo.cell import ACCEPTED, NOT_FOUND, Cell
from bbs.demo.peer_port import serve_peer
from bbs.models import pb
from bbs.models.errors import BBSError

WAITING_MAX: Final = 10_000
"""Auctions that wait; with more of them a call is refused, and the BBS asks again."""
BUSY: Final = 503
NOWHERE: Final = "insufficient resources: no cell takes it"

Placement = tuple[str, int, str]
"""Process guid, index and domain; of a task its guid, -1 and ''."""


class Auctioneer:
    """Places each instance on the cell that has fewest of its process, then fewest of all. The BBS is told of what finds no
    cell.
    """

    def __init__(self, cells: Mapping[str, Cell], *, seed: str) -> None:
        self._cells = cells
        self._random = Random(f"{seed} auctioneer")
        self._send, self._receive = trio.open_memory_channel[Placement](WAITING_MAX)

    async def listen(
        self, tls: ssl.SSLContext, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take auctions until cancelled; the port is what ``task_status`` is told. `place` may begin later."""
        await serve_peer(self._answer, tls, task_status=task_status)

    async def place(self, bbs: InternalBBSClient) -> None:
        """Place what there is to place, until cancelled."""
        async for guid, index, domain in self._receive:
            try:
                if index < 0:
                    if not any(cell.take_task(guid) for cell in self._by_load("")):
                        await bbs.reject_task(task_guid=guid, rejection_reason=NOWHERE)
                elif not any(cell.take(guid, index, domain) for cell in self._by_load(guid)):
                    key = pb.ActualLRPKey(process_guid=guid, index=index, domain=domain)
                    await bbs.fail_actual_lrp(key, error_message=NOWHERE)
            except (BBSError, TransportError):
                pass  # convergence asks again

    def _by_load(self, process_guid: str) -> list[Cell]:
        def load(cell: Cell) -> tuple[int, int, float]:
            same = sum(each.key.process_guid == process_guid for each in cell.containers.values())
            return same, len(cell.containers), self._random.random()

        return sorted((cell for cell in self._cells.values() if cell.is_up), key=load)

    def _answer(self, method: str, path: str, body: Any) -> int:
        if path == "/v1/lrps":
            wanted = [
                (start["process_guid"], index, start["domain"])
                for start in body
                for index in start["indices"]
            ]
        elif path == "/v1/tasks":
            wanted = [(start["TaskGuid"], -1, "") for start in body]
        else:
            return NOT_FOUND
        try:
            for placement in wanted:
                self._send.send_nowait(placement)
        except trio.WouldBlock:
            return BUSY
        return ACCEPTED
