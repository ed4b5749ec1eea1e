"""What convergence does to one task, to the nanosecond (spec: tasks.md §6; examples.md J)."""

from dataclasses import replace
from typing import Any

import pytest

from bbs.lifecycle.task_convergence import (
    TaskLimits,
    at,
    demote,
    expire_completed,
    expire_pending,
    fail_where_cell_is_gone,
    is_to_be_auctioned,
    is_to_be_called_back,
)
from bbs.models.events import Hub, TaskChanged, TaskRemoved
from bbs.models.outcome import NOTHING, Outcome, delete, put
from bbs.models.task import Task, TaskState
from tests.records import task

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
N = 1_700_000_000 * SECOND_NS
Pending, Running, Completed, Resolving = list(TaskState)[1:]
MOMENT = at(
    N, TaskLimits(kick_ns=30 * SECOND_NS, expire_pending_ns=30 * MINUTE_NS, expire_completed_ns=2 * MINUTE_NS)
)
CELLS = frozenset({"c1", "c2", "c3"})


def aged(
    state: TaskState, *, created: int = 0, updated: int = 0, first_completed: int = 0, **fields: Any
) -> Task:
    """Ages in nanoseconds."""
    return task(
        state=state,
        created_at_ns=N - created,
        updated_at_ns=N - updated,
        first_completed_at_ns=N - first_completed,
        **fields,
    )


def everything(before: Task | None) -> dict[str, Outcome]:
    """What each changing step does to a task; only the steps that do something."""
    outcomes = {
        "A": expire_pending(before, MOMENT),
        "C": fail_where_cell_is_gone(before, CELLS, MOMENT),
        "D": demote(before, MOMENT),
        "E": expire_completed(before, MOMENT),
    }
    return {step: outcome for step, outcome in outcomes.items() if outcome is not NOTHING}


OVER = {"state": Completed, "failed": True, "result": "", "first_completed_at_ns": N, "updated_at_ns": N}


@pytest.mark.parametrize(
    ("before", "step", "changes"),
    [
        pytest.param(
            aged(Pending, created=30 * MINUTE_NS + 1, updated=5),
            "A",
            OVER | {"failure_reason": "not started within time limit"},
            id="J1",
        ),
        pytest.param(
            aged(Pending, created=31 * MINUTE_NS, cell_id="c1", rejection_count=1),
            "A",
            OVER | {"failure_reason": "not started within time limit"},
            id="A keeps the cell of an earlier try",
        ),
        pytest.param(
            aged(Running, cell_id="c9"),
            "C",
            OVER | {"failure_reason": "cell disappeared before completion"},
            id="J4",
        ),
        pytest.param(
            aged(Running),
            "C",
            OVER | {"failure_reason": "cell disappeared before completion"},
            id="C finds a task that names no cell",
        ),
        pytest.param(
            aged(Resolving, updated=31 * SECOND_NS, first_completed=40 * SECOND_NS),
            "D",
            {"state": Completed},
            id="J7: demoted, its age kept",
        ),
    ],
)
def test_a_change(before: Task, step: str, changes: dict[str, object]) -> None:
    [(found, outcome)] = everything(before).items()

    after = replace(before, **changes)  # type: ignore[arg-type]  # a case's fields
    assert found == step
    assert outcome.rows == (put(after),)
    assert [e for told in outcome.announcements for e in told.events(Hub.TASK)] == [
        TaskChanged(before, after)
    ]
    assert outcome.effects == ()  # its callback is for a later pass


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(None, id="gone"),
        pytest.param(aged(Pending, created=30 * MINUTE_NS), id="J2"),
        pytest.param(aged(Pending, created=SECOND_NS), id="J3"),
        pytest.param(aged(Running, cell_id="c1", created=60 * MINUTE_NS, updated=60 * MINUTE_NS), id="J5"),
        pytest.param(
            aged(Resolving, updated=30 * SECOND_NS, first_completed=5 * MINUTE_NS), id="D at its time"
        ),
        pytest.param(aged(Completed, updated=MINUTE_NS, first_completed=2 * MINUTE_NS), id="E at its time"),
    ],
)
def test_nothing(before: Task | None) -> None:
    assert everything(before) == {}


def test_without_cells_all_running_tasks_are_lost() -> None:
    assert fail_where_cell_is_gone(aged(Running, cell_id="c1"), frozenset(), MOMENT).rows


def test_j10_a_completed_task_is_forgotten() -> None:
    before = aged(Completed, first_completed=2 * MINUTE_NS + 1)

    outcome = everything(before)["E"]

    assert outcome.rows == (delete(before),)
    assert [e for told in outcome.announcements for e in told.events(Hub.TASK)] == [TaskRemoved(before)]


@pytest.mark.parametrize(
    ("before", "step"),
    [
        (aged(Pending, created=31 * MINUTE_NS), "A"),
        (aged(Running, cell_id="c9"), "C"),
        (aged(Resolving, updated=31 * SECOND_NS), "D"),
        (aged(Completed, first_completed=3 * MINUTE_NS), "E"),
    ],
)
def test_j11_an_unreadable_task_goes_without_an_event(before: Task, step: str) -> None:
    unreadable = replace(before, definition=b"", unreadable="02x")

    assert everything(unreadable) == {step: Outcome(rows=(delete(unreadable),))}


@pytest.mark.parametrize(
    ("before", "auctioned", "called_back"),
    [
        pytest.param(aged(Pending, created=30 * MINUTE_NS + 1), False, False, id="J1"),
        pytest.param(aged(Pending, created=30 * MINUTE_NS), False, False, id="J2"),
        pytest.param(aged(Pending, created=30 * MINUTE_NS - 1), True, False, id="still in time"),
        pytest.param(aged(Pending), True, False, id="just desired"),
        pytest.param(aged(Running), False, False, id="running"),
        pytest.param(aged(Completed, updated=30 * SECOND_NS), False, False, id="not yet"),
        pytest.param(aged(Completed, updated=30 * SECOND_NS + 1), False, True, id="J9"),
        pytest.param(aged(Resolving, updated=MINUTE_NS), False, False, id="resolving"),
        pytest.param(None, False, False, id="gone"),
    ],
)
def test_who_is_auctioned_and_who_is_called_back(
    before: Task | None, auctioned: bool, called_back: bool
) -> None:
    assert is_to_be_auctioned(before, MOMENT) is auctioned
    assert is_to_be_called_back(before, MOMENT) is called_back
