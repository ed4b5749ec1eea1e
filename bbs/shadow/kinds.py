"""The lists that are compared: which rows they have, and by what a row of one is found in another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from bbs.client import RowsOf
from bbs.models import pb

CELL: Final = "cells"
DOMAIN: Final = "domains"


@dataclass(frozen=True, slots=True)
class Kind:
    """``key`` tells the rows of one list apart. ``decode`` raises `google.protobuf.message.DecodeError`.

    ``is_versioned``: no two states of a row look the same, even if it is removed and comes back: a modification tag or a time
    tells them apart. A domain can go and return unnoticed between two looks, and so can a cell.
    """

    name: str
    rows: RowsOf
    decode: Callable[[bytes], Message]
    key: Callable[[Any], str]
    is_versioned: bool = True


def of_actual_lrp(lrp: pb.ActualLRP) -> str:
    presence = pb.ActualLRP.Presence.Name(lrp.presence) if lrp.presence in (0, 1, 2) else str(lrp.presence)
    return f"{of_key(lrp.actual_lrp_key)}/{presence}"


def of_key(key: pb.ActualLRPKey) -> str:
    return f"{key.process_guid}/{key.index}"


def of_group(group: pb.ActualLRPGroup) -> str:
    lrp = group.instance if group.HasField("instance") else group.evacuating
    return of_key(lrp.actual_lrp_key)


def _domain(name: bytes) -> pb.UpsertDomainRequest:
    """A message that has the name, and nothing else."""
    return pb.UpsertDomainRequest(domain=name.decode(errors="backslashreplace"))


KINDS: Final = (
    Kind("actual LRPs", RowsOf.ACTUAL_LRPS, pb.ActualLRP.FromString, of_actual_lrp),
    Kind("actual LRP groups", RowsOf.ACTUAL_LRP_GROUPS, pb.ActualLRPGroup.FromString, of_group),
    Kind("desired LRPs", RowsOf.DESIRED_LRPS, pb.DesiredLRP.FromString, lambda lrp: str(lrp.process_guid)),
    Kind(
        "scheduling infos",
        RowsOf.DESIRED_LRP_SCHEDULING_INFOS,
        pb.DesiredLRPSchedulingInfo.FromString,
        lambda info: str(info.desired_lrp_key.process_guid),
    ),
    Kind(
        "routing infos",
        RowsOf.DESIRED_LRP_ROUTING_INFOS,
        pb.DesiredLRP.FromString,
        lambda lrp: str(lrp.process_guid),
    ),
    Kind("tasks", RowsOf.TASKS, pb.Task.FromString, lambda task: str(task.task_guid)),
    Kind(DOMAIN, RowsOf.DOMAINS, _domain, lambda domain: str(domain.domain), is_versioned=False),
    Kind(CELL, RowsOf.CELLS, pb.CellPresence.FromString, lambda cell: str(cell.cell_id), is_versioned=False),
)


def canonical(message: Message) -> bytes:
    """Equal for messages that say the same: fields by number, map entries by key, in whatever order they came."""
    return message.SerializeToString(deterministic=True)
