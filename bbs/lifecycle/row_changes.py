"""What is told of rows that have changed, when only the rows are known and not what was decided.

A follower, whose memory follows the database, and an audit, which finds rows that somebody else has changed, have rows before
and after a transaction. Their subscribers have to hear what the subscribers of the server that made the change hear, so what
it decided is recognised by what it left behind. If the transaction was that of one decision, the events are that decision's
(`docs/differences.md` names those of which rows cannot tell). If it was that of several, one after another, they lead from
the rows before to those after, and no instance that runs before and after is missing in between.

Three things are not what a comparison row by row would give. An instance can move to another row: when its cell is missing, it
becomes suspect, and its former key is that of its replacement. Told row by row, it would be removed, and its route with it. A
crash can leave an unclaimed row, as a cell that drains does. And a record with another epoch is not the former one changed,
but a new one of the same key.

One thing is told otherwise on purpose. Where an evacuating row has the same instance key as another row, the server tells of
both whichever has changed (`bbs.lifecycle.announcements.recorded`), so what stays may be told as gone. Here each row is told
by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bbs.lifecycle.announcements import RowsChanged, RowsChangedByCrash, created, recorded, removed
from bbs.lifecycle.groups import alone, group_of
from bbs.lifecycle.restart import CRASH_RESET_NS
from bbs.lifecycle.rows import with_presence
from bbs.models.actual_lrp import NO_INSTANCE, ActualLRP, ActualLRPState, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    DesiredLRPChanged,
    DesiredLRPCreated,
    DesiredLRPRemoved,
    Event,
    Hub,
    TaskChanged,
    TaskCreated,
    TaskRemoved,
)
from bbs.models.outcome import Announcement, Told
from bbs.models.record import value
from bbs.models.task import Task, TaskState

_ORDINARY, _EVACUATING, _SUSPECT = Presence
_UNCLAIMED, _RUNNING, _CRASHED = (
    ActualLRPState.UNCLAIMED,
    ActualLRPState.RUNNING,
    ActualLRPState.CRASHED,
)

_MOVES: Final = (
    (_SUSPECT, _EVACUATING),
    (_ORDINARY, _EVACUATING),
    (_SUSPECT, _ORDINARY),
    (_ORDINARY, _SUSPECT),
)
"""Where an instance can move: from which row, to which. A row that is left is left before another instance moves there. From
an evacuating row none moves: what its cell starts again is another row, and the evacuating one is over."""


def desired_lrp_changed(before: DesiredLRP | None, after: DesiredLRP | None) -> tuple[Told, ...]:
    """A DesiredLRP that was removed and desired again in one transaction has another epoch, and is told as both."""
    if before == after:
        return ()
    if before is None or after is None or before.tag.epoch != after.tag.epoch:
        gone = () if before is None else (Told(Hub.DESIRED, DesiredLRPRemoved(before, "")),)
        return gone if after is None else (*gone, Told(Hub.DESIRED, DesiredLRPCreated(after, "")))
    return (Told(Hub.DESIRED, DesiredLRPChanged(before, after, "")),)


def task_changed(before: Task | None, after: Task | None) -> tuple[Told, ...]:
    """A task has no epoch; another time of creation says that it is another task. The end of one that cannot be read is not
    told (`bbs.lifecycle.task_convergence`).
    """
    if before == after or (after is None and before is not None and before.unreadable):
        return ()
    if before is None or after is None or before.created_at_ns != after.created_at_ns:
        gone = () if before is None else (Told(Hub.TASK, TaskRemoved(before)),)
        return gone if after is None else (*gone, Told(Hub.TASK, TaskCreated(after)))
    if after.state is TaskState.Completed and after.rejection_count > before.rejection_count:
        # The last rejection: it is counted before the task fails, and of the two only the failure is told.
        before = replace(
            before,
            state=TaskState.Pending,
            rejection_count=after.rejection_count,
            rejection_reason=after.rejection_reason,
            updated_at_ns=after.updated_at_ns,
        )
    return (Told(Hub.TASK, TaskChanged(before, after)),)


@value
class InstanceChanged:
    """The rows of one instance changed from ``before`` to ``after``.

    What that was is worked out when a hub asks: a follower makes thousands of these a second, most for nobody.
    """

    before: Rows
    after: Rows

    def events(self, hub: Hub) -> Sequence[Event]:
        if hub is not Hub.INSTANCE and hub is not Hub.GROUP:
            return ()
        return [event for told in _announcements(self.before, self.after) for event in told.events(hub)]


def _announcements(before: Rows, after: Rows) -> Sequence[Announcement]:
    """By what has changed. Decisions leave few shapes; whatever has none of them was several decisions, or somebody's hand."""
    old_ordinary, old_evacuating, old_suspect = before
    ordinary, evacuating, suspect = after
    has_changed = (
        old_ordinary is not ordinary and old_ordinary != ordinary,
        old_evacuating is not evacuating and old_evacuating != evacuating,
        old_suspect is not suspect and old_suspect != suspect,
    )
    recognise = _SHAPES.get(has_changed)
    if recognise is not None and (told := recognise(before, after)):
        return told
    if (
        _is_another(old_ordinary, ordinary)
        or _is_another(old_evacuating, evacuating)
        or _is_another(old_suspect, suspect)
        or (sum(has_changed) > 1 and _moves(before, after))  # an instance that moves changes two rows
    ):
        return _step_by_step(before, after)
    return _row_by_row(before, after)


