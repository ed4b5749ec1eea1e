"""The JSON we send to peers, as Go's encoder writes it: compact, keys in the order of the struct (spec: peers.md)."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from bbs.concurrency.turns import CountedTurns
from bbs.models.actual_lrp import ActualLRP
from bbs.models.task import Task
from bbs.peers.interfaces import LRPStart

T = TypeVar("T")

ENCODED_IN_A_TURN: Final = 200
"""Elements of an array encoded before others get a turn: about 2 ms."""

LRP_START_BYTES: Final = 220
TASK_START_BYTES: Final = 480
"""What is the same in each such element: keys, punctuation and the longest numbers."""

INDEX_BYTES: Final = 7
"""An index below a million, and a comma."""

LIST_ITEM_BYTES: Final = 3

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# Occur in strings only, so they can be replaced wherever they are.
_ESCAPED: Final = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def lrp_start(start: LRPStart) -> bytes:
    """What the auctioneer is told of instances to be placed (spec: peers.md §2.1)."""
    return _object(
        {
            "process_guid": start.process_guid,
            "domain": start.domain,
            "indices": start.indices,
            "PlacementTags": start.placement_tags,
            "VolumeDrivers": start.volume_drivers,
            "RootFs": start.rootfs,
            "MemoryMB": start.memory_mb,
            "DiskMB": start.disk_mb,
            "MaxPids": start.max_pids,
        }
    )


def task_start(task: Task) -> bytes:
    """What the auctioneer is told of a task to be placed (spec: peers.md §2.2), and told twice: under ``Task`` for
    auctioneers since summer 2026, beside it for older ones. Each ignores what is meant for the other. With only one of the
    two, auctioneers of the other generation answer 202 and place nothing.

    The last two keys are the zero values of fields that only the auctioneer fills.
    """
    definition = task.definition_message()
    start = _object(
        {
            "TaskGuid": task.task_guid,
            "Domain": task.domain,
            "PlacementTags": list(definition.placement_tags) or None,
            "VolumeDrivers": [mount.driver for mount in definition.volume_mounts],
            "RootFs": definition.root_fs,
            "MemoryMB": definition.memory_mb,
            "DiskMB": definition.disk_mb,
            "MaxPids": definition.max_pids,
            "state": "Invalid",
            "failed": False,
        }
    )
    return b'{"Task":' + start + b"," + start[1:]


def lrp_start_bytes(start: LRPStart) -> int:
    """About how many bytes `lrp_start` makes of it: as many, or some more, if nothing has to be escaped or is not ASCII."""
    texts = (start.process_guid, start.domain, start.rootfs)
    lists = (start.placement_tags or (), start.volume_drivers or ())
    listed = sum(len(text) + LIST_ITEM_BYTES for each in lists for text in each)
    return LRP_START_BYTES + sum(map(len, texts)) + listed + INDEX_BYTES * len(start.indices)


def task_start_bytes(task: Task) -> int:
    """No less than `task_start` makes of it, about: what is not sent of the definition is counted, too."""
    return TASK_START_BYTES + 2 * (len(task.task_guid) + len(task.domain) + len(task.definition))


def lrp_update(
    lrp: ActualLRP,
    *,
    internal_routes: tuple[str, ...] | None,
    metric_tags: tuple[tuple[str, str], ...] | None,
) -> bytes:
    """What a rep is told of an instance's new routes and tags (spec: peers.md §3). ``None`` leaves a part as it is, an
    empty tuple takes all of it away.
    """
    return _object(
        {
            "instance_guid": lrp.instance.instance_guid,
            "process_guid": lrp.process_guid,
            "index": lrp.index,
            "domain": lrp.domain,
            "internal_routes": None
            if internal_routes is None
            else [{"hostname": hostname} for hostname in internal_routes],
            "metric_tags": None if metric_tags is None else dict(sorted(metric_tags)),
        }
    )


def completion(task: Task) -> bytes:
    """What a task's callback URL is told when the task is over (spec: peers.md §4)."""
    annotation = {"annotation": task.annotation} if task.annotation else {}
    return _object(
        {
            "task_guid": task.task_guid,
            "failed": task.failed,
            "failure_reason": task.failure_reason,
            "result": task.result,
            **annotation,
            "created_at": task.created_at_ns,
        }
    )


async def array(elements: Iterable[T], encode: Callable[[T], bytes]) -> bytes:
    """The elements as one JSON array, encoded in turns: there may be 100,000."""
    encoded = []
    turns = CountedTurns(ENCODED_IN_A_TURN)
    for element in elements:
        encoded.append(encode(element))
        await turns.done()
    return b"[" + b",".join(encoded) + b"]"


def _object(members: dict[str, object]) -> bytes:
    return _ESCAPED.sub(_escape, _encode(members)).encode()


def _escape(match: "re.Match[str]") -> str:
    code = ord(match[0])
    return r"\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"
