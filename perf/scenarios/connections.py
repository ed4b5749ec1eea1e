"""What connections cost: one per request, thousands that are idle, and all streams coming back at once."""

import math
import time
from array import array
from functools import partial
from typing import Final

from perf.beds import Bed
from perf.beside import Beside
from perf.figures import Sample, merged
from perf.load import LoadGenerator
from perf.readings import Reading, latency_of, reading_of
from perf.scenarios.trial import SEND_MAX_S, Sizes, Trial, WrongAnswer
from perf.streams import Streams

IDLE: Final = 2_000
WRITE_CONNECTIONS: Final = 16
STORM_LISTS_CONNECTIONS: Final = 16


class Churn(Trial):
    """A new connection, with its handshake, for each request, one after the other."""

    def __init__(self, bed: Bed, sizes: Sizes) -> None:
        super().__init__(bed, sizes)
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

    def __init__(self, bed: Bed, sizes: Sizes) -> None:
        super().__init__(bed, sizes)
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


class Storm(Trial):
    """A point is a number of route-emitters, whose streams all break at once: each subscribes anew and asks for the
    ActualLRPs and the scheduling infos of its cell, while pings show how long everybody else waits.
    """

    def __init__(self, bed: Bed, sizes: Sizes) -> None:
        super().__init__(bed, sizes)
        self._fleet = self.fleet(sizes.lrps)
        self._generator = self.generator(STORM_LISTS_CONNECTIONS)
        self._streams = Streams(bed.credentials)
        self._beside = Beside().__enter__()
        self._emitters = 0
        self.send(self._generator, "desire", self._fleet.desires())
        self.send(self._generator, "start", self._fleet.starts())

    def prepare(self, point: int | None) -> None:
        assert point is not None
        self._emitters = point
        self._streams.open(self._subscriptions())

    def measure(self) -> list[Reading]:
        cells = [number % self._fleet.cells for number in range(self._emitters)]
        lists = [
            request
            for cell in cells
            for request in (self._fleet.actual_lrps_of_cell(cell), self._fleet.scheduling_infos_of(cell))
        ]
        ping = partial(self._beside.ping, self.bed.credentials, self._fleet.ping())
        quiet = ping(for_s=self.sizes.turn_s).result(SEND_MAX_S)
        with self.bed.probe.measured() as meter:
            began_s = time.perf_counter()
            pinging = ping(for_s=self.sizes.turn_s)
            opening_s = self._streams.open(self._subscriptions())
            sample = self.good("lists", self._generator.run(lists, max_s=SEND_MAX_S))
            took_s = time.perf_counter() - began_s
            pings = pinging.result(SEND_MAX_S)
        if pings.errors or quiet.errors:
            raise WrongAnswer(f"ping: {pings.first_error or quiet.first_error}")
        delivered = self._streams.delivered()
        self.expect("streams that have ended", delivered.ended, 0)
        return [
            Reading(
                step="all back",
                values={
                    "s": took_s,
                    "subscribers/s": self._emitters / opening_s if opening_s else math.nan,
                },
                parts=meter.parts,
                work=self._emitters,
            ),
            reading_of("lists of one cell", sample, meter.parts),
            latency_of("ping, nothing beside it", quiet, meter.parts),
            latency_of("ping in the storm", pings, meter.parts),
        ]

    def check(self) -> None:
        for cell in range(self._fleet.cells):
            expected = self._fleet.lrps_of_cell(cell)
            for request in (self._fleet.actual_lrps_of_cell(cell), self._fleet.scheduling_infos_of(cell)):
                self.expect_rows(self._generator, f"rows of cell-{cell}", request, expected)

    def close(self) -> None:
        self._streams.__exit__(None, None, None)
        self._beside.__exit__(None, None, None)
        self.remove(self._generator, self._fleet, self._fleet.lrps)
        self._generator.close()

    def _subscriptions(self) -> list[bytes]:
        return [self._fleet.subscribe(number % self._fleet.cells) for number in range(self._emitters)]
