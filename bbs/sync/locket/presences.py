"""The cells, as their reps announce them in Locket (spec: locking-and-presence.md §4, §5).

Nothing is remembered but how to read: a presence is renewed every few seconds and hardly ever changes, so what its text
decodes to is kept from one look to the next.
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
"""Of `CellsResponse`."""


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
        """By the id that the presence itself tells, which is a rep's to choose: of two with the same, the later."""
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
        """What each text says. What nobody announces any more is forgotten."""
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
