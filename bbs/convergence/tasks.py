"""The task pass: ends tasks that wait or run for nothing, puts the others up for auction again, calls clients back.

Each step picks its tasks from the store's queues, so a pass costs what needs attention. A change is decided anew, on the
task as it is then, and committed as an outcome of its own, a page of tasks at a time (spec: tasks.md §6).
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Final

import trio

from bbs.acts.change import change
from bbs.acts.effects import Effects
from bbs.acts.performing import AtOnce, perform
from bbs.lifecycle.task_convergence import (
    TaskLimits,
    at,
    demote,
    expire_completed,
    expire_pending,
    fail_where_cell_is_gone,
    is_to_be_auctioned,
    is_to_be_called_back,
    pruned,
)
from bbs.log import Logger
from bbs.models.errors import Failure
from bbs.models.outcome import NOTHING, CompleteTask, Outcome, RequestTaskAuction
from bbs.models.task import Task, TaskState
from bbs.peers.interfaces import PresentCells
from bbs.store.scopes import TaskScope
from bbs.store.store import Store
from bbs.store.tables import TaskTable

PAGE_TASKS: Final = 64
"""Tasks dealt with between two checkpoints: about 2 ms of work."""

Pages = Iterable[list[Task]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConvergenceStatistics:
    """``passes`` count since the start; the rest is about the last pass, zeros before the first (spec: tasks.md §7).

    ``kicked`` tasks were failed, auctioned or submitted for their callback; ``pruned`` ones were deleted. The number
    of tasks in each state is counted after all changes. ``duration_s`` is the part without peers.
    """

    passes: int = 0
    pruned: int = 0
    kicked: int = 0
    pending: int = 0
    running: int = 0
    completed: int = 0
    resolving: int = 0
    duration_s: float = 0.0


@dataclass(slots=True)
class _Changes:
    """What a step changed: ``made`` changes to tasks, and ``pruned`` tasks that could not be read. ``failure`` is the last
    one, if any.
    """

    made: int = 0
    pruned: int = 0
    failure: Failure | None = None


class TaskConvergence:
    """``present_cells`` gives the ids of the cells that announce themselves, or raises a Failure if nobody can say."""

    def __init__(
        self,
        store: Store,
        present_cells: PresentCells,
        *,
        effects: Effects,
        limits: TaskLimits,
        log: Logger,
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._table = store.committed.tasks
        self._effects = effects
        self._present_cells = present_cells
        self._limits = limits
        self._log = log
        self._now_ns = now_ns
        self._statistics = TaskConvergenceStatistics()

    def statistics(self) -> TaskConvergenceStatistics:
        return self._statistics

    async def converge(self) -> None:
        """One pass. A step's failure is logged, and the next one goes on.

        Raises:
          Failure: the cells are not known, so there is no pass.
        """
        log = self._log.session("converge-tasks")
        log.debug("listing-cells")
        try:
            cells = await self._present_cells(log=log)
        except Failure:
            log.debug("failed-listing-cells")
            raise
        log.debug("succeeded-listing-cells")
        began = trio.current_time()
        moment, table = at(self._now_ns(), self._limits), self._table
        db_log = log.session("db-converge-tasks")
        db_log.info("starting")

        # In the order of the specification, steps A to F. What one changes the next ones see: a task that has expired is not
        # auctioned, and one that is demoted is deleted or called back in the same pass.
        expired = await self._change(
            db_log.session("fail-expired-pending-tasks"),
            table.pending_by_creation.pages(PAGE_TASKS, before_ns=moment.expire_pending_ns),
            lambda task: expire_pending(task, moment),
            failed="failed-query",
        )
        waiting, waiting_pruned = await self._pick(
            db_log.session("get-task-start-requests-for-kickable-pending-tasks"),
            table.pending_by_creation.pages(PAGE_TASKS, after_ns=moment.expire_pending_ns),
            lambda task: is_to_be_auctioned(task, moment),
        )
        lost = await self._change(
            db_log.session("fail-tasks-with-disappeared-cells"),
            running_elsewhere(table, cells),
            lambda task: fail_where_cell_is_gone(task, cells, moment),
            failed="failed-updating-tasks",
        )
        demoted = await self._change(
            db_log.session("demote-kickable-resolving-tasks"),
            table.resolving_by_update.pages(PAGE_TASKS, before_ns=moment.kick_ns),
            lambda task: demote(task, moment),
            failed="failed-updating-tasks",
        )
        forgotten = await self._change(
            db_log.session("delete-expired-completed-tasks"),
            table.completed_by_completion.pages(PAGE_TASKS, before_ns=moment.expire_completed_ns),
            lambda task: expire_completed(task, moment),
            failed="failed-query",
        )
        over, over_pruned = await self._pick(
            db_log.session("get-kickable-complete-tasks-for-completion"),
            table.completed_by_update.pages(PAGE_TASKS, before_ns=moment.kick_ns),
            lambda task: is_to_be_called_back(task, moment),
        )
        db_log.info("complete")
        self._record(
            kicked=expired.made + len(waiting) + lost.made + len(over),
            pruned=forgotten.made
            + sum(changes.pruned for changes in (expired, lost, demoted, forgotten))
            + waiting_pruned
            + over_pruned,
            duration_s=trio.current_time() - began,
        )
        to_complete = {"num_tasks_to_complete": len(over)}
        log.debug("emitting-events-from-convergence", to_complete)
        performer = _InPass(self._effects, log)
        await perform([RequestTaskAuction(task) for task in waiting], performer)
        await performer.request_auctions()
        log.debug("submitting-tasks-to-be-completed", to_complete)
        await perform([CompleteTask(task) for task in over], performer)
        log.debug("done-submitting-tasks-to-be-completed", to_complete)

    async def _change(
        self, log: Logger, pages: Pages, decide: Callable[[Task], Outcome], *, failed: str
    ) -> _Changes:
        """Make one step's changes, a page at a time. A page's tasks are changed together, so that they share a transaction. A
        failure is logged, and ends the step after its page.
        """
        changes = _Changes()
        for page in pages:
            async with trio.open_nursery() as nursery:
                for task in page:
                    nursery.start_soon(self._change_one, log, task.task_guid, decide, changes)
            if changes.failure is not None:
                log.error(failed, error=changes.failure)
                break
        return changes

    async def _change_one(
        self, log: Logger, task_guid: str, decide: Callable[[Task], Outcome], changes: _Changes
    ) -> None:
        is_unreadable = False

        def decided(scope: TaskScope) -> Outcome:
            # On the task as it is now: since the page was picked its cell may have completed it.
            nonlocal is_unreadable
            task = scope.task()
            outcome = NOTHING if task is None else decide(task)
            if task is not None and task.unreadable and outcome.rows:
                is_unreadable = True
                log.info("deleting-invalid-task-from-db", guid=task_guid)
            return outcome

        try:
            outcome = await change(self._store.task(task_guid), decided)
        except Failure as error:
            changes.failure = error
            return
        if outcome.rows:
            changes.made += not is_unreadable
            changes.pruned += is_unreadable
        await perform(outcome.effects, _InPass(self._effects, log))

    async def _pick(
        self, log: Logger, pages: Pages, is_wanted: Callable[[Task], bool]
    ) -> tuple[list[Task], int]:
        """The tasks that a step is about and that can be read, and the number of those that could not and were deleted."""
        wanted: list[Task] = []
        unreadable: list[Task] = []
        for page in pages:
            for task in page:
                if is_wanted(task):
                    (unreadable if task.unreadable else wanted).append(task)
            await trio.lowlevel.checkpoint()
        changes = await self._change(
            log,
            _paged(unreadable),
            lambda task: pruned(task) or NOTHING if is_wanted(task) else NOTHING,
            failed="failed-deleting-task",
        )
        return wanted, changes.pruned

    def _record(self, *, kicked: int, pruned: int, duration_s: float) -> None:
        by_state = self._table.by_state
        self._statistics = TaskConvergenceStatistics(
            passes=self._statistics.passes + 1,
            kicked=kicked,
            pruned=pruned,
            pending=len(by_state[TaskState.Pending.name]),
            running=len(by_state[TaskState.Running.name]),
            completed=len(by_state[TaskState.Completed.name]),
            resolving=len(by_state[TaskState.Resolving.name]),
            duration_s=duration_s,
        )


class _InPass(AtOnce):
    """Gathers task auctions for the pass' one request, and waits for room in the pool of callbacks, as upstream's pass does. To
    drop what does not fit would log an error for each such task in every pass.
    """

    def __init__(self, effects: Effects, log: Logger) -> None:
        super().__init__(effects, log=lambda effect: log)
        self._log_of_auctions = log
        self._to_auction: list[Task] = []

    async def auction_task(self, effect: RequestTaskAuction) -> None:
        self._to_auction.append(effect.task)

    async def request_auctions(self) -> None:
        """Ask for all that has been gathered, if there is anything."""
        if self._to_auction:
            await self._effects.auction_tasks(self._to_auction, log=self._log_of_auctions)

    async def complete_task(self, effect: CompleteTask) -> None:
        await self._effects.complete_task_in_turn(effect.task)


def running_elsewhere(table: TaskTable, cells: Set[str]) -> Pages:
    """The running tasks on cells that are none of ``cells``."""
    return _paged(
        [task for cell_id, tasks in table.running_by_cell.items() if cell_id not in cells for task in tasks]
    )


def _paged(tasks: list[Task]) -> Iterator[list[Task]]:
    return (tasks[begin : begin + PAGE_TASKS] for begin in range(0, len(tasks), PAGE_TASKS))
