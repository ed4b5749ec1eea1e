"""What a person is shown of a result: one row of a table for each kind of message. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bbs.cfdot.cell_load import CellState
from bbs.models import pb
from bbs.models.pb import locket_pb2
from bbs.words.times import NOTHING, age

VALUE_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Column:
    """``cell`` makes the text from a message and the time, in nanoseconds since 1970. ``wide`` ones are left out of short tables."""

    title: str
    cell: Callable[[Any, int], str]
    wide: bool = False


def harmless(text: str) -> str:
    """Without what a terminal would obey: crash reasons and guids come from others. '-' if empty."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text) or NOTHING


def limit(amount: int) -> str:
    """0 is no limit."""
    return f"{amount}M" if amount else "unlimited"


def count(number: int) -> str:
    """'' if it is unknown."""
    return str(number) if number >= 0 else ""


def shortened(text: str) -> str:
    """A presence's value is the JSON of a whole cell."""
    return text if len(text) <= VALUE_MAX else f"{text[: VALUE_MAX - 1]}…"


def _presence(lrp: pb.ActualLRP) -> str:
    return pb.ActualLRP.Presence.Name(lrp.presence).lower()


def _task_state(task: pb.Task) -> str:
    return pb.Task.State.Name(task.state).upper()


ACTUAL_LRP: Final = (
    Column("PROCESS GUID", lambda lrp, _: lrp.actual_lrp_key.process_guid),
    Column("INDEX", lambda lrp, _: str(lrp.actual_lrp_key.index)),
    Column("STATE", lambda lrp, _: lrp.state),
    Column("PRESENCE", lambda lrp, _: _presence(lrp)),
    Column("CELL", lambda lrp, _: lrp.actual_lrp_instance_key.cell_id),
    Column("AGE", lambda lrp, now_ns: age(lrp.since, now_ns)),
    Column("CRASHES", lambda lrp, _: str(lrp.crash_count)),
    Column("WHY", lambda lrp, _: lrp.placement_error or lrp.crash_reason),
    Column("DOMAIN", lambda lrp, _: lrp.actual_lrp_key.domain, wide=True),
    Column("ZONE", lambda lrp, _: lrp.availability_zone, wide=True),
    Column("INSTANCE GUID", lambda lrp, _: lrp.actual_lrp_instance_key.instance_guid, wide=True),
    Column("ADDRESS", lambda lrp, _: lrp.actual_lrp_net_info.address, wide=True),
)
DESIRED_LRP: Final = (
    Column("PROCESS GUID", lambda lrp, _: lrp.process_guid),
    Column("DOMAIN", lambda lrp, _: lrp.domain),
    Column("INSTANCES", lambda lrp, _: str(lrp.instances)),
    Column("MEMORY", lambda lrp, _: limit(lrp.memory_mb)),
    Column("DISK", lambda lrp, _: limit(lrp.disk_mb)),
    Column("ROOTFS", lambda lrp, _: lrp.root_fs, wide=True),
    Column("ANNOTATION", lambda lrp, _: lrp.annotation, wide=True),
)
TASK: Final = (
    Column("TASK GUID", lambda task, _: task.task_guid),
    Column("DOMAIN", lambda task, _: task.domain),
    Column("STATE", lambda task, _: _task_state(task)),
    Column("CELL", lambda task, _: task.cell_id),
    Column("AGE", lambda task, now_ns: age(task.created_at, now_ns)),
    Column("FAILED", lambda task, _: "yes" if task.failed else ""),
    Column("WHY", lambda task, _: task.failure_reason),
    Column("UPDATED", lambda task, now_ns: age(task.updated_at, now_ns), wide=True),
)
CELL: Final = (
    Column("CELL", lambda cell, _: cell.cell_id),
    Column("ZONE", lambda cell, _: cell.zone),
    Column("MEMORY", lambda cell, _: f"{cell.capacity.memory_mb}M"),
    Column("DISK", lambda cell, _: f"{cell.capacity.disk_mb}M"),
    Column("CONTAINERS", lambda cell, _: str(cell.capacity.containers)),
    Column("REP", lambda cell, _: cell.rep_url or cell.rep_address, wide=True),
    Column("PLACEMENT TAGS", lambda cell, _: ", ".join(cell.placement_tags), wide=True),
)
SCHEDULING_INFO: Final = (
    Column("PROCESS GUID", lambda info, _: info.desired_lrp_key.process_guid),
    Column("DOMAIN", lambda info, _: info.desired_lrp_key.domain),
    Column("INSTANCES", lambda info, _: str(info.instances)),
    Column("MEMORY", lambda info, _: limit(info.desired_lrp_resource.memory_mb)),
    Column("DISK", lambda info, _: limit(info.desired_lrp_resource.disk_mb)),
    Column("ROOTFS", lambda info, _: info.desired_lrp_resource.root_fs, wide=True),
    Column("PLACEMENT TAGS", lambda info, _: ", ".join(info.PlacementTags), wide=True),
    Column("VOLUME DRIVERS", lambda info, _: ", ".join(info.volume_placement.driver_names), wide=True),
    Column("ANNOTATION", lambda info, _: info.annotation, wide=True),
)
CELL_STATE: Final = (
    Column("CELL", lambda state, _: state.cell_id),
    Column("ZONE", lambda state, _: state.load.zone),
    Column("MEMORY", lambda state, _: state.load.memory.told("M")),
    Column("DISK", lambda state, _: state.load.disk.told("M")),
    Column("CONTAINERS", lambda state, _: state.load.containers.told()),
    Column("LRPS", lambda state, _: count(state.load.lrps)),
    Column("TASKS", lambda state, _: count(state.load.tasks)),
    Column("STARTING", lambda state, _: count(state.load.starting)),
    Column("EVACUATING", lambda state, _: "yes" if state.load.is_evacuating else ""),
)
RESOURCE: Final = (
    Column("KEY", lambda resource, _: resource.key),
    Column("OWNER", lambda resource, _: resource.owner),
    Column("VALUE", lambda resource, _: shortened(resource.value)),
    Column("TYPE", lambda resource, _: resource.type, wide=True),
    Column("WHOLE VALUE", lambda resource, _: resource.value, wide=True),
)
DOMAIN: Final = (Column("DOMAIN", lambda domain, _: domain),)

TABLES: Final[Sequence[tuple[type, Sequence[Column]]]] = (
    (pb.ActualLRP, ACTUAL_LRP),
    (pb.DesiredLRP, DESIRED_LRP),
    (pb.Task, TASK),
    (pb.CellPresence, CELL),
    (pb.DesiredLRPSchedulingInfo, SCHEDULING_INFO),
    (CellState, CELL_STATE),
    (locket_pb2.Resource, RESOURCE),
    (str, DOMAIN),
)


def columns_for(kind: type, *, wide: bool) -> Sequence[Column] | None:
    """``None`` if there is no table for it: then it is shown as JSON."""
    for each, columns in TABLES:
        if each is kind:
            return [column for column in columns if wide or not column.wide]
    return None
