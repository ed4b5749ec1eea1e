"""What the event streams tell: one small record per event, encoded only when somebody listens.

Each event knows the hub it belongs to, its name on the wire, whether a cell's filter lets it pass, and its bytes at a
payload version. Only desired-LRP and task payloads differ between versions (spec: events.md §1, §5, §6).
"""

from enum import Enum, auto
from typing import ClassVar, Protocol

from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.record import value
from bbs.models.task import Task
from bbs.models.versions import Version, desired_lrp_at, task_at
from bbs.models.wire import encode


class Hub(Enum):
    """The four feeds that streams are merged from."""

    DESIRED = auto()
    GROUP = auto()
    INSTANCE = auto()
    TASK = auto()


class UnresolvableGroup(Exception):
    """A group without any LRP in it was asked which LRP it stands for (spec: api.md 8.2)."""


@value
class Group:
    """The deprecated view of one instance: two slots for up to three rows.

    ``instance`` holds the ordinary or the suspect row, whichever stands for the instance at present
    (`bbs.lifecycle.groups`).
    """

    instance: ActualLRP | None = None
    evacuating: ActualLRP | None = None

    def resolve(self) -> ActualLRP:
        """The one LRP that the group stands for: the evacuating row, unless the other one runs or has crashed.

        Raises:
          UnresolvableGroup: both slots are empty.
        """
        instance, evacuating = self.instance, self.evacuating
        if instance is None and evacuating is None:
            raise UnresolvableGroup
        if evacuating is None or (
            instance is not None and instance.state in (ActualLRPState.RUNNING, ActualLRPState.CRASHED)
        ):
            assert instance is not None
            return instance
        return evacuating

    def message(self) -> pb.ActualLRPGroup:
        message = pb.ActualLRPGroup()
        if self.instance is not None:
            message.instance.CopyFrom(self.instance.message())
        if self.evacuating is not None:
            message.evacuating.CopyFrom(self.evacuating.message())
        return message


class Event(Protocol):
    """What every event of this module offers. ``encode`` gives the bytes of its message at a payload version."""

    name: ClassVar[str]

    def cells(self) -> tuple[str, ...] | None:
        """The ids of the cells whose filtered subscribers get this event; ``None`` if every subscriber does.

        Raises:
          UnresolvableGroup: the event is about an empty group, which has no cell. Streams with a filter end then,
            since nobody knows whether they should have got the event.
        """

    def encode(self, version: Version) -> bytes: ...


@value
class DesiredLRPCreated:
    desired_lrp: DesiredLRP
    trace_id: str
    name: ClassVar[str] = "desired_lrp_created"

    def cells(self) -> None:
        return None

    def encode(self, version: Version) -> bytes:
        lrp = desired_lrp_at(version, self.desired_lrp.message())
        return encode(pb.DesiredLRPCreatedEvent(desired_lrp=lrp, trace_id=self.trace_id))


@value
class DesiredLRPChanged:
    before: DesiredLRP
    after: DesiredLRP
    trace_id: str
    name: ClassVar[str] = "desired_lrp_changed"

    def cells(self) -> None:
        return None

    def encode(self, version: Version) -> bytes:
        return encode(
            pb.DesiredLRPChangedEvent(
                before=desired_lrp_at(version, self.before.message()),
                after=desired_lrp_at(version, self.after.message()),
                trace_id=self.trace_id,
            )
        )


@value
class DesiredLRPRemoved:
    desired_lrp: DesiredLRP
    trace_id: str
    name: ClassVar[str] = "desired_lrp_removed"

    def cells(self) -> None:
        return None

    def encode(self, version: Version) -> bytes:
        lrp = desired_lrp_at(version, self.desired_lrp.message())
        return encode(pb.DesiredLRPRemovedEvent(desired_lrp=lrp, trace_id=self.trace_id))


@value
class ActualLRPGroupCreated:
    group: Group
    name: ClassVar[str] = "actual_lrp_created"

    def cells(self) -> tuple[str, ...]:
        return (self.group.resolve().instance.cell_id,)

    def encode(self, version: Version) -> bytes:
        return encode(pb.ActualLRPCreatedEvent(actual_lrp_group=self.group.message()))


@value
class ActualLRPGroupChanged:
    before: Group
    after: Group
    name: ClassVar[str] = "actual_lrp_changed"

    def cells(self) -> tuple[str, ...]:
        before, after = self.before.resolve().instance.cell_id, self.after.resolve().instance.cell_id
        return (before,) if before == after else (before, after)

    def encode(self, version: Version) -> bytes:
        return encode(pb.ActualLRPChangedEvent(before=self.before.message(), after=self.after.message()))


