"""Every metric by name, unit, order and time, to Loggregator and on the page (spec: metrics-and-logs.md §2)."""

from functools import partial

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from bbs.log import null_logger
from bbs.metrics.histogram import Histogram
from bbs.metrics.metrics import Reporting
from bbs.metrics.prometheus import page, snake
from bbs.store.query_statistics import QueryCounts
from tests.metrics.bench import LRPS, TASKS, Bench


async def test_lrp_metrics(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def converge() -> None:
            await trio.sleep(20)
            bench.lrps = LRPS

        sent = await bench.run(partial(bench.metrics.run_lrps, bench.sources), for_s=46)

    assert [at for at, text in sent if text.startswith("LRPsDesired")] == [15, 30, 45]
    assert next(text for at, text in sent if at == 15) == "ConvergenceLRPDuration 0 nanos"
    assert [text for at, text in sent if at == 30] == [
        "ConvergenceLRPRuns +3",
        "ConvergenceLRPDuration 2.5e+08 nanos",
        "Domain.a 1 Metric",
        "Domain.b 1 Metric",
        "LRPsUnclaimed 1 Metric",
        "LRPsClaimed 2 Metric",
        "LRPsRunning 3 Metric",
        "CrashedActualLRPs 4 Metric",
        "CrashingDesiredLRPs 5 Metric",
        "LRPsDesired 6 Metric",
        "LRPsMissing 7 Metric",
        "LRPsExtra 8 Metric",
        "SuspectRunningActualLRPs 9 Metric",
        "SuspectClaimedActualLRPs 10 Metric",
        "PresentCells 11 Metric",
        "SuspectCells 12 Metric",
    ]
    assert "ConvergenceLRPRuns" not in str([text for at, text in sent if at == 45])


async def test_task_metrics(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.tasks = TASKS

    sent = await bench.run(partial(bench.metrics.run_tasks, bench.sources), for_s=16)

    assert [text for _, text in sent] == [
        "TasksStarted 1 Metric {'cell-id': 'c0'}",
        "TasksStarted 4 Metric {'cell-id': 'c1'}",
        "TasksFailed 1 Metric {'cell-id': 'c1'}",
        "TasksSucceeded 2 Metric {'cell-id': 'c1'}",
        "TasksPending 3 Metric",
        "TasksRunning 4 Metric",
        "TasksCompleted 5 Metric",
        "TasksResolving 6 Metric",
        "ConvergenceTasksPruned +1",
        "ConvergenceTasksKicked +2",
        "ConvergenceTaskDuration 5e+08 nanos",
    ]


async def test_database_metrics(autojump_clock: MockClock) -> None:
    bench = Bench()

    sent = await bench.run(partial(bench.metrics.run_database, bench.sources, null_logger()), for_s=61)

    assert sent == [
        (60, text)
        for text in (
            "DBOpenConnections 1 Metric",
            "DBWaitDuration 0 nanos",
            "DBWaitCount 0 Metric",
            "DBQueriesTotal 9 Metric",
            "DBQueriesSucceeded 7 Metric",
            "DBQueriesFailed 2 Metric",
            "DBQueriesInFlight 3 Metric",
            "DBQueryDurationMax 5e+08 nanos",
        )
    ]


async def test_process_metrics(autojump_clock: MockClock) -> None:
    bench = Bench(Reporting(report_interval_s=60))
    metrics = bench.metrics
    async with trio.open_nursery() as nursery:
        for work in (metrics.run_runtime, metrics.run_file_descriptors, metrics.run_lock_held):
            nursery.start_soon(work)
        await trio.sleep(70)
        metrics.is_master = True
        await trio.sleep(51)
        nursery.cancel_scope.cancel()

    names = {text.split()[0] for _, text in bench.recorder.sent}
    assert names == {
        "memoryStats.numBytesAllocatedHeap", "memoryStats.numBytesAllocatedStack", "memoryStats.lastGCPauseTimeNS",
        "numGoRoutines", "OpenFileDescriptors", "LockHeld",
    }  # fmt: skip
    assert [sent for sent in bench.recorder.sent if "LockHeld" in sent[1]] == [
        (60, "LockHeld 0 Metric"),
        (120, "LockHeld 1 Metric"),
    ]
    assert [at for at, text in bench.recorder.sent if "numGoRoutines" in text][:3] == [10, 20, 30]


async def test_what_happens_once(autojump_clock: MockClock) -> None:
    bench = Bench()

    bench.metrics.elected()
    bench.metrics.migrated(1.5)
    bench.metrics.reencrypted(2.5)

    assert [text for _, text in bench.recorder.sent] == [
        "BBSMasterElected 1 Metric",
        "MigrationDuration 1.5e+09 nanos",
        "EncryptionDuration 2.5e+09 nanos",
    ]


async def test_request_metrics_by_route(autojump_clock: MockClock) -> None:
    names = ("Ping", "UpdateDesiredLRP", "Ping", "Nonsense")
    bench = Bench(Reporting(report_interval_s=60, request_count=names, request_latency=("Ping",)))
    requests = bench.metrics.requests
    requests.ended("Ping", 1_000, is_stream=False)
    requests.ended("Ping", 3_000, is_stream=False)
    requests.ended("UpdateDesireLRP", 2_000, is_stream=False)
    requests.ended("EventStream", 9_000_000, is_stream=True)

    log = bench.lines.logger().session("periodic-count-metrics-notifier")
    sent = await bench.run(partial(bench.metrics.run_requests, log), for_s=121)

    assert [text for at, text in sent if at == 60] == [
        "RequestCount +4",
        "RequestLatency 3000 nanos",
        "RequestCount.Ping +2",
        "RequestCount.UpdateDesiredLRP +1",
        "RequestCount.Ping +0",
        "RequestCount.Nonsense +0",
        "RequestLatency.Ping 3000 nanos",
    ]
    assert [text for at, text in sent if at == 120][:2] == ["RequestCount +0", "RequestLatency 0 nanos"]
    assert bench.lines.messages[:2] == [
        "bbs.periodic-count-metrics-notifier.adding-counter",
        "bbs.periodic-count-metrics-notifier.sending-latency",
    ]


async def test_both_outputs_agree(autojump_clock: MockClock) -> None:
    """Whatever Loggregator is told of LRPs and tasks, the page says too."""
    bench = Bench()
    sent_before = await bench.run(partial(bench.metrics.run_lrps, bench.sources), for_s=16)
    assert sent_before
    bench.recorder.sent.clear()
    bench.lrps, bench.tasks = LRPS, TASKS
    sent = list(await bench.run(partial(bench.metrics.run_lrps, bench.sources), for_s=16))

    on_page = read_page(bench)

    for _, text in sent:
        name, value, *_ = text.split()
        if name.startswith("Domain."):
            assert on_page["bbs_domain_fresh", name.removeprefix("Domain.")] == 1
        elif name == "ConvergenceLRPDuration":
            assert on_page["bbs_convergence_lrp_duration_seconds", ""] == pytest.approx(0.25)
        elif not value.startswith("+"):
            assert on_page[f"bbs_{snake(name)}", ""] == float(value), name
    assert on_page["bbs_convergence_lrp_runs_total", ""] == 3
    assert on_page["bbs_tasks_started_total", "c1"] == 4
    assert on_page["bbs_tasks_resolving", ""] == 6
    assert on_page["bbs_staged_rows", ""] == 5


def read_page(bench: Bench) -> dict[tuple[str, str], float]:
    """Samples by name and the value of their label, if they have one."""
    content_type, text = page(
        bench.metrics, bench.sources, {"staged_rows": ("rows", lambda: 5.0)}, version="1.2.3"
    )()
    assert content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_histograms_on_the_page() -> None:
    bench = Bench()
    bench.metrics.requests.ended("Ping", 1_500_000, is_stream=False)
    bench.metrics.batch_committed(outcomes=3, rows=7, waited_s=0.01, took_s=0.02)

    on_page = read_page(bench)

    assert on_page["bbs_request_duration_seconds_count", "Ping"] == 1
    assert on_page["bbs_request_duration_seconds_sum", "Ping"] == pytest.approx(0.0015)
    assert on_page["bbs_batch_rows_sum", ""] == 7
    assert on_page["bbs_batch_wait_seconds_count", ""] == 1
    assert on_page["bbs_build_info", "1.2.3"] == 1


def test_certificates_on_the_page() -> None:
    bench = Bench()
    bench.metrics.certificates_end_s = lambda: {"a.crt": 17.0, "b.crt": 18.0}

    on_page = read_page(bench)

    assert on_page["bbs_certificate_expiry_timestamp_seconds", "a.crt"] == 17
    assert on_page["bbs_certificate_expiry_timestamp_seconds", "b.crt"] == 18


def test_a_bucket_includes_its_bound() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 3):
        histogram.observe(value)

    assert histogram.buckets() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]


async def test_loop_lag_is_what_holds_the_loop_up(autojump_clock: MockClock) -> None:
    bench = Bench()
    await bench.run(bench.metrics.loop_lag.run, for_s=1.05)

    assert bench.metrics.loop_lag.lateness.buckets()[-1] == ("+Inf", 10)
    assert bench.metrics.loop_lag.lateness.total == pytest.approx(0)


def test_queries_are_counted_and_maxima_begin_anew() -> None:
    counts = QueryCounts()
    with counts.counted():
        pass
    with pytest.raises(ValueError, match="no"), counts.counted(), counts.counted():
        raise ValueError("no")

    first, second = counts.take(open_connections=1), counts.take(open_connections=0)

    assert (first.total, first.succeeded, first.failed, first.in_flight_max) == (3, 1, 2, 2)
    assert first.duration_max_s > 0
    assert (second.total, second.in_flight_max, second.duration_max_s) == (3, 0, 0)
