"""Convergence passes of a whole server: over a fleet as desired, when a tenth of its cells vanishes, when they come back."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from perf.beds import Bed
from perf.beside import Beside
from perf.figures import Sample
from perf.readings import Reading
from perf.scenarios.growth import Grown
from perf.scenarios.trial import SEND_MAX_S, Sizes, WrongAnswer

INTERVAL_S: Final = 3.0
FLAGS: Final = ("--converge-repeat-interval-s", str(INTERVAL_S))
PASS_MAX_S: Final = 60.0
VANISHING_SHARE: Final = 10
POLL_S: Final = 0.05
RUNS: Final = "bbs_convergence_lrp_runs_total"


class Passes(Grown):
    """Pings beside each pass show what it holds up. A point is a number of LRPs."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._beside = Beside().__enter__()

    def measure(self) -> list[Reading]:
        self._seeding = []
        cells = self.bed.cells
        if cells is None or self.bed.probe.debug is None:
            raise WrongAnswer("passes can be seen with locket=HOST:PORT and debug=HOST:PORT only")
        lost = range(max(1, self._whole.cells // VANISHING_SHARE))
        instances = sum(len(range(cell, self._lrps, self._whole.cells)) for cell in lost)
        self._pass()  # one that began before is over now
        steady = self._reading("as desired", "bbs_suspect_running_actual_lrps", 0)
        cells.release(lost)
        vanished = self._reading("a tenth of the cells vanished", "bbs_lrps_unclaimed", instances)
        cells.register(lost)
        back = self._reading("they are back", "bbs_lrps_unclaimed", 0)
        return [steady, vanished, back]

    def check(self) -> None:
        self._pass()
        super().check()

    def close(self) -> None:
        self._beside.__exit__(None, None, None)
        super().close()

    def _reading(self, step: str, metric: str, expected: int) -> Reading:
        """The pass after whose end ``metric`` is as expected."""
        with self.bed.probe.measured() as meter:
            pinging = self._beside.ping(self.bed.credentials, self._whole.ping(), for_s=INTERVAL_S)
            duration_s, found, ends_s = 0.0, -1.0, time.monotonic() + PASS_MAX_S
            while found != expected and time.monotonic() < ends_s:
                duration_s = max(duration_s, self._pass())
                found = self.bed.probe.metrics().get(metric, -1.0)
            pings: Sample = pinging.result(SEND_MAX_S)
        self.expect(f"{step}: {metric}", found, float(expected))
        at = pings.percentiles_ms()
        return Reading(
            step=step,
            values={"pass ms": 1e3 * duration_s, "ping p99 ms": at.p99_ms, "ping max ms": at.max_ms},
            # No CPU: in the seconds between passes the pings and the metrics page use more of it than a pass.
            parts=replace(meter.parts, server_s=math.nan, database_s=math.nan, load_s=math.nan),
            work=self._lrps,
        )

    def _pass(self) -> float:
        """The duration of the next pass to end, in seconds."""
        before = self.bed.probe.metrics()[RUNS]
        give_up_s = time.monotonic() + PASS_MAX_S
        while (metrics := self.bed.probe.metrics())[RUNS] == before:
            if time.monotonic() > give_up_s:
                raise WrongAnswer(f"no pass within {PASS_MAX_S:.0f} s")
            time.sleep(POLL_S)
        return metrics["bbs_convergence_lrp_duration_seconds"]
