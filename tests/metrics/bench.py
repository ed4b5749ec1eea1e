"""A server's metrics on a virtual clock, with what it would send to Loggregator."""

from collections.abc import Awaitable, Callable

import trio

from bbs.convergence.lrps import LRPConvergenceStatistics
from bbs.convergence.tasks import TaskConvergenceStatistics
from bbs.log import null_logger
from bbs.metrics.emitter import Emitter
from bbs.metrics.loggregator import Envelope
from bbs.metrics.metrics import Metrics, Reporting, Sources
from bbs.routes.task_counts import TaskCountStatistics
from bbs.store.query_statistics import QueryStatistics
from tests.log_lines import Lines


class Recorder:
    """What would have been sent, each as a short text with the time it was sent at."""

    dropped = 0

    def __init__(self) -> None:
        self.sent: list[tuple[float, str]] = []

    def emit(self, envelope: Envelope) -> None:
        tags = {key: value for key, value in envelope.tags.items() if key != "origin"}
        suffix = f" {tags}" if tags else ""
        if envelope.HasField("counter"):
            text = f"{envelope.counter.name} +{envelope.counter.delta}"
        else:
            ((name, gauge),) = envelope.gauge.metrics.items()
            text = f"{name} {gauge.value:g} {gauge.unit}"
        self.sent.append((round(trio.current_time(), 3), text + suffix))


class Bench:
    def __init__(self, reporting: Reporting | None = None) -> None:
        self.recorder = Recorder()
        self.lines = Lines()
        self.metrics = Metrics(
            Emitter(self.recorder, log=null_logger()), reporting or Reporting(), log=self.lines.logger()
        )
        self.lrps = LRPConvergenceStatistics()
        self.tasks = TaskConvergenceStatistics()
        self.database = QueryStatistics(
            open_connections=1, total=9, succeeded=7, failed=2, in_flight_max=3, duration_max_s=0.5
        )
        self.sources = Sources(
            lrps=lambda: self.lrps,
            tasks=lambda: self.tasks,
            task_counts=lambda: TaskCountStatistics({"c1": 4, "c0": 1}, {"c1": 2}, {"c1": 1}),
            database=lambda: self.database,
        )

    async def run(self, work: Callable[[], Awaitable[object]], *, for_s: float) -> list[tuple[float, str]]:
        with trio.move_on_after(for_s):
            await work()
        return self.recorder.sent


LRPS = LRPConvergenceStatistics(
    passes=3, duration_s=0.25, fresh_domains=frozenset({"b", "a"}), unclaimed=1, claimed=2, running=3, crashed=4,
    crashing_desired=5, desired=6, missing=7, extra=8, suspects_running=9, suspects_claimed=10, present_cells=11,
    suspect_cells=12,
)  # fmt: skip
TASKS = TaskConvergenceStatistics(
    passes=2, pruned=1, kicked=2, pending=3, running=4, completed=5, resolving=6, duration_s=0.5
)
