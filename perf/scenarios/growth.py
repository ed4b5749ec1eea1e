"""A fleet that grows: what seeding, lists, memory, claims and a restart cost at each size."""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from perf.beds import Bed
from perf.beside import Beside
from perf.figures import Sample, merged
from perf.readings import Reading, latency_of, one_after_the_other
from perf.scenarios.trial import SEND_MAX_S, Sizes, Trial
from perf.seeding import seed

LISTS_PER_ROUND: Final = 3
CLAIM_CONNECTIONS: Final = 4
SEEDED_AT_ONCE: Final = 5_000
"""Desired, then started. What is unclaimed for longer than half a minute is auctioned again by each convergence pass, and
a hundred thousand of them would be."""


class Grown(Trial):
    """A fleet with all its cells that `prepare` extends to a size; each size keeps the LRPs of the one before.

    On a server of ours all but the last ``sent`` of a size are written into its database while it is stopped.
    """

    sent: ClassVar[int] = 0

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._whole = self.fleet(max(points))
        self._lrps = 0
        self._generator = self.generator()
        self._seeding: list[Reading] = []
        self._empty_mb = bed.resident_mb()

    def prepare(self, point: int | None) -> None:
        assert point is not None
        if self.bed.is_own:
            self._write_rows(range(self._lrps, max(self._lrps, point - self.sent)))
        desires, starts = list[Reading](), list[Reading]()
        for first in range(self._lrps, point, SEEDED_AT_ONCE):
            more = range(first, min(first + SEEDED_AT_ONCE, point))
            desires.append(self.send(self._generator, "desire", self._whole.desires_of(more)))
            starts.append(self.send(self._generator, "start", self._whole.starts_of(more)))
        self._seeding = [one_after_the_other(each) for each in (desires, starts) if each]
        self._lrps = point

    def _write_rows(self, numbers: range) -> None:
        if numbers:
            self._restart(lambda data_dir: seed(data_dir, self._whole, numbers))
            self._lrps = numbers.stop

    def _restart(self, meanwhile: Callable[[Path], object] | None = None) -> float:
        """See `Bed.restart`. The server is at another URL then."""
        self._generator.close()
        took_s = self.bed.restart(meanwhile)
        self._whole = self.fleet(self._whole.lrps)
        self._generator = self.generator()
        return took_s

    def warm_up(self) -> None:
        """None: what a first answer costs is one of the questions."""

    def check(self) -> None:
        self.expect_rows(
            self._generator, "ActualLRPs", self._whole.list_of_domain(), self._lrps, holding=b"RUNNING"
        )

    def close(self) -> None:
        self.remove(self._generator, self._whole, self._lrps)
        self._generator.close()


class Lists(Grown):
    """The lists that upstream's nsync and route-emitters ask for, the memory, and what it costs to send the last LRPs."""

    sent = 2_000

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._others = self.rows_of_others(self._generator, self._whole)

    def measure(self) -> list[Reading]:
        readings, self._seeding = self._seeding, []
        first_time = bool(readings)
        if first_time:
            readings.append(self._memory("memory"))
        with self.generator(1) as generator:
            for name, request in self._whole.lists().items():
                rows = self._lrps + self._others[name]
                if first_time:
                    readings.append(self.listed(generator, f"{name}, first", request, 1, rows))
                readings.append(self.listed(generator, f"{name}, later", request, LISTS_PER_ROUND, rows))
        if first_time:
            readings.append(self._memory("memory, all lists once asked for"))
        return readings

    def _memory(self, step: str) -> Reading:
        resident_mb = self.bed.resident_mb()
        each = 1e3 * (resident_mb - self._empty_mb) / self._lrps
        return Reading(step=step, values={"resident MB": resident_mb, "kB/LRP": each})


class BesideList(Grown):
    """Claims and starts on a few connections, first alone, then while one client reads a list over and over."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._beside = Beside()
        self._beside.__enter__()

    def warm_up(self) -> None:
        """What a first list costs is the question of `Lists`."""
        for name, request in self._whole.lists().items():
            self.expect_rows(self._generator, name, request, self._lrps)
        self.bed.wait_until_idle()

    def measure(self) -> list[Reading]:
        self._seeding = []
        readings = [self._claims("claim, nothing beside it", self.sizes.turn_s)]
        for name, request in self._whole.lists().items():
            listing = self._beside.repeat(
                self.bed.credentials, [request], connections=1, for_s=self.sizes.turn_s
            )
            readings.append(self._claims(f"claim beside {name}", self.sizes.turn_s))
            listed = listing.result(SEND_MAX_S)
            self.expect(f"errors of {name}", listed.first_error, "")
            if listed.answers == 0:
                self.troubles.append(f"no list of {name} was answered while claims were measured")
        return readings

    def close(self) -> None:
        self._beside.__exit__(None, None, None)
        super().close()

    def _claims(self, step: str, for_s: float) -> Reading:
        """Claim and start the same LRPs again and again: a write each. Started ones last, so that all run in the end."""
        samples = list[Sample]()
        numbers = range(min(self._lrps, 200))
        with self.generator(CLAIM_CONNECTIONS) as generator, self.bed.probe.measured() as meter:
            generator.connect()
            ends_s = time.monotonic() + for_s
            while not samples or time.monotonic() < ends_s:
                for requests in (self._whole.claims_of(numbers), self._whole.starts_of(numbers)):
                    samples.append(self.good(step, generator.run(list(requests), max_s=SEND_MAX_S)))
        return latency_of(step, merged(samples), meter.parts)


class Restart(Grown):
    """How long our server, stopped and started on its data, takes until it answers. A point of growth, measured each round."""

    def measure(self) -> list[Reading]:
        self._seeding = []
        took_s = self._restart()
        first = self.good("ping", self._generator.run([self._whole.ping()], max_s=SEND_MAX_S))
        return [
            Reading(
                step="restart until it answers",
                values={
                    "s": took_s + first.latencies_s[0],
                    "loading s": _loading_s(self.bed.log),
                    "resident MB": self.bed.resident_mb(),
                    "kB/LRP": 1e3 * (self.bed.resident_mb() - self._empty_mb) / self._lrps,
                },
                work=self._lrps,
            )
        ]


def _loading_s(log: Path | None) -> float:
    """What the server says of it; nan if it says nothing."""
    for line in log.read_text(errors="replace").splitlines() if log is not None else ():
        if '"message":"bbs.loaded"' in line:
            return float(json.loads(line)["data"]["duration"]) / 1e9
    return math.nan
