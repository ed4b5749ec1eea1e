"""Events about one app, as lines for a person. Pure."""

from collections.abc import Iterator

from bbs.client import Event
from bbs.models import pb


def process_guid_of(event: Event) -> str:
    """Of the app that an event of the instance stream is about; '' if it is about none."""
    match event.message:
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp) | pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
            return lrp.process_guid
        case pb.DesiredLRPChangedEvent(after=lrp):
            return lrp.process_guid
        case (
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=row)
            | pb.ActualLRPInstanceRemovedEvent(actual_lrp=row)
        ):
            return row.actual_lrp_key.process_guid
        case pb.ActualLRPInstanceChangedEvent() | pb.ActualLRPCrashedEvent():
            return event.message.actual_lrp_key.process_guid
    return ""


def in_words(event: Event) -> str:
    """What has happened, in one line without the time."""
    match event.message:
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp):
            return f"desired, with {lrp.instances} instances"
        case pb.DesiredLRPRemovedEvent():
            return "not desired any more"
        case pb.DesiredLRPChangedEvent(before=before, after=after):
            return f"desired: {', '.join(_changes(before, after)) or 'written again, unchanged'}"
        case pb.ActualLRPInstanceCreatedEvent(actual_lrp=row):
            return f"{_index(row.actual_lrp_key)}: new, {_row(row, row.actual_lrp_instance_key)}"
        case pb.ActualLRPInstanceRemovedEvent(actual_lrp=row):
            return f"{_index(row.actual_lrp_key)}: gone, was {_row(row, row.actual_lrp_instance_key)}"
        case pb.ActualLRPInstanceChangedEvent(before=was, after=now):
            key, instance = event.message.actual_lrp_key, event.message.actual_lrp_instance_key
            old = f" (was {_state(was)})" if _state(was) != _state(now) else ""
            return f"{_index(key)}: {_row(now, instance)}{old}"
        case pb.ActualLRPCrashedEvent(crash_count=count, crash_reason=reason):
            key, cell_id = event.message.actual_lrp_key, event.message.actual_lrp_instance_key.cell_id
            return f"{_index(key)}: crash {count} on {cell_id}: {reason}"
    return event.name


def _index(key: pb.ActualLRPKey) -> str:
    return f"index {key.index}"


def _state(row: pb.ActualLRP | pb.ActualLRPInfo) -> str:
    presence = pb.ActualLRP.Presence.Name(row.presence).lower()
    return row.state if presence == "ordinary" else f"{presence} {row.state}"


def _row(row: pb.ActualLRP | pb.ActualLRPInfo, instance: pb.ActualLRPInstanceKey) -> str:
    where = f" on {instance.cell_id}" if instance.cell_id else ""
    why = row.placement_error if row.state == "UNCLAIMED" else ""
    return f"{_state(row)}{where}{f': {why}' if why else ''}"


def _changes(before: pb.DesiredLRP, after: pb.DesiredLRP) -> Iterator[str]:
    if before.instances != after.instances:
        yield f"{before.instances} instances become {after.instances}"
    if before.routes != after.routes:
        yield "routes changed"
    if before.annotation != after.annotation:
        yield "annotation changed"
    if dict(before.metric_tags) != dict(after.metric_tags):
        yield "metric tags changed"
