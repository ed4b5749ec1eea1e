"""Models that no endpoint takes: what other components, and writers to Locket, check (spec: validation.md §6)."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.validation import parts
from bbs.models.validation.aggregates import desired_lrp, desired_lrp_update, task_definition
from bbs.models.validation.fields import are_routes_too_long, guid, invalid, is_annotation_too_long
from bbs.models.validation.rootfs import is_rootfs


def task(one: pb.Task) -> list[str]:
    found = [] if one.domain else [invalid("domain")]
    found += guid(one.task_guid, "task_guid")
    if not one.HasField("task_definition"):
        return [*found, invalid("task_definition")]
    return found + task_definition(one.task_definition)


def scheduling_info(info: pb.DesiredLRPSchedulingInfo) -> list[str]:
    found = parts.desired_lrp_key(info.desired_lrp_key) + resource(info.desired_lrp_resource)
    if are_routes_too_long(info.routes):
        found.append(invalid("routes"))
    if info.instances < 0:
        found.append(invalid("instances"))
    if is_annotation_too_long(info.annotation):
        found.append(invalid("annotation"))
    return found


def resource(one: pb.DesiredLRPResource) -> list[str]:
    found = [] if is_rootfs(one.root_fs) else [invalid("rootfs")]
    if one.memory_mb < 0:
        found.append(invalid("memory_mb"))
    if one.disk_mb < 0:
        found.append(invalid("disk_mb"))
    if one.max_pids < 0:
        found.append(invalid("max_pids"))
    return found


def cell_presence(cell: pb.CellPresence) -> list[str]:
    """What is wrong with a presence. An absent capacity reads as all zeros, so it is named as too small."""
    found = []
    if not cell.cell_id:
        found.append(invalid("cell_id"))
    if not cell.rep_address:
        found.append(invalid("rep_address"))
    if cell.rep_url and not cell.rep_url.startswith(("http://", "https://")):
        found.append(invalid("rep_url"))
    found += cell_capacity(cell.capacity)
    if any(not key or not value for key, value in cell.annotations.items()):
        found.append(invalid("annotations"))
    return found


def cell_capacity(capacity: pb.CellCapacity) -> list[str]:
    found = []
    if capacity.memory_mb <= 0:
        found.append(invalid("memory_mb"))
    if capacity.disk_mb < 0:
        found.append(invalid("disk_mb"))
    if capacity.containers <= 0:
        found.append(invalid("containers"))
    return found


def actual_lrp(lrp: pb.ActualLRP) -> list[str]:
    found = parts.actual_lrp_key(lrp.actual_lrp_key)
    if lrp.since == 0:
        found.append(invalid("since"))
    match lrp.state:
        case "UNCLAIMED":
            found += _no_instance_key(lrp) + _no_net_info(lrp)
            if lrp.presence != pb.ActualLRP.Presence.ORDINARY:
                found.append(_not_when("presence", lrp))
        case "CLAIMED":
            found += parts.actual_lrp_instance_key(lrp.actual_lrp_instance_key)
            found += _no_net_info(lrp) + _no_placement_error(lrp)
        case "RUNNING":
            found += parts.actual_lrp_instance_key(lrp.actual_lrp_instance_key)
            found += parts.actual_lrp_net_info(lrp.actual_lrp_net_info) + _no_placement_error(lrp)
        case "CRASHED":
            found += _no_instance_key(lrp) + _no_net_info(lrp) + _no_placement_error(lrp)
        case _:
            found.append(invalid("state"))
    return found


def _not_when(what: str, lrp: pb.ActualLRP) -> str:
    return f"{what} cannot be set when state is {lrp.state.lower()}"


def _no_instance_key(lrp: pb.ActualLRP) -> list[str]:
    key = lrp.actual_lrp_instance_key
    return [_not_when("instance key", lrp)] if key.instance_guid or key.cell_id else []


def _no_net_info(lrp: pb.ActualLRP) -> list[str]:
    """A state without a container must have no net info. As upstream, only address, ports and preferred address count;
    the instance's own addresses do not.
    """
    net_info = lrp.actual_lrp_net_info
    return (
        [_not_when("net info", lrp)]
        if net_info.address or net_info.ports or net_info.preferred_address
        else []
    )


def _no_placement_error(lrp: pb.ActualLRP) -> list[str]:
    return [_not_when("placement error", lrp)] if lrp.placement_error.strip() else []


RULES: Final[dict[type[Message], Callable[[Any], list[str]]]] = {
    pb.ActualLRP: actual_lrp,
    pb.ActualLRPInstanceKey: parts.actual_lrp_instance_key,
    pb.ActualLRPKey: parts.actual_lrp_key,
    pb.ActualLRPNetInfo: parts.actual_lrp_net_info,
    pb.CellCapacity: cell_capacity,
    pb.CellPresence: cell_presence,
    pb.DesiredLRP: desired_lrp,
    pb.DesiredLRPKey: parts.desired_lrp_key,
    pb.DesiredLRPResource: resource,
    pb.DesiredLRPSchedulingInfo: scheduling_info,
    pb.DesiredLRPUpdate: desired_lrp_update,
    pb.Task: task,
    pb.TaskDefinition: task_definition,
}
