"""How fast what is to be placed reaches the auctioneer, and in how many calls: after many desires, after one large one, after a
wave of crashes, and after desires of tasks.
"""

import time
from collections.abc import Sequence
from typing import Final

from perf.beds import Bed
from perf.readings import Reading
from perf.scenarios.trial import SETTLE_MAX_S, Sizes, Trial, WrongAnswer

LRPS_MAX: Final = 5_000
"""More make the measurement longer and no figure different."""


class Auctions(Trial):
    """A round desires the fleet and one process with as many instances, crashes the fleet, and removes everything."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        count = min(sizes.lrps, LRPS_MAX)
        self._fleet = self.fleet(count)
        self._tasks = self.tasks(count)
        self._generator = self.generator()

    def warm_up(self) -> None:
        self.warm_up_small()

    def measure(self) -> list[Reading]:
        fleet = self._fleet
        readings = [self._placed("after desires of one instance", fleet.desires())]
        self.send(self._generator, "start", fleet.starts())
        readings.append(self._placed("after crashes", fleet.crashes()))
        changes = dict(fleet.changes_of_large(fleet.lrps))
        desire, *_, remove = changes.values()
        readings.append(self._placed("after one desire of as many", [desire]))
        self.send(self._generator, "remove", [*fleet.removes(), remove])
        readings.append(self._placed("after desires of tasks", self._tasks.desires()))
        for requests in (self._tasks.starts(), self._tasks.completes(), *self._tasks.ends()):
            self.send(self._generator, "end tasks", requests)
        self.expect_rows(self._generator, "ActualLRPs after the removal", fleet.list_of_domain(), 0)
        return readings

    def close(self) -> None:
        self._generator.close()

    def _placed(self, step: str, requests: list[bytes]) -> Reading:
        """From the first request until the auctioneer has been asked for as many instances, or tasks, as the fleet has LRPs."""
        peers, lrps = self.bed.peers, self._fleet.lrps
        if peers is None:
            raise WrongAnswer("nobody counts the auctions: give peers=URL")
        before = peers.counts()
        self._generator.connect()
        with self.bed.probe.measured() as meter:
            began_s = time.time()
            self.good(step, self._generator.run(requests, max_s=SETTLE_MAX_S * 10))
            answered_s = time.time()
            after = peers.counts_once(before.auctions + lrps, max_s=SETTLE_MAX_S)
        asked = after.auctions - before.auctions
        calls = after.lrp_calls + after.task_calls - before.lrp_calls - before.task_calls
        if asked < lrps:
            raise WrongAnswer(f"{step}: {asked} were auctioned instead of {lrps}")
        took_s = max(after.last_s - began_s, 1e-6)
        return Reading(
            step=step,
            values={
                "instances/s": asked / took_s,
                "calls": calls,
                "instances/call": asked / calls,
                "new connections": after.connections - before.connections,
                "last after ms": max(0.0, 1e3 * (after.last_s - answered_s)),
            },
            parts=meter.parts,
            work=asked,
        )
