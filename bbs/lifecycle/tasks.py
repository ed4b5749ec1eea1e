"""Requests about one task, and its way through its states (spec: tasks.md §2-§4).

    Pending -> Running -> Completed -> Resolving -> gone

Each function is given the task as the next mutation must see it, or None, and decides by the first case of its table
that matches. A task whose definition cannot be read can be neither shown nor changed.
"""

from dataclasses import replace
from typing import Final

from bbs.lifecycle.columns import must_fit, truncated
from bbs.models import pb
from bbs.models.errors import (
    Deserialize,
    InvalidRequest,
    InvalidStateTransition,
    ResourceExists,
    ResourceNotFound,
    RunningOnDifferentCell,
)
from bbs.models.events import Event, Hub, TaskChanged, TaskCreated, TaskRemoved
from bbs.models.outcome import (
    NOTHING,
    CancelTask,
    CompleteTask,
    Effect,
    Outcome,
    RequestTaskAuction,
    Told,
    delete,
    put,
)
from bbs.models.task import NO_TASK, Task, TaskState
from bbs.models.wire import encode

_, Pending, Running, Completed, Resolving = TaskState

UNFINISHED: Final = frozenset({Pending, Running})
"""States in which a task can be rejected, failed or cancelled."""

CANCELLED: Final = "task was cancelled"


def desire(
    existing: Task | None, *, task_guid: str, domain: str, definition: pb.TaskDefinition, now_ns: int
) -> Outcome:
    """A task is to run, and goes up for auction.

    Raises:
      InvalidRequest: the guid or domain does not fit its column.
      ResourceExists: there is a task of that guid, in whatever state.
    """
    must_fit(task_guid, domain)
    if existing is not None:
        raise ResourceExists
    task = Task(
        task_guid=task_guid,
        domain=domain,
        created_at_ns=now_ns,
        updated_at_ns=now_ns,
        state=Pending,
        definition=encode(definition),
    )
    return Outcome(
        rows=(put(task),), announcements=(told(TaskCreated(task)),), effects=(RequestTaskAuction(task),)
    )


def start(task: Task | None, cell_id: str, *, now_ns: int) -> Outcome:
    """A cell takes the task on. It is to run it only if a row is written: a repeated request changes nothing.

    Raises:
      ResourceNotFound, Deserialize: see `readable`.
      InvalidStateTransition: it is over, or runs on another cell.
      InvalidRequest: the cell's name does not fit its column.
    """
    before = readable(task)
    if before.state is Running and before.cell_id == cell_id:
        return NOTHING
    if before.state is not Pending:
        raise invalid_transition(before, Running)
    must_fit(cell_id)
    return changed(before, replace(before, state=Running, cell_id=cell_id, updated_at_ns=now_ns))


def complete(
    task: Task | None, *, cell_id: str, failed: bool, failure_reason: str, result: str, now_ns: int
) -> Outcome:
    """The cell that runs the task has ended it.

    Raises:
      ResourceNotFound, Deserialize: see `readable`.
      RunningOnDifferentCell: it runs elsewhere.
      InvalidStateTransition: it does not run.
      InvalidRequest: the result cannot be stored.
    """
    before = readable(task)
    if before.state is Running and before.cell_id != cell_id:
        raise RunningOnDifferentCell.on(actual=before.cell_id, expected=cell_id)
    if before.state is not Running:
        raise invalid_transition(before, Completed)
    # The column has no width, so a result can be of any length; but Postgres stores no NUL.
    if "\0" in result:
        raise InvalidRequest
    over = given_up(before, reason=failure_reason, now_ns=now_ns)
    after = replace(over, failed=failed, result=result, cell_id="")
    return changed(before, after, effects=_callback(after))


def fail(task: Task | None, reason: str, *, now_ns: int) -> Outcome:
    """No cell will run the task, or no cell any more.

    Raises:
      ResourceNotFound, Deserialize: see `readable`.
      InvalidStateTransition: it is over.
    """
    before = readable(task)
    if before.state not in UNFINISHED:
        raise invalid_transition(before, Completed)
    after = replace(given_up(before, reason=reason, now_ns=now_ns), cell_id="")
    return changed(before, after, effects=_callback(after))


