"""Peers that fail as they are told to, so that no test has to replace a method of theirs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import trio

from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.errors import Failure
from bbs.models.task import Task
from bbs.peers.interfaces import Cell, LRPStart
from bbs.peers.stub import StubPeers

CallName = Literal[
    "request_lrp_auctions",
    "stop_lrp_instance",
    "update_lrp_instance",
    "request_task_auctions",
    "cancel_task",
    "submit",
    "cell_by_id",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeerFault:
    """What goes wrong with ``call`` the first ``times`` it is made to ``cell_id``; each ``None`` means any.

    The call takes ``takes_s`` seconds (``inf``: it has no end) and then waits for ``until``. By then the cells
    ``gone`` are no longer in the registry. It ends with the error that ``error`` makes; without one it is done as asked.
    """

    call: CallName
    cell_id: str | None = None
    times: int | None = None
    takes_s: float = 0.0
    until: trio.Event | None = None
    gone: Sequence[str] = ()
    error: Callable[[], Failure] | None = None

    def concerns(self, call: CallName, cell_id: str) -> bool:
        return self.call == call and self.cell_id in (None, cell_id)


class Called(NamedTuple):
    """A call that was begun, whatever became of it. ``cell_id`` is '' for what no cell is asked."""

    call: CallName
    cell_id: str
    at_s: float


class FaultyPeers(StubPeers):
    """`StubPeers` with ``faults``, of which the first that concerns a call and is not used up befalls it.

    ``requests`` has the calls that were done as asked, and ``called`` all that were begun.
    """

    def __init__(self, faults: Sequence[PeerFault] = ()) -> None:
        super().__init__()
        self.faults = faults
        self.called: list[Called] = []
        self._befallen = Counter[PeerFault]()

    def called_at_s(self, call: CallName, cell_id: str = "") -> list[float]:
        """When each such call was begun, in Trio's time."""
        return [each.at_s for each in self.called if (each.call, each.cell_id) == (call, cell_id)]

    async def request_lrp_auctions(self, starts: Sequence[LRPStart], *, trace_id: str, log: Logger) -> None:
        await self._begin("request_lrp_auctions")
        await super().request_lrp_auctions(starts, trace_id=trace_id, log=log)

    async def stop_lrp_instance(self, cell: Cell, lrp: ActualLRP, *, trace_id: str, log: Logger) -> None:
        await self._begin_at(cell, "stop_lrp_instance")
        await super().stop_lrp_instance(cell, lrp, trace_id=trace_id, log=log)

    async def update_lrp_instance(
        self,
        cell: Cell,
        lrp: ActualLRP,
        *,
        internal_routes: tuple[str, ...] | None,
        metric_tags: tuple[tuple[str, str], ...] | None,
        trace_id: str,
        log: Logger,
    ) -> None:
        await self._begin_at(cell, "update_lrp_instance")
        await super().update_lrp_instance(
            cell, lrp, internal_routes=internal_routes, metric_tags=metric_tags, trace_id=trace_id, log=log
        )

    async def request_task_auctions(self, tasks: Sequence[Task], *, trace_id: str, log: Logger) -> None:
        await self._begin("request_task_auctions")
        await super().request_task_auctions(tasks, trace_id=trace_id, log=log)

    async def cancel_task(self, cell: Cell, task_guid: str, *, trace_id: str, log: Logger) -> None:
        await self._begin_at(cell, "cancel_task")
        await super().cancel_task(cell, task_guid, trace_id=trace_id, log=log)

    async def submit(self, task: Task) -> None:
        await self._begin("submit")
        await super().submit(task)

    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        await self._begin("cell_by_id", cell_id)
        return await super().cell_by_id(cell_id, log=log)

    async def _begin_at(self, cell: Cell, call: CallName) -> None:
        cell.require_https()
        await self._begin(call, cell.cell_id)

    async def _begin(self, call: CallName, cell_id: str = "") -> None:
        self.called.append(Called(call, cell_id, trio.current_time()))
        for fault in self.faults:
            if fault.concerns(call, cell_id) and (fault.times is None or self._befallen[fault] < fault.times):
                self._befallen[fault] += 1
                await self._befall(fault)
                return

    async def _befall(self, fault: PeerFault) -> None:
        await trio.sleep(fault.takes_s)
        if fault.until is not None:
            await fault.until.wait()
        for cell_id in fault.gone:
            self.cells.pop(cell_id, None)
        if fault.error is not None:
            raise fault.error()
