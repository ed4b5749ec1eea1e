"""What connections cost: one per request, and thousands that are idle."""

import time
from array import array
from collections.abc import Sequence
from typing import Final

from perf.beds import Bed
from perf.figures import Sample, merged
from perf.load import LoadGenerator
from perf.readings import Reading, latency_of, reading_of
from perf.scenarios.trial import SEND_MAX_S, Sizes, Trial

IDLE: Final = 2_000
WRITE_CONNECTIONS: Final = 16


class Churn(Trial):
    """A new connection, with its handshake, for each request, one after the other."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._fleet = self.fleet(1)

    def measure(self) -> list[Reading]:
        total = Sample(latencies_s=array("d"))
        ping = self._fleet.ping()
        with self.bed.probe.measured() as meter:
            began_s = time.perf_counter()
            while time.perf_counter() < began_s + self.sizes.turn_s:
                connected_s = time.perf_counter()
                with self.generator(1) as generator:
                    self.good("ping", generator.run([ping], max_s=SEND_MAX_S))
                total.latencies_s.append(time.perf_counter() - connected_s)
            total.elapsed_s = time.perf_counter() - began_s
        reading = reading_of("connect, ping, close", total, meter.parts)
        values = {"connections/s": reading.values["req/s"]} | {
            name: value for name, value in reading.values.items() if name != "req/s"
        }
        return [Reading(step=reading.step, values=values, parts=reading.parts, work=reading.work)]


class Idle(Trial):
    """Writes without, and beside, connections that are kept open and say nothing; and the memory that these take."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._fleet = self.fleet(min(sizes.lrps, 1_000))
        self._idle = min(IDLE, sizes.lrps)
        self._generator = self.generator(WRITE_CONNECTIONS)
        self.send(self._generator, "desire", self._fleet.desires())

    def warm_up(self) -> None:
        """Two thousand connections need none."""
        self._writes("warm-up")

    def measure(self) -> list[Reading]:
        without = self._writes("claim and start, nothing idle")
        before_mb = self.bed.resident_mb()
        with LoadGenerator(self.bed.target, connections=self._idle) as idle:
            began_s = time.perf_counter()
            idle.connect()
            self.good("ping", idle.run([self._fleet.ping()] * self._idle, max_s=SEND_MAX_S))
            opening_s = time.perf_counter() - began_s
            kb = 1e3 * (self.bed.resident_mb() - before_mb) / self._idle
            beside = self._writes(f"claim and start beside {self._idle:,} idle connections")
            self.good("ping once more", idle.run([self._fleet.ping()] * self._idle, max_s=SEND_MAX_S))
        opened = Reading(
            step=f"open {self._idle:,} connections",
            values={"connections/s": self._idle / opening_s, "kB each": kb},
            work=self._idle,
        )
        return [without, opened, beside]

    def close(self) -> None:
        self.remove(self._generator, self._fleet, self._fleet.lrps)
        self._generator.close()

    def _writes(self, step: str) -> Reading:
        samples = list[Sample]()
        with self.bed.probe.measured() as meter:
            ends_s = time.monotonic() + self.sizes.turn_s
            while not samples or time.monotonic() < ends_s:
                for requests in (self._fleet.claims(), self._fleet.starts()):
                    samples.append(self.good(step, self._generator.run(requests, max_s=SEND_MAX_S)))
        return latency_of(step, merged(samples), meter.parts)
