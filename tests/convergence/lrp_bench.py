"""A store with LRPs in it, peers that remember, and a convergence pass over both."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import trio

from bbs.acts.effects import Effects
from bbs.convergence.lrps import LRPConvergence
from bbs.log import Logger, null_logger
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.errors import BBSError
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Outcome, Record, RowKey, delete, put
from bbs.peers.interfaces import Cell
from bbs.peers.stub import AuctionRequested, StopRequested, UpdateRequested
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.store.store import Store
from tests.faulty_peers import FaultyPeers
from tests.lifecycle.notation import N, show_event
from tests.records import desired_lrp

CELLS = frozenset({"c1", "c2", "c3"})


@dataclass
class LRPBench:
    """``cells`` are present, with https addresses; a `BBSError` in their place is raised instead."""

    store: Store
    faults: Faults
    events: dict[Hub, list[Event]]
    peers: FaultyPeers = field(default_factory=FaultyPeers)
    cells: Set[str] | BBSError = CELLS
    workers: int = 20
    now_ns: int = N
    log: Logger = field(default_factory=null_logger)

    def __post_init__(self) -> None:
        self.effects = Effects(auctioneer=self.peers, reps=self.peers, cells=self.peers)
        epochs = count(1)
        self.convergence = LRPConvergence(
            self.store,
            self._present_cells,
            effects=self.effects,
            convergence_workers=self.workers,
            log=self.log,
            now_ns=lambda: self.now_ns,
            new_guid=lambda: f"new{next(epochs)}",
        )

    async def given(self, *records: Record) -> None:
        async with trio.open_nursery() as nursery:
            for record in records:
                nursery.start_soon(self.put, record)
        for events in self.events.values():
            events.clear()

    async def put(self, record: Record) -> None:
        await self.store.commit(Outcome(rows=(put(record),)), about=_about(record))

    async def delete(self, record: Record) -> None:
        await self.store.commit(Outcome(rows=(delete(record),)), about=_about(record))

    def rows(self) -> dict[ActualLRPKey, ActualLRP]:
        return self.store.committed.actual_lrps.rows

    def auctions(self) -> list[list[tuple[str, tuple[int, ...]]]]:
        """What each auction request was for."""
        return [
            [(start.process_guid, start.indices) for start in each.starts]
            for each in self.peers.requests
            if isinstance(each, AuctionRequested)
        ]

    def stopped(self) -> list[str]:
        return [
            f"{each.lrp.instance.instance_guid}@{each.cell.cell_id}"
            for each in self.peers.requests
            if isinstance(each, StopRequested)
        ]

    def updates(self) -> list[UpdateRequested]:
        return [each for each in self.peers.requests if isinstance(each, UpdateRequested)]

    async def _present_cells(self, *, log: Logger) -> Set[str]:
        await trio.lowlevel.checkpoint()
        if isinstance(self.cells, BBSError):
            raise self.cells
        self.peers.cells = {
            cell_id: Cell(cell_id=cell_id, rep_url=f"https://{cell_id}.example.com") for cell_id in self.cells
        }
        return self.cells


@asynccontextmanager
async def open_lrp_bench(*, workers: int = 20, log: Logger | None = None) -> AsyncIterator[LRPBench]:
    told: dict[Hub, list[Event]] = {Hub.GROUP: [], Hub.INSTANCE: [], Hub.DESIRED: [], Hub.TASK: []}

    def publish(announcements: tuple[Announcement, ...]) -> None:
        for announcement in announcements:
            for hub, events in told.items():
                events.extend(announcement.events(hub))

    faults = Faults()
    backend = MemoryBackend(
        Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None, faults=faults
    )
    await backend.acquire_writer_lock()
    store = Store(backend, publish=publish, write_retry_s=5.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield LRPBench(store, faults, told, workers=workers, log=log or null_logger())
        nursery.cancel_scope.cancel()


def desired(process_guid: str = "p", *, n: int = 1, routes: str | None = "r1.internal") -> DesiredLRP:
    """What a ``RUN`` row of the notation has: route r1, tag t1. ``routes`` are host names, ``None``: no value at all."""
    names = ",".join(f'{{"hostname":"{name}"}}' for name in (routes or "").split(",") if name)
    return replace(
        desired_lrp(process_guid, instances=n),
        routes=None if routes is None else (("internal-router", f"[{names}]".encode()),),
        metric_tags=(("t", MetricTag(static="1")),),
    )


def shown(bench: LRPBench) -> str:
    return " ; ".join(
        ", ".join(map(show_event, bench.events[hub])) or "-" for hub in (Hub.GROUP, Hub.INSTANCE)
    )


def domain(name: str = "d", expire_time_ns: int = NEVER_NS) -> Domain:
    return Domain(name=name, expire_time_ns=expire_time_ns)


def _about(record: Record) -> str:
    if isinstance(record, ActualLRP | DesiredLRP):
        return record.process_guid
    key = RowKey(type(record), record.key).key
    assert isinstance(key, str)
    return key
