"""Cells as a person sees them. Imported only where that is wanted, since rich takes its time to load."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from bbs.cfdot.columns import ACTUAL_LRP, TASK, Column, harmless
from bbs.cfdot.people import facts, table_of
from bbs.console.cell import COLUMNS, Cell, lines_of
from bbs.models import pb


def all_cells(cells: Sequence[Cell], *, wide: bool, now_ns: int) -> Sequence[RenderableType]:
    return [table_of(_shown(COLUMNS, wide=wide), cells, now_ns)]


def one_cell(
    cell: Cell, rows: Sequence[pb.ActualLRP], tasks: Sequence[pb.Task], *, wide: bool, now_ns: int
) -> Sequence[RenderableType]:
    """What it is, and its instances and tasks, as far as there are any."""
    parts: list[RenderableType] = [Text(harmless(cell.cell_id), style="bold"), "", facts(lines_of(cell))]
    for columns, records in ((ACTUAL_LRP, rows), (TASK, tasks)):
        if records:
            elsewhere_said = [column for column in columns if column.title != "CELL"]
            parts += ["", table_of(_shown(elsewhere_said, wide=wide), records, now_ns)]
    return parts


def _shown(columns: Sequence[Column], *, wide: bool) -> Sequence[Column]:
    return [column for column in columns if wide or not column.wide]
