"""Events as lines for a person: what has happened, to whom, and where. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.message import Message

from bbs.models import pb

GOOD: Final = "green"
BAD: Final = "bold red"
WAITING: Final = "yellow"
ON_ITS_WAY: Final = "cyan"
OUTCOMES: Final = {
    "RUNNING": GOOD,
    "CRASHED": BAD,
    "UNCLAIMED": WAITING,
    "CLAIMED": ON_ITS_WAY,
    "PENDING": WAITING,
}


class Event(Protocol):
    """An event as clients get it. ``key`` says what it is about, ``name`` what kind it is of."""

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def message(self) -> Message: ...


@dataclass(frozen=True, slots=True)
class Words:
    """``text`` is one line that may hold what others wrote: a terminal needs it made harmless. ``style`` is rich's, or ''."""

    text: str
    style: str = ""


def in_words(event: Event) -> Words:
    match event.message:
        case pb.DesiredLRPCreatedEvent(desired_lrp=lrp):
            return Words(f"{lrp.process_guid} desired, {_instances(lrp)}")
        case pb.DesiredLRPChangedEvent(before=before, after=after):
            changes = ", ".join(_desired_changes(before, after)) or "written again"
            return Words(f"{after.process_guid} desired anew: {changes}")
        case pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
            return Words(f"{lrp.process_guid} not desired any more")
        case pb.ActualLRPInstanceCreatedEvent(actual_lrp=row):
            return Words(
                f"{_instance(row.actual_lrp_key)} new: {row_in_words(row).text}", row_in_words(row).style
            )
        case pb.ActualLRPInstanceRemovedEvent(actual_lrp=row):
            return Words(f"{_instance(row.actual_lrp_key)} gone, was {row_in_words(row).text}")
        case pb.ActualLRPInstanceChangedEvent() as changed:
            return _instance_changed(changed)
        case pb.ActualLRPCrashedEvent(actual_lrp_key=key, actual_lrp_instance_key=instance) as crash:
            place = f" on {instance.cell_id}" if instance.cell_id else ""
            why = f": {crash.crash_reason}" if crash.crash_reason else ""
            return Words(f"{_instance(key)} crash {crash.crash_count}{place}{why}", BAD)
        case pb.TaskCreatedEvent(task=task):
            return Words(f"task {task.task_guid} new: {task_in_words(task).text}", task_in_words(task).style)
        case pb.TaskChangedEvent(before=before_task, after=after_task):
            now = task_in_words(after_task)
            was, state = _task_state(before_task), _task_state(after_task)
            arrow = f"{was} -> " if was != state else ""
            return Words(f"task {after_task.task_guid} {arrow}{now.text}", now.style)
        case pb.TaskRemovedEvent(task=task):
            return Words(f"task {task.task_guid} gone, was {task_in_words(task).text}")
        case _:
            return Words(f"{event.key} {event.name}")  # of groups, which upstream has deprecated


def row_in_words(row: pb.ActualLRP) -> Words:
    """Its state, where, and why if it should not be so."""
    zone = row.availability_zone
    return Words(
        f"{_state(row)}{_place(row.actual_lrp_instance_key.cell_id, zone)}{_reason(row)}",
        OUTCOMES.get(row.state, ""),
    )


def task_in_words(task: pb.Task) -> Words:
    state = _task_state(task)
    if task.failed:
        return Words(
            f"{state}{_place(task.cell_id)}, failed: {task.failure_reason or 'no reason given'}", BAD
        )
    rejected = f" (rejected: {task.rejection_reason})" if task.rejection_reason else ""
    style = GOOD if state in ("running", "completed", "resolving") else WAITING
    return Words(f"{state}{_place(task.cell_id)}{rejected}", style)


def row_name(row: pb.ActualLRP) -> str:
    return _instance(row.actual_lrp_key)


def _instance_changed(changed: pb.ActualLRPInstanceChangedEvent) -> Words:
    was, now = _state(changed.before), _state(changed.after)
    # The event's instance key is that of the row before if the row after has none.
    held = changed.after.state in ("CLAIMED", "RUNNING")
    place = _place(
        changed.actual_lrp_instance_key.cell_id,
        changed.after.availability_zone,
        " on" if held else ", was on",
    )
    arrow = f"{was} -> {now}" if was != now else now
    return Words(
        f"{_instance(changed.actual_lrp_key)} {arrow}{place}{_reason(changed.after)}",
        OUTCOMES.get(changed.after.state, ""),
    )


def _instance(key: pb.ActualLRPKey) -> str:
    return f"{key.process_guid}/{key.index}"


def _state(row: pb.ActualLRP | pb.ActualLRPInfo) -> str:
    presence = pb.ActualLRP.Presence.Name(row.presence) if row.presence in PRESENCES else str(row.presence)
    state = row.state.lower() or "in no state"
    return state if presence == "ORDINARY" else f"{presence.lower()} {state}"


PRESENCES: Final = frozenset(pb.ActualLRP.Presence.values())


def _task_state(task: pb.Task) -> str:
    """A server that is newer than we are may have states that we do not know."""
    return pb.Task.State.Name(task.state).lower() if task.state in TASK_STATES else f"state {task.state}"


TASK_STATES: Final = frozenset(pb.Task.State.values())


def _place(cell_id: str, zone: str = "", preposition: str = " on") -> str:
    if not cell_id:
        return ""
    return f"{preposition} {cell_id} ({zone})" if zone else f"{preposition} {cell_id}"


def _reason(row: pb.ActualLRP | pb.ActualLRPInfo) -> str:
    if row.placement_error:
        return f": {row.placement_error}"
    if row.state == "CRASHED":
        return f", crash {row.crash_count}: {row.crash_reason or 'no reason given'}"
    return ""


def _instances(lrp: pb.DesiredLRP) -> str:
    return "1 instance" if lrp.instances == 1 else f"{lrp.instances} instances"


def _desired_changes(before: pb.DesiredLRP, after: pb.DesiredLRP) -> Iterator[str]:
    if before.instances != after.instances:
        yield f"{before.instances} -> {_instances(after)}"
    if before.routes != after.routes:
        yield "other routes"
    if before.annotation != after.annotation:
        yield "other annotation"
    if dict(before.metric_tags) != dict(after.metric_tags):
        yield "other metric tags"
