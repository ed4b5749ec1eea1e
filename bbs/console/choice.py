"""Which records, and which events, ``bbs events`` is asked for. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bbs.client import Event
from bbs.console.events_flags import LRP_TYPES, TASK_TYPES
from bbs.models import pb

Record = pb.DesiredLRP | pb.ActualLRP | pb.Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What fits every part given. ``types`` are names of events."""

    types: frozenset[str]
    cell_id: str = ""
    process_guid: str = ""

    @property
    def wants_lrps(self) -> bool:
        return not self.types.isdisjoint(LRP_TYPES)

    @property
    def wants_tasks(self) -> bool:
        """A task belongs to no process."""
        return not self.process_guid and not self.types.isdisjoint(TASK_TYPES)

    def has_record(self, record: Record) -> bool:
        if self.process_guid and _process_guid(record) != self.process_guid:
            return False
        return not self.cell_id or _cell_id(record) == self.cell_id

    def has_event(self, event: Event, concerned: Iterable[Record]) -> bool:
        """``concerned``: the records that it is about, as they were and as they become, as far as they are known."""
        if event.name not in self.types:
            return False
        if not self.cell_id and not self.process_guid:
            return True
        return any(self.has_record(record) for record in (*concerned, *_told_records(event)))


def _told_records(event: Event) -> Iterable[Record]:
    """What the event itself tells. A change of an instance has the instance key of the row before, or of the one after."""
    match event.message:
        case (
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=row)
            | pb.ActualLRPInstanceRemovedEvent(actual_lrp=row)
        ):
            yield row
        case pb.ActualLRPInstanceChangedEvent(actual_lrp_key=key, actual_lrp_instance_key=instance):
            yield pb.ActualLRP(actual_lrp_key=key, actual_lrp_instance_key=instance)
        case pb.ActualLRPCrashedEvent(actual_lrp_key=key, actual_lrp_instance_key=instance):
            yield pb.ActualLRP(actual_lrp_key=key, actual_lrp_instance_key=instance)
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp) | pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
            yield lrp
        case pb.DesiredLRPChangedEvent(after=lrp):
            yield lrp
        case pb.TaskCreatedEvent(task=task) | pb.TaskRemovedEvent(task=task):
            yield task
        case pb.TaskChangedEvent(before=before, after=after):
            yield before
            yield after


def _process_guid(record: Record) -> str:
    match record:
        case pb.DesiredLRP():
            return record.process_guid
        case pb.ActualLRP():
            return record.actual_lrp_key.process_guid
        case _:
            return ""


def _cell_id(record: Record) -> str:
    match record:
        case pb.ActualLRP():
            return record.actual_lrp_instance_key.cell_id
        case pb.Task():
            return record.cell_id
        case _:
            return ""
