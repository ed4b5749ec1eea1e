"""What is told of rows that have changed is what the decision told that changed them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle import desired_lrps, task_convergence, tasks
from bbs.lifecycle.row_changes import InstanceChanged, desired_lrp_changed, task_changed
from bbs.models import pb
from bbs.models.actual_lrp import ModificationTag, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import BBSError
from bbs.models.events import (
    DesiredLRPChanged,
    DesiredLRPCreated,
    DesiredLRPRemoved,
    Event,
    Hub,
    TaskCreated,
    TaskRemoved,
)
from bbs.models.outcome import Announcement, Outcome
from bbs.models.task import Task, TaskState
from tests.records import desired_lrp, desired_message, task, task_definition
from tests.told_of_rows import CRASH, MASKED, SHARED_KEY, TOLD_BEFORE, difference, misled

from .notation import SECOND_NS, N, Vector, read_instance, read_row, show_outcome, vectors
from .operations import OPERATIONS, Asked, asked
from .test_actual_lrp_vectors import rows_after

LATE = task_convergence.At(now_ns=N, kick_ns=N, expire_pending_ns=N, expire_completed_ns=N)
"""Every task is too old."""

# In the words of the specification


@pytest.mark.parametrize("vector", list(vectors("row_changes.txt")), ids=lambda vector: vector.name)
def test_what_is_told_of_rows(vector: Vector) -> None:
    told = InstanceChanged(vector.given, vector.after)

    assert show_outcome(Outcome(announcements=(told,))) == vector.events
    assert told.events(Hub.DESIRED) == told.events(Hub.TASK) == ()
    assert misled(vector.given, vector.after) is None


# Whatever the rows are, and whatever is asked

ORDINARY = (
    None,
    *(
        read_row(f"O {state} e#1 {past}")
        for state in ("CLA a@c1", "CLA b@c2", "RUN a@c1", "RUN b@c2", "UNC -", "CRA -")
        for past in ("", "cc=1 crash_reason=boom since=N-6m")
    ),
    read_row("O RUN a@c1 e#1 cc=2 crash_reason=boom"),
)
EVACUATING = (
    None,
    read_row("E RUN a@c1 f#1"),
    read_row("E RUN b@c2 f#1 az=z3"),
    read_row("E RUN x@c3 f#1 az=z3"),
)
SUSPECT = (None, *(read_row(f"S {state} s#1") for state in ("CLA a@c1", "RUN a@c1", "RUN b@c2", "RUN x@c3")))
WHOEVER = (
    Asked(who=read_instance("a@c1")),
    Asked(who=read_instance("a@c1"), address="10.0.0.2", reason=1024 * "x"),
    Asked(who=read_instance("b@c2")),
    Asked(who=read_instance("x@c3")),
)


def is_possible(rows: Rows) -> bool:
    """The server never makes an instance ordinary and suspect at once."""
    ordinary, suspect = rows.ordinary, rows.suspect
    return ordinary is None or suspect is None or ordinary.instance != suspect.instance


ALL_ROWS = [rows for given in product(ORDINARY, EVACUATING, SUSPECT) if is_possible(rows := Rows(*given))]

DIFFERENCES = {
    "claim": {SHARED_KEY},
    "start": {SHARED_KEY},
    "crash": {SHARED_KEY},
    "remove": {SHARED_KEY},
    "retire": {SHARED_KEY},
    "retire, told before": {TOLD_BEFORE},
    "scale down": {SHARED_KEY, MASKED},
    "remove evacuating": {SHARED_KEY},
    "evacuate claimed": {SHARED_KEY, CRASH},
    "evacuate crashed": {SHARED_KEY, CRASH},
    "evacuate stopped": {SHARED_KEY},
    "evacuate running": {SHARED_KEY},
    "evacuate running, recreate": {SHARED_KEY, CRASH},
    "evacuate running, undesired": {SHARED_KEY},
    "displace": {SHARED_KEY, MASKED, CRASH},
    "remove suspect": {SHARED_KEY, MASKED},
    "remove suspect, undesired": {SHARED_KEY, MASKED},
}
"""In what the events of an operation may differ from those of its rows: all that there is, and nothing that is not."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_events_of_an_outcome_follow_from_its_rows(name: str) -> None:
    found: dict[str | None, object] = {}
    for before, about in product(ALL_ROWS, WHOEVER):
        outcome = asked(OPERATIONS[name], before, about)
        if outcome.rows:
            after = rows_after(before, outcome)
            found[difference(before, after, outcome.announcements)] = (before, about, outcome)

    assert found
    assert found.keys() - {None} == DIFFERENCES.get(name, set()), found


# Several outcomes in one transaction

