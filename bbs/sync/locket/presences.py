"""The cells, as their reps announce them in Locket (spec: locking-and-presence.md §4, §5).

Which cells there are is asked anew each time. What is remembered is only what a presence's text decodes to: a presence is
renewed every few seconds and hardly ever changes.

A presence is whatever a rep wrote, perhaps a newer or an older one than ours. It is read field by field as Go would read it
(`bbs.models.go_json`): unknown keys are passed over, and of a field that does not fit, the log says which it is, what was
expected and what kind of value is there. The JSON library's own words would leave an operator with a character position
in a text that is not in the log. One presence that can't be read hides its cell alone, not the others.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

from bbs.concurrency.turns import TimedTurns
from bbs.log import Logger
from bbs.models import pb
from bbs.models.errors import ResourceNotFound, UnknownError
from bbs.models.go_json import from_json
from bbs.models.wire import encode, frame
from bbs.peers.interfaces import Cell
from bbs.sync.locket.client import Code, Locket, LocketError, Resource, TypeCode

CELLS_FIELD: Final = 2
"""Number of the field of `CellsResponse` that holds the cells."""


@dataclass(frozen=True, slots=True)
class _Presence:
    cell: Cell
    wire: bytes


class Presences:
    """The `Cells` of a `Locket`. Each lookup asks it once, and gives up after ``deadline_s``; 0 is at once."""

    def __init__(self, locket: Locket, *, deadline_s: float) -> None:
        self._locket = locket
        self._deadline_s = deadline_s
        self._read: dict[str, _Presence | ValueError] = {}

    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        log = log.session("cell-by-id", {"cell-id": cell_id})
        try:
            resource = await self._locket.fetch(cell_id, deadline_s=self._deadline_s)
        except LocketError as error:
            log.error("failed-to-fetch-presence-from-locket", error=error)
            if error.code == Code.NOT_FOUND:
                raise ResourceNotFound from error
            raise
        presence = self._read.get(resource.value) or _decode(resource.value)
        if isinstance(presence, ValueError):
            log.error("failed-to-unmarshal-presence", error=presence)
            raise UnknownError(f"presence of {cell_id}: {presence}") from presence
        return presence.cell

    async def list_wire(self, *, log: Logger) -> Sequence[bytes]:
        return tuple(presence.wire for presence in (await self._presences(log)).values())

    async def present_cells(self, *, log: Logger) -> Set[str]:
        return (await self._presences(log)).keys()

    async def _presences(self, log: Logger) -> dict[str, _Presence]:
        """The presences that can be read, by the cell id that stands in them. Reps choose that id themselves; of two with
        the same one, the later in Locket's list counts.

        Raises:
          LocketError: Locket did not answer.
        """
        log = log.session("cells")
        try:
            resources = await self._locket.fetch_all(TypeCode.PRESENCE, deadline_s=self._deadline_s)
        except LocketError as error:
            log.error("failed-to-fetch-cells-from-locket", error=error)
            raise
        read = await self._read_all(resources)
        found: dict[str, _Presence] = {}
        for resource in resources:
            presence = read[resource.value]
            if isinstance(presence, ValueError):
                log.error("failed-to-unmarshal-presence", {"key": resource.key}, error=presence)
            else:
                found[presence.cell.cell_id] = presence
        return found

    async def _read_all(self, resources: Sequence[Resource]) -> dict[str, _Presence | ValueError]:
        """What the text of each resource decodes to. Texts that nobody announces any more are forgotten."""
        known, read = self._read, dict[str, _Presence | ValueError]()
        turns = TimedTurns()
        for resource in resources:
            read[resource.value] = known.get(resource.value) or _decode(resource.value)
            await turns.checkpoint_if_due()
        self._read = read
        return read


def _decode(value: str) -> _Presence | ValueError:
    try:
        presence = from_json(pb.CellPresence, value)
    except ValueError as error:
        return error
    cell = Cell(cell_id=presence.cell_id, rep_url=presence.rep_url)
    return _Presence(cell, frame(CELLS_FIELD, encode(presence)))
