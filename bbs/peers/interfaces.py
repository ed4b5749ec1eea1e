"""What the server asks of its peers, as protocols. Each method raises `PeerUnavailable` when the peer does not do as asked.

``log`` is the session of whoever asks, a request's as a rule. Lines about the call go into sessions below it, so that they
are found by the request and its trace.
"""

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import NoReturn, Protocol
from urllib.parse import urlsplit

import trio

from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.errors import Trouble
from bbs.models.task import Task
from bbs.peers.rep_failures import RepFailures


class PeerUnavailable(Trouble):
    """A peer could not be reached or refused; the text says how."""


class RepURLUnusable(PeerUnavailable):
    """The cell announces no address that we may call: reps are called over TLS only (spec: peers.md §3)."""

    def __init__(self) -> None:
        super().__init__("https scheme is required but none of the addresses support it")


@dataclass(frozen=True, slots=True, kw_only=True)
class LRPStart:
    """A request to place instances of one process (spec: peers.md §2.1)."""

    process_guid: str
    domain: str
    indices: tuple[int, ...]
    placement_tags: tuple[str, ...] | None
    volume_drivers: tuple[str, ...] | None
    rootfs: str
    memory_mb: int
    disk_mb: int
    max_pids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell that announces itself (spec: locking-and-presence.md §4), as far as calling it is concerned."""

    cell_id: str
    rep_url: str

    def require_https(self) -> None:
        """Check that the cell's rep can be called.

        Raises:
          RepURLUnusable: it can't.
        """
        if urlsplit(self.rep_url).scheme != "https":
            raise RepURLUnusable


class Auctioneer(Protocol):
    async def request_lrp_auctions(
        self, starts: Sequence[LRPStart], *, trace_id: str, log: Logger
    ) -> None: ...

    async def request_task_auctions(self, tasks: Sequence[Task], *, trace_id: str, log: Logger) -> None:
        """Place ``tasks``, all in one request (spec: peers.md §2.2)."""


class Reps(Protocol):
    """Every call raises `RepURLUnusable` before it does anything when the cell announces no https address."""

    async def stop_lrp_instance(self, cell: Cell, lrp: ActualLRP, *, trace_id: str, log: Logger) -> None: ...

    async def update_lrp_instance(
        self,
        cell: Cell,
        lrp: ActualLRP,
        *,
        internal_routes: tuple[str, ...] | None,
        metric_tags: tuple[tuple[str, str], ...] | None,
        trace_id: str,
        log: Logger,
    ) -> None: ...

    async def cancel_task(self, cell: Cell, task_guid: str, *, trace_id: str, log: Logger) -> None: ...


@dataclass(frozen=True, slots=True)
class CallbackStatistics:
    """``queued`` and ``handed_over`` tasks wait, ``calling`` ones are being told; the others count since the start.

    ``told``: somebody answered. ``untold``: nobody did. ``skipped``: the task was not ours to tell about.
    """

    queued: int
    handed_over: int
    calling: int
    told: int
    untold: int
    skipped: int
    dropped: int


class TaskCallbacks(Protocol):
    """The pool that tells clients that their tasks are over (spec: tasks.md §5)."""

    def submit_nowait(self, task: Task, *, log: Logger) -> None:
        """Queue ``task``. Full: it is dropped, ``log`` is told, and convergence will submit it."""

    async def submit(self, task: Task) -> None:
        """Queue ``task``, waiting for a place."""

    async def run(
        self,
        *,
        resolving: Callable[[str], Awaitable[object]],
        delete: Callable[[str], Awaitable[object]],
        log: Logger,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Call back until cancelled; what waits then is dropped.

        ``resolving`` and ``delete`` do what the requests of those names do, and raise `BBSError`.
        """

    def statistics(self) -> CallbackStatistics: ...


class PresentCells(Protocol):
    async def __call__(self, *, log: Logger) -> Set[str]:
        """As `Cells.present_cells`."""


class Cells(Protocol):
    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        """The cell of that name.

        Raises:
          ResourceNotFound: no such cell announces itself.
          BBSError: nobody can say.
        """

    async def list_wire(self, *, log: Logger) -> Sequence[bytes]:
        """Every cell as one framed element of a `CellsResponse`, in no particular order.

        Raises:
          BBSError: nobody can say.
        """

    async def present_cells(self, *, log: Logger) -> Set[str]:
        """The ids of the cells that announce themselves. An empty set is an answer like any other: all cells are gone.

        Raises:
          BBSError: nobody can say.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """All whom the server calls."""

    auctioneer: Auctioneer
    reps: Reps
    cells: Cells
    callbacks: TaskCallbacks
    rep_failures: RepFailures = field(default_factory=RepFailures)
    """The calls of reps that failed, as far as ``reps`` notes them."""
