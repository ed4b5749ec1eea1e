"""Rates and latencies of the last half hour, from the server's own histograms: one point every five seconds.

It is kept whether or not somebody looks, so that whoever opens the page after something has happened sees it. A point costs about
a third of a millisecond.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NoReturn

import trio

from bbs.log import Logger
from bbs.metrics.histogram import Histogram
from bbs.metrics.metrics import Metrics
from bbs.store.store import StoreStatistics
from bbs.sync.hubs.hub import HubStatistics
from bbs.words.latencies import group_of, quantile

INTERVAL_S: Final = 5.0
POINTS_MAX: Final = 360

Counts = tuple[int, ...]
"""How many values are in each bucket of a histogram."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The counters at one time of Trio's clock."""

    at: float
    requests: Mapping[str, Counts]
    batches: Counts
    rows: int
    lag: Counts
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What happened up to ``at_ns``, nanoseconds since 1970, since the point before. Rates are per second; latencies are seconds, None
    if nothing was counted, and the last bound of the histogram if something took longer.
    """

    at_ns: int
    requests: Mapping[str, float]
    """By what they are about, as `group_of` has it."""
    request_p50_s: float | None
    request_p99_s: float | None
    batches: float
    rows: float
    batch_p50_s: float | None
    batch_p99_s: float | None
    lag_p50_s: float | None
    lag_p99_s: float | None
    events: float


class History:
    def __init__(
        self,
        metrics: Metrics,
        *,
        store: Callable[[], StoreStatistics],
        hubs: Callable[[], HubStatistics],
        wall_ns: Callable[[float], int],
        log: Logger,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._hubs = hubs
        self._wall_ns = wall_ns
        self._log = log
        self.points: deque[Point] = deque(maxlen=POINTS_MAX)
        """The oldest first."""

    async def run(self) -> NoReturn:
        """Take points until cancelled."""
        before: Taken | None = None
        while True:
            try:
                now = self._take()
                if before is not None:
                    self.points.append(self._point(before, now))
                before = now
            except Exception as error:
                # Going on is safe: this only reads, and a plot without a point must not end the server.
                self._log.error("failed-to-take-dashboard-point", error=error)
                before = None
            await trio.sleep(INTERVAL_S)

    def _take(self) -> Taken:
        metrics, store = self._metrics, self._store()
        by_group: dict[str, Counts] = {}
        for route, histogram in metrics.requests.seconds_by_route.items():
            group, counts = group_of(route), histogram.counts()
            by_group[group] = _sum((by_group[group], counts)) if group in by_group else counts
        return Taken(
            trio.current_time(),
            by_group,
            metrics.batch_write_s.counts(),
            store.rows_written,
            metrics.loop_lag.lateness.counts(),
            self._hubs().published,
        )

    def _point(self, before: Taken, now: Taken) -> Point:
        seconds = max(now.at - before.at, 1e-9)
        requests = {
            group: _less(counts, before.requests.get(group)) for group, counts in now.requests.items()
        }
        every = _sum(requests.values())
        batches, lag = _less(now.batches, before.batches), _less(now.lag, before.lag)
        return Point(
            at_ns=self._wall_ns(now.at),
            requests={group: sum(counts) / seconds for group, counts in requests.items()},
            request_p50_s=_quantile(every, 0.5),
            request_p99_s=_quantile(every, 0.99),
            batches=sum(batches) / seconds,
            rows=(now.rows - before.rows) / seconds,
            batch_p50_s=_quantile(batches, 0.5),
            batch_p99_s=_quantile(batches, 0.99),
            lag_p50_s=_quantile(lag, 0.5),
            lag_p99_s=_quantile(lag, 0.99),
            events=(now.events - before.events) / seconds,
        )


def _sum(counts: Iterable[Counts]) -> Counts:
    return tuple(map(sum, zip(*counts, strict=True)))


def _less(now: Counts, before: Counts | None) -> Counts:
    return now if before is None else tuple(a - b for a, b in zip(now, before, strict=True))


def _quantile(counts: Counts, q: float) -> float | None:
    """Of a histogram of seconds."""
    if not counts:
        return None
    bounds = (*Histogram().bounds, math.inf)
    found = quantile(dict(zip(bounds, accumulate(counts), strict=True)), q)
    return bounds[-2] if found == math.inf else found
