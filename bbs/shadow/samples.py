"""Measurements that go on for days, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SAMPLES_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Summary:
    """In the unit of the samples. ``count`` were taken."""

    count: int
    median: float
    p99: float
    max: float


class Samples:
    """Keeps every one, and when there are too many every second one, every fourth, and so on; the greatest is always known."""

    def __init__(self) -> None:
        self._kept: list[float] = []
        self._every = 1
        self._count = 0
        self._max = 0.0

    def add(self, value: float) -> None:
        self._max = max(self._max, value)
        if self._count % self._every == 0:
            self._kept.append(value)
            if len(self._kept) > SAMPLES_MAX:
                del self._kept[1::2]
                self._every *= 2
        self._count += 1

    def summary(self) -> Summary | None:
        """``None`` of no samples."""
        if not self._kept:
            return None
        ordered = sorted(self._kept)
        return Summary(self._count, _at(ordered, 0.5), _at(ordered, 0.99), self._max)


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
