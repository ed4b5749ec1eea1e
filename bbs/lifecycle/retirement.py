"""Retiring an instance: remove it if no cell has it, else have its cell stop it (spec: actual-lrps.md §6.7).

Asking the cell takes several turns with others, so what is decided comes in pieces. `retire` removes a row that is on no
cell, and asks for a `RetireInstance` otherwise. Whoever performs that does this, up to `ATTEMPTS` times:

1. Look the cell up. If there is no such cell, change what `without_cell` says and stop; any other trouble with the lookup
   is the answer, at once.
2. The first time that the cell is found, publish what `told` says: the removal is announced now, although the row stays
   until the cell removes it, and whatever becomes of the stop.
3. Ask the cell. A rep client that cannot be made is the answer, at once. A stop that fails is tried again, from the lookup
   on; the last failure is the answer.
"""

from typing import Final

from bbs.lifecycle.announcements import RowsChanged, recorded
from bbs.models.actual_lrp import Rows
from bbs.models.errors import ResourceNotFound
from bbs.models.outcome import Announcement, Outcome, RetireInstance, delete

ATTEMPTS: Final = 5
"""How often the cell is asked, without a pause: convergence comes round again anyway."""


def retire(rows: Rows, *, trace_id: str) -> Outcome:
    """The first step. Only the ordinary row counts, and the request's domain does not.

    Raises:
      ResourceNotFound: there is no ordinary row.
    """
    lrp = rows.ordinary
    if lrp is None:
        raise ResourceNotFound
    if lrp.state.is_held:
        return Outcome(effects=(RetireInstance(rows, trace_id),))
    return Outcome(rows=(delete(lrp),), announcements=(removed_by_retire(rows, trace_id),))


def told(retiring: RetireInstance) -> Outcome:
    """The cell is there: the removal is announced, and nothing is written."""
    return Outcome(announcements=(removed_by_retire(retiring.rows, retiring.trace_id),))


def without_cell(retiring: RetireInstance, rows_now: Rows, *, is_told: bool) -> Outcome:
    """There is no such cell (any more): the row goes. ``rows_now`` are the rows at this moment; those of ``retiring`` may be
    several attempts old. ``is_told``: the removal has been announced already, when the cell was found in an earlier attempt.

    Raises:
      ResourceNotFound: in the meantime the row has gone, or another instance has it.
    """
    lrp = rows_now.ordinary
    if lrp is None or lrp.instance != retiring.lrp.instance:
        raise ResourceNotFound
    announcements = () if is_told else (removed_by_retire(retiring.rows, retiring.trace_id),)
    return Outcome(rows=(delete(lrp),), announcements=announcements)


def removed_by_retire(rows: Rows, trace_id: str) -> Announcement:
    """The ordinary row of ``rows`` is gone, or as good as gone."""
    return RowsChanged(rows.present(), recorded(rows.ordinary, None, rows.present()), trace_id)
