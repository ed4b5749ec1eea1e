"""Performs what decisions asked of the peers, after their rows became durable.

Some effects are waited for (an auction, by the request that caused it), others are not (stopping and updating
instances); the latter pass through a bounded queue. No effect's failure changes an answer, and one that is lost, to a
full queue or to the end of the process, is made up for by convergence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import BBSError
from bbs.models.outcome import StopInstance, UpdateInstance
from bbs.peers.cell_queue import CellQueue
from bbs.peers.interfaces import Auctioneer, Cells, LRPStart, Reps

QUEUE_MAX: Final = 50_000
"""Calls waiting for their cell. Beyond it new ones are dropped and counted: convergence asks again."""

WORKERS: Final = 200
"""Calls under way at once."""

CALLS_PER_CELL_MAX: Final = 4
"""Of these, to one cell. A dead one holds its workers until their timeouts: it takes fifty to hold all."""

BackgroundEffect = StopInstance | UpdateInstance


@dataclass(frozen=True, slots=True)
class EffectStatistics:
    queued: int
    performed: int
    failed: int
    dropped: int


def lrp_start(
    lrp: DesiredLRP, indices: Sequence[int], *, drivers_when_none: tuple[str, ...] | None
) -> LRPStart:
    """A request to place ``indices`` of ``lrp``.

    Without volume mounts the drivers are ``()`` when the LRP has just been desired or updated, and ``None`` otherwise:
    the auctioneer sees the difference (spec: peers.md §2.1).
    """
    return LRPStart(
        process_guid=lrp.process_guid,
        domain=lrp.domain,
        indices=tuple(indices),
        placement_tags=lrp.placement_tags,
        volume_drivers=lrp.volume_drivers or drivers_when_none,
        rootfs=lrp.rootfs,
        memory_mb=lrp.memory_mb,
        disk_mb=lrp.disk_mb,
        max_pids=lrp.max_pids,
    )


class Effects:
    """The way from outcomes to peers. `run` performs what `submit` queues; `auction` is awaited by its request."""

    def __init__(self, *, auctioneer: Auctioneer, reps: Reps, cells: Cells, log: Logger) -> None:
        self.auctioneer = auctioneer
        self.reps = reps
        self.cells = cells
        self._log = log
        self._calls = CellQueue[BackgroundEffect](waiting_max=QUEUE_MAX, per_cell_max=CALLS_PER_CELL_MAX)
        self._performed = self._failed = self._dropped = 0

    def submit(self, effects: Sequence[BackgroundEffect]) -> None:
        """Queue calls that nobody waits for. Full: the rest is dropped, counted, and told of with the first of them."""
        for number, effect in enumerate(effects):
            try:
                self._calls.put_nowait(effect.lrp.instance.cell_id, effect)
            except trio.WouldBlock:
                dropped = len(effects) - number
                self._dropped += dropped
                self._log.error("dropped-rep-call", _about(effect.lrp), count=dropped)
                return

    async def auction(self, start: LRPStart, *, trace_id: str = "") -> None:
        """Ask for one auction and wait for the auctioneer's word. Its refusal is logged, never raised."""
        try:
            await self.auctioneer.request_lrp_auctions((start,), trace_id=trace_id)
        except BBSError as error:
            self._failed += 1
            self._log.error("failed-to-request-auction", error=error, process_guid=start.process_guid)
        else:
            self._performed += 1

    async def auction_all(self, starts: Sequence[LRPStart]) -> None:
        """Ask for many auctions in one request and wait for the auctioneer's word: what convergence does.

        Raises:
          PeerUnavailable: it was not understood, or not heard.
        """
        try:
            await self.auctioneer.request_lrp_auctions(starts, trace_id="")
        except BBSError:
            self._failed += 1
            raise
        self._performed += 1

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Perform what is queued until cancelled."""
        async with trio.open_nursery() as workers:
            for _ in range(WORKERS):
                workers.start_soon(self._work)
            task_status.started()
            await trio.sleep_forever()

    def statistics(self) -> EffectStatistics:
        return EffectStatistics(len(self._calls), self._performed, self._failed, self._dropped)

    async def _work(self) -> None:
        while True:
            async with self._calls.next() as effect:
                try:
                    await self.perform(effect)
                except BBSError as error:
                    self._failed += 1
                    self._log.error("failed-rep-call", _about(effect.lrp), error=error)
                else:
                    self._performed += 1

    async def perform(self, effect: BackgroundEffect) -> None:
        """Make one call to a cell and wait for its end, past the queue.

        Raises:
          ResourceNotFound: the cell does not announce itself.
          BBSError: nobody can say, or the cell has not done as asked.
        """
        cell = await self.cells.cell_by_id(effect.lrp.instance.cell_id)
        match effect:
            case StopInstance(lrp, trace_id):
                await self.reps.stop_lrp_instance(cell, lrp, trace_id=trace_id)
            case UpdateInstance(lrp, internal_routes, metric_tags, trace_id):
                await self.reps.update_lrp_instance(
                    cell, lrp, internal_routes=internal_routes, metric_tags=metric_tags, trace_id=trace_id
                )


def _about(lrp: ActualLRP) -> dict[str, object]:
    return {"process_guid": lrp.process_guid, "index": lrp.index, "cell_id": lrp.instance.cell_id}