STEPS = st.tuples(
    st.sampled_from(sorted(OPERATIONS)),
    st.sampled_from(["a@c1", "b@c2", "x@c3"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    st.sampled_from([1, 400]),
)


@given(st.sampled_from(ALL_ROWS), st.lists(STEPS, min_size=1, max_size=6))
def test_events_of_a_transaction_leave_subscribers_with_its_rows(
    before: Rows, steps: list[tuple[str, str, str, int]]
) -> None:
    after, now_ns = before, N
    for number, (name, who, address, pause_s) in enumerate(steps):
        now_ns += pause_s * SECOND_NS
        about = Asked(who=read_instance(who), now_ns=now_ns, epoch=f"n{number}", address=address)
        after = rows_after(after, asked(OPERATIONS[name], after, about))

    assert misled(before, after) is None


# DesiredLRPs and tasks


def told_to(hub: Hub, announcements: Sequence[Announcement]) -> list[Event]:
    return [event for told in announcements for event in told.events(hub)]


def test_a_desired_lrp_is_told_as_its_requests_tell_it() -> None:
    at = Asked(who=read_instance("a@c1")).circumstances
    at = replace(at, trace_id="")
    lrp, desire = desired_lrps.desired(None, desired_message(), at)
    update = desired_lrps.update(lrp, pb.DesiredLRPUpdate(annotation="other"), (), at)
    [(_, after)] = update.rows
    assert isinstance(after, DesiredLRP)
    remove = desired_lrps.remove(after, (), trace_id="")

    for outcome, rows in ((desire, (None, lrp)), (update, (lrp, after)), (remove, (after, None))):
        assert told_to(Hub.DESIRED, desired_lrp_changed(*rows)) == told_to(Hub.DESIRED, outcome.announcements)
    assert desired_lrp_changed(lrp, lrp) == ()


def test_a_process_that_was_removed_and_desired_again_is_told_as_both() -> None:
    before = desired_lrp()
    after = replace(before, tag=ModificationTag(epoch="later", index=0))

    assert told_to(Hub.DESIRED, desired_lrp_changed(before, after)) == [
        DesiredLRPRemoved(before, ""),
        DesiredLRPCreated(after, ""),
    ]
    assert told_to(Hub.DESIRED, desired_lrp_changed(after, replace(after, tag=after.tag.next()))) == [
        DesiredLRPChanged(after, replace(after, tag=after.tag.next()), "")
    ]


TASKS = [
    task(state=state, rejection_count=count, **more)
    for state in (TaskState.Pending, TaskState.Running, TaskState.Completed, TaskState.Resolving)
    for count in (0, 3)
    for more in ({}, {"unreadable": "02nonsense"})
]


@pytest.mark.parametrize(
    "operation",
    [
        lambda it: tasks.start(it, "c1", now_ns=N),
        lambda it: tasks.complete(
            it, cell_id=it.cell_id, failed=True, failure_reason="boom", result="", now_ns=N
        ),
        lambda it: tasks.fail(it, "no room", now_ns=N),
        lambda it: tasks.cancel(it, trace_id="trace", now_ns=N),
        lambda it: tasks.reject(it, "no room", max_retries=3, now_ns=N),
        lambda it: tasks.resolving(it, now_ns=N),
        tasks.remove,
        lambda it: task_convergence.expire_pending(it, LATE),
        lambda it: task_convergence.fail_where_cell_is_gone(it, frozenset(), LATE),
        lambda it: task_convergence.demote(it, LATE),
        lambda it: task_convergence.expire_completed(it, LATE),
    ],
    ids=[
        "start", "complete", "fail", "cancel", "reject", "resolving", "remove",
        "not started", "cell is gone", "not resolved", "expired",
    ],
)  # fmt: skip
def test_a_task_is_told_as_what_happened_to_it(operation: Callable[[Task], Outcome]) -> None:
    written = 0
    for before in TASKS:
        with suppress(BBSError):
            outcome = operation(before)
            for _, after in outcome.rows:
                written += 1
                assert after is None or isinstance(after, Task)
                told = told_to(Hub.TASK, task_changed(before, after))
                assert told == told_to(Hub.TASK, outcome.announcements), (before, after)
    assert written


def test_a_desired_task_is_told_and_what_has_not_changed_is_not() -> None:
    outcome = tasks.desire(None, task_guid="t", domain="d", definition=task_definition(), now_ns=N)
    [(_, row)] = outcome.rows
    assert isinstance(row, Task)

    assert told_to(Hub.TASK, task_changed(None, row)) == told_to(Hub.TASK, outcome.announcements)
    assert task_changed(row, row) == ()


def test_a_task_that_was_removed_and_desired_again_is_told_as_both() -> None:
    before = task(state=TaskState.Resolving)
    after = replace(before, state=TaskState.Pending, created_at_ns=before.created_at_ns + 1)

    assert told_to(Hub.TASK, task_changed(before, after)) == [TaskRemoved(before), TaskCreated(after)]
