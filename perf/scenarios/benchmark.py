"""Upstream's benchmark (spec: benchmarks.md §4): reps, nsync and a route-emitter per cell at once, under its names.

Reps loop without a pause, as upstream's do; lists are asked for on a schedule, presences renewed every five seconds, and there
is an event stream per cell and one of all cells. Of its thirty seconds' cycle a round has one,
shortened to the length of a round. All counts are exact here, also that of the events, where upstream has a tolerance.
"""

import random
import time
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from perf.beds import Bed
from perf.beside import Ask, Beside
from perf.cells import RENEWED_TTL_S, Cells
from perf.figures import Sample, merged
from perf.readings import Parts, Reading, latency_of, reading_of
from perf.scenarios.trial import SEND_MAX_S, SETTLE_MAX_S, Sizes, Trial
from perf.streams import Streams

PERCENT_WRITES: Final = 5.0
SEED: Final = 7


class Benchmark(Trial):
    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._fleet = self.fleet(sizes.lrps)
        self._generator = self.generator()
        self._beside = Beside().__enter__()
        self._streams = Streams(bed.credentials)
        self._random = random.Random(SEED)
        self._claimed: list[int] = []
        self._starts = self._fleet.starts()
        fleet = self._fleet
        self.send(self._generator, "desire", fleet.desires())
        self.send(self._generator, "start", self._starts)
        cells = range(fleet.cells)
        present = fleet.cells if bed.cells is not None else None
        # A server that others use too has cells and LRPs of theirs.
        whole = fleet.lrps if bed.is_own else None
        self._asks = [
            Ask("CellPresenceFetching", [fleet.list_cells()], present if bed.is_own else None),
            Ask("NsyncBulkerFetching", [fleet.list_scheduling_infos()], whole),
            *(
                Ask(
                    "FetchActualLRPsAndSchedulingInfos",
                    [fleet.actual_lrps_of_cell(cell), fleet.scheduling_infos_of(cell)],
                    fleet.lrps_of_cell(cell),
                )
                for cell in cells
            ),
        ]
        self._streams.open([*(fleet.subscribe(cell) for cell in cells), fleet.subscribe()])
        self._events_due = [0] * fleet.cells

    def measure(self) -> list[Reading]:
        fleet = self._fleet
        fetches, starts, claims = list[Sample](), list[Sample](), list[Sample]()
        self._generator.connect()
        with ExitStack() as stack:
            readings = []
            if self.bed.cells is not None:
                readings.append(self._presences(self.bed.cells))
                stack.enter_context(self.bed.cells.kept_alive())
            meter = stack.enter_context(self.bed.probe.measured())
            reading_lists = self._beside.paced(self.bed.credentials, self._asks, for_s=self.sizes.turn_s)
            ends_s = time.monotonic() + self.sizes.turn_s
            while not starts or time.monotonic() < ends_s:
                lists = [fleet.actual_lrps_of_cell(cell) for cell in range(fleet.cells)]
                fetches.append(self._run("RepBulkFetching", lists))
                starts.append(self._run("RepStartActualLRP", self._starts))
                self._expect_events()  # of those that were claimed in the turn before, and run again
                claims.append(self._claim_some())
            listed, wrong = reading_lists.result(SEND_MAX_S)
        self.expect("lists", wrong, "")
        requests = merged([*fetches, *starts, *claims])
        readings += [
            reading_of("all of the reps' requests", requests, meter.parts),
            latency_of("RepBulkFetching", merged(fetches), Parts()),
            latency_of("RepStartActualLRP", merged(starts), Parts()),
            latency_of("RepClaimActualLRP", merged(claims), Parts()),
            *(latency_of(name, sample, Parts()) for name, sample in listed.items()),
        ]
        return readings

    def check(self) -> None:
        """Every event has come, on the stream of its cell and on no other, and on that of all."""
        self._run("RepStartActualLRP", self._starts)
        self._expect_events()
        due = [*self._events_due, sum(self._events_due)]
        delivered = self._streams.delivered_once(sum(due), max_s=SETTLE_MAX_S)
        self.expect("streams that have ended", delivered.ended, 0)
        self.expect("events by cell, and of all", list(delivered.events), due)
        self.expect_rows(
            self._generator, "ActualLRPs", self._fleet.list_of_domain(), self._fleet.lrps, holding=b"RUNNING"
        )

    def close(self) -> None:
        self._streams.__exit__(None, None, None)
        self._beside.__exit__(None, None, None)
        self.remove(self._generator, self._fleet, self._fleet.lrps)
        self._generator.close()

    def _run(self, step: str, requests: list[bytes]) -> Sample:
        return self.good(step, self._generator.run(requests, max_s=SEND_MAX_S))

    def _claim_some(self) -> Sample:
        share = PERCENT_WRITES / 2 / 100
        self._claimed = [i for i in range(self._fleet.lrps) if self._random.random() < share] or [0]
        sample = self._run("RepClaimActualLRP", list(self._fleet.claims_of(self._claimed)))
        self._count_events()
        return sample

    def _expect_events(self) -> None:
        """The claimed ones were started: an event each."""
        self._count_events()
        self._claimed = []

    def _count_events(self) -> None:
        for number in self._claimed:
            self._events_due[number % self._fleet.cells] += 1

    def _presences(self, cells: Cells) -> Reading:
        """From a request to set one until it is held."""
        sample = Sample(latencies_s=array("d"))
        with self.bed.probe.measured() as meter:
            began_s = time.perf_counter()
            for number in range(self._fleet.cells):
                called_s = time.perf_counter()
                cells.register([number], ttl_s=RENEWED_TTL_S)
                sample.latencies_s.append(time.perf_counter() - called_s)
            sample.elapsed_s = time.perf_counter() - began_s
        return latency_of("CellPresenceSetting", sample, meter.parts)
