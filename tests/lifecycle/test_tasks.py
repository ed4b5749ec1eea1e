"""What may be done to a task in which state, and what it does (spec: tasks.md §2-§4; examples.md H)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bbs.lifecycle import tasks
from bbs.models import pb
from bbs.models.errors import (
    BBSError,
    Deserialize,
    InvalidRequest,
    InvalidStateTransition,
    ResourceExists,
    ResourceNotFound,
    RunningOnDifferentCell,
)
from bbs.models.events import Event, Hub, TaskChanged, TaskCreated, TaskRemoved
from bbs.models.outcome import CancelTask, CompleteTask, Outcome, RequestTaskAuction, delete, put
from bbs.models.task import NO_TASK, Task, TaskState
from bbs.models.versions import Version
from bbs.models.wire import encode
from tests.records import task, task_definition

N = 1_700_000_000_000_000_000
Pending, Running, Completed, Resolving = list(TaskState)[1:]
PENDING = task(created_at_ns=5, updated_at_ns=6)
RUNNING = replace(PENDING, state=Running, cell_id="c1")
COMPLETED = replace(
    PENDING, state=Completed, failed=True, failure_reason="f", first_completed_at_ns=7, updated_at_ns=7
)
RESOLVING = replace(COMPLETED, state=Resolving, updated_at_ns=8)
STALE = replace(PENDING, cell_id="c1", rejection_count=1, rejection_reason="no")
URL = "https://callback.example.com/t"
CALLED_BACK = encode(task_definition(completion_callback_url=URL, annotation="note"))
UNREADABLE = replace(PENDING, definition=b"", unreadable="02x")

Operation = Callable[[Task | None], Outcome]


def start(cell_id: str = "c1") -> Operation:
    return lambda task: tasks.start(task, cell_id, now_ns=N)


def complete(cell_id: str = "c1", *, failed: bool = False, reason: str = "", result: str = "r") -> Operation:
    return lambda task: tasks.complete(
        task, cell_id=cell_id, failed=failed, failure_reason=reason, result=result, now_ns=N
    )


def fail(reason: str = "f") -> Operation:
    return lambda task: tasks.fail(task, reason, now_ns=N)


def cancel(task: Task | None) -> Outcome:
    return tasks.cancel(task, trace_id="tr", now_ns=N)


def reject(reason: str = "no", max_retries: int = 1) -> Operation:
    return lambda task: tasks.reject(task, reason, max_retries=max_retries, now_ns=N)


def resolving(task: Task | None) -> Outcome:
    return tasks.resolving(task, now_ns=N)


def events(outcome: Outcome) -> list[Event]:
    for hub in (Hub.DESIRED, Hub.GROUP, Hub.INSTANCE):
        assert not [event for told in outcome.announcements for event in told.events(hub)]
    return [event for told in outcome.announcements for event in told.events(Hub.TASK)]


OVER = {"state": Completed, "cell_id": "", "first_completed_at_ns": N, "updated_at_ns": N, "result": ""}


@pytest.mark.parametrize(
    ("before", "operation", "changes"),
    [
        pytest.param(
            PENDING, start("c1"), {"state": Running, "cell_id": "c1", "updated_at_ns": N}, id="H3: start"
        ),
        pytest.param(
            STALE,
            start("c2"),
            {"state": Running, "cell_id": "c2", "updated_at_ns": N},
            id="start after a reject, elsewhere",
        ),
        pytest.param(RUNNING, complete(), OVER | {"failed": False, "result": "r"}, id="H8: complete"),
        pytest.param(
            RUNNING,
            complete(failed=True, reason="boom", result=""),
            OVER | {"failed": True, "failure_reason": "boom"},
            id="complete with a failure",
        ),
        pytest.param(
            RUNNING,
            complete(failed=False, reason="x" * 1024, result="r" * 5000),
            OVER | {"failed": False, "failure_reason": "x" * 1013 + "(truncated)", "result": "r" * 5000},
            id="a long reason is cut, a long result is not",
        ),
        pytest.param(
            PENDING,
            cancel,
            OVER | {"failed": True, "failure_reason": "task was cancelled"},
            id="H10: cancel while pending",
        ),
        pytest.param(
            RUNNING,
            cancel,
            OVER | {"failed": True, "failure_reason": "task was cancelled"},
            id="H11: cancel while running",
        ),
        pytest.param(PENDING, fail(), OVER | {"failed": True, "failure_reason": "f"}, id="H16: fail"),
        pytest.param(
            RUNNING,
            fail("x" * 2048),
            OVER | {"failed": True, "failure_reason": "x" * 1013 + "(truncated)"},
            id="H17: a long reason is cut",
        ),
        pytest.param(
            RUNNING,
            reject(),
            {"state": Pending, "rejection_count": 1, "rejection_reason": "no", "updated_at_ns": N},
            id="H18: a rejected task keeps its cell",
        ),
        pytest.param(
            PENDING,
            reject("n" * 1024),
            {"rejection_count": 1, "rejection_reason": "n" * 1013 + "(truncated)", "updated_at_ns": N},
            id="a pending task is rejected, at length",
        ),
        pytest.param(COMPLETED, resolving, {"state": Resolving, "updated_at_ns": N}, id="resolving"),
    ],
)
def test_a_change_writes_one_row_and_tells_it(
    before: Task, operation: Operation, changes: dict[str, object]
) -> None:
    outcome = operation(before)

    after = replace(before, **changes)  # type: ignore[arg-type]  # a case's fields
    assert outcome.rows == (put(after),)
    assert events(outcome) == [TaskChanged(before, after)]
    assert outcome.refusal is None


@pytest.mark.parametrize(
    ("before", "operation", "error", "text"),
    [
        pytest.param(
            RUNNING,
            start("c2"),
            InvalidStateTransition,
            "Cannot transition from Running to Running",
            id="H5: start elsewhere",
        ),
        pytest.param(
            COMPLETED,
            start("c1"),
            InvalidStateTransition,
            "Cannot transition from Completed to Running",
            id="start when over",
        ),
        pytest.param(
            RESOLVING,
            start(""),
            InvalidStateTransition,
            "Cannot transition from Resolving to Running",
            id="start when resolving",
        ),
        pytest.param(
            RUNNING,
            complete("c2"),
            RunningOnDifferentCell,
            "Running on cell c1 not c2",
            id="H6: complete by another cell",
        ),
        pytest.param(
            PENDING,
            complete("c1"),
            InvalidStateTransition,
            "Cannot transition from Pending to Completed",
            id="H7: complete when pending",
        ),
        pytest.param(
            COMPLETED,
            complete("c1"),
            InvalidStateTransition,
            "Cannot transition from Completed to Completed",
            id="H9: complete again",
        ),
        pytest.param(
            RESOLVING,
            cancel,
            InvalidStateTransition,
            "Cannot transition from Resolving to Completed",
            id="H15: cancel when resolving",
        ),
        pytest.param(
            COMPLETED,
            fail(),
            InvalidStateTransition,
            "Cannot transition from Completed to Completed",
            id="fail when over",
        ),
        pytest.param(
            replace(COMPLETED, rejection_count=1),
            reject(),
            InvalidStateTransition,
            "Cannot transition from Completed to Completed",
            id="H22: reject when over, after the last try",
        ),
        pytest.param(
            PENDING,
            resolving,
            InvalidStateTransition,
            "Cannot transition from Pending to Resolving",
            id="H25: resolving when pending",
        ),
        pytest.param(
            RESOLVING,
            resolving,
            InvalidStateTransition,
            "Cannot transition from Resolving to Resolving",
            id="H35: resolving twice",
        ),
        pytest.param(
            COMPLETED,
            tasks.remove,
            InvalidStateTransition,
            "Cannot transition from Completed to Resolving",
            id="H26: delete before resolving",
        ),
        pytest.param(
            RUNNING,
            tasks.remove,
            InvalidStateTransition,
            "Cannot transition from Running to Resolving",
            id="delete when running",
        ),
        pytest.param(PENDING, start("c" * 256), InvalidRequest, None, id="a cell id too long to store"),
        pytest.param(RUNNING, complete(result="\0"), InvalidRequest, None, id="a result that has a NUL"),
    ],
)
def test_refusals(before: Task, operation: Operation, error: type[BBSError], text: str | None) -> None:
    with pytest.raises(error) as caught:
        operation(before)

    assert str(caught.value) == (error.canonical_text if text is None else text)


OPERATIONS = [start(), complete(), fail(), cancel, reject(), reject(max_retries=0), resolving, tasks.remove]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_task(operation: Operation) -> None:
    with pytest.raises(ResourceNotFound):
        operation(None)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("state", list(TaskState)[1:])
def test_an_unreadable_task_is_left_alone(operation: Operation, state: TaskState) -> None:
    with pytest.raises(Deserialize):
        operation(replace(UNREADABLE, state=state, cell_id="c1"))


def desire(existing: Task | None, guid: str = "t", domain: str = "d") -> Outcome:
    definition = task_definition(completion_callback_url=URL)
    return tasks.desire(existing, task_guid=guid, domain=domain, definition=definition, now_ns=N)


def test_a_desired_task_is_pending_and_auctioned() -> None:
    outcome = desire(None)

    new = task(created_at_ns=N, updated_at_ns=N, url=URL)
    assert outcome.rows == (put(new),)
    assert events(outcome) == [TaskCreated(new)]
    assert outcome.effects == (RequestTaskAuction(new),)


@pytest.mark.parametrize("existing", [PENDING, RESOLVING, UNREADABLE])
def test_a_guid_is_desired_once(existing: Task) -> None:
    with pytest.raises(ResourceExists):
        desire(existing)


@pytest.mark.parametrize(("guid", "domain"), [("t" * 256, "d"), ("t", "d" * 256), ("t", "\0")])
def test_names_must_fit_even_if_the_task_exists(guid: str, domain: str) -> None:
    with pytest.raises(InvalidRequest):
        desire(PENDING, guid, domain)


def test_a_cell_may_start_its_task_twice() -> None:
    assert start("c1")(RUNNING) == Outcome()


def test_a_resolved_task_is_removed() -> None:
    outcome = tasks.remove(RESOLVING)

    assert outcome == Outcome(rows=(delete(RESOLVING),), announcements=outcome.announcements)
    assert events(outcome) == [TaskRemoved(RESOLVING)]


@pytest.mark.parametrize(
    ("before", "max_retries", "count"),
    [
        pytest.param(replace(PENDING, rejection_count=1), 1, 2, id="H19: the last try"),
        pytest.param(PENDING, 0, 1, id="H20: no second try at all"),
        pytest.param(replace(RUNNING, rejection_count=3), 3, 4, id="the fourth reject of a running task"),
    ],
)
def test_one_reject_too_many_fails_the_task(before: Task, max_retries: int, count: int) -> None:
    outcome = reject("no2", max_retries)(before)

    rejected = replace(before, state=Pending, rejection_count=count, rejection_reason="no2", updated_at_ns=N)
    after = replace(
        rejected,
        state=Completed,
        failed=True,
        failure_reason="no2",
        first_completed_at_ns=N,
        cell_id="",
    )
    assert outcome.rows == (put(after),)
    assert events(outcome) == [TaskChanged(rejected, after)]


@pytest.mark.parametrize("before", [COMPLETED, RESOLVING])
def test_h21_a_refused_reject_is_told_as_a_change_from_nothing(before: Task) -> None:
    outcome = reject(max_retries=3)(before)

    assert outcome.rows == ()
    assert isinstance(outcome.refusal, InvalidRequest)
    assert str(outcome.refusal) == "the request received is invalid"
    [event] = events(outcome)
    assert event == TaskChanged(NO_TASK, before)
    sent = pb.TaskChangedEvent.FromString(event.encode(Version.V3))
    assert sent.before.SerializeToString() == bytes.fromhex("0a00")  # an empty definition, and nothing else
    assert sent.after == before.message()


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        pytest.param(RUNNING, complete(), id="complete"),
        pytest.param(PENDING, fail("x" * 2048), id="fail, with the cut reason"),
        pytest.param(PENDING, cancel, id="cancel"),
        pytest.param(PENDING, reject(max_retries=0), id="reject, the last time"),
    ],
)
def test_who_ends_a_task_has_its_client_told(before: Task, operation: Operation) -> None:
    outcome = operation(replace(before, definition=CALLED_BACK))

    [row] = outcome.rows
    assert isinstance(row.record, Task)
    assert outcome.effects == (CompleteTask(row.record),)
    assert (row.record.completion_callback_url, row.record.annotation) == (URL, "note")
    assert operation(before).effects == ()


@pytest.mark.parametrize(
    "before",
    [pytest.param(RUNNING, id="H11: it runs there"), pytest.param(STALE, id="H24: it was rejected there")],
)
def test_a_cancel_is_passed_on_to_the_cell(before: Task) -> None:
    assert cancel(before).effects == (CancelTask("t", "c1", "tr"),)
    assert fail()(before).effects == ()


def test_a_definition_is_always_shown() -> None:
    assert task(definition=b"").message().HasField("task_definition")
    # Field 1000 is none that we know; it stays in the row.
    unknown = encode(task_definition()) + bytes.fromhex("c23e0161")
    assert task(definition=unknown).message() == task().message()
    assert task(definition=unknown).framed == task().framed
