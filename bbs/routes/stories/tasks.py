"""What the log says of requests about tasks. Upstream's controller opens a session with the handler's name once more (sic),
so most names here have two parts, ``start-task.db-start-task``, and most numbers, ``1.1``.
"""

from typing import Final

from bbs.lifecycle.tasks import UNFINISHED
from bbs.log import Level
from bbs.models import pb
from bbs.models.errors import (
    Deserialize,
    InvalidRequest,
    InvalidStateTransition,
    ResourceNotFound,
    RunningOnDifferentCell,
)
from bbs.models.task import TaskState
from bbs.routes.stories import data
from bbs.routes.stories.story import Failures, Line, Session, Story, changing, reading, whole
from bbs.store.head import Head

NO_SUCH_ROW: Final = "sql: no rows in result set"

_NOT_LOCKED: Final[Failures] = {
    ResourceNotFound: "failed-locking-task",
    Deserialize: "failed-locking-task",
}
_NOT_COMPLETED: Final[Failures] = {
    **_NOT_LOCKED,
    InvalidStateTransition: "failed-to-transition-task-to-completed",
}
_NOT_RESOLVING: Final[Failures] = {
    **_NOT_LOCKED,
    InvalidStateTransition: "invalid-state-transition",
}


class TaskStories:
    def __init__(self, head: Head, *, max_task_retries: int) -> None:
        self._head = head
        self._max_task_retries = max_task_retries

    def tasks(self, request: pb.TasksRequest, is_debug: bool) -> Story:
        story = reading(Session("tasks.db-tasks", "1.1", data.tasks(request)))
        story.failures = {Deserialize: "failed-fetch"}
        return story

    def by_guid(self, request: pb.TaskByGuidRequest, is_debug: bool) -> Story:
        return reading(Session("task-by-guid.db-task-by-guid", "1.1", data.task(request)))

    def desire(self, request: pb.DesireTaskRequest, is_debug: bool) -> Story:
        session = Session("desire-task.db-desire-task", "1.1", data.task(request))
        return changing(session, fails="failed-inserting-task")

    def start(self, request: pb.StartTaskRequest, is_debug: bool) -> Story:
        session = Session("start-task.db-start-task", "1.1", data.task_on_cell(request))
        within: tuple[Line, ...] = ()
        if is_debug:
            task = self._head.task(request.task_guid)
            if task is not None and (task.state, task.cell_id) == (TaskState.Running, request.cell_id):
                within = (Line(Level.DEBUG, "task-already-running-on-cell", session),)
        return changing(
            session,
            within=within,
            failures={**_NOT_LOCKED, InvalidStateTransition: "failed-to-transition-task-to-running"},
        )

    def cancel(self, request: pb.TaskGuidRequest, is_debug: bool) -> Story:
        return _task_change("cancel", data.task(request), _NOT_COMPLETED)

    def fail(self, request: pb.FailTaskRequest, is_debug: bool) -> Story:
        """Of all requests about tasks only this one has no session of the controller's."""
        return changing(
            Session("db-fail-task", "1", data.task(request)),
            failures=_NOT_COMPLETED,
            fails="failed-updating-tasks",
        )

    def reject(self, request: pb.RejectTaskRequest, is_debug: bool) -> Story:
        """Upstream does this in three steps, and the lines are about these: a read, a rejection, and a failure if the task
        has been rejected too often. Here it is one change of the row.
        """
        guid: data.Data = {"guid": request.task_guid}
        about: data.Data = {**guid, "task_guid": request.task_guid}
        controller = Session("reject-task", "1", guid)
        first, last = whole(controller, Level.INFO, begins="start")
        task = self._head.task(request.task_guid)
        read_first, read_last = whole(Session("reject-task.db-task-by-guid", "1.1", about))
        if task is None or task.unreadable:
            error = NO_SUCH_ROW if task is None else Deserialize.canonical_text
            missing = Line(Level.ERROR, "failed-to-fetch-task", controller, None, error)
            return Story(before=(first, read_first, read_last, missing), at_last=(last,))
        reason = {"rejection-reason": request.rejection_reason}
        before = (first, read_first, read_last, Line(Level.INFO, "reject-task", controller, reason))
        db = Session("reject-task.db-reject-task", "1.2", about)
        within: tuple[Line, ...] = ()
        refused: tuple[Line, ...] = ()
        if task.state not in UNFINISHED:
            within = (Line(Level.INFO, "invalid-task-state", db, {"task_state": int(task.state)}),)
            text = InvalidRequest.canonical_text
            refused = (Line(Level.ERROR, "failed-to-reject-task", controller, None, text),)
        if task.rejection_count < self._max_task_retries:
            # The refusal for its state is an outcome with an announcement, so the work is done when it comes.
            return changing(
                db, before=before, within=within, after=refused, at_last=(last,), fails="failed-updating-tasks",
                further=None if refused else (Level.ERROR, "failed-to-reject-task"), further_at=controller,
            )  # fmt: skip
        rejected, rejected_last = whole(db, Level.INFO)
        return changing(
            Session("reject-task.db-fail-task", "1.3", about),
            before=(*before, rejected, *within, rejected_last, *refused),
            at_last=(last,),
            failures=_NOT_COMPLETED,
            fails="failed-updating-tasks",
        )

    def complete(self, request: pb.CompleteTaskRequest, is_debug: bool) -> Story:
        failures = {**_NOT_COMPLETED, RunningOnDifferentCell: "failed-task-already-running-on-different-cell"}
        return _task_change("complete", data.task_on_cell(request), failures)

    def resolving(self, request: pb.TaskGuidRequest, is_debug: bool) -> Story:
        return _task_change("resolving", data.task(request), _NOT_RESOLVING)

    def delete(self, request: pb.TaskGuidRequest, is_debug: bool) -> Story:
        return _task_change("delete", data.task(request), _NOT_RESOLVING, fails="failed-deleting-task")


def _task_change(
    verb: str,
    about: data.Data,
    failures: Failures,
    *,
    fails: str = "failed-updating-tasks",
) -> Story:
    session = Session(f"{verb}-task.db-{verb}-task", "1.1", about)
    return changing(session, failures=failures, fails=fails)
