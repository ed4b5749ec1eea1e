"""Performs what decisions asked of the peers, after their rows became durable.

Some effects are waited for (an auction, by the request that caused it), others are not (stopping and updating
instances); the latter pass through a bounded queue. No effect's failure changes an answer, and one that is lost, to a
full queue or to the end of the process, is made up for by convergence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, NoReturn

import trio

from bbs.log import Data, Emit, Level, Logger
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

INDICES_LOGGED_MAX: Final = 2_000
"""Of the instances of one auction; a line has no room for more (`bbs.log.bounds`)."""

BackgroundEffect = StopInstance | UpdateInstance


@dataclass(frozen=True, slots=True)
class EffectStatistics:
    queued: int
    performed: int
    failed: int
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionCause:
    """What is different about auctions, by what brings them about (spec: peers.md §2.1, §2.3).

    ``drivers_when_none`` are the volume drivers of an LRP without volume mounts: the auctioneer sees whether they are
    ``()`` or ``None``. ``failed`` is the log's name of a failure; ``indices_key`` its name of the instances in the lines
    around a call, or '' if there are no such lines.
    """

    drivers_when_none: tuple[str, ...] | None
    failed: str
    indices_key: Literal["indices", "index", ""]

    def about(self, start: LRPStart) -> Data:
        indices = start.indices[0] if self.indices_key == "index" else start.indices[:INDICES_LOGGED_MAX]
        return {"app_guid": start.process_guid, self.indices_key: indices}


DESIRED: Final = AuctionCause(drivers_when_none=(), failed="failed-to-request-auction", indices_key="indices")
CRASHED: Final = AuctionCause(drivers_when_none=None, failed="failed-requesting-auction", indices_key="index")
EVACUATED: Final = AuctionCause(drivers_when_none=None, failed="failed-requesting-auction", indices_key="")


def lrp_start(
    lrp: DesiredLRP, indices: Sequence[int], *, drivers_when_none: tuple[str, ...] | None
) -> LRPStart:
    """A request to place ``indices`` of ``lrp``; for ``drivers_when_none`` see `AuctionCause`."""
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


class _Queued(NamedTuple):
    effect: BackgroundEffect
    log: Logger


class Effects:
    """The way from outcomes to peers. `run` performs what `submit` queues; `auction` is awaited by its request.

    ``log`` is always the session of the request or pass that asks, even if it has been answered by then.
    """

    def __init__(self, *, auctioneer: Auctioneer, reps: Reps, cells: Cells) -> None:
        self.auctioneer = auctioneer
        self.reps = reps
        self.cells = cells
        self._calls = CellQueue[_Queued](waiting_max=QUEUE_MAX, per_cell_max=CALLS_PER_CELL_MAX)
        self._performed = self._failed = self._dropped = 0

    def submit(self, effects: Sequence[BackgroundEffect], *, log: Logger) -> None:
        """Queue calls that nobody waits for. Full: the rest is dropped, counted, and told of with the first of them."""
        for number, effect in enumerate(effects):
            try:
                self._calls.put_nowait(effect.lrp.instance.cell_id, _Queued(effect, log))
            except trio.WouldBlock:
                dropped = len(effects) - number
                self._dropped += dropped
                log.error("dropped-rep-call", _about(effect.lrp), count=dropped)
                return

    async def auction(self, start: LRPStart, cause: AuctionCause, *, trace_id: str, log: Logger) -> None:
        """Ask for one auction and wait for the auctioneer's word. Its refusal is logged, never raised."""
        say: Emit | None = None
        if cause.indices_key and log.enabled(Level.INFO):
            say = log.with_data(cause.about(start)).emitter()
            say(Level.INFO, log.message("start-lrp-auction-request"))
        failure: BBSError | None = None
        try:
            await self.auctioneer.request_lrp_auctions((start,), trace_id=trace_id, log=log)
        except BBSError as error:
            failure = error
        if say is not None:
            say(Level.INFO, log.message("finished-lrp-auction-request"))
        if failure is None:
            self._performed += 1
        else:
            self._failed += 1
            log.error(cause.failed, error=failure, process_guid=start.process_guid)

    async def auction_all(self, starts: Sequence[LRPStart], *, log: Logger) -> None:
        """Ask for many auctions in one request and wait for the auctioneer's word: what convergence does.

        Raises:
          PeerUnavailable: it was not understood, or not heard.
        """
        try:
            await self.auctioneer.request_lrp_auctions(starts, trace_id="", log=log)
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
            async with self._calls.next() as queued:
                try:
                    await self.perform(queued.effect, log=queued.log)
                except BBSError:
                    self._failed += 1
                else:
                    self._performed += 1

    async def perform(self, effect: BackgroundEffect, *, log: Logger) -> None:
        """Make one call to a cell and wait for its end, past the queue. A failure is logged before it is raised.

        Raises:
          ResourceNotFound: the cell does not announce itself.
          BBSError: nobody can say, or the cell has not done as asked.
        """
        step = "failed-fetching-cell-presence"
        try:
            cell = await self.cells.cell_by_id(effect.lrp.instance.cell_id, log=log)
            step = "create-rep-client-failed"
            cell.require_https()
            match effect:
                case StopInstance(lrp, trace_id):
                    step = "failed-stopping-lrp-instance"
                    log.debug("stopping-lrp-instance")
                    await self.reps.stop_lrp_instance(cell, lrp, trace_id=trace_id, log=log)
                case UpdateInstance(lrp, internal_routes, metric_tags, trace_id):
                    step = "updating-lrp-instance"
                    log.debug("updating-lrp-instance")
                    await self.reps.update_lrp_instance(
                        cell,
                        lrp,
                        internal_routes=internal_routes,
                        metric_tags=metric_tags,
                        trace_id=trace_id,
                        log=log,
                    )
        except BBSError as error:
            log.error(step, _about(effect.lrp), error=error)
            raise


def _about(lrp: ActualLRP) -> dict[str, object]:
    """Which instance. Not its ``index``: in the session of upstream's that stops instances, that is the first of them."""
    return {
        "process_guid": lrp.process_guid,
        "instance_guid": lrp.instance.instance_guid,
        "cell_id": lrp.instance.cell_id,
    }