# What one decision leaves behind. Each of these gives nothing if it was not that.


def _ordinary_changed(before: Rows, after: Rows) -> Sequence[Announcement]:
    old, new = before.ordinary, after.ordinary
    if new is None:
        return ()
    if old is None:
        # The group hub is told of a new row even if a suspect one stands for the instance there.
        return (created(new),) if new.state is _UNCLAIMED else ()
    if old.tag.epoch != new.tag.epoch:
        return ()
    if new.state in (_UNCLAIMED, _CRASHED) and _has_crashed(old, new):
        present = before.present()
        return (RowsChangedByCrash(present, (new, *present[1:])),)
    if old.state is _CRASHED and new.state is _UNCLAIMED:
        # Convergence starts it again, and tells the group hub of that row alone.
        return (RowsChanged((old,), (new,)),)
    return ()


def _has_crashed(old: ActualLRP, new: ActualLRP) -> bool:
    """Whether the instance of ``old`` has crashed, as far as its row can tell."""
    if not old.state.is_held or old.tag.epoch != new.tag.epoch:
        return False
    if new.crash_count != old.crash_count or new.crash_reason != old.crash_reason:
        return new.crash_count > 0
    # Once an instance has run for long, its next crash is the first. If it was the first before, and for the same reason, its row
    # looks like that of one that was given up. Crashes are common; to give up what runs, without an evacuating row, is not.
    return (old.state, new.state, new.crash_count) == (
        _RUNNING,
        _UNCLAIMED,
        1,
    ) and new.since_ns - old.since_ns > CRASH_RESET_NS


def _evacuated_again(before: Rows, after: Rows) -> Sequence[Announcement]:
    """A cell has reported an evacuating row anew, which the instance hub is told as a row that is created."""
    old, new = before.evacuating, after.evacuating
    if old is None or new is None:
        return ()
    if (old.tag.epoch, old.instance, old.state, new.state) != (
        new.tag.epoch,
        new.instance,
        _RUNNING,
        _RUNNING,
    ):
        return ()
    return (
        Told(Hub.GROUP, ActualLRPGroupChanged(alone(old), alone(new))),
        Told(Hub.INSTANCE, ActualLRPInstanceCreated(new, "")),
    )


def _suspected_or_promoted(before: Rows, after: Rows) -> Sequence[Announcement]:
    return _suspected(before, after) or _promoted(before, after)


