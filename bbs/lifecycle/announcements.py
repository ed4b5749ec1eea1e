"""What the two ActualLRP hubs tell of a change to the rows of one instance (spec: events.md §7, actual-lrps.md §4).

A change is written down as two lists: the rows before, in primary-key order, and the rows after, position by position,
with ``None`` where a row has gone and new rows at the end. The instance hub compares position by position. The group
hub compares the groups that the two lists make, slot by slot. Each hub's events then go out in the order of their
score: crashes, then what runs after the change, then the rest.

Two things here look like mistakes and are upstream's behaviour, which its clients know: `recorded` replaces every row
that has the instance key of the changed one, whatever its presence; and a crash is told with whole groups, where any
other change of a group is told with only the row in question.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from bbs.lifecycle.groups import alone, group_of
from bbs.models.actual_lrp import NO_INSTANCE, ActualLRP, ActualLRPState
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPGroupCreated,
    ActualLRPGroupRemoved,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Event,
    Group,
    Hub,
)
from bbs.models.record import value

Before = tuple[ActualLRP, ...]
After = tuple[ActualLRP | None, ...]
Slot = ActualLRP | None


def recorded(before: Slot, after: Slot, rows: After) -> After:
    """``rows`` with the change of ``before`` into ``after`` written down.

    Every row with the instance key of ``before`` is replaced; if there is none, ``after`` is appended. ``before`` is None
    for a new row, ``after`` for one that goes. Several changes are written down by several calls, each on the last result.
    """
    # Only one row changes in the database. But upstream finds it in the list by its instance key alone and does not stop
    # at the first match, so where two rows have the same key (two unclaimed ones have: the empty key) both positions are
    # told as changed. To match by presence as well would be tidier, and would give other events than its clients know.
    if before is None:
        return (*rows, after)
    instance, is_there, written = before.instance, False, []
    for row in rows:
        if row is not None and row.instance == instance:
            is_there = True
            row = after
        written.append(row)
    return tuple(written) if is_there else (*rows, after)


@value
class RowsChanged:
    """The rows of one instance changed from ``before`` to ``after``.

    ``trace_id`` is the request's, or empty: which requests pass theirs on is in api.md §4.
    """

    before: Before
    after: After
    trace_id: str = ""

    def events(self, hub: Hub) -> Sequence[Event]:
        if hub is Hub.INSTANCE:
            return _by_score(self._instance_events())
        if hub is Hub.GROUP:
            return _by_score(self._group_events())
        return ()

    def _instance_events(self) -> Iterator[Event]:
        for old, new in _differences(self.before, self.after):
            if new is None:
                yield ActualLRPInstanceRemoved(_there(old), self.trace_id)
            elif old is None:
                yield ActualLRPInstanceCreated(new, self.trace_id)
            elif new.state is ActualLRPState.UNCLAIMED and old.state is not ActualLRPState.UNCLAIMED:
                yield ActualLRPInstanceCreated(new, self.trace_id)
                yield ActualLRPInstanceRemoved(old, self.trace_id)
            else:
                if new.state is ActualLRPState.CRASHED:
                    yield ActualLRPCrashed(old, new)
                yield ActualLRPInstanceChanged(old, new, self.trace_id)

    def _group_events(self) -> Iterator[Event]:
        before, after = _groups(self.before, self.after)
        for old, new in _differences(_slots(before), _slots(after)):
            if new is None:
                yield ActualLRPGroupRemoved(alone(_there(old)))
            elif old is None:
                yield ActualLRPGroupCreated(alone(new))
            elif _is_taken_over(old, new):
                yield ActualLRPGroupCreated(alone(new))
                yield ActualLRPGroupRemoved(alone(old))
            else:
                if new.state is ActualLRPState.CRASHED:
                    yield ActualLRPCrashed(old, new)
                yield ActualLRPGroupChanged(alone(old), alone(new))


@value
class RowsChangedByCrash:
    """The rows of one instance changed because it crashed. A crash is told of even if the instance is placed again at once, so
    that its row went from running to unclaimed without ever being crashed.
    """

    before: Before
    after: After

    def events(self, hub: Hub) -> Sequence[Event]:
        if hub is Hub.INSTANCE:
            return _by_score(self._instance_events())
        if hub is Hub.GROUP:
            return _by_score(self._group_events())
        return ()

    def _instance_events(self) -> Iterator[Event]:
        for old, new in _differences(self.before, self.after):
            if new is None:
                yield ActualLRPInstanceRemoved(_there(old), "")
            elif old is None:
                yield ActualLRPInstanceCreated(new, "")
            else:
                yield ActualLRPCrashed(old, new)
                if new.state is ActualLRPState.CRASHED:
                    yield ActualLRPInstanceChanged(old, new, "")
                else:
                    yield ActualLRPInstanceCreated(new, "")
                    yield ActualLRPInstanceRemoved(old, "")

    def _group_events(self) -> Iterator[Event]:
        before, after = _groups(self.before, self.after)
        for old, new in _differences(_slots(before), _slots(after)):
            if new is None:
                yield ActualLRPGroupRemoved(alone(_there(old)))
            elif old is None:
                yield ActualLRPGroupCreated(alone(new))
            else:
                yield ActualLRPCrashed(old, new)
                yield ActualLRPGroupChanged(before, after)


def created(lrp: ActualLRP, *, trace_id: str = "") -> RowsChanged:
    """A row appeared, whatever else there is."""
    return RowsChanged((), (lrp,), trace_id)


def removed(lrp: ActualLRP, *, trace_id: str = "") -> RowsChanged:
    """A row went, whatever else there is: told to the group hub even when another row masks it."""
    return RowsChanged((lrp,), (None,), trace_id)


def _differences(before: Iterable[Slot], after: Iterable[Slot]) -> Iterator[tuple[Slot, Slot]]:
    """The pairs of rows, position by position, that do not look the same to a client. A modification tag counts too."""
    for old, new in zip_longest(before, after):
        if old is None or new is None:
            if old is not new:
                yield old, new
        elif not old.same_on_the_wire(new):
            yield old, new


def _groups(before: Before, after: After) -> tuple[Group, Group]:
    """The groups before and after, of the changed row's domain.

    Rows of one instance can differ in domain: they are groups of their own, and did not change.
    """
    for old, new in _differences(before, after):
        domain = _there(new or old).domain
        return (
            group_of(row for row in before if row.domain == domain),
            group_of(row for row in after if row is not None and row.domain == domain),
        )
    return Group(), Group()


def _slots(group: Group) -> tuple[Slot, Slot]:
    return group.instance, group.evacuating


def _there(lrp: Slot) -> ActualLRP:
    assert lrp is not None, "a difference has at least one side"
    return lrp


def _is_taken_over(old: ActualLRP, new: ActualLRP) -> bool:
    """Whether another instance than before now claims or runs what the slot stands for. As upstream, that is told as a
    group that is created and one that is removed, not as a change.
    """
    return new.state.is_held and old.instance not in (NO_INSTANCE, new.instance)


def _by_score(events: Iterable[Event]) -> list[Event]:
    """``events``, those with the highest score first, otherwise in their order."""
    # The scores are upstream's (spec: events.md §7.2): 2 for a crash, 1 for what runs now, 0 for the rest.
    # A route-emitter acts upon each event as it comes. If it heard of the removal of an instance before it hears of the
    # replacement that runs already, the app would have no route in between, and its users would see errors.
    return sorted(events, key=_score, reverse=True)  # a reversed sort is still stable


def _score(event: Event) -> int:
    match event:
        case ActualLRPCrashed():
            return 2
        case ActualLRPInstanceCreated(actual_lrp=result) | ActualLRPInstanceChanged(after=result):
            return int(result.state is ActualLRPState.RUNNING)
        case ActualLRPGroupCreated(group=group) | ActualLRPGroupChanged(after=group):
            return int(group.resolve().state is ActualLRPState.RUNNING)
        case _:
            return 0
