"""What two readings of a server's /metrics tell of the time between them: rates, and quantiles of histograms. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from bbs.words.latencies import Buckets, quantile

REQUESTS: Final = "bbs_request_duration_seconds"


class NotMetrics(ValueError):
    """A page that is no text of Prometheus."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One page. ``at_s`` is a monotonic clock's; ``values`` has samples without labels, ``histograms`` by name and route, '' if the
    histogram has no routes.
    """

    at_s: float
    values: Mapping[str, float]
    histograms: Mapping[tuple[str, str], Buckets]


@dataclass(frozen=True, slots=True)
class Latency:
    """``p50_s`` and ``p99_s`` are None if nothing was counted; infinite above the last bound."""

    per_s: float
    p50_s: float | None
    p99_s: float | None


def read(page: str, *, at_s: float) -> Reading:
    """
    Raises:
      NotMetrics: it can't be read.
    """
    values: dict[str, float] = {}
    histograms: dict[tuple[str, str], dict[float, float]] = {}
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    key = (family.name, sample.labels.get("route", ""))
                    histograms.setdefault(key, {})[float(sample.labels["le"])] = sample.value
                elif not sample.labels:
                    values[sample.name] = sample.value
    except (ValueError, KeyError, IndexError) as error:
        raise NotMetrics(f"this is no page of metrics: {error}") from error
    if not values:
        raise NotMetrics("there are no metrics on that page")
    return Reading(at_s, values, histograms)


class Between:
    """What happened from one reading to the next. A counter that went back was started anew: then all it has is new."""

    def __init__(self, before: Reading, after: Reading) -> None:
        self._before, self._after = before, after
        self.seconds: Final = max(after.at_s - before.at_s, 1e-9)

    def value(self, name: str) -> float | None:
        return self._after.values.get(name)

    def per_s(self, name: str) -> float | None:
        now = self._after.values.get(name)
        if now is None:
            return None
        was = self._before.values.get(name, 0.0)
        return (now - was if now >= was else now) / self.seconds

    def buckets(self, name: str, route: str = "") -> Buckets:
        now = self._after.histograms.get((name, route), {})
        was = self._before.histograms.get((name, route), {})
        if any(was.get(bound, 0.0) > count for bound, count in now.items()):
            return now
        return {bound: count - was.get(bound, 0.0) for bound, count in now.items()}

    def latency(self, name: str, *routes: str) -> Latency:
        """Of several routes together, or of a histogram without routes."""
        total: dict[float, float] = {}
        for route in routes or ("",):
            for bound, count in self.buckets(name, route).items():
                total[bound] = total.get(bound, 0.0) + count
        return Latency(total.get(math.inf, 0.0) / self.seconds, quantile(total, 0.5), quantile(total, 0.99))

    def routes(self) -> list[str]:
        return sorted(route for name, route in self._after.histograms if name == REQUESTS)