def _suspected(before: Rows, after: Rows) -> Sequence[Announcement]:
    """The cell of the ordinary row is missing. The group hub is told nothing: the suspect stands for the instance there."""
    old, suspect, replacement = before.ordinary, after.suspect, after.ordinary
    if old is None or replacement is None or before.suspect is not None:
        return ()
    if replacement.state is not _UNCLAIMED or suspect != with_presence(old, _SUSPECT):
        return ()
    return (
        Told(Hub.INSTANCE, ActualLRPInstanceChanged(old, suspect, "")),
        Told(Hub.INSTANCE, ActualLRPInstanceCreated(replacement, "")),
    )


def _promoted(before: Rows, after: Rows) -> Sequence[Announcement]:
    """The cell of the suspect row is back, and its replacement goes."""
    suspect, promoted = before.suspect, after.ordinary
    if suspect is None or after.suspect is not None or promoted != with_presence(suspect, _ORDINARY):
        return ()
    told = Told(Hub.INSTANCE, ActualLRPInstanceChanged(suspect, promoted, ""))
    return (told,) if before.ordinary is None else (removed(before.ordinary), told)


def _evacuated(before: Rows, after: Rows) -> Sequence[Announcement]:
    """The ordinary row goes on as the evacuating one, and is free to be placed elsewhere."""
    old, evacuating, freed = before.ordinary, after.evacuating, after.ordinary
    if old is None or freed is None or not _goes_on_as(old, evacuating):
        return ()
    if freed.state is not _UNCLAIMED or freed.tag.epoch != old.tag.epoch:
        return ()
    present = before.present()
    return (RowsChanged(present, recorded(None, freed, recorded(old, evacuating, present))),)


def _suspect_evacuated(before: Rows, after: Rows) -> Sequence[Announcement]:
    """The suspect row goes on as the evacuating one. Its replacement is under way."""
    old, evacuating = before.suspect, after.evacuating
    if old is None or after.suspect is not None or not _goes_on_as(old, evacuating):
        return ()
    present = before.present()
    return (RowsChanged(present, recorded(old, evacuating, present)),)


def _goes_on_as(old: ActualLRP, new: ActualLRP | None) -> bool:
    return new is not None and old.instance == new.instance != NO_INSTANCE


_SHAPES: Final[Mapping[tuple[bool, bool, bool], Callable[[Rows, Rows], Sequence[Announcement]]]] = {
    (True, False, False): _ordinary_changed,
    (False, True, False): _evacuated_again,
    (True, False, True): _suspected_or_promoted,
    (True, True, False): _evacuated,
    (False, True, True): _suspect_evacuated,
}
"""What a change of these rows may have been: the ordinary, the evacuating, the suspect one."""


# Everything else


def _row_by_row(before: Rows, after: Rows) -> Sequence[Announcement]:
    """Each row by itself. That is what most decisions are told as, and also several that have left each row its own."""
    present = before.present()
    kept = (after[row.presence] for row in present)
    new = (row for row in after.present() if before[row.presence] is None)
    changed = RowsChanged(present, (*kept, *new))
    if _is_crashed(after):
        return (changed,)  # which tells a crash by itself
    return (*_crash(before, after), changed)


def _crash(before: Rows, after: Rows) -> Sequence[Told]:
    """The event of a crash after which the row has changed again, or others have changed with it."""
    old, new = before.ordinary, after.ordinary
    if old is None or new is None or not _has_crashed(old, new):
        return ()
    told = Told(Hub.INSTANCE, ActualLRPCrashed(old, new))
    if group_of(before.present()).instance is not old:
        return (told,)  # a suspect row stands for the instance in the group, and has not crashed
    return Told(Hub.GROUP, ActualLRPCrashed(old, new)), told


def _is_crashed(rows: Rows) -> bool:
    return rows.ordinary is not None and rows.ordinary.state is _CRASHED


def _moves(before: Rows, after: Rows) -> dict[Presence, Presence]:
    """Where instances have moved: to which row, by that from which they came, in an order in which none overwrites another."""
    moves: dict[Presence, Presence] = {}
    for source, target in _MOVES:
        is_taken = source in moves or target in moves.values() or moves.get(target) is source
        if not is_taken and _has_moved(before, after, source, target):
            moves[source] = target
    return moves


