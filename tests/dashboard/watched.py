"""A dashboard over tables that a test fills, without a server."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import trio

from bbs.convergence.loop import PassTimes
from bbs.convergence.lrps import LRPConvergenceStatistics
from bbs.convergence.tasks import TaskConvergenceStatistics
from bbs.dashboard.sources import Part, Passes, Role, Sources
from bbs.log import Logger, null_logger
from bbs.metrics.emitter import Emitter
from bbs.metrics.loggregator import NoLoggregator
from bbs.metrics.metrics import Metrics, Reporting
from bbs.models import pb
from bbs.models.errors import UnknownError
from bbs.models.outcome import Record, put
from bbs.models.wire import encode, frame
from bbs.peers.interfaces import Cell
from bbs.peers.rep_failures import RepFailures
from bbs.store.store import StoreStatistics
from bbs.store.tables import Tables
from bbs.sync.hubs.hub import EventHubs

NOW_NS = 1_700_000_000_000_000_000
MASTER = Role(part=Part.MASTER, since_ns=NOW_NS)
AT_REST = StoreStatistics(0, 0.0, 0, 0, 0, 0, 0)


def presence(
    cell_id: str, zone: str = "z1", *, memory_mb: int = 1000, containers: int = 10
) -> pb.CellPresence:
    capacity = pb.CellCapacity(memory_mb=memory_mb, disk_mb=2000, containers=containers)
    return pb.CellPresence(cell_id=cell_id, zone=zone, rep_url=f"https://{cell_id}:1801", capacity=capacity)


@dataclass
class Registry:
    """The cells that announce themselves. While it is ``away`` nobody can say who does; ``asked`` counts the questions."""

    announced: list[pb.CellPresence] = field(default_factory=list)
    away: bool = False
    hangs: bool = False
    asked: int = 0

    async def list_wire(self, *, log: Logger) -> list[bytes]:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.away:
            raise UnknownError("locket is away")
        return [frame(2, encode(each)) for each in self.announced]

    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        raise AssertionError("the dashboard asks for all of them")

    async def present_cells(self, *, log: Logger) -> set[str]:
        raise AssertionError("the dashboard asks for their presences")


@dataclass
class Watched:
    tables: Tables = field(default_factory=Tables)
    registry: Registry = field(default_factory=Registry)
    role: Role = MASTER
    times: PassTimes = field(default_factory=PassTimes)
    lrps: LRPConvergenceStatistics = field(default_factory=LRPConvergenceStatistics)
    store: StoreStatistics = AT_REST
    rep_failures: RepFailures = field(default_factory=lambda: RepFailures(now_ns=lambda: NOW_NS))
    now_ns: int = NOW_NS

    def __post_init__(self) -> None:
        self.hubs = EventHubs(log=null_logger())
        self.metrics = Metrics(Emitter(NoLoggregator(), log=null_logger()), Reporting(), log=null_logger())
        self.sources = Sources(
            tables=self.tables,
            cells=self.registry,
            role=lambda: self.role,
            metrics=self.metrics,
            store=lambda: self.store,
            hubs=self.hubs.statistics,
            passes=Passes(times=lambda: self.times, lrps=lambda: self.lrps, tasks=TaskConvergenceStatistics),
            rep_failures=self.rep_failures,
            version="1.2.3",
            now_ns=lambda: self.now_ns,
        )

    def put(self, *records: Record) -> None:
        self.tables.apply([put(record) for record in records])

    def announce(self, presences: Iterable[pb.CellPresence]) -> None:
        self.registry.announced = list(presences)

    def without_passes(self) -> Sources:
        return replace(self.sources, passes=None)
