"""Performs what decisions about tasks asked of the peers, after their rows became durable.

A peer's failure never changes an answer, but for one: a cell that announces no address we may call.
"""

from collections.abc import Sequence

from bbs.log import Logger
from bbs.models.errors import BBSError
from bbs.models.outcome import CancelTask
from bbs.models.task import Task
from bbs.peers.interfaces import Auctioneer, Cells, Reps, RepURLUnusable, TaskCallbacks


class NoCallbacks:
    """A callback pool for a server that calls nobody back: completed tasks stay until they expire."""

    def submit_nowait(self, task: Task, *, log: Logger) -> None:
        pass

    async def submit(self, task: Task) -> None:
        pass


class TaskEffects:
    """``log`` is always the session of the request or pass that asks."""

    def __init__(self, *, auctioneer: Auctioneer, reps: Reps, cells: Cells, callbacks: TaskCallbacks) -> None:
        self._auctioneer = auctioneer
        self._reps = reps
        self._cells = cells
        self._callbacks = callbacks

    async def auction(self, task: Task, *, log: Logger) -> None:
        """Ask for one auction and wait for the auctioneer's word. Its refusal is logged, never raised."""
        log.debug("start-task-auction-request")
        try:
            await self._auctioneer.request_task_auctions((task,), trace_id="", log=log)
        except BBSError as error:
            log.error("failed-requesting-task-auction", error=error)
        else:
            log.debug("succeeded-requesting-task-auction")

    async def auction_waiting(self, tasks: Sequence[Task], *, log: Logger) -> None:
        """Ask for the auctions of all ``tasks`` in one request, on behalf of convergence. Never raises."""
        try:
            await self._auctioneer.request_task_auctions(tasks, trace_id="", log=log)
        except BBSError as error:
            guids = [task.task_guid for task in tasks]
            log.error("failed-to-request-auctions-for-pending-tasks", error=error, task_guids=guids)

    async def cancel(self, effect: CancelTask, *, log: Logger) -> None:
        """Have a cell stop a task (spec: tasks.md §4.4). A cell that is gone or says no is logged.

        Raises:
          RepURLUnusable: the cell is there, but can't be called.
        """
        task_guid, cell_id = effect.task_guid, effect.cell_id
        log.info("start-check-cell-presence", cell_id=cell_id)
        try:
            cell = await self._cells.cell_by_id(cell_id, log=log)
        except BBSError as error:
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
        except BBSError as error:
            log.error("failed-rep-cancel-task", error=error)
            return
        log.info("finished-rep-cancel-task", task_guid=task_guid)

    def complete(self, task: Task, *, log: Logger) -> None:
        """Have a client told that its task is over. If there is no place in the pool, convergence will see to it."""
        if task.completion_callback_url:
            log.info("task-client-completing-task")
        self._callbacks.submit_nowait(task, log=log)

    async def complete_waiting(self, task: Task) -> None:
        """As `complete`, but waits for a place, on behalf of convergence: without a deadline, as upstream's pass."""
        await self._callbacks.submit(task)
