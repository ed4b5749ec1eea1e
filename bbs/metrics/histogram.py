"""Counting into buckets, cheap enough for every request: under a microsecond, without a lock."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

SECONDS: Final = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
COUNTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Histogram:
    """``bounds`` are the upper ends of the buckets, ascending; a value equal to one counts in that bucket. One more bucket
    takes what is larger than all of them. ``total`` is the sum of the values.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds: Final = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def counts(self) -> tuple[int, ...]:
        """How many values are in each bucket, the one without a bound last. Not cumulative."""
        return tuple(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """The upper end of each bucket as text, and how many values were up to it: cumulative, as Prometheus wants them."""
        seen, buckets = 0, []
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self._counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        return buckets
