"""Events to many subscribers: what it costs to deliver them, and what it costs those who write."""

import time
from collections.abc import Sequence
from typing import Final

from perf.beds import Bed
from perf.figures import merged
from perf.readings import Reading, latency_of
from perf.scenarios.trial import SEND_MAX_S, Sizes, Trial, WrongAnswer
from perf.streams import Delivered, Streams
from perf.workloads import LRPS_PER_CELL

DELIVERIES: Final = 100_000
"""About as many to all subscribers together in each step, however many they are."""

WRITES_MIN: Final = 20
WRITES_MAX: Final = 1_000
"""Fewer than the 1,024 events for which a subscriber is cut off, so that none is, however slow the harness reads."""

WRITE_CONNECTIONS: Final = 16
QUIET_MAX_S: Final = 20.0
CELLS: Final = 10
WARM_SUBSCRIBERS_MAX: Final = 100


class FanOut(Trial):
    """A point is a number of subscribers. Each round claims and starts LRPs beside as many streams of everything, then beside
    as many streams of one cell each.
    """

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._fleet = self.fleet(CELLS * LRPS_PER_CELL)
        self._generator = self.generator(WRITE_CONNECTIONS)
        self._lrps = min(WRITES_MAX // 2, sizes.lrps)
        self._subscribers = 0
        self._streams = Streams(bed.credentials)
        numbers = range(self._lrps)
        self.send(self._generator, "desire", self._fleet.desires_of(numbers))
        self.send(self._generator, "start", self._fleet.starts_of(numbers))

    def prepare(self, point: int | None) -> None:
        assert point is not None
        self._subscribers = point

    def warm_up(self) -> None:
        """Thousands of streams need none: what comes before them has warmed up all but themselves."""
        if self._subscribers <= WARM_SUBSCRIBERS_MAX:
            self.measure()

    def measure(self) -> list[Reading]:
        fleet, count = self._fleet, self._subscribers
        per_lrp = max(WRITES_MIN, min(self._lrps, DELIVERIES // (2 * count)))
        cells = [number % fleet.cells for number in range(count)]
        return [
            *self._delivered("unfiltered", [fleet.subscribe()] * count, min(per_lrp, self._lrps), None),
            *self._delivered(
                "filtered by cell", [fleet.subscribe(cell) for cell in cells], self._lrps, cells
            ),
        ]

    def close(self) -> None:
        self._streams.__exit__(None, None, None)
        self.remove(self._generator, self._fleet, self._lrps)
        self._generator.close()

    def _delivered(
        self, step: str, requests: list[bytes], lrps: int, cells: list[int] | None
    ) -> list[Reading]:
        """Claim and start that many LRPs: two events each, to everybody or to those of its cell."""
        fleet, numbers = self._fleet, range(lrps)
        opening_s = self._streams.open(requests)
        self._generator.connect()
        before = self._streams.delivered()
        with self.bed.probe.measured() as meter:
            began_s = time.time()
            samples = [
                self.good(step, self._generator.run(list(each), max_s=SEND_MAX_S))
                for each in (fleet.claims_of(numbers), fleet.starts_of(numbers))
            ]
            answered_s = time.time()
            expected = [
                2 * sum(1 for i in numbers if cells is None or i % fleet.cells == cell)
                for cell in (cells or [0] * len(requests))
            ]
            delivered = self._streams.delivered_once(sum(expected), max_s=QUIET_MAX_S)
        self._check(step, delivered, expected)
        self._streams.close_all()
        took_s = max(delivered.last_s - began_s, 1e-6)
        return [
            Reading(
                step=f"{step}: deliveries",
                values={
                    "deliveries/s": delivered.total / took_s,
                    "last after ms": max(0.0, 1e3 * (delivered.last_s - answered_s)),
                    "reader µs": 1e6 * (delivered.cpu_s - before.cpu_s) / max(delivered.total, 1),
                    "opening ms each": 1e3 * opening_s / len(requests),
                },
                parts=meter.parts,
                work=delivered.total,
            ),
            latency_of(f"{step}: writes", merged(samples), meter.parts),
        ]

    def _check(self, step: str, delivered: Delivered, expected: list[int]) -> None:
        if delivered.ended:
            raise WrongAnswer(f"{step}: {delivered.ended} of {len(expected)} streams were cut off")
        wrong = sum(found != due for found, due in zip(delivered.events, expected, strict=True))
        if wrong:
            raise WrongAnswer(f"{step}: {wrong} of {len(expected)} streams had a wrong number of events")


assert WRITES_MAX < 1_024
