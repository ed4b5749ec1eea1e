"""Work that runs once: reads, desire, and what cells and clients say of it (spec: tasks.md §4, api.md 8.6).

Each handler reads `store.head` and decides without a checkpoint in between; `Context.change` sees to the rest.
"""

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Final

from bbs.acts.change import change
from bbs.acts.task_effects import TaskEffects
from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import tasks as lifecycle
from bbs.log import Logger
from bbs.models import pb
from bbs.models.actual_lrp import LIST_ELEMENT
from bbs.models.errors import Deserialize
from bbs.models.outcome import CancelTask, CompleteTask, Effect, Outcome, RequestTaskAuction
from bbs.models.task import Task
from bbs.models.versions import Version, task_at
from bbs.models.wire import encode, frame
from bbs.routes.answers import SUCCESS, joined
from bbs.routes.context import Context
from bbs.routes.stories.data import rejected_task, task
from bbs.store.store import Store
from bbs.store.tables import TaskTable

_SHOULD_START: Final = pb.StartTaskResponse(should_start=True).SerializeToString()
_framed: Callable[[Task], bytes] = attrgetter("framed")


def _framed_r2(task: Task) -> bytes:
    return frame(LIST_ELEMENT, encode(task_at(Version.V2, task.message())))


def select(table: TaskTable, *, domain: str = "", cell_id: str = "") -> list[Task]:
    """Tasks that match every filter given.

    Raises:
      Deserialize: one of them cannot be read. As upstream, the list stays broken until convergence deletes it.
    """
    found: Collection[Task]
    if cell_id:
        found = table.by_cell[cell_id]
    elif domain:
        found = table.by_domain[domain]
    else:
        found = table.rows.values()
    tasks = [task for task in found if task.domain == domain] if cell_id and domain else list(found)
    if table.unreadable and any(task.unreadable for task in tasks):
        raise Deserialize
    return tasks


class TaskReads:
    def __init__(self, context: Context) -> None:
        self._table = context.store.committed.tasks

    async def tasks(self, request: pb.TasksRequest, call: Call) -> Answer:
        return await joined(self._select(request), _framed)

    async def tasks_r2(self, request: pb.TasksRequest, call: Call) -> Answer:
        return await joined(self._select(request), _framed_r2)

    async def by_guid(self, request: pb.TaskByGuidRequest, call: Call) -> Answer:
        return self._task(request).framed

    async def by_guid_r2(self, request: pb.TaskByGuidRequest, call: Call) -> Answer:
        return _framed_r2(self._task(request))

    def _select(self, request: pb.TasksRequest) -> list[Task]:
        return select(self._table, domain=request.domain, cell_id=request.cell_id)

    def _task(self, request: pb.TaskByGuidRequest) -> Task:
        return lifecycle.readable(self._table.rows.get(request.task_guid))


class TaskLifecycle:
    """A desire's answer waits for the auction, a cancel's for the cell, and none for a callback."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._head = context.store.head
        self._resolution = TaskResolution(context.store, now_ns=context.now_ns)
        self._effects = TaskEffects(
            auctioneer=context.effects.auctioneer,
            reps=context.effects.reps,
            cells=context.effects.cells,
            callbacks=context.callbacks,
        )

    async def desire(self, request: pb.DesireTaskRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            lambda: self._context.session(call, "desire-task.desire-task", task(request)),
            lambda task: lifecycle.desire(
                task,
                task_guid=request.task_guid,
                domain=request.domain,
                definition=request.task_definition,
                now_ns=self._context.now_ns(),
            ),
        )

    async def start(self, request: pb.StartTaskRequest, call: Call) -> Answer:
        outcome = await self._context.change(
            lambda: lifecycle.start(
                self._head.task(request.task_guid), request.cell_id, now_ns=self._context.now_ns()
            ),
            about=request.task_guid,
        )
        if not outcome.rows:
            return SUCCESS
        self._context.task_counts.started[request.cell_id] += 1
        return _SHOULD_START

    async def complete(self, request: pb.CompleteTaskRequest, call: Call) -> Answer:
        answer = await self._change(
            request.task_guid,
            lambda: self._context.session(call, "complete-task.complete-task", task(request)),
            lambda task: lifecycle.complete(
                task,
                cell_id=request.cell_id,
                failed=request.failed,
                failure_reason=request.failure_reason,
                result=request.result,
                now_ns=self._context.now_ns(),
            ),
        )
        counts = self._context.task_counts
        (counts.failed if request.failed else counts.succeeded)[request.cell_id] += 1
        return answer

    async def fail(self, request: pb.FailTaskRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            lambda: self._context.session(call, "fail-task", task(request)),
            lambda task: lifecycle.fail(task, request.failure_reason, now_ns=self._context.now_ns()),
        )

    async def cancel(self, request: pb.TaskGuidRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            lambda: self._context.session(call, "cancel-task.cancel-task", task(request)),
            lambda task: lifecycle.cancel(task, trace_id=call.trace_id, now_ns=self._context.now_ns()),
        )

    async def reject(self, request: pb.RejectTaskRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            lambda: self._context.session(call, "reject-task.reject-task", rejected_task(request)),
            lambda task: lifecycle.reject(
                task,
                request.rejection_reason,
                max_retries=self._context.max_task_retries,
                now_ns=self._context.now_ns(),
            ),
        )

    async def resolving(self, request: pb.TaskGuidRequest, call: Call) -> Answer:
        await self._resolution.resolving(request.task_guid)
        return SUCCESS

    async def delete(self, request: pb.TaskGuidRequest, call: Call) -> Answer:
        await self._resolution.delete(request.task_guid)
        return SUCCESS

    async def _change(
        self, task_guid: str, log: Callable[[], Logger], decide: Callable[[Task | None], Outcome]
    ) -> Answer:
        """``log`` is called if there is something for peers to do."""
        outcome = await self._context.change(lambda: decide(self._head.task(task_guid)), about=task_guid)
        if outcome.effects:
            await self._perform(outcome.effects, log())
        if outcome.refusal is not None:
            raise outcome.refusal
        return SUCCESS

    async def _perform(self, effects: Sequence[Effect], log: Logger) -> None:
        for effect in effects:
            match effect:
                case RequestTaskAuction(task):
                    await self._effects.auction(task, log=log)
                case CompleteTask(task):
                    self._effects.complete(task, log=log)
                case CancelTask():
                    await self._effects.cancel(effect, log=log)
                case _:
                    raise AssertionError(effect)


class TaskResolution:
    """The last two steps of a task's life, as the callback pool takes them, and clients may."""

    def __init__(self, store: Store, *, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    async def resolving(self, task_guid: str) -> Task:
        """Mark a completed task as being resolved, and return it.

        Raises:
          BBSError: it may not be called back, by this caller or at all: it is gone, or somebody else is about it.
        """
        outcome = await change(
            self._store,
            lambda: lifecycle.resolving(self._store.head.task(task_guid), now_ns=self._now_ns()),
            about=task_guid,
        )
        [(_, task)] = outcome.rows
        assert isinstance(task, Task)
        return task

    async def delete(self, task_guid: str) -> None:
        """Delete a task that is being resolved.

        Raises:
          BBSError: it is not deleted, and nobody is told so.
        """
        await change(self._store, lambda: lifecycle.remove(self._store.head.task(task_guid)), about=task_guid)