def cancel(task: Task | None, *, trace_id: str, now_ns: int) -> Outcome:
    """The client does not want the task any more. The cell that has it, or had it before a reject, is told so.

    Raises:
      ResourceNotFound, Deserialize, InvalidStateTransition: as `fail`.
    """
    outcome = fail(task, CANCELLED, now_ns=now_ns)
    assert task is not None
    # The cell as it was before: `fail` has taken its name off the row.
    if not task.cell_id:
        return outcome
    call = CancelTask(task.task_guid, task.cell_id, trace_id)
    return replace(outcome, effects=(*outcome.effects, call))


def reject(task: Task | None, reason: str, *, max_retries: int, now_ns: int) -> Outcome:
    """A cell, or the auctioneer, could not take the task on: it waits for another try, or fails after ``max_retries``.

    If the task is over already, subscribers are told of a change from no task at all to the task as it is, and the caller
    is refused (spec: tasks.md §4.3, upstream's behaviour). After the last try the refusal is that of `fail`.

    Raises:
      ResourceNotFound, Deserialize: see `readable`.
      InvalidStateTransition: it is over, and has had its share of tries.
    """
    before = readable(task)
    # The count of rejections goes up also with the last one, after which the task fails; of that only the failure is told.
    rejected = before
    if before.state in UNFINISHED:
        rejected = replace(
            before,
            state=Pending,
            rejection_count=before.rejection_count + 1,
            rejection_reason=truncated(reason),
            updated_at_ns=now_ns,
        )
    if before.rejection_count >= max_retries:
        return fail(rejected, reason, now_ns=now_ns)
    if rejected is before:
        return Outcome(announcements=(told(TaskChanged(NO_TASK, before)),), refusal=InvalidRequest())
    return changed(before, rejected)


def resolving(task: Task | None, *, now_ns: int) -> Outcome:
    """Somebody begins to tell the client that the task is over.

    Raises:
      ResourceNotFound, Deserialize: see `readable`.
      InvalidStateTransition: it is not over, or somebody has begun already.
    """
    before = readable(task)
    if before.state is not Completed:
        raise invalid_transition(before, Resolving)
    return changed(before, replace(before, state=Resolving, updated_at_ns=now_ns))


def remove(task: Task | None) -> Outcome:
    """The client knows: the task can go.

    Raises:
      ResourceNotFound, Deserialize: see `readable`.
      InvalidStateTransition: it is not being resolved. The text speaks, as upstream's, of a transition to Resolving.
    """
    before = readable(task)
    if before.state is not Resolving:
        raise invalid_transition(before, Resolving)
    return removed(before)


def readable(task: Task | None) -> Task:
    """The task, if there is one and we understand it.

    Raises:
      ResourceNotFound: there is none.
      Deserialize: its definition cannot be read.
    """
    if task is None:
        raise ResourceNotFound
    if task.unreadable:
        raise Deserialize
    return task


def invalid_transition(task: Task, to: TaskState) -> InvalidStateTransition:
    return InvalidStateTransition.between(task.state.name, to.name)


def told(event: Event) -> Told:
    return Told(Hub.TASK, event)


def changed(before: Task, after: Task, *, effects: tuple[Effect, ...] = ()) -> Outcome:
    return Outcome(rows=(put(after),), announcements=(told(TaskChanged(before, after)),), effects=effects)


def removed(task: Task) -> Outcome:
    return Outcome(rows=(delete(task),), announcements=(told(TaskRemoved(task)),))


def given_up(task: Task, *, reason: str, now_ns: int) -> Task:
    """``task`` after a failure that no cell reported. It still names the cell that had it (spec: tasks.md §4.2)."""
    return replace(
        task,
        state=Completed,
        failed=True,
        failure_reason=truncated(reason),
        result="",
        first_completed_at_ns=now_ns,
        updated_at_ns=now_ns,
    )


def _callback(task: Task) -> tuple[Effect, ...]:
    return (CompleteTask(task),) if task.completion_callback_url else ()
