"""The same metrics for Prometheus, and those that upstream has not, as text.

A name of upstream's becomes ``bbs_`` and the name in snake case, with its unit: ``LRPsRunning`` is
``bbs_lrps_running``, ``ConvergenceLRPDuration`` is ``bbs_convergence_lrp_duration_seconds``, ``RequestCount.<Route>``
and ``RequestLatency.<Route>`` are ``bbs_request_duration_seconds{route="..."}``, ``Domain.<name>`` is
``bbs_domain_fresh{domain="..."}``; what Loggregator gets as a delta is a counter here. Only histograms and gauges of
the server's own have no namesake upstream.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from bbs.metrics.histogram import Histogram
from bbs.metrics.metrics import Gauge, Metrics, Sources, lrp_values, task_values
from bbs.metrics.own_process import open_file_descriptors, resident_bytes

_WORDS: Final = re.compile(r"(LRPs?|DB|BBS|[A-Z][a-z]*)")


def snake(name: str) -> str:
    """``ConvergenceLRPRuns`` as ``convergence_lrp_runs``."""
    return "_".join(word.lower() for word in _WORDS.findall(name))


def page(
    metrics: Metrics, sources: Sources | None, gauges: Mapping[str, Gauge], *, version: str
) -> Callable[[], tuple[str, bytes]]:
    """A function that makes the page: its content type and its text. Without ``sources`` the page has only what `Metrics`
    itself counts, and the ``gauges``, by name.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics, sources, gauges, version))
    return lambda: (CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))


class _Collector(Collector):
    def __init__(
        self, metrics: Metrics, sources: Sources | None, gauges: Mapping[str, Gauge], version: str
    ) -> None:
        self._metrics = metrics
        self._sources = sources
        self._gauges = gauges
        self._version = version

    def collect(self) -> Iterable[Metric]:
        metrics = self._metrics
        yield _labelled("bbs_build_info", "The version that runs", "version", {self._version: 1})
        yield _gauge("bbs_lock_held", "Whether this process is master", float(metrics.is_master))
        yield _gauge("bbs_open_file_descriptors", "Open file descriptors", open_file_descriptors())
        yield _gauge("bbs_resident_bytes", "Memory in use", resident_bytes())
        yield _gauge("bbs_migration_duration_seconds", "Taking the database over took", metrics.migration_s)
        yield _labelled(
            "bbs_certificate_expiry_timestamp_seconds",
            "When the certificate that was read from a file ends, in Unix seconds",
            "file",
            metrics.certificates_end_s(),
        )
        yield _counter(
            "bbs_dropped_envelopes", "Envelopes that Loggregator never got", metrics.emitter.dropped
        )
        requests = HistogramMetricFamily(
            "bbs_request_duration_seconds", "Time in handlers, by route", labels=["route"]
        )
        for route, histogram in sorted(metrics.requests.seconds_by_route.items()):
            requests.add_metric([route], histogram.buckets(), histogram.total)
        yield requests
        yield _histogram("bbs_batch_outcomes", "Decisions written by one transaction", metrics.batch_outcomes)
        yield _histogram("bbs_batch_rows", "Rows written by one transaction", metrics.batch_rows)
        yield _histogram(
            "bbs_batch_wait_seconds", "Wait of a transaction's first decision", metrics.batch_wait_s
        )
        yield _histogram(
            "bbs_batch_write_seconds", "From a transaction's begin to its commit", metrics.batch_write_s
        )
        yield _histogram(
            "bbs_event_loop_lag_seconds", "How late the event loop is", metrics.loop_lag.lateness
        )
        if self._sources is not None:
            yield from self._of_others(self._sources)
        for name, (text, value_of) in self._gauges.items():
            yield _gauge(f"bbs_{name}", text, value_of())

    def _of_others(self, sources: Sources) -> Iterable[Metric]:
        lrps, tasks = sources.lrps(), sources.tasks()
        yield _counter("bbs_convergence_lrp_runs", "Passes over LRPs", lrps.passes)
        yield _gauge("bbs_convergence_lrp_duration_seconds", "The last pass over LRPs", lrps.duration_s)
        for name, value in lrp_values(lrps):
            yield _gauge(f"bbs_{snake(name)}", f"{name} as of the last pass", value)
        yield _labelled(
            "bbs_domain_fresh", "Fresh domains", "domain", dict.fromkeys(sorted(lrps.fresh_domains), 1)
        )
        yield _counter("bbs_convergence_task_runs", "Passes over tasks", tasks.passes)
        yield _gauge("bbs_convergence_task_duration_seconds", "The last pass over tasks", tasks.duration_s)
        yield _gauge("bbs_convergence_tasks_pruned", "Tasks deleted by the last pass", tasks.pruned)
        yield _gauge("bbs_convergence_tasks_kicked", "Tasks moved on by the last pass", tasks.kicked)
        for name, value in (
            ("bbs_tasks_pending", tasks.pending),
            ("bbs_tasks_running", tasks.running),
            ("bbs_tasks_completed", tasks.completed),
            ("bbs_tasks_resolving", tasks.resolving),
        ):
            yield _gauge(name, "Tasks in that state after the last pass", value)
        for name, by_cell in task_values(sources.task_counts()):
            counter = CounterMetricFamily(f"bbs_{snake(name)}", "Tasks, by cell", labels=["cell_id"])
            for cell_id, count in sorted(by_cell.items()):
                counter.add_metric([cell_id], count)
            yield counter


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], float(number))
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.total)
