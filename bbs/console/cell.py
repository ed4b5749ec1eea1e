"""What is known of one cell: what it has announced, what its rep says, and what the BBS has on it. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bbs.cfdot.cell_load import Amount, CellLoad
from bbs.cfdot.columns import Column, count
from bbs.console.failed_calls import NOT_KNOWN, FailedCalls
from bbs.console.reps import Call
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, Presence

NOT_ANNOUNCED: Final = "not announced"
NOT_ASKED: Final = Call(trouble=NOT_ANNOUNCED)


@dataclass(slots=True, kw_only=True)
class Rows:
    """How many of its instances the BBS has here: ordinary ones by state, and those of another presence."""

    running: int = 0
    claimed: int = 0
    suspect: int = 0
    evacuating: int = 0

    def add(self, lrp: pb.ActualLRP) -> None:
        match int(lrp.presence):
            case Presence.SUSPECT:
                self.suspect += 1
            case Presence.EVACUATING:
                self.evacuating += 1
            case _ if lrp.state == ActualLRPState.RUNNING:
                self.running += 1
            case _:
                self.claimed += 1

    def told(self) -> str:
        """Those that there are, in words."""
        named = (
            ("running", self.running),
            ("claimed", self.claimed),
            ("suspect", self.suspect),
            ("evacuating", self.evacuating),
        )
        return ", ".join(f"{number} {name}" for name, number in named if number) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """``presence`` is ``None`` for one that is not announced: then there is nobody to ask. ``failed_call`` tells of the BBS's own."""

    cell_id: str
    presence: pb.CellPresence | None
    call: Call = NOT_ASKED
    rows: Rows = field(default_factory=Rows)
    failed_call: str = ""

    @property
    def load(self) -> CellLoad:
        return self.call.load

    @property
    def zone(self) -> str:
        return self.presence.zone if self.presence is not None else ""

    @property
    def capacity(self) -> pb.CellCapacity:
        return self.presence.capacity if self.presence is not None else pb.CellCapacity()


def cells_of(
    presences: Iterable[pb.CellPresence],
    calls: Mapping[str, Call],
    rows: Iterable[pb.ActualLRP],
    failed_calls: FailedCalls = NOT_KNOWN,
) -> Sequence[Cell]:
    """Those that are announced, and those that are not and have rows all the same."""
    by_id: dict[str, Rows] = {}
    for lrp in rows:
        if cell_id := lrp.actual_lrp_instance_key.cell_id:
            by_id.setdefault(cell_id, Rows()).add(lrp)
    announced = {presence.cell_id: presence for presence in presences}
    return [
        Cell(
            cell_id=cell_id,
            presence=announced.get(cell_id),
            call=calls.get(cell_id, NOT_ASKED),
            rows=by_id.get(cell_id, Rows()),
            failed_call=failed_calls.of(cell_id),
        )
        for cell_id in sorted({*announced, *by_id})
    ]


def of_total(amount: Amount, capacity: int, unit: str = "") -> str:
    """Used of total, as the rep says; of a rep that does not, what the cell has announced."""
    if told := amount.told(unit):
        return told
    return Amount(total=capacity).told(unit) if capacity else ""


COLUMNS: Final = (
    Column("CELL", lambda cell, _: cell.cell_id),
    Column("ZONE", lambda cell, _: cell.zone),
    Column("MEMORY", lambda cell, _: of_total(cell.load.memory, cell.capacity.memory_mb, "M")),
    Column("DISK", lambda cell, _: of_total(cell.load.disk, cell.capacity.disk_mb, "M")),
    Column("CONTAINERS", lambda cell, _: of_total(cell.load.containers, cell.capacity.containers)),
    Column("RUNNING", lambda cell, _: str(cell.rows.running)),
    Column("CLAIMED", lambda cell, _: str(cell.rows.claimed)),
    Column("SUSPECT", lambda cell, _: str(cell.rows.suspect)),
    Column("EVACUATING", lambda cell, _: str(cell.rows.evacuating)),
    Column("TASKS", lambda cell, _: count(cell.load.tasks)),
    Column("REP", lambda cell, _: cell.call.told),
    Column("STARTING", lambda cell, _: count(cell.load.starting), wide=True),
    Column("LAST FAILED CALL OF THE BBS", lambda cell, _: cell.failed_call, wide=True),
    Column("REP URL", lambda cell, _: _rep_url(cell), wide=True),
    Column("PLACEMENT TAGS", lambda cell, _: ", ".join(_tags(cell)), wide=True),
)


def lines_of(cell: Cell) -> Iterator[tuple[str, str]]:
    """All about one, as titles and texts."""
    yield "zone", cell.zone
    if cell.presence is None:
        yield (
            "presence",
            f"{NOT_ANNOUNCED}: Locket has none. What was on it is placed elsewhere by convergence passes",
        )
    else:
        yield "presence", "announced; since when is not told, neither by Locket nor by the BBS"
    yield "rep", _rep_url(cell)
    yield "call", f"asked now: {cell.call.told}" if cell.presence is not None else "nobody to ask"
    yield "last failed call of the BBS", cell.failed_call
    yield "memory", of_total(cell.load.memory, cell.capacity.memory_mb, "M")
    yield "disk", of_total(cell.load.disk, cell.capacity.disk_mb, "M")
    yield "containers", of_total(cell.load.containers, cell.capacity.containers)
    by_rep = f"; the rep has {cell.load.lrps}" if cell.load.lrps >= 0 and not cell.call.trouble else ""
    yield "instances", f"{cell.rows.told()}{by_rep}"
    if tags := list(_tags(cell)):
        yield "placement tags", ", ".join(tags)
    if cell.presence is not None:
        for provider in cell.presence.rootfs_providers:
            yield (
                "rootfs",
                f"{provider.name}: {', '.join(provider.properties)}"
                if provider.properties
                else provider.name,
            )


def _rep_url(cell: Cell) -> str:
    return (cell.presence.rep_url or cell.presence.rep_address) if cell.presence is not None else ""


def _tags(cell: Cell) -> Iterator[str]:
    if cell.presence is not None:
        yield from cell.presence.placement_tags
        yield from (f"{tag} (optional)" for tag in cell.presence.optional_placement_tags)
