"""Every metric of upstream's server, sent when and as it sends them (spec: metrics-and-logs.md §2).

Each of the `run_...` coroutines is what a member does, until cancelled. Ticks fall on multiples of their period,
whatever a tick takes, so they do not drift. What every process sends, and the counts of requests, is counted from the
start of the process, and so keeps its phase when a standby becomes master: the first tick may come right after. What only a
master has, of convergence and the database, is counted from when its member starts; before that there is nothing to send.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from bbs.convergence.lrps import LRPConvergenceStatistics
from bbs.convergence.tasks import TaskConvergenceStatistics
from bbs.log import Logger
from bbs.metrics.emitter import Emitter
from bbs.metrics.histogram import COUNTS, Histogram
from bbs.metrics.loop_lag import LoopLag
from bbs.metrics.own_process import GCPauses, open_file_descriptors, resident_bytes, stack_bytes
from bbs.metrics.requests import RequestCounts
from bbs.routes.task_counts import TaskCountStatistics
from bbs.store.query_statistics import QueryStatistics

RUNTIME_S: Final = 10.0
LRPS_S: Final = 15.0
TASKS_S: Final = 15.0
DATABASE_S: Final = 60.0


Gauge = tuple[str, Callable[[], float]]
"""A description for people, and a function that gives the present value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Functions that give the values of a master's parts. A call of ``database`` starts its maxima anew, so only `run_database`
    may make it.
    """

    lrps: Callable[[], LRPConvergenceStatistics]
    tasks: Callable[[], TaskConvergenceStatistics]
    task_counts: Callable[[], TaskCountStatistics]
    database: Callable[[], QueryStatistics]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """``report_interval_s`` and the names of ``advanced_metrics``, if that is enabled (spec: config.md §2.8)."""

    report_interval_s: float = 60.0
    request_count: tuple[str, ...] = ()
    request_latency: tuple[str, ...] = ()


class Metrics:
    def __init__(self, emitter: Emitter, reporting: Reporting, *, log: Logger) -> None:
        self.emitter = emitter
        self.requests = RequestCounts()
        self.batch_outcomes = Histogram(COUNTS)
        self.batch_rows = Histogram(COUNTS)
        self.batch_wait_s = Histogram()
        self.batch_write_s = Histogram()
        self.loop_lag = LoopLag()
        self.is_master = False
        self.migration_s = 0.0
        self.certificates_end_s: Callable[[], Mapping[str, float]] = dict
        """When each certificate in use ends, in Unix seconds, by its file. Without TLS there are none."""

        self._reporting = reporting
        self._log = log
        self._began_s: float | None = None

    def batch_committed(self, *, outcomes: int, rows: int, waited_s: float, took_s: float) -> None:
        self.batch_outcomes.observe(outcomes)
        self.batch_rows.observe(rows)
        self.batch_wait_s.observe(waited_s)
        self.batch_write_s.observe(took_s)

    def elected(self) -> None:
        self.emitter.metric("BBSMasterElected", 1)

    def migrated(self, seconds: float) -> None:
        self.migration_s = seconds
        self.emitter.duration("MigrationDuration", seconds)

    def reencrypted(self, seconds: float) -> None:
        self.emitter.duration("EncryptionDuration", seconds)

    async def run_runtime(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send the interpreter's figures, and how late its event loop is, until cancelled. Runs in every process, a standby
        too.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_interpreter)
            nursery.start_soon(self.loop_lag.run)
            task_status.started()

    async def _run_interpreter(self) -> NoReturn:
        pauses = GCPauses()
        with pauses.watched():
            async for _ in self._ticks(RUNTIME_S):
                self.emitter.component("memoryStats.numBytesAllocatedHeap", resident_bytes(), "Bytes")
                self.emitter.component("memoryStats.numBytesAllocatedStack", stack_bytes(), "Bytes")
                self.emitter.component("memoryStats.lastGCPauseTimeNS", pauses.last_ns, "ns")
                self.emitter.component(
                    "numGoRoutines", trio.lowlevel.current_statistics().tasks_living, "Count"
                )
        raise AssertionError("ticks never end")

    async def run_file_descriptors(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Send the number of open file descriptors until cancelled. Runs in every process, a standby too."""
        task_status.started()
        async for _ in self._ticks(self._reporting.report_interval_s):
            self.emitter.metric("OpenFileDescriptors", open_file_descriptors())
        raise AssertionError("ticks never end")

    async def run_lock_held(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Send whether this process is master, 0 or 1, until cancelled. Runs in every process: a standby sends 0."""
        task_status.started()
        async for _ in self._ticks(self._reporting.report_interval_s):
            self.emitter.metric("LockHeld", int(self.is_master))
        raise AssertionError("ticks never end")

    async def run_requests(
        self, log: Logger, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Send count and latency of requests until cancelled. Runs in the master only; ``log`` is told of each value."""
        task_status.started()
        async for _ in self._ticks(self._reporting.report_interval_s):
            count, latency_ns = self.requests.take()
            log.info("adding-counter", add=count)
            self.emitter.counter("RequestCount", count)
            log.info("sending-latency", latency=latency_ns)
            self.emitter.duration("RequestLatency", latency_ns / 1e9)
            for kind, name, value in self.requests.take_routes(
                self._reporting.request_count, self._reporting.request_latency
            ):
                if kind == "count":
                    log.info("adding-counter", add=value)
                    self.emitter.counter(f"RequestCount.{name}", value)
                else:
                    log.info("sending-latency", latency=value)
                    self.emitter.duration(f"RequestLatency.{name}", value / 1e9)
        raise AssertionError("ticks never end")

    async def run_lrps(
        self, sources: Sources, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Send what the last convergence pass over LRPs found, until cancelled. Runs in the master only; the first values
        are sent one period after the start.
        """
        task_status.started()
        told = sources.lrps().passes
        async for _ in _ticks_from(trio.current_time(), LRPS_S):
            lrps = sources.lrps()
            if lrps.passes > told:
                self.emitter.counter("ConvergenceLRPRuns", lrps.passes - told)
                told = lrps.passes
            self.emitter.duration("ConvergenceLRPDuration", lrps.duration_s)
            for domain in sorted(lrps.fresh_domains):
                self.emitter.metric(f"Domain.{domain}", 1)
            for name, value in lrp_values(lrps):
                self.emitter.metric(name, value)
        raise AssertionError("ticks never end")

    async def run_tasks(
        self, sources: Sources, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Send counts of tasks, and what the last pass over them found, until cancelled. Runs in the master only; the first
        values are sent one period after the start.
        """
        task_status.started()
        told = sources.tasks().passes
        async for _ in _ticks_from(trio.current_time(), TASKS_S):
            counts, tasks = sources.task_counts(), sources.tasks()
            for name, by_cell in task_values(counts):
                for cell_id, count in sorted(by_cell.items()):
                    self.emitter.metric(name, count, cell_id=cell_id)
            for name, value in (
                ("TasksPending", tasks.pending),
                ("TasksRunning", tasks.running),
                ("TasksCompleted", tasks.completed),
                ("TasksResolving", tasks.resolving),
            ):
                self.emitter.metric(name, value)
            # As deltas, and again at each tick until the next pass (sic): with a pass every 30 s upstream's counters, and so
            # ours, count each task twice.
            self.emitter.counter("ConvergenceTasksPruned", tasks.pruned)
            self.emitter.counter("ConvergenceTasksKicked", tasks.kicked)
            if tasks.passes > told:
                self.emitter.counter("ConvergenceTaskRuns", tasks.passes - told)
                told = tasks.passes
            self.emitter.duration("ConvergenceTaskDuration", tasks.duration_s)
        raise AssertionError("ticks never end")

    async def run_database(
        self, sources: Sources, log: Logger, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Send what went to the database until cancelled. Runs in the master only; the first values are sent one period
        after the start.
        """
        task_status.started()
        async for _ in _ticks_from(trio.current_time(), DATABASE_S):
            log.debug("emitting-metrics")
            database = sources.database()
            self.emitter.metric("DBOpenConnections", database.open_connections)
            self.emitter.duration("DBWaitDuration", 0.0)  # nobody waits: the one connection has one user
            self.emitter.metric("DBWaitCount", 0)
            self.emitter.metric("DBQueriesTotal", database.total)
            self.emitter.metric("DBQueriesSucceeded", database.succeeded)
            self.emitter.metric("DBQueriesFailed", database.failed)
            self.emitter.metric("DBQueriesInFlight", database.in_flight_max)
            self.emitter.duration("DBQueryDurationMax", database.duration_max_s)
            log.debug("done-emitting-metrics")
        raise AssertionError("ticks never end")

    def _ticks(self, period_s: float) -> AsyncIterator[None]:
        """On multiples of the period from the process' start, which is the first time anybody asks."""
        if self._began_s is None:
            self._began_s = trio.current_time()
        return _ticks_from(self._began_s, period_s)


async def _ticks_from(began_s: float, period_s: float) -> AsyncIterator[None]:
    """Yield at each multiple of the period after ``began_s``, both in seconds of Trio's clock. Multiples that pass while the
    caller works are left out, instead of being made up for in a row.
    """
    while True:
        # The small addition is for a division that comes out just below the multiple that has woken us: it would be
        # waited for, and yielded, once more.
        passed = int((trio.current_time() - began_s) / period_s + 1e-9)
        await trio.sleep_until(began_s + (passed + 1) * period_s)
        yield


def lrp_values(lrps: LRPConvergenceStatistics) -> list[tuple[str, int]]:
    return [
        ("LRPsUnclaimed", lrps.unclaimed),
        ("LRPsClaimed", lrps.claimed),
        ("LRPsRunning", lrps.running),
        ("CrashedActualLRPs", lrps.crashed),
        ("CrashingDesiredLRPs", lrps.crashing_desired),
        ("LRPsDesired", lrps.desired),
        ("LRPsMissing", lrps.missing),
        ("LRPsExtra", lrps.extra),
        ("SuspectRunningActualLRPs", lrps.suspects_running),
        ("SuspectClaimedActualLRPs", lrps.suspects_claimed),
        ("PresentCells", lrps.present_cells),
        ("SuspectCells", lrps.suspect_cells),
    ]


def task_values(counts: TaskCountStatistics) -> list[tuple[str, Mapping[str, int]]]:
    return [
        ("TasksStarted", counts.started),
        ("TasksFailed", counts.failed),
        ("TasksSucceeded", counts.succeeded),
    ]