@value
class ActualLRPGroupRemoved:
    group: Group
    name: ClassVar[str] = "actual_lrp_removed"

    def cells(self) -> tuple[str, ...]:
        return (self.group.resolve().instance.cell_id,)

    def encode(self, version: Version) -> bytes:
        return encode(pb.ActualLRPRemovedEvent(actual_lrp_group=self.group.message()))


@value
class ActualLRPCrashed:
    """Goes to the group and to the instance hub alike. The instance key is the one that crashed."""

    before: ActualLRP
    after: ActualLRP
    name: ClassVar[str] = "actual_lrp_crashed"

    def cells(self) -> tuple[str, ...]:
        return (self.before.instance.cell_id,)

    def encode(self, version: Version) -> bytes:
        message = pb.ActualLRPCrashedEvent(
            crash_count=self.after.crash_count,
            crash_reason=self.after.crash_reason,
            since=self.after.since_ns,
        )
        self.after.fill_key(message.actual_lrp_key)
        self.before.fill_instance_key(message.actual_lrp_instance_key)
        return encode(message)


@value
class ActualLRPInstanceCreated:
    actual_lrp: ActualLRP
    trace_id: str
    name: ClassVar[str] = "actual_lrp_instance_created"

    def cells(self) -> tuple[str, ...]:
        return (self.actual_lrp.instance.cell_id,)

    def encode(self, version: Version) -> bytes:
        return encode(
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=self.actual_lrp.message(), trace_id=self.trace_id)
        )


@value
class ActualLRPInstanceChanged:
    before: ActualLRP
    after: ActualLRP
    trace_id: str
    name: ClassVar[str] = "actual_lrp_instance_changed"

    def cells(self) -> tuple[str, ...]:
        return (self._holder().instance.cell_id,)

    def encode(self, version: Version) -> bytes:
        message = pb.ActualLRPInstanceChangedEvent(
            before=_info(self.before), after=_info(self.after), trace_id=self.trace_id
        )
        self.after.fill_key(message.actual_lrp_key)
        self._holder().fill_instance_key(message.actual_lrp_instance_key)
        return encode(message)

    def _holder(self) -> ActualLRP:
        """The side that names the instance. A row that crashed names none any more, so it was ``before``."""
        after = self.after.instance
        return self.after if after.instance_guid or after.cell_id else self.before


@value
class ActualLRPInstanceRemoved:
    actual_lrp: ActualLRP
    trace_id: str
    name: ClassVar[str] = "actual_lrp_instance_removed"

    def cells(self) -> tuple[str, ...]:
        return (self.actual_lrp.instance.cell_id,)

    def encode(self, version: Version) -> bytes:
        return encode(
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=self.actual_lrp.message(), trace_id=self.trace_id)
        )


@value
class TaskCreated:
    task: Task
    name: ClassVar[str] = "task_created"

    def cells(self) -> None:
        return None

    def encode(self, version: Version) -> bytes:
        return encode(pb.TaskCreatedEvent(task=task_at(version, self.task.message())))


@value
class TaskChanged:
    before: Task
    after: Task
    name: ClassVar[str] = "task_changed"

    def cells(self) -> None:
        return None

    def encode(self, version: Version) -> bytes:
        return encode(
            pb.TaskChangedEvent(
                before=task_at(version, self.before.message()), after=task_at(version, self.after.message())
            )
        )


@value
class TaskRemoved:
    task: Task
    name: ClassVar[str] = "task_removed"

    def cells(self) -> None:
        return None

    def encode(self, version: Version) -> bytes:
        return encode(pb.TaskRemovedEvent(task=task_at(version, self.task.message())))


def _info(lrp: ActualLRP) -> pb.ActualLRPInfo:
    """An LRP without its keys, internal routes and metric tags (spec: events.md §5)."""
    info = pb.ActualLRPInfo(
        crash_count=lrp.crash_count,
        crash_reason=lrp.crash_reason,
        state=lrp.state,
        placement_error=lrp.placement_error,
        since=lrp.since_ns,
        presence=int(lrp.presence),
        Routable=lrp.routable,
        availability_zone=lrp.availability_zone,
    )
    info.actual_lrp_net_info.MergeFromString(lrp.net_info)
    info.modification_tag.epoch = lrp.tag.epoch
    info.modification_tag.index = lrp.tag.index
    return info
