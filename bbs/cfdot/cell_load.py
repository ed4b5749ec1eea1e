"""What a rep's account of its cell says in short: how much of it is used, and by how many. Pure."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is used of how much; `UNKNOWN` if the rep does not say."""

    used: int = UNKNOWN
    total: int = UNKNOWN

    def told(self, unit: str = "") -> str:
        """'' if it is unknown."""
        if self.total < 0:
            return ""
        return f"{self.used}/{self.total}{unit}" if self.used >= 0 else f"?/{self.total}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLoad:
    """``memory`` and ``disk`` are MB. ``starting`` are containers that are being made."""

    cell_id: str = ""
    zone: str = ""
    memory: Amount = Amount()
    disk: Amount = Amount()
    containers: Amount = Amount()
    lrps: int = UNKNOWN
    tasks: int = UNKNOWN
    starting: int = UNKNOWN
    is_evacuating: bool = False


@dataclass(frozen=True)
class CellState:
    """What a rep says of its cell, as one line of JSON."""

    cell_id: str = ""
    json: str = ""

    @cached_property
    def load(self) -> CellLoad:
        return read_load(self.json)


def read_load(state: str) -> CellLoad:
    """Out of a rep's JSON. What is missing there, or is something else than it should be, is unknown."""
    try:
        told = json.loads(state)
    except (ValueError, RecursionError):
        return CellLoad()
    if not isinstance(told, dict):
        return CellLoad()
    return CellLoad(
        cell_id=_text(told.get("cell_id")),
        zone=_text(told.get("Zone")),
        memory=_amount(told, "MemoryMB"),
        disk=_amount(told, "DiskMB"),
        containers=_amount(told, "Containers"),
        lrps=_length(told.get("LRPs")),
        tasks=_length(told.get("Tasks")),
        starting=_number(told.get("StartingContainerCount")),
        is_evacuating=told.get("Evacuating") is True,
    )


def _amount(told: dict[str, Any], key: str) -> Amount:
    total, available = (
        _number(part.get(key)) if isinstance(part := told.get(name), dict) else UNKNOWN
        for name in ("TotalResources", "AvailableResources")
    )
    return Amount(total - available if UNKNOWN not in (total, available) else UNKNOWN, total)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else UNKNOWN


def _length(value: object) -> int:
    """Go writes an empty list as null, too."""
    return len(value) if isinstance(value, list) else 0 if value is None else UNKNOWN


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
