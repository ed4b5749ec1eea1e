"""The last call of each cell's rep that failed, for those who ask what is wrong with a cell. In memory, since this process began."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

CELLS_MAX: Final = 5_000
"""Cells that are remembered: more than a fleet has. Of more, those whose last failure is longest ago are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepFailure:
    """``call`` is what the log's session is called. ``failures`` counts those of this cell. Times are nanoseconds since 1970."""

    call: str
    at_ns: int
    reason: str
    failures: int


class RepFailures:
    """What `HTTPReps` notes. A call that works takes nothing back: whether it was the last one is for the reader to judge."""

    def __init__(self, *, now_ns: Callable[[], int] = time.time_ns, cells_max: int = CELLS_MAX) -> None:
        self._now_ns = now_ns
        self._cells_max = cells_max
        self._by_cell: dict[str, RepFailure] = {}

    @property
    def by_cell(self) -> Mapping[str, RepFailure]:
        return MappingProxyType(self._by_cell)

    def note(self, cell_id: str, *, call: str, reason: str) -> None:
        before = self._by_cell.pop(cell_id, None)  # to the end
        self._by_cell[cell_id] = RepFailure(
            call=call,
            at_ns=self._now_ns(),
            reason=reason,
            failures=1 + (before.failures if before is not None else 0),
        )
        while len(self._by_cell) > self._cells_max:
            del self._by_cell[next(iter(self._by_cell))]

    def json(self) -> str:
        """An object by cell id, those that failed last at the end."""
        return json.dumps({cell_id: asdict(failure) for cell_id, failure in self._by_cell.items()})
