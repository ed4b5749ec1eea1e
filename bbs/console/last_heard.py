"""The records as they were last heard of, so that lists taken after a lost stream can say what has changed meanwhile. Pure."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from bbs.client import Event, EventMessage, Told, what_is_told
from bbs.console.choice import Record
from bbs.models import pb

Key = tuple[str, Hashable]


def created(record: Record) -> Event:
    """The event that would tell of ``record`` as new."""
    match record:
        case pb.DesiredLRP():
            return Event("desired_lrp_created", pb.DesiredLRPCreatedEvent(desired_lrp=record))
        case pb.ActualLRP():
            return Event("actual_lrp_instance_created", pb.ActualLRPInstanceCreatedEvent(actual_lrp=record))
        case _:
            return Event("task_created", pb.TaskCreatedEvent(task=record))


class LastHeard:
    """Empty at first; `compare` takes a list, `take` an event."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}

    def concerned(self, event: Event) -> Sequence[Record]:
        """The records known so far that an event is about."""
        return [self._records[key] for told in _told(event) if (key := _key(told)) in self._records]

    def take(self, event: Event) -> bool:
        """Whether it is news: not what a list has told already. A list is taken while events wait, and has some of what they tell."""
        told = _told(event)
        if not told:
            return True  # a crash, of which rows tell only the last
        is_news = False
        for each in told:
            key, known = _key(each), self._records.get(_key(each))
            if each.after is None:
                if known is not None and (
                    each.before is None or not _is_newer(known, (each.before.epoch, each.before.index))
                ):
                    del self._records[key]
                    is_news = True
            elif known is None or not _is_as_new(known, each.after):
                self._records[key] = each.after
                is_news = True
        return is_news

    def compare(self, listed: Iterable[Record]) -> Sequence[tuple[Event, Sequence[Record]]]:
        """Make the records those of the lists. The differences, as events that would have told of them, each with the records
        that it concerns.

        All kinds that are followed have to be listed together: what is not there is gone.
        """
        before, self._records = self._records, {}
        changes: list[tuple[Event, Sequence[Record]]] = []
        for record in listed:
            for told in _told(created(record)):
                assert told.after is not None
                key = _key(told)
                self._records[key] = told.after
                known = before.pop(key, None)
                if known is None:
                    changes.append((created(told.after), (told.after,)))
                elif _tag(known) != _tag(told.after):
                    changes.append((_changed(known, told.after), (known, told.after)))
        return [*changes, *((_removed(record), (record,)) for record in before.values())]


def _told(event: Event) -> Sequence[Told]:
    """From a copy, since reading strips what some events have and others lack."""
    copy: EventMessage = type(event.message)()
    copy.CopyFrom(event.message)  # type: ignore[arg-type]  # of its own class, which the union hides
    return list(what_is_told(copy))


def _key(told: Told) -> Key:
    return (told.kind.value, told.key)


def _tag(record: Record) -> tuple[str, int]:
    if isinstance(record, pb.Task):
        return (str(record.created_at), record.updated_at)
    return (record.modification_tag.epoch, record.modification_tag.index)


def _is_newer(record: Record, tag: tuple[str, int]) -> bool:
    epoch, index = _tag(record)
    return epoch != tag[0] or index > tag[1]


def _is_as_new(record: Record, other: Record) -> bool:
    """Of two epochs nobody can tell which is the newer one: the event is believed."""
    (epoch, index), (other_epoch, other_index) = _tag(record), _tag(other)
    return epoch == other_epoch and index >= other_index


def _changed(before: Record, after: Record) -> Event:
    match before, after:
        case pb.DesiredLRP(), pb.DesiredLRP():
            return Event("desired_lrp_changed", pb.DesiredLRPChangedEvent(before=before, after=after))
        case pb.Task(), pb.Task():
            return Event("task_changed", pb.TaskChangedEvent(before=before, after=after))
        case pb.ActualLRP(), pb.ActualLRP():
            holder = after if after.actual_lrp_instance_key.cell_id else before
            return Event(
                "actual_lrp_instance_changed",
                pb.ActualLRPInstanceChangedEvent(
                    actual_lrp_key=after.actual_lrp_key,
                    actual_lrp_instance_key=holder.actual_lrp_instance_key,
                    before=_info(before),
                    after=_info(after),
                ),
            )
    raise AssertionError("records under one key are of one kind")


def _removed(record: Record) -> Event:
    match record:
        case pb.DesiredLRP():
            return Event("desired_lrp_removed", pb.DesiredLRPRemovedEvent(desired_lrp=record))
        case pb.ActualLRP():
            return Event("actual_lrp_instance_removed", pb.ActualLRPInstanceRemovedEvent(actual_lrp=record))
        case _:
            return Event("task_removed", pb.TaskRemovedEvent(task=record))


PLAIN: Final = (
    "crash_count",
    "crash_reason",
    "state",
    "placement_error",
    "since",
    "presence",
    "availability_zone",
)


def _info(row: pb.ActualLRP) -> pb.ActualLRPInfo:
    info = pb.ActualLRPInfo(**{name: getattr(row, name) for name in PLAIN})
    info.actual_lrp_net_info.CopyFrom(row.actual_lrp_net_info)
    info.modification_tag.CopyFrom(row.modification_tag)
    if row.HasField("routable"):
        info.Routable = row.routable
    return info
