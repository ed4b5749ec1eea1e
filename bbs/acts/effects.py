"""Calls to peers that decisions asked for, made after their rows became durable.

Some are waited for (an auction, by the request that caused it), others are not: calls that stop or update instances pass
through a bounded queue, and callbacks through their pool. Auctions of several requests may go out in one call
(`bbs.acts.gathered_auctions`).

Most failures are only logged, since the rows are durable by then and the request has done its work. Calls may be lost: to a
full queue, or to the end of the process. Convergence makes up for them, since it goes by the rows: it auctions what still
waits, stops what should not run, and calls back for tasks that are over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

import trio

from bbs.acts.auctions import AuctionCause, lrp_start
from bbs.acts.gathered_auctions import GatheredAuctions
from bbs.acts.retirement import retire_instance
from bbs.log import Emit, Level, Logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.errors import Failure
from bbs.models.outcome import CancelTask, RequestAuction, RetireInstance, StopInstance, UpdateInstance
from bbs.models.task import Task
from bbs.peers import bodies
from bbs.peers.cell_queue import CellQueue
from bbs.peers.interfaces import Auctioneer, Cells, LRPStart, Reps, RepURLUnusable, TaskCallbacks
from bbs.store.store import Store

QUEUE_MAX: Final = 50_000
"""Calls waiting for their cell, over all cells. Beyond it new ones are dropped and counted: convergence asks again."""

WORKERS: Final = 200
"""Calls under way at once."""

CALLS_PER_CELL_MAX: Final = 4
"""Of these, calls to one cell. A dead cell holds its workers until their timeouts, so fifty dead ones would hold them all."""

CellCall = StopInstance | UpdateInstance


@dataclass(frozen=True, slots=True)
class EffectStatistics:
    """``queued`` calls to cells wait now. The rest count since the start: calls to cells through the queue and LRP auctions
    that were ``performed`` or ``failed``, and calls to cells that were ``dropped`` because the queue was full.
    """

    queued: int
    performed: int
    failed: int
    dropped: int


class _Queued(NamedTuple):
    call: CellCall
    log: Logger


class Effects:
    """Makes the calls to peers, one method per kind of effect. `run` makes those that `queue_cell_calls` queues, and those
    of auctions.

    ``log`` is always the session of the request or pass that asks, even if the request has been answered by then.
    """

    def __init__(
        self, store: Store, *, auctioneer: Auctioneer, reps: Reps, cells: Cells, callbacks: TaskCallbacks
    ) -> None:
        self._store = store
        self._auctioneer = auctioneer
        self._lrp_auctions = GatheredAuctions[LRPStart](
            auctioneer.request_lrp_auctions,
            size=bodies.lrp_start_bytes,
            name=lambda start: start.process_guid,
            key="process_guids",
        )
        self._task_auctions = GatheredAuctions[Task](
            auctioneer.request_task_auctions,
            size=bodies.task_start_bytes,
            name=lambda task: task.task_guid,
            key="task_guids",
        )
        self._reps = reps
        self._cells = cells
        self._callbacks = callbacks
        self._calls = CellQueue[_Queued](waiting_max=QUEUE_MAX, per_cell_max=CALLS_PER_CELL_MAX)
        self._performed = self._failed = self._dropped = 0

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Make the queued calls, and those of auctions, until cancelled."""
        async with trio.open_nursery() as workers:
            workers.start_soon(self._lrp_auctions.run)
            workers.start_soon(self._task_auctions.run)
            for _ in range(WORKERS):
                workers.start_soon(self._work)
            task_status.started()
            await trio.sleep_forever()

    def statistics(self) -> EffectStatistics:
        return EffectStatistics(len(self._calls), self._performed, self._failed, self._dropped)

    async def auction(self, effect: RequestAuction, cause: AuctionCause, *, log: Logger) -> None:
        """Ask for one auction and wait for the auctioneer's answer. A failure is logged, never raised.

        Does nothing if the process is no longer desired.
        """
        # The effect was decided on when the process was desired; since then its rows were written, which takes a while. If
        # it was removed meanwhile, a cell would start a container that nobody wants, and the cell's start request would
        # create a row for it (a start does not ask for the DesiredLRP), which stays until convergence retires it.
        desired = self._store.process(effect.process_guid).desired_lrp()
        if desired is None:
            return
        start = lrp_start(desired, effect.indices, drivers_when_none=cause.drivers_when_none)
        say: Emit | None = None
        if cause.indices_key and log.enabled(Level.INFO):
            say = log.with_data(cause.about(start)).emitter()
            say(Level.INFO, log.message("start-lrp-auction-request"))
        failure = await self._lrp_auctions.ask(start, trace_id=effect.trace_id, log=log)
        if say is not None:
            say(Level.INFO, log.message("finished-lrp-auction-request"))
        if failure is None:
            self._performed += 1
        else:
            self._failed += 1
            log.error(cause.failed, error=failure, process_guid=start.process_guid)

    async def auction_all(self, starts: Sequence[LRPStart], *, log: Logger) -> None:
        """Ask for many auctions in one request and wait for the auctioneer's answer: what convergence does.

        Raises:
          PeerUnavailable: it gave no answer, or another than that it accepts them.
        """
        try:
            await self._auctioneer.request_lrp_auctions(starts, trace_id="", log=log)
        except Failure:
            self._failed += 1
            raise
        self._performed += 1

    def queue_cell_calls(self, calls: Sequence[CellCall], *, log: Logger) -> None:
        """Queue calls that nobody waits for.

        If the queue is full the rest of ``calls`` is dropped and counted; one log line names the first of them and says
        how many.
        """
        for number, call in enumerate(calls):
            try:
                self._calls.put_nowait(call.lrp.instance.cell_id, _Queued(call, log))
            except trio.WouldBlock:
                # The bound is one for all cells, so the calls behind this one would not fit either.
                dropped = len(calls) - number
                self._dropped += dropped
                log.error("dropped-rep-call", _about(call.lrp), count=dropped)
                return

    async def call_cell(self, call: CellCall, *, log: Logger) -> None:
        """Make one call to a cell and wait for its end, past the queue. A failure is logged before it is raised.

        Raises:
          ResourceNotFound: the cell does not announce itself.
          PeerUnavailable: Locket could not say, or the cell could not be called or has not done as asked.
        """
        # The log names a failure by the step that failed, as upstream's does.
        step = "failed-fetching-cell-presence"
        try:
            cell = await self._cells.cell_by_id(call.lrp.instance.cell_id, log=log)
            step = "create-rep-client-failed"
            cell.require_https()
            match call:
                case StopInstance(lrp, trace_id):
                    step = "failed-stopping-lrp-instance"
                    log.debug("stopping-lrp-instance")
                    await self._reps.stop_lrp_instance(cell, lrp, trace_id=trace_id, log=log)
                case UpdateInstance(lrp, internal_routes, metric_tags, trace_id):
                    step = "updating-lrp-instance"
                    log.debug("updating-lrp-instance")
                    await self._reps.update_lrp_instance(
                        cell,
                        lrp,
                        internal_routes=internal_routes,
                        metric_tags=metric_tags,
                        trace_id=trace_id,
                        log=log,
                    )
        except Failure as error:
            log.error(step, _about(call.lrp), error=error)
            raise

    async def retire(self, effect: RetireInstance, *, log: Logger) -> None:
        """Have the cell stop the instance, or remove its row if there is no such cell.

        Raises:
          Failure: as `bbs.acts.retirement.retire_instance`.
        """
        if await retire_instance(self._store, effect, cells=self._cells, reps=self._reps, log=log):
            tell_whole(log.session("db-remove-actual-lrp"))

    async def auction_task(self, task: Task, *, log: Logger) -> None:
        """Ask for one auction and wait for the auctioneer's answer. A failure is logged, never raised."""
        log.debug("start-task-auction-request")
        failure = await self._task_auctions.ask(task, trace_id="", log=log)
        if failure is None:
            log.debug("succeeded-requesting-task-auction")
        else:
            log.error("failed-requesting-task-auction", error=failure)

    async def auction_tasks(self, tasks: Sequence[Task], *, log: Logger) -> None:
        """Ask for the auctions of all ``tasks`` in one request, on behalf of convergence. A failure is logged, never raised."""
        try:
            await self._auctioneer.request_task_auctions(tasks, trace_id="", log=log)
        except Failure as error:
            guids = [task.task_guid for task in tasks]
            log.error("failed-to-request-auctions-for-pending-tasks", error=error, task_guids=guids)

    async def cancel_task(self, effect: CancelTask, *, log: Logger) -> None:
        """Have a cell stop a task (spec: tasks.md §4.4). The row says already that the task is over, so a cell that is not
        there, does not answer or refuses is only logged.

        Raises:
          RepURLUnusable: the cell is there, but announces no address that may be called. As upstream, that is the answer.
        """
        task_guid, cell_id = effect.task_guid, effect.cell_id
        log.info("start-check-cell-presence", cell_id=cell_id)
        try:
            cell = await self._cells.cell_by_id(cell_id, log=log)
        except Failure as error:
            log.error("failed-fetching-cell-presence", error=error)
            return
        log.info("finished-check-cell-presence", cell_id=cell_id)
        try:
            cell.require_https()
        except RepURLUnusable as error:
            log.error("create-rep-client-failed", error=error)
            raise
        log.info("start-rep-cancel-task", task_guid=task_guid)
        try:
            await self._reps.cancel_task(cell, task_guid, trace_id=effect.trace_id, log=log)
        except Failure as error:
            log.error("failed-rep-cancel-task", error=error)
            return
        log.info("finished-rep-cancel-task", task_guid=task_guid)

    def complete_task(self, task: Task, *, log: Logger) -> None:
        """Have a client told that its task is over, without waiting. If the pool has no room the call is dropped, logged and
        counted; convergence hands the task over again.
        """
        if task.completion_callback_url:
            log.info("task-client-completing-task")
        self._callbacks.submit_nowait(task, log=log)

    async def complete_task_in_turn(self, task: Task) -> None:
        """As `complete_task`, but waits for room in the pool, on behalf of convergence.

        There is no deadline, as in upstream's pass: every worker of the pool frees its place when its callback times out.
        """
        await self._callbacks.submit(task)

    async def _work(self) -> None:
        while True:
            async with self._calls.next() as queued:
                try:
                    await self.call_cell(queued.call, log=queued.log)
                except Failure:  # logged by `call_cell`
                    self._failed += 1
                else:
                    self._performed += 1
            # A worker that waits must hold no call: it may have been about an LRP that is long gone.
            del queued


def tell_whole(log: Logger, level: Level = Level.INFO, *, ends: str = "complete") -> None:
    """Log the two lines of a session in which nothing else is said: that it starts, and that it ``ends``."""
    if log.enabled(level):
        emit = log.emitter()
        emit(level, log.message("starting"))
        emit(level, log.message(ends))


def _about(lrp: ActualLRP) -> dict[str, object]:
    """Which instance a log line is about. Not by ``index``: in upstream's session that stops instances, that key is the index
    of the first instance stopped, and the two would be confused.
    """
    return {
        "process_guid": lrp.process_guid,
        "instance_guid": lrp.instance.instance_guid,
        "cell_id": lrp.instance.cell_id,
    }
