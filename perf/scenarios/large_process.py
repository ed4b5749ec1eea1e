"""One process of tens of thousands of instances is desired, scaled and removed: how long that takes, and others wait meanwhile."""

import itertools
import time
from collections.abc import Sequence
from typing import Final

from perf.beds import Bed
from perf.beside import Beside, paused
from perf.readings import Reading
from perf.scenarios.trial import SEND_MAX_S, Sizes, Trial

QUIET_PINGS: Final = 200


class LargeProcess(Trial):
    """A point is a number of instances. The changes come from a process of their own, the pings from this one."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._fleet = self.fleet(1)
        self._generator = self.generator(1)
        self._beside = Beside().__enter__()
        self._instances = 0

    def prepare(self, point: int | None) -> None:
        assert point is not None
        self._instances = point

    def warm_up(self) -> None:
        """None: a large change is never repeated at once, so what the first one costs is the question."""

    def measure(self) -> list[Reading]:
        readings = [self._beside_nothing()]
        left = {"desire": self._instances, "scale to 1": 1, "scale up": self._instances, "remove": 0}
        for (step, instances), (_, request) in zip(
            left.items(), self._fleet.changes_of_large(self._instances), strict=True
        ):
            readings.append(self._change(step, request))
            self.expect_rows(
                self._generator, f"ActualLRPs after {step}", self._fleet.list_of_domain(), instances
            )
        return readings

    def close(self) -> None:
        self._beside.__exit__(None, None, None)
        self._generator.close()

    def _beside_nothing(self) -> Reading:
        pings = self._generator.run(
            itertools.islice(paused(self._fleet.ping()), QUIET_PINGS), max_s=SEND_MAX_S
        )
        at = self.good("ping", pings).percentiles_ms()
        return Reading(step="nothing", values={"ping max ms": at.max_ms, "ping p99 ms": at.p99_ms})

    def _change(self, step: str, request: bytes) -> Reading:
        with self.bed.probe.measured() as meter:
            began_s = time.perf_counter()
            changing = self._beside.once(self.bed.credentials, request)
            pings = self._generator.run(paused(self._fleet.ping(), until=changing.done), max_s=SEND_MAX_S)
            self.good(step, changing.result(SEND_MAX_S))
            took_s = time.perf_counter() - began_s
        at = self.good("ping", pings).percentiles_ms()
        return Reading(
            step=step,
            values={"ping max ms": at.max_ms, "ping p99 ms": at.p99_ms, "took s": took_s},
            parts=meter.parts,
            work=self._instances,
        )
