"""What convergence does to a task that stays where it should not (spec: tasks.md §6).

Each function decides about one task as the next mutation must see it, and does nothing if there is nothing to do any
more: the pass has picked it from rows that may have changed since. A task whose definition cannot be read goes, without
an event, as soon as a step would have picked it.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Final

from bbs.lifecycle.tasks import Completed, Pending, Resolving, Running, changed, given_up, removed
from bbs.models.outcome import NOTHING, Outcome, delete
from bbs.models.task import Task

NOT_STARTED: Final = "not started within time limit"
CELL_DISAPPEARED: Final = "cell disappeared before completion"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits:
    """How long a task may stay as it is, in nanoseconds: upstream's settings ``kick_task_duration``,
    ``expire_pending_task_duration`` and ``expire_completed_task_duration``. If one is negative every task is too old,
    as with upstream.
    """

    kick_ns: int = 30_000_000_000
    expire_pending_ns: int = 1_800_000_000_000
    expire_completed_ns: int = 120_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """The moments, in Unix nanoseconds, before which a task is too old. A task of exactly that age is left alone."""

    now_ns: int
    kick_ns: int
    expire_pending_ns: int
    expire_completed_ns: int


def at(now_ns: int, limits: TaskLimits) -> At:
    """One moment for a whole pass, so that no step calls a task too old that an earlier step did not."""
    return At(
        now_ns=now_ns,
        kick_ns=now_ns - limits.kick_ns,
        expire_pending_ns=now_ns - limits.expire_pending_ns,
        expire_completed_ns=now_ns - limits.expire_completed_ns,
    )


def expire_pending(task: Task | None, at: At) -> Outcome:
    """Step A: a pending task that no cell has started in time fails."""
    if task is None or task.state is not Pending or task.created_at_ns >= at.expire_pending_ns:
        return NOTHING
    return pruned(task) or changed(task, given_up(task, reason=NOT_STARTED, now_ns=at.now_ns))


def is_to_be_auctioned(task: Task | None, at: At) -> bool:
    """Step B: every pending task that is not too old is auctioned again, on every pass, however young it is: as upstream."""
    return task is not None and task.state is Pending and task.created_at_ns > at.expire_pending_ns


def fail_where_cell_is_gone(task: Task | None, cells: Set[str], at: At) -> Outcome:
    """Step C: a running task fails if its cell is none of ``cells``, the ids of those that announce themselves."""
    if task is None or task.state is not Running or task.cell_id in cells:
        return NOTHING
    return pruned(task) or changed(task, given_up(task, reason=CELL_DISAPPEARED, now_ns=at.now_ns))


def demote(task: Task | None, at: At) -> Outcome:
    """Step D: a resolving task becomes completed again if its callback was not answered in time, so that it can be called
    back anew. ``updated_at_ns`` stays, so step F finds it in the same pass.
    """
    if task is None or task.state is not Resolving or task.updated_at_ns >= at.kick_ns:
        return NOTHING
    return pruned(task) or changed(task, replace(task, state=Completed))


def expire_completed(task: Task | None, at: At) -> Outcome:
    """Step E: a completed task that nobody has resolved in time is removed."""
    if task is None or task.state is not Completed or task.first_completed_at_ns >= at.expire_completed_ns:
        return NOTHING
    return pruned(task) or removed(task)


def is_to_be_called_back(task: Task | None, at: At) -> bool:
    """Step F: a completed task that nobody has begun to resolve in time is handed to the callback pool again. Also one without
    a URL: the pool passes over it, and upstream counts it.
    """
    return task is not None and task.state is Completed and task.updated_at_ns < at.kick_ns


def pruned(task: Task) -> Outcome | None:
    """The end of a task that cannot be read; ``None`` for any other."""
    return Outcome(rows=(delete(task),)) if task.unreadable else None
