"""A store with tasks in it, peers that remember, and a convergence pass over both."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from bbs.acts.task_effects import TaskEffects
from bbs.convergence.tasks import TaskConvergence
from bbs.lifecycle.task_convergence import TaskLimits
from bbs.log import Logger, null_logger
from bbs.models.errors import BBSError
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Outcome, put
from bbs.models.task import Task
from bbs.peers.stub import CallbackRequested, TaskAuctionRequested
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.store.store import Store
from tests.faulty_peers import FaultyPeers

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
N = 1_700_000_000 * SECOND_NS


@dataclass
class Bench:
    """``cells`` are present; a `BBSError` in their place is raised instead."""

    store: Store
    faults: Faults
    peers: FaultyPeers = field(default_factory=FaultyPeers)
    events: list[Event] = field(default_factory=list)
    cells: Set[str] | BBSError = frozenset({"c1", "c2", "c3"})
    now_ns: int = N
    log: Logger = field(default_factory=null_logger)

    def __post_init__(self) -> None:
        effects = TaskEffects(auctioneer=self.peers, reps=self.peers, cells=self.peers, callbacks=self.peers)
        self.convergence = TaskConvergence(
            self.store,
            self._present_cells,
            effects=effects,
            limits=TaskLimits(),
            log=self.log,
            now_ns=lambda: self.now_ns,
        )

    async def given(self, *tasks: Task) -> None:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(self._put, task)
        self.events.clear()

    def rows(self) -> dict[str, Task]:
        return self.store.committed.tasks.rows

    def auctioned(self) -> list[list[str]]:
        """Task guids of each auction request."""
        return [
            [task.task_guid for task in each.tasks]
            for each in self.peers.requests
            if isinstance(each, TaskAuctionRequested)
        ]

    def called_back(self) -> list[str]:
        return [each.task.task_guid for each in self.peers.requests if isinstance(each, CallbackRequested)]

    async def _put(self, task: Task) -> None:
        await self.store.commit(Outcome(rows=(put(task),)), about=task.task_guid)

    async def _present_cells(self, *, log: Logger) -> Set[str]:
        await trio.lowlevel.checkpoint()
        if isinstance(self.cells, BBSError):
            raise self.cells
        return self.cells


@asynccontextmanager
async def open_bench(log: Logger | None = None) -> AsyncIterator[Bench]:
    published: list[Event] = []

    def publish(announcements: tuple[Announcement, ...]) -> None:
        published.extend(event for told in announcements for event in told.events(Hub.TASK))

    faults = Faults()
    backend = MemoryBackend(
        Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None, faults=faults
    )
    await backend.acquire_writer_lock()
    store = Store(backend, publish=publish, write_retry_s=5.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield Bench(store, faults, events=published, log=log or null_logger())
        nursery.cancel_scope.cancel()
