"""Peers that only remember what they were asked: a server uses them for peers that are not configured, and tests use them.

Which cells announce themselves is what a test puts into ``cells``.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from bbs.log import Logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP
from bbs.models.errors import ResourceNotFound
from bbs.models.task import Task
from bbs.models.wire import frame
from bbs.peers.interfaces import CallbackStatistics, Cell, LRPStart, Peers

REMEMBERED_MAX: Final = 10_000
"""Requests kept; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class AuctionRequested:
    starts: tuple[LRPStart, ...]
    trace_id: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    cell: Cell
    lrp: ActualLRP
    trace_id: str


@dataclass(frozen=True, slots=True)
class UpdateRequested:
    cell: Cell
    lrp: ActualLRP
    internal_routes: tuple[str, ...] | None
    metric_tags: tuple[tuple[str, str], ...] | None
    trace_id: str


@dataclass(frozen=True, slots=True)
class TaskAuctionRequested:
    tasks: tuple[Task, ...]
    trace_id: str


@dataclass(frozen=True, slots=True)
class TaskCancelRequested:
    cell: Cell
    task_guid: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class CallbackRequested:
    task: Task


Requested = (
    AuctionRequested
    | StopRequested
    | UpdateRequested
    | TaskAuctionRequested
    | TaskCancelRequested
    | CallbackRequested
)


class StubPeers:
    """An auctioneer, all reps, a callback pool and a registry of cells in one."""

    def __init__(self) -> None:
        self.requests: deque[Requested] = deque(maxlen=REMEMBERED_MAX)
        self.cells: dict[str, Cell] = {}

    def as_peers(self) -> Peers:
        return Peers(auctioneer=self, reps=self, cells=self, callbacks=self)

    async def request_lrp_auctions(self, starts: Sequence[LRPStart], *, trace_id: str, log: Logger) -> None:
        self.requests.append(AuctionRequested(tuple(starts), trace_id))

    async def stop_lrp_instance(self, cell: Cell, lrp: ActualLRP, *, trace_id: str, log: Logger) -> None:
        cell.require_https()
        self.requests.append(StopRequested(cell, lrp, trace_id))

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
        cell.require_https()
        self.requests.append(UpdateRequested(cell, lrp, internal_routes, metric_tags, trace_id))

    async def request_task_auctions(self, tasks: Sequence[Task], *, trace_id: str, log: Logger) -> None:
        self.requests.append(TaskAuctionRequested(tuple(tasks), trace_id))

    async def cancel_task(self, cell: Cell, task_guid: str, *, trace_id: str, log: Logger) -> None:
        cell.require_https()
        self.requests.append(TaskCancelRequested(cell, task_guid, trace_id))

    def submit_nowait(self, task: Task, *, log: Logger) -> None:
        self.requests.append(CallbackRequested(task))

    async def submit(self, task: Task) -> None:
        self.requests.append(CallbackRequested(task))

    async def run(
        self,
        *,
        resolving: Callable[[str], Awaitable[object]],
        delete: Callable[[str], Awaitable[object]],
        log: Logger,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Nobody is called back."""
        task_status.started()
        await trio.sleep_forever()

    def statistics(self) -> CallbackStatistics:
        return CallbackStatistics(queued=0, handed_over=0, calling=0, told=0, untold=0, skipped=0, dropped=0)

    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        if cell_id not in self.cells:
            raise ResourceNotFound
        return self.cells[cell_id]

    async def list_wire(self, *, log: Logger) -> Sequence[bytes]:
        return tuple(
            frame(2, pb.CellPresence(cell_id=cell.cell_id, rep_url=cell.rep_url).SerializeToString())
            for cell in self.cells.values()
        )

    async def present_cells(self, *, log: Logger) -> Set[str]:
        return frozenset(self.cells)
