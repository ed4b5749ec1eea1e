"""How fast what is to be placed reaches the auctioneer: after many desires, after one large one, after a wave of crashes."""

import time

from perf.beds import Bed
from perf.readings import Reading
from perf.scenarios.trial import SETTLE_MAX_S, Sizes, Trial, WrongAnswer


class Auctions(Trial):
    """A round desires the fleet and one process with as many instances, crashes the fleet, and removes everything."""

    def __init__(self, bed: Bed, sizes: Sizes) -> None:
        super().__init__(bed, sizes)
        self._fleet = self.fleet(sizes.lrps)
        self._generator = self.generator()

    def measure(self) -> list[Reading]:
        fleet = self._fleet
        readings = [self._placed("after desires of one instance", fleet.desires())]
        self.send(self._generator, "start", fleet.starts())
        readings.append(self._placed("after crashes", fleet.crashes()))
        changes = dict(fleet.changes_of_large(fleet.lrps))
        desire, *_, remove = changes.values()
        readings.append(self._placed("after one desire of as many", [desire]))
        self.send(self._generator, "remove", [*fleet.removes(), remove])
        self.expect_rows(self._generator, "ActualLRPs after the removal", fleet.list_of_domain(), 0)
        return readings

    def close(self) -> None:
        self._generator.close()

    def _placed(self, step: str, requests: list[bytes]) -> Reading:
        """From the first request until the auctioneer has been asked for as many instances as the fleet has."""
        peers, lrps = self.bed.peers, self._fleet.lrps
        if peers is None:
            raise WrongAnswer("nobody counts the auctions: give peers=URL")
        before = peers.counts()
        self._generator.connect()
        with self.bed.probe.measured() as meter:
            began_s = time.time()
            self.good(step, self._generator.run(requests, max_s=SETTLE_MAX_S * 10))
            answered_s = time.time()
            after = peers.counts_once(before.instances + lrps, max_s=SETTLE_MAX_S)
        asked, calls = after.instances - before.instances, after.lrp_calls - before.lrp_calls
        if asked < lrps:
            raise WrongAnswer(f"{step}: {asked} instances were auctioned instead of {lrps}")
        took_s = max(after.last_s - began_s, 1e-6)
        return Reading(
            step=step,
            values={
                "instances/s": asked / took_s,
                "calls": calls,
                "instances/call": asked / calls,
                "last after ms": max(0.0, 1e3 * (after.last_s - answered_s)),
            },
            parts=meter.parts,
            work=asked,
        )
