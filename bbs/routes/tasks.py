"""Work that runs once: reads, desire, and what cells and clients say of it (spec: tasks.md §4, api.md 8.6).

Each handler decides within the scope of one task; `Context.change` sees to the rest.
"""

from collections.abc import Callable, Collection
from typing import Final

from bbs.http.endpoints import Answer, Call
from bbs.lifecycle import tasks as lifecycle
from bbs.log import Logger
from bbs.models import pb
from bbs.models.actual_lrp import LIST_ELEMENT
from bbs.models.errors import Deserialize
from bbs.models.outcome import Effect, Outcome
from bbs.models.task import Task
from bbs.models.versions import Version, task_at
from bbs.models.wire import encode, frame
from bbs.routes.answers import SUCCESS, joined
from bbs.routes.context import Context
from bbs.routes.forms import TASKS
from bbs.routes.stories.data import rejected_task, task
from bbs.store.tables import TaskTable

_SHOULD_START: Final = pb.StartTaskResponse(should_start=True).SerializeToString()


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
        self._ready_lists = context.ready_lists

    async def tasks(self, request: pb.TasksRequest, call: Call) -> Answer:
        tasks = self._select(request)
        are_all = not (request.domain or request.cell_id)
        return await self._ready_lists.listed(TASKS, tasks, are_all=are_all)

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
    """A desire's answer waits for the auction, a cancel's for the cell, and none for a callback.

    A failure of these peers is logged and not answered, but for a cell that cannot be called at all
    (`bbs.acts.effects.Effects.cancel_task`): the task's row is durable by then, and convergence goes on from it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._resolution = context.resolution

    async def desire(self, request: pb.DesireTaskRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            self._context.effects_log(call, "desire-task.desire-task", lambda: task(request)),
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
            self._context.store.task(request.task_guid),
            lambda scope: lifecycle.start(scope.task(), request.cell_id, now_ns=self._context.now_ns()),
            log=self._context.effects_log(call, "start-task.start-task"),
        )
        if not outcome.rows:
            return SUCCESS  # it runs on this cell already: ``should_start`` is left out, which is false
        self._context.task_counts.started[request.cell_id] += 1
        return _SHOULD_START

    async def complete(self, request: pb.CompleteTaskRequest, call: Call) -> Answer:
        answer = await self._change(
            request.task_guid,
            self._context.effects_log(call, "complete-task.complete-task", lambda: task(request)),
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
            self._context.effects_log(call, "fail-task", lambda: task(request)),
            lambda task: lifecycle.fail(task, request.failure_reason, now_ns=self._context.now_ns()),
        )

    async def cancel(self, request: pb.TaskGuidRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            self._context.effects_log(call, "cancel-task.cancel-task", lambda: task(request)),
            lambda task: lifecycle.cancel(task, trace_id=call.trace_id, now_ns=self._context.now_ns()),
        )

    async def reject(self, request: pb.RejectTaskRequest, call: Call) -> Answer:
        return await self._change(
            request.task_guid,
            self._context.effects_log(call, "reject-task.reject-task", lambda: rejected_task(request)),
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
        self, task_guid: str, log: Callable[[Effect], Logger], decide: Callable[[Task | None], Outcome]
    ) -> Answer:
        """``log`` gives the session in which is told what peers are asked."""
        await self._context.change(
            self._context.store.task(task_guid), lambda scope: decide(scope.task()), log=log
        )
        return SUCCESS
