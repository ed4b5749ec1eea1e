"""Counting what goes to the database, for the metrics (spec: metrics-and-logs.md §2.6)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryStatistics:
    """The maxima are since the last time anybody asked; the others count since the start."""

    open_connections: int
    total: int
    succeeded: int
    failed: int
    in_flight_max: int
    duration_max_s: float


class QueryCounts:
    """One crossing to the database counts as one query: a batch is one, however many rows it has."""

    def __init__(self) -> None:
        self._succeeded = self._failed = self._in_flight = self._in_flight_max = 0
        self._duration_max_s = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        began = perf_counter()
        self._in_flight += 1
        self._in_flight_max = max(self._in_flight_max, self._in_flight)
        try:
            yield
        except BaseException:
            self._failed += 1
            raise
        else:
            self._succeeded += 1
        finally:
            self._in_flight -= 1
            self._duration_max_s = max(self._duration_max_s, perf_counter() - began)

    def take(self, *, open_connections: int) -> QueryStatistics:
        """All figures; the maxima begin anew."""
        taken = QueryStatistics(
            open_connections=open_connections,
            total=self._succeeded + self._failed,
            succeeded=self._succeeded,
            failed=self._failed,
            in_flight_max=self._in_flight_max,
            duration_max_s=self._duration_max_s,
        )
        self._in_flight_max, self._duration_max_s = self._in_flight, 0.0
        return taken
