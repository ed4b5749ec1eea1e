"""Retiring an instance: remove it if no cell has it, else have its cell stop it (spec: actual-lrps.md §6.7).

Asking the cell takes several turns with others, so the decision comes in pieces. Whoever carries it out does this:

1. Take the step that `retire` returns. A `RemoveRow` is committed, and that is all.
2. For an `AskCell`, up to `ATTEMPTS` times: look the cell up. If there is no such cell, commit `AskCell.without_cell`
   and stop; any other trouble with the lookup is the answer, at once.
3. The first time that the cell is found, commit `AskCell.told`: the removal is announced now, although the row stays
   until the cell removes it, and whatever becomes of the stop.
4. A rep client that cannot be made is the answer, at once. A stop that fails is tried again, from the lookup on; the
   last failure is the answer.
"""

from dataclasses import dataclass
from typing import Final

from bbs.lifecycle.announcements import RowsChanged, recorded
from bbs.models.actual_lrp import ActualLRP, Rows
from bbs.models.errors import ResourceNotFound
from bbs.models.outcome import Announcement, Outcome, delete

ATTEMPTS: Final = 5
"""How often the cell is asked, without a pause: convergence comes round again anyway."""


@dataclass(frozen=True, slots=True)
class RemoveRow:
    """No cell has the instance: its row can go right away."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AskCell:
    """A cell has the instance and must stop it first. ``rows`` are as they were when retiring began."""

    rows: Rows
    trace_id: str

    @property
    def lrp(self) -> ActualLRP:
        assert self.rows.ordinary is not None
        return self.rows.ordinary

    @property
    def cell_id(self) -> str:
        return self.lrp.instance.cell_id

    def told(self) -> Outcome:
        """The cell is there: the removal is announced, and nothing is written."""
        return Outcome(announcements=(removed_by_retire(self.rows, self.trace_id),))

    def without_cell(self, rows_now: Rows, *, is_told: bool) -> Outcome:
        """There is no such cell (any more): the row goes. ``is_told``: an earlier attempt has committed `told`.

        Raises:
          ResourceNotFound: in the meantime the row has gone, or another instance has it.
        """
        lrp = rows_now.ordinary
        if lrp is None or lrp.instance != self.lrp.instance:
            raise ResourceNotFound
        announcements = () if is_told else (removed_by_retire(self.rows, self.trace_id),)
        return Outcome(rows=(delete(lrp),), announcements=announcements)


RetireStep = RemoveRow | AskCell


def retire(rows: Rows, *, trace_id: str) -> RetireStep:
    """The first step. Only the ordinary row counts, and the request's domain does not.

    Raises:
      ResourceNotFound: there is no ordinary row.
    """
    lrp = rows.ordinary
    if lrp is None:
        raise ResourceNotFound
    if lrp.state.is_held:
        return AskCell(rows, trace_id)
    return RemoveRow(Outcome(rows=(delete(lrp),), announcements=(removed_by_retire(rows, trace_id),)))


def removed_by_retire(rows: Rows, trace_id: str) -> Announcement:
    """The ordinary row of ``rows`` is gone, or as good as gone."""
    return RowsChanged(rows.present(), recorded(rows.ordinary, None, rows.present()), trace_id)
