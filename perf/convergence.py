"""What a convergence pass over LRPs costs: over a large fleet that is as it should be, and when cells vanish at once.

The fleet lives in this process, on a backend that forgets what it is given after as long as a transaction takes; so the
figures are our own work and the waits for commits, with no HTTP and no database beside them. Peers answer at once.

How long others wait is measured by a worker that does nothing but let others have their turn, all the time: the longest
between two of its own is the stall. It slows the pass down, so durations are measured without it.
"""

import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Final
from uuid import uuid4

import trio

from bbs.convergence.lrps import LRPConvergence
from bbs.log import Logger, null_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, ModificationTag
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.errors import BBSError
from bbs.models.metric_tags import INDEX, INSTANCE_GUID, resolved
from bbs.models.outcome import Record, Row, RowKey, put
from bbs.models.wire import encode
from bbs.peers.stub import StubPeers
from bbs.process import garbage
from bbs.service import Service
from bbs.store.backend import ReadBack, Seen
from perf.figures import JSON, number, table
from perf.stalls import Stalls, stalls_beside

NOW_NS: Final = 1_700_000_000_000_000_000
INSTANCES_PER_PROCESS: Final = 4
INSTANCES_PER_CELL: Final = 100
STEADY_PASSES: Final = 20
IDLE_S: Final = 0.2
VANISHING_SHARE: Final = 0.1
COMMIT_S: Final = 0.003
"""What a small transaction takes on a local disk that syncs."""


