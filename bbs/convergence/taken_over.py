"""The events of rows that somebody else has changed in the database: much as if a request had changed them."""

from collections.abc import Callable, Sequence

from bbs.lifecycle.announcements import After, Before, RowsChanged, RowsChangedByCrash
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, ActualLRPState
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.events import (
    DesiredLRPChanged,
    DesiredLRPCreated,
    DesiredLRPRemoved,
    Event,
    Hub,
    TaskChanged,
    TaskCreated,
    TaskRemoved,
)
from bbs.models.outcome import Announcement, Record, Row, Told
from bbs.models.task import Task
from bbs.store.tables import Tables


def announcements_of(committed: Tables) -> Callable[[Sequence[Row]], tuple[Announcement, ...]]:
    """For `Store.reconcile`: given rows as the database has them, while ``committed`` still has what was before."""

    def announcements(rows: Sequence[Row]) -> tuple[Announcement, ...]:
        instances: dict[tuple[str, int], dict[ActualLRPKey, ActualLRP | None]] = {}
        told: list[Announcement] = []
        for row in rows:
            before = committed.get(row.key)
            if isinstance(row.key.key, ActualLRPKey):
                assert row.record is None or isinstance(row.record, ActualLRP)
                key = row.key.key
                instances.setdefault((key.process_guid, key.instance_index), {})[key] = row.record
            elif (event := _event(before, row.record)) is not None:
                told.append(event)
        # All rows of an instance in one announcement, and with the rows that did not change: the group hub shows the three
        # of them as one, and could not tell what a change of one row means for that without the others.
        for (process_guid, index), changed in instances.items():
            present = committed.actual_lrps.rows_at(process_guid, index).present()
            known = {lrp.key for lrp in present}
            new = (changed[key] for key in sorted(changed) if key not in known)
            after = (*(changed.get(lrp.key, lrp) for lrp in present), *new)
            told.append(_of_instance(present, after))
        return tuple(told)

    return announcements


def _of_instance(before: Before, after: After) -> Announcement:
    """What has become of the rows of one instance.

    A crash after which the instance is placed again at once leaves no row that is CRASHED. It shows in what the row keeps of
    it, unless that is as it was before, to the letter: then nobody can tell it from an instance that was put up for auction
    for another reason.
    """
    changed = [(old, new) for old, new in zip(before, after, strict=False) if old is not new]
    if len(before) == len(after) and len(changed) == 1:
        [(old, new)] = changed
        if new is not None and old.state.is_held and _has_crashed(old, new):
            return RowsChangedByCrash(before, after)
    return RowsChanged(before, after)


def _has_crashed(old: ActualLRP, new: ActualLRP) -> bool:
    if new.state is ActualLRPState.CRASHED:
        return True
    is_noted = (new.crash_count, new.crash_reason) != (old.crash_count, old.crash_reason)
    return new.state is ActualLRPState.UNCLAIMED and new.crash_count > 0 and is_noted


def _event(before: Record | None, after: Record | None) -> Told | None:
    """The event of a change to a DesiredLRP or a task; ``None`` for a domain, of which no event tells."""
    event: Event
    match before, after:
        case None, DesiredLRP():
            event = DesiredLRPCreated(after, "")
        case DesiredLRP(), DesiredLRP():
            event = DesiredLRPChanged(before, after, "")
        case DesiredLRP(), None:
            event = DesiredLRPRemoved(before, "")
        case None, Task():
            event = TaskCreated(after)
        case Task(), Task():
            event = TaskChanged(before, after)
        case Task(), None:
            event = TaskRemoved(before)
        case _:
            return None
    return Told(Hub.TASK if isinstance(before or after, Task) else Hub.DESIRED, event)
