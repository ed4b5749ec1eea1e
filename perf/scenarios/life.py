"""An LRP's life, step by step, with an auctioneer that is asked and cells that are there: what each request costs."""

from collections.abc import Iterable, Sequence
from typing import Final

from perf.beds import Bed
from perf.readings import Reading
from perf.scenarios.trial import SETTLE_MAX_S, Sizes, Trial, WrongAnswer
from perf.workloads import Fleet, field_of_state

CELL_LISTS: Final = 500
LISTS: Final = 10


class Life(Trial):
    """A round desires all LRPs, takes them through their life and removes them, so that the next finds the server as this one did."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._fleet = self.fleet(sizes.lrps)
        self._generator = self.generator()
        self._alone = self.generator(1)
        self._others = self.rows_of_others(self._generator, self._fleet)

    def warm_up(self) -> None:
        self.warm_up_small()

    def measure(self) -> list[Reading]:
        fleet, lrps, readings = self._fleet, self._fleet.lrps, list[Reading]()

        def step(name: str, requests: Iterable[bytes]) -> None:
            readings.append(self.send(self._generator, name, requests))

        asked = self._instances_asked()
        step("ping", [fleet.ping()] * lrps)
        step("desire", fleet.desires())
        self._expect_auctions(asked + lrps)
        step("claim", fleet.claims())
        self._expect_all(fleet, "CLAIMED")
        step("start", fleet.starts())
        self._expect_all(fleet, "RUNNING")
        step("start again, no change", fleet.starts())
        step("ActualLRPs of one cell", [fleet.actual_lrps_of_cell(0)] * CELL_LISTS)
        for name, request in fleet.lists().items():
            readings.append(self.listed(self._alone, name, request, LISTS, fleet.lrps + self._others[name]))
        self.expect_rows(
            self._generator, "ActualLRPs of cell-0", fleet.actual_lrps_of_cell(0), fleet.lrps_of_cell(0)
        )
        step("desired by guid", fleet.desired_by_guid())
        asked = self._instances_asked()
        step("crash", fleet.crashes())
        self._expect_auctions(asked + lrps)
        self._expect_all(fleet, "UNCLAIMED")
        step("remove desired", fleet.removes())
        self.expect_rows(self._generator, "ActualLRPs after the removal", fleet.list_of_domain(), 0)
        return readings

    def close(self) -> None:
        self._generator.close()
        self._alone.close()

    def _expect_all(self, fleet: Fleet, state: str) -> None:
        what = f"ActualLRPs that are {state}"
        self.expect_rows(
            self._generator, what, fleet.list_of_domain(), fleet.lrps, holding=field_of_state(state)
        )

    def _instances_asked(self) -> int:
        return self.bed.peers.counts().auctions if self.bed.peers is not None else 0

    def _expect_auctions(self, instances: int) -> None:
        if self.bed.peers is None:
            return
        found = self.bed.peers.counts_once(instances, max_s=SETTLE_MAX_S).auctions
        # More is no fault: a pass of convergence may have asked again for some that were not placed yet.
        if found < instances:
            raise WrongAnswer(f"auctions: {found} instances instead of {instances}")
