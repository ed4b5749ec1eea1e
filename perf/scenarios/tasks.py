"""A task's life, step by step: each request is a write, and a desire asks the auctioneer as well."""

from collections.abc import Sequence
from typing import Final

from perf.beds import Bed
from perf.readings import Reading
from perf.scenarios.trial import SETTLE_MAX_S, Sizes, Trial, WrongAnswer

RUNS: Final = "start"


class TaskLife(Trial):
    """As many tasks as ``sizes`` has LRPs. A round leaves none of them."""

    def __init__(self, bed: Bed, sizes: Sizes, points: Sequence[int] = ()) -> None:
        super().__init__(bed, sizes, points)
        self._tasks = self.tasks(sizes.lrps)
        self._generator = self.generator()

    def warm_up(self) -> None:
        self.warm_up_small()

    def measure(self) -> list[Reading]:
        tasks, readings = self._tasks, list[Reading]()
        peers = self.bed.peers
        before = peers.counts() if peers is not None else None
        for name, requests in tasks.operations().items():
            readings.append(self.send(self._generator, name, list(requests())))
            if name == RUNS:
                self.expect_rows(
                    self._generator, "tasks of cell-0", tasks.list_of_cell(0), tasks.tasks_of_cell(0)
                )
        self.expect_rows(self._generator, "tasks after their deletion", tasks.list_of_domain(), 0)
        if peers is not None and before is not None:
            asked = peers.counts_once(before.auctions + tasks.tasks, max_s=SETTLE_MAX_S).tasks - before.tasks
            if asked < tasks.tasks:
                raise WrongAnswer(f"auctions: {asked} tasks instead of {tasks.tasks}")
        return readings

    def close(self) -> None:
        self._generator.close()
