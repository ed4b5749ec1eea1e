"""Asking many reps at once for the state of their cells, and what became of each call."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from bbs.cfdot.cell_load import CellLoad, read_load
from bbs.cfdot.cell_states import rep_state
from bbs.client import TransportError
from bbs.models import pb

AT_ONCE: Final = 50
"""Calls under way. Each is a TLS handshake, of which a laptop makes a few hundred in a second."""

REP_WITHIN_S: Final = 5.0
ALL_WITHIN_S: Final = 20.0
"""Time for 200 cells that do not answer; others take some milliseconds each."""


NOTHING_SAID: Final = CellLoad()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How the call of a rep went. ``trouble`` is why there is no answer, '' if there is; then ``took_s`` is how long it took."""

    load: CellLoad = NOTHING_SAID
    took_s: float = 0.0
    trouble: str = ""

    @property
    def told(self) -> str:
        if self.trouble:
            return self.trouble
        evacuating = "evacuating, " if self.load.is_evacuating else ""
        return f"{evacuating}answered in {self.took_s * 1000:.0f} ms"


async def ask_reps(
    cells: Sequence[pb.CellPresence],
    context: ssl.SSLContext | None,
    *,
    trace_id: str,
    at_once: int = AT_ONCE,
    rep_within_s: float = REP_WITHIN_S,
    all_within_s: float = ALL_WITHIN_S,
) -> Mapping[str, Call]:
    """By cell id, one for each of ``cells``. Takes ``all_within_s`` at most; who has not answered by then is told so."""
    calls = {
        cell.cell_id: Call(trouble=f"no answer within {all_within_s:g} s of all calls") for cell in cells
    }
    places = trio.CapacityLimiter(at_once)

    async def ask(cell: pb.CellPresence) -> None:
        async with places:
            began_s = trio.current_time()
            try:
                state = await rep_state(cell, context, trace_id=trace_id, timeout_s=rep_within_s)
            except (TransportError, ValueError) as error:
                calls[cell.cell_id] = Call(trouble=f"failed: {error}")
            else:
                calls[cell.cell_id] = Call(load=read_load(state), took_s=trio.current_time() - began_s)

    with trio.move_on_after(all_within_s):
        async with trio.open_nursery() as nursery:
            for cell in cells:
                nursery.start_soon(ask, cell)
    return calls
