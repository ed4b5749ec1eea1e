"""A store with LRPs in it, peers that remember, and a convergence pass over both."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import trio

from bbs.log import Logger, null_logger
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.errors import Failure
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Outcome, Record, delete, put
from bbs.peers.interfaces import Cell
from bbs.peers.stub import AuctionRequested, StopRequested, UpdateRequested
from bbs.service import Service, ServiceSettings
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from tests.convergence.bench import BenchPeers, fail_on_unrecoverable
from tests.lifecycle.notation import N, show_event
from tests.records import desired_lrp, scope_of

CELLS = frozenset({"c1", "c2", "c3"})


class LRPBenchPeers(BenchPeers):
    """Cells that are present have https addresses."""

    async def present_cells(self, *, log: Logger) -> Set[str]:
        present = await super().present_cells(log=log)
        self.cells = {
            cell_id: Cell(cell_id=cell_id, rep_url=f"https://{cell_id}.example.com") for cell_id in present
        }
        return present


class LRPBench:
    """A service on ``backend``, whose convergence is called by hand. ``events`` are those told since `given`."""

    def __init__(self, backend: MemoryBackend, faults: Faults, *, workers: int, log: Logger) -> None:
        self.faults = faults
        self.now_ns = N
        self.peers = LRPBenchPeers()
        self.events: dict[Hub, list[Event]] = {hub: [] for hub in Hub}
        epochs = count(1)
        self.service = Service(
            backend,
            peers=self.peers.as_peers(),
            log=log,
            settings=ServiceSettings(write_retry_s=5.0, convergence_workers=workers),
            now_ns=lambda: self.now_ns,
            new_guid=lambda: f"new{next(epochs)}",
            on_unrecoverable=fail_on_unrecoverable,
            on_published=self._published,
        )
        self.store = self.service.store
        self.convergence = self.service.lrp_convergence

    @property
    def cells(self) -> Set[str] | Failure:
        return self.peers.present

    @cells.setter
    def cells(self, present: Set[str] | Failure) -> None:
        self.peers.present = present

    async def given(self, *records: Record) -> None:
        async with trio.open_nursery() as nursery:
            for record in records:
                nursery.start_soon(self.put, record)
        for events in self.events.values():
            events.clear()

    async def put(self, record: Record) -> None:
        await self.store.commit(Outcome(rows=(put(record),)), scope_of(self.store, record))

    async def delete(self, record: Record) -> None:
        await self.store.commit(Outcome(rows=(delete(record),)), scope_of(self.store, record))

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

    def _published(self, announcements: tuple[Announcement, ...]) -> None:
        for announcement in announcements:
            for hub, events in self.events.items():
                events.extend(announcement.events(hub))


@asynccontextmanager
async def open_lrp_bench(*, workers: int = 20, log: Logger | None = None) -> AsyncIterator[LRPBench]:
    faults = Faults()
    backend = MemoryBackend(
        Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None, faults=faults
    )
    await backend.acquire_writer_lock()
    bench = LRPBench(backend, faults, workers=workers, log=log or null_logger())
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.store.run)
        yield bench
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
