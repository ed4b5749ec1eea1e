"""A store with tasks in it, peers that remember, and a convergence pass over both."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager

import trio

from bbs.log import Logger, null_logger
from bbs.models.errors import Failure
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Outcome, put
from bbs.models.task import Task
from bbs.peers.stub import CallbackRequested, TaskAuctionRequested
from bbs.service import Service, ServiceSettings
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from tests.faulty_peers import FaultyPeers

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
N = 1_700_000_000 * SECOND_NS


class BenchPeers(FaultyPeers):
    """``present`` are the cells that announce themselves; a `Failure` in their place is raised instead."""

    present: Set[str] | Failure = frozenset({"c1", "c2", "c3"})

    async def present_cells(self, *, log: Logger) -> Set[str]:
        await trio.lowlevel.checkpoint()
        if isinstance(self.present, Failure):
            raise self.present
        return self.present


class Bench:
    """A service on ``backend``, whose convergence is called by hand. ``events`` are those of tasks, since `given`."""

    def __init__(self, backend: MemoryBackend, faults: Faults, log: Logger) -> None:
        self.faults = faults
        self.now_ns = N
        self.peers = BenchPeers()
        self.events: list[Event] = []
        self.service = Service(
            backend,
            peers=self.peers.as_peers(),
            log=log,
            settings=ServiceSettings(write_retry_s=5.0),
            now_ns=lambda: self.now_ns,
            on_unrecoverable=fail_on_unrecoverable,
            on_published=self._published,
        )
        self.store = self.service.store
        self.convergence = self.service.task_convergence

    @property
    def cells(self) -> Set[str] | Failure:
        return self.peers.present

    @cells.setter
    def cells(self, present: Set[str] | Failure) -> None:
        self.peers.present = present

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
        await self.store.commit(Outcome(rows=(put(task),)), self.store.task(task.task_guid))

    def _published(self, announcements: tuple[Announcement, ...]) -> None:
        self.events += [event for told in announcements for event in told.events(Hub.TASK)]


def fail_on_unrecoverable(error: Failure) -> None:
    raise AssertionError(error)


@asynccontextmanager
async def open_bench(log: Logger | None = None) -> AsyncIterator[Bench]:
    faults = Faults()
    backend = MemoryBackend(
        Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None, faults=faults
    )
    await backend.acquire_writer_lock()
    bench = Bench(backend, faults, log or null_logger())
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.service.write)
        yield bench
        nursery.cancel_scope.cancel()
