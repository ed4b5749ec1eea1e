"""``bbs cells`` and ``bbs cell ID`` for a person: how full each cell is, what is on it, and whether its rep answers.

As JSON they are upstream's. Load is the rep's own word, asked for now, of all cells at once. The BBS is asked for its rows: of
all cells that is the whole list, which for a large fleet takes it, and us, a second or two.
"""

import time
from collections.abc import Sequence

import trio

from bbs.cfdot.bbs_calls import call_bbs, client_config, refused
from bbs.cfdot.cell_states import rep_context
from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.given import Given
from bbs.cfdot.main import Surroundings, form_for
from bbs.cfdot.rendering import JSONLines, written
from bbs.cfdot.target import Target
from bbs.client import (
    BBSClient,
    InvalidClientConfig,
    TransportError,
    new_trace_id,
)
from bbs.console.cell import Cell, cells_of
from bbs.console.failed_calls import ask_failed_calls
from bbs.console.reps import ask_reps
from bbs.models import pb
from bbs.models.errors import BBSError


def call_cells(name: str, given: Given, target: Target, surroundings: Surroundings) -> None:
    """Carry out ``cell`` or ``cells``.

    Raises:
      CommandFailed: the BBS can't be asked, or there is no such cell. A rep that can't be asked is a result.
    """
    form = form_for(given, surroundings)
    if form == "json":
        call_bbs(name, given, target, JSONLines(surroundings.out, surroundings.err))
        return
    cell_id = given.arguments[0] if name == "cell" else ""
    asked = trio.run(_ask, target, cell_id)
    if not asked[0] and cell_id:
        raise CommandFailed("Cell not found")
    _show(surroundings, asked, of_one=bool(cell_id), wide=form == "wide")


Asked = tuple[Sequence[Cell], Sequence[pb.ActualLRP], Sequence[pb.Task]]


async def _ask(target: Target, cell_id: str) -> Asked:
    """Of one cell, or of all if ``cell_id`` is ''. Tasks only of one: of all, each rep says how many it has."""
    trace_id = new_trace_id()
    context = rep_context(target)
    try:
        async with BBSClient.connect(client_config(target)) as client:
            presences = [
                cell for cell in await client.cells(trace_id=trace_id) if cell_id in ("", cell.cell_id)
            ]
            rows = await client.actual_lrps(cell_id=cell_id, trace_id=trace_id)
            tasks = await client.tasks(cell_id=cell_id, trace_id=trace_id) if cell_id else ()
    except BBSError as error:
        raise refused(error) from error
    except (TransportError, InvalidClientConfig) as error:
        raise CommandFailed(str(error)) from error
    calls = await ask_reps(presences, context, trace_id=trace_id)
    failed_calls = await ask_failed_calls(target.debug, time.time_ns())
    return cells_of(presences, calls, rows, failed_calls), rows, tasks


def _show(surroundings: Surroundings, asked: Asked, *, of_one: bool, wide: bool) -> None:
    from bbs.cfdot.people import drawn
    from bbs.console.cells_view import all_cells, one_cell

    cells, rows, tasks = asked
    now_ns = time.time_ns()
    if of_one:
        parts = one_cell(cells[0], rows, tasks, wide=wide, now_ns=now_ns)
    else:
        parts = all_cells(cells, wide=wide, now_ns=now_ns)
    text = drawn(surroundings.out, surroundings.environment, *parts)
    with written():
        surroundings.out.write(text.encode())
        surroundings.out.flush()