def _has_moved(before: Rows, after: Rows, source: Presence, target: Presence) -> bool:
    left, reached = before[source], after[target]
    if left is None or reached is None or not _goes_on_as(left, reached):
        return False
    if left.state is _RUNNING and reached.state is not _RUNNING:
        return False  # it has come to an end, and others that run are to be told of before
    return not any(_goes_on_as(left, row) for row in (before[target], after[source]))


def _is_another(old: ActualLRP | None, new: ActualLRP | None) -> bool:
    """Whether the row of ``new`` is to be told as a new one, and that of ``old`` as gone."""
    if old is None or new is None or _goes_on_as(old, new):
        return False
    # Of an instance that ran and that another one has followed, one event of a change would not say that it is gone: it has
    # only one instance key, that of the row after.
    return old.tag.epoch != new.tag.epoch or (old.state is _RUNNING and new.state.is_held)


def _step_by_step(before: Rows, after: Rows) -> Sequence[Announcement]:
    """What several decisions made of the rows, in an order in which subscribers can follow it, whether they know rows by their
    keys or instances by their guids: what moves first, before another row takes its key; what runs before what does not; and
    what no longer runs last, since it may serve until then.

    The group hub has no rows, so it is told of the groups before and after.
    """
    steps: list[Event] = []
    moves = _moves(before, after)
    came: list[Event] = []
    gone: list[ActualLRP] = []
    for presence in Presence:
        old, new = before[presence], after[presence]
        is_left, is_reached = presence in moves, presence in moves.values()
        if old is not None and new is not None and not (is_left or is_reached or _is_another(old, new)):
            came += _changed(old, new)
            if _is_given_up(old, new):
                gone.append(old)
            continue
        if old is not None and not is_left:
            gone.append(old)
        if new is not None and not is_reached:
            came.append(ActualLRPInstanceCreated(new, ""))
    serves = [row.state is _RUNNING and not any(_is_routed_as(row, new) for new in after) for row in gone]
    steps += (ActualLRPInstanceRemoved(row, "") for row, last in zip(gone, serves, strict=True) if not last)
    for source, target in moves.items():
        left, reached = before[source], after[target]
        assert left is not None
        assert reached is not None
        steps.append(ActualLRPInstanceChanged(left, reached, ""))
    steps += sorted(came, key=_runs, reverse=True)
    steps += (ActualLRPInstanceRemoved(row, "") for row, last in zip(gone, serves, strict=True) if last)
    group = RowsChanged(before.present(), (*(None for _ in before.present()), *after.present()))
    # To the group hub a row that is CRASHED tells its crash by itself, here as above.
    crash = (told for told in _crash(before, after) if told.hub is Hub.INSTANCE or not _is_crashed(after))
    return (
        *crash,
        *(Told(Hub.INSTANCE, event) for event in steps),
        *(Told(Hub.GROUP, event) for event in group.events(Hub.GROUP)),
    )


def _changed(old: ActualLRP, new: ActualLRP) -> Iterator[Event]:
    if old.same_on_the_wire(new):
        return
    if _is_given_up(old, new):
        yield ActualLRPInstanceCreated(new, "")
    else:
        yield ActualLRPInstanceChanged(old, new, "")


def _is_routed_as(old: ActualLRP, new: ActualLRP | None) -> bool:
    """Whether who knows what runs by its guid takes both rows for one, and must hear of the end of ``old`` before ``new``."""
    return (
        new is not None
        and new.state is _RUNNING
        and _goes_on_as(old, new)
        and _evacuates(old) == _evacuates(new)
    )


def _evacuates(row: ActualLRP) -> bool:
    return row.presence is _EVACUATING


def _is_given_up(old: ActualLRP, new: ActualLRP) -> bool:
    return new.state is _UNCLAIMED and old.state is not _UNCLAIMED


def _runs(event: Event) -> bool:
    match event:
        case ActualLRPInstanceCreated(actual_lrp=row) | ActualLRPInstanceChanged(after=row):
            return row.state is _RUNNING
    return False