class ForgetfulBackend:
    """A `bbs.store.backend.Backend` whose writes take `COMMIT_S` and go nowhere."""

    async def acquire_writer_lock(self) -> None:
        await trio.lowlevel.checkpoint()

    async def load(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        await trio.lowlevel.checkpoint()
        nothing: Sequence[list[Row]] = ()
        for rows in nothing:
            yield rows

    async def write(self, rows: Sequence[Row]) -> int:
        await trio.sleep(COMMIT_S)
        return 0

    async def read(self, keys: Sequence[RowKey]) -> ReadBack:
        await trio.lowlevel.checkpoint()
        return ReadBack([], list(keys))

    def watch_session(self, on_lost: Callable[[], None]) -> None:
        """Do nothing: there is no session that could be lost."""

    async def hold(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergedFleet:
    """``lrps`` instances that run as desired, with internal routes and metric tags, each on one of ``cells``."""

    lrps: int
    instances_per_process: int = INSTANCES_PER_PROCESS

    @property
    def cells(self) -> list[str]:
        return [f"cell-{number}" for number in range(max(self.lrps // INSTANCES_PER_CELL, 1))]

    def records(self) -> Iterator[Record]:
        yield Domain(name="cf-apps", expire_time_ns=NEVER_NS)
        cells = self.cells
        for first in range(0, self.lrps, self.instances_per_process):
            desired = _desired(f"process-{first:06d}", min(self.instances_per_process, self.lrps - first))
            yield desired
            for index in range(desired.instances):
                yield _running(desired, index, cells[(first + index) % len(cells)])


def _desired(process_guid: str, instances: int) -> DesiredLRP:
    return DesiredLRP(
        process_guid=process_guid,
        domain="cf-apps",
        log_guid=process_guid,
        instances=instances,
        memory_mb=256,
        disk_mb=1024,
        rootfs="preloaded:cflinuxfs4",
        routes=(
            ("cf-router", b'[{"hostnames":["app.example.com"],"port":8080}]'),
            ("internal-router", b'[{"hostname":"app.apps.internal"}]'),
        ),
        metric_tags=(
            ("index", MetricTag(dynamic=INDEX)),
            ("instance_id", MetricTag(dynamic=INSTANCE_GUID)),
            ("source_id", MetricTag(static=process_guid)),
        ),
        run_info=b"",
        tag=_tag(),
    )


def _running(desired: DesiredLRP, index: int, cell_id: str) -> ActualLRP:
    lrp = ActualLRP(
        process_guid=desired.process_guid,
        index=index,
        domain=desired.domain,
        state=ActualLRPState.RUNNING,
        instance=InstanceKey(instance_guid=str(uuid4()), cell_id=cell_id),
        net_info=encode(pb.ActualLRPNetInfo(address="10.0.0.1", instance_address="10.255.0.1")),
        internal_routes=("app.apps.internal",),
        since_ns=NOW_NS - 3600 * 10**9,
        tag=_tag(),
    )
    return replace(lrp, metric_tags=resolved(desired.metric_tags, lrp))


def _tag() -> ModificationTag:
    return ModificationTag(epoch=str(uuid4()), index=0)


@dataclass(slots=True, kw_only=True)
class ConvergenceAccount:
    """Durations and stalls of the passes, in milliseconds. ``vanished`` is the number of instances on the tenth of the cells
    that was missing in the last two passes.
    """

    lrps: int
    cells: int
    steady_ms: list[float] = field(default_factory=list)
    steady_stalls: Stalls = field(default_factory=Stalls)
    vanished: int = 0
    vanishing_ms: float = 0.0
    vanishing_stalls: Stalls = field(default_factory=Stalls)
    idle_stalls: Stalls = field(default_factory=Stalls)
    troubles: list[str] = field(default_factory=list)

    def report(self) -> str:
        steady = f"{number(median(self.steady_ms), digits=1)} (max {number(max(self.steady_ms), digits=1)})"
        rows = [
            ["as desired", "0", steady, *self.steady_stalls.cells()],
            [
                "a tenth of the cells vanishes",
                number(self.vanished),
                number(self.vanishing_ms, digits=1),
                *self.vanishing_stalls.cells(),
            ],
        ]
        return "\n".join(
            [
                f"{self.lrps:,} LRPs on {self.cells:,} cells; a commit takes {COMMIT_S * 1e3:g} ms; "
                f"without a pass the longest stall is {number(self.idle_stalls.turn_ms, digits=1)} ms",
                "",
                table(
                    ["pass", "instances placed anew", "pass ms", "longest stall ms", "longest GC ms"], rows
                ),
                *(f"TROUBLE: {trouble}" for trouble in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "cells": self.cells,
            "steady_ms": [round(each, 3) for each in self.steady_ms],
            "steady_stalls": self.steady_stalls.as_json(),
            "vanished": self.vanished,
            "vanishing_ms": round(self.vanishing_ms, 3),
            "vanishing_stalls": self.vanishing_stalls.as_json(),
            "idle_stalls": self.idle_stalls.as_json(),
            "troubles": list(self.troubles),
        }


def measure_convergence(*, lrps: int, say: Callable[[str], None]) -> ConvergenceAccount:
    """Put a fleet of ``lrps`` together, and let passes go over it."""
    return trio.run(_measure, ConvergedFleet(lrps=lrps), say)


async def _measure(fleet: ConvergedFleet, say: Callable[[str], None]) -> ConvergenceAccount:
    cells = fleet.cells
    account = ConvergenceAccount(lrps=fleet.lrps, cells=len(cells))
    present = set(cells)

    async with _service(fleet, present, say) as service:
        convergence = service.lrp_convergence
        account.idle_stalls = await stalls_beside(partial(trio.sleep, IDLE_S))
        for _ in range(STEADY_PASSES):
            account.steady_ms.append(await _took_ms(convergence.converge))
            account.steady_stalls.add(await stalls_beside(convergence.converge))
        _expect(account, convergence, running=fleet.lrps, suspects=0)
        say(f"as desired: {account.steady_ms[0]:.1f} ms")
        share = max(int(len(cells) * VANISHING_SHARE), 1)
        present.difference_update(cells[:share])
        account.vanishing_ms = await _took_ms(convergence.converge)
        account.vanished = convergence.statistics().unclaimed
        say(f"{account.vanished:,} instances placed anew: {account.vanishing_ms:.0f} ms")
        present.difference_update(cells[share : 2 * share])
        account.vanishing_stalls = await stalls_beside(convergence.converge)
        _expect(account, convergence, running=fleet.lrps - 2 * account.vanished, suspects=account.vanished)
    return account


@asynccontextmanager
async def _service(
    fleet: ConvergedFleet, present: Set[str], say: Callable[[str], None]
) -> AsyncIterator[Service]:
    """A service with the fleet in it, out of the garbage collector's sight as in a server. ``present`` cells are there."""
    service = Service(
        ForgetfulBackend(),
        peers=_Peers(present).as_peers(),
        log=null_logger(),
        now_ns=lambda: NOW_NS,
        on_unrecoverable=_fail,
    )
    with garbage.loading():
        began = perf_counter()
        rows = [put(record) for record in fleet.records()]
        made = perf_counter()
        service.store.committed.apply(rows)
        say(f"{len(rows):,} records made in {made - began:.1f} s, filed in {perf_counter() - made:.2f} s")
        del rows
    async with trio.open_nursery() as nursery:
        await nursery.start(service.store.run)
        yield service
        nursery.cancel_scope.cancel()
    gc.unfreeze()


class _Peers(StubPeers):
    def __init__(self, present: Set[str]) -> None:
        super().__init__()
        self._present = present

    async def present_cells(self, *, log: Logger) -> Set[str]:
        await trio.lowlevel.checkpoint()
        return self._present


def _fail(error: BBSError) -> None:
    raise error


async def _took_ms(work: Callable[[], Awaitable[object]]) -> float:
    began = perf_counter()
    await work()
    return 1e3 * (perf_counter() - began)


def _expect(account: ConvergenceAccount, convergence: LRPConvergence, *, running: int, suspects: int) -> None:
    """Check that the pass came to the right result: a figure of a pass that did nothing would look good."""
    found = convergence.statistics()
    if (found.running, found.suspects_running) != (running, suspects):
        account.troubles.append(f"expected {running} running and {suspects} suspect instances: {found}")
