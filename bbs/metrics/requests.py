"""Requests, counted as they end (spec: metrics-and-logs.md §2.2, §2.3)."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from bbs.metrics.histogram import Histogram

OTHER_SPELLINGS: Final = {
    "UpdateDesiredLRP": "UpdateDesireLRP",
    "ActualLRPGroupByProcessGuidAndIndex": "ActualLRPGroupsByProcessGuidAndIndex",
}
"""What some configurations call two routes, and what upstream's table calls them (sic). Upstream sends zeros for the former;
here they mean what was meant.
"""


class RequestCounts:
    """Requests and their greatest latencies since the last tick, for Loggregator; histograms of seconds by route since the
    start of the process, for Prometheus.
    """

    def __init__(self) -> None:
        self.count = 0
        self.latency_max_ns = 0
        self.by_route: Counter[str] = Counter()
        self.latency_max_ns_by_route: dict[str, int] = {}
        self.seconds_by_route: defaultdict[str, Histogram] = defaultdict(Histogram)

    def ended(self, route_name: str, duration_ns: int, *, is_stream: bool) -> None:
        """Count a request that has ended. A stream adds to the number of requests only: its duration says nothing."""
        self.count += 1
        if is_stream:
            return
        if duration_ns > self.latency_max_ns:
            self.latency_max_ns = duration_ns
        self.by_route[route_name] += 1
        if duration_ns > self.latency_max_ns_by_route.get(route_name, 0):
            self.latency_max_ns_by_route[route_name] = duration_ns
        self.seconds_by_route[route_name].observe(duration_ns / 1e9)

    def take(self) -> tuple[int, int]:
        """Count and greatest latency (ns) since the last time."""
        taken = (self.count, self.latency_max_ns)
        self.count = self.latency_max_ns = 0
        return taken

    def take_routes(self, counts: Iterable[str], latencies: Iterable[str]) -> list[tuple[str, str, int]]:
        """What each configured name has had since the last time: (kind, name as configured, value).

        A name that comes twice gets zero the second time; an unknown one always.
        """
        taken = [("count", name, self.by_route.pop(canonical(name), 0)) for name in counts]
        taken += [
            ("latency", name, self.latency_max_ns_by_route.pop(canonical(name), 0)) for name in latencies
        ]
        # Routes that nobody has asked for start anew, too: names come from the configuration and never change.
        self.by_route.clear()
        self.latency_max_ns_by_route.clear()
        return taken


def canonical(name: str) -> str:
    return OTHER_SPELLINGS.get(name, name)
