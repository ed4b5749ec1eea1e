"""What a watch tells its consumer, and what it reads out of events. No I/O."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeAlias, TypeVar, cast

from bbs.client._events import EventMessage
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPKey, ActualLRPState, ModificationTag, Presence

R_co = TypeVar("R_co", covariant=True)

Record: TypeAlias = pb.DesiredLRP | pb.ActualLRP | pb.Task


@dataclass(frozen=True, slots=True)
class Added(Generic[R_co]):
    """A record that was not there."""

    after: R_co


@dataclass(frozen=True, slots=True)
class Changed(Generic[R_co]):
    """A record became another one. If their modification tags have different epochs, it was removed and made anew."""

    before: R_co
    after: R_co


@dataclass(frozen=True, slots=True)
class Removed(Generic[R_co]):
    """A record is gone. ``before`` is the last of it that was told, by the snapshot or a change."""

    before: R_co


Change: TypeAlias = Added[Record] | Changed[Record] | Removed[Record]


class Kind(Enum):
    """The three kinds of records that can be watched."""

    DESIRED_LRP = "desired_lrp"
    ACTUAL_LRP = "actual_lrp"
    TASK = "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an event says of one row: the one with the tag ``before`` became ``after``; None is no row."""

    kind: Kind
    key: Hashable
    before: ModificationTag | None
    after: Record | None


HELD: Final = (ActualLRPState.CLAIMED, ActualLRPState.RUNNING)


def what_is_told(message: EventMessage) -> Iterator[Told]:
    """What an event says of rows. Several at once are in an order in which an instance is never without its row.

    Events without a key say nothing: upstream's server sends some (spec: events.md §8.3).
    """
    match message:
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp):
            told = [_desired(before=None, after=lrp)]
        case pb.DesiredLRPChangedEvent(before=before_lrp, after=after_lrp):
            told = [_desired(before=before_lrp, after=after_lrp)]
        case pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
            told = [_desired(before=lrp, after=None)]
        case pb.ActualLRPInstanceCreatedEvent(actual_lrp=row):
            told = [
                Told(
                    kind=Kind.ACTUAL_LRP,
                    key=actual_key(row),
                    before=None,
                    after=without_what_events_lack(row),
                )
            ]
        case pb.ActualLRPInstanceChangedEvent():
            told = _instance_changed(message)
        case pb.ActualLRPInstanceRemovedEvent(actual_lrp=row):
            told = [Told(kind=Kind.ACTUAL_LRP, key=actual_key(row), before=lrp_tag(row), after=None)]
        case pb.TaskCreatedEvent(task=task):
            told = [_task(before=None, after=task)]
        case pb.TaskChangedEvent(before=before_task, after=after_task):
            told = [_task(before=before_task, after=after_task)]
        case pb.TaskRemovedEvent(task=task):
            told = [_task(before=task, after=None)]
        case _:
            told = []  # a crash, which is told as a change, too; or a group
    yield from (one for one in told if one.key and one.key != ActualLRPKey("", 0, Presence.ORDINARY))


def actual_key(row: pb.ActualLRP) -> ActualLRPKey:
    return _key(row.actual_lrp_key, row.presence)


def lrp_tag(lrp: pb.DesiredLRP | pb.ActualLRP | pb.ActualLRPInfo) -> ModificationTag:
    return ModificationTag(epoch=lrp.modification_tag.epoch, index=lrp.modification_tag.index)


def task_tag(task: pb.Task) -> ModificationTag:
    """Tasks have none: the time at which it was made stands for the epoch, that of its last change for the index."""
    return ModificationTag(epoch=str(task.created_at), index=task.updated_at)


def routing_form(lrp: pb.DesiredLRP) -> pb.DesiredLRP:
    """What the list of routing infos has of a DesiredLRP (spec: api.md 8.5)."""
    routing = pb.DesiredLRP(
        process_guid=lrp.process_guid, domain=lrp.domain, log_guid=lrp.log_guid, instances=lrp.instances
    )
    routing.routes.CopyFrom(lrp.routes)
    routing.modification_tag.CopyFrom(lrp.modification_tag)
    for name, value in lrp.metric_tags.items():
        routing.metric_tags[name].CopyFrom(value)
    return routing


def without_what_events_lack(row: pb.ActualLRP) -> pb.ActualLRP:
    """``row`` itself, without its internal routes and metric tags: an event of a change does not carry them, so they would be
    right only until then.
    """
    row.ClearField("actual_lrp_internal_routes")
    row.ClearField("metric_tags")
    return row


def _desired(*, before: pb.DesiredLRP | None, after: pb.DesiredLRP | None) -> Told:
    some = after if after is not None else before
    assert some is not None
    return Told(
        kind=Kind.DESIRED_LRP,
        key=some.process_guid,
        before=None if before is None else lrp_tag(before),
        after=None if after is None else routing_form(after),
    )


def _task(*, before: pb.Task | None, after: pb.Task | None) -> Told:
    some = after if after is not None else before
    assert some is not None
    return Told(
        kind=Kind.TASK,
        key=some.task_guid,
        before=None if before is None else task_tag(before),
        after=after,
    )


def _instance_changed(change: pb.ActualLRPInstanceChangedEvent) -> list[Told]:
    """A change of presence moves a row from one key to another: it arrives there, then it is gone here."""
    key, key_before = (_key(change.actual_lrp_key, info.presence) for info in (change.after, change.before))
    row, tag_before = _row(change), lrp_tag(change.before)
    if key == key_before:
        return [Told(kind=Kind.ACTUAL_LRP, key=key, before=tag_before, after=row)]
    return [
        Told(kind=Kind.ACTUAL_LRP, key=key, before=None, after=row),
        Told(kind=Kind.ACTUAL_LRP, key=key_before, before=tag_before, after=None),
    ]


def _row(change: pb.ActualLRPInstanceChangedEvent) -> pb.ActualLRP:
    info = change.after
    row = pb.ActualLRP(
        crash_count=info.crash_count,
        crash_reason=info.crash_reason,
        state=info.state,
        placement_error=info.placement_error,
        since=info.since,
        presence=info.presence,
        availability_zone=info.availability_zone,
    )
    row.actual_lrp_key.CopyFrom(change.actual_lrp_key)
    # The event has one instance key, that of the row before where the one after has none.
    if info.state in HELD:
        row.actual_lrp_instance_key.CopyFrom(change.actual_lrp_instance_key)
    row.actual_lrp_net_info.CopyFrom(info.actual_lrp_net_info)
    row.modification_tag.CopyFrom(info.modification_tag)
    if info.HasField("Routable"):
        row.routable = info.Routable
    return row


def _key(key: pb.ActualLRPKey, presence: int) -> ActualLRPKey:
    try:
        known = Presence(presence)
    except ValueError:
        # A server that knows more presences than we do: its number tells that row from the others.
        known = cast(Presence, presence)
    return ActualLRPKey(key.process_guid, key.index, known)
