"""Instances whose cell is missing, and what becomes of them when it is back (spec: convergence.md §4).

A cell that no longer announces itself may be gone, or merely cut off while its instances go on serving. So an instance
on it is not given up: its row becomes *suspect*, and a new ordinary row is placed elsewhere. Whichever proves itself
first stays: the replacement by starting, the suspect by its cell coming back.

Convergence finds the rows and decides here, about each as the next mutation must see it. What it has found may have
moved on since; then there is `NOTHING` to do.
"""

from collections.abc import Set

from bbs.lifecycle.announcements import removed
from bbs.lifecycle.rows import unclaimed, unclaimed_again, with_presence
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import ResourceExists
from bbs.models.events import (
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Hub,
)
from bbs.models.outcome import NOTHING, Outcome, RequestAuction, Told, delete, put


def is_missing(cell_id: str, cells: Set[str]) -> bool:
    """Whether an instance on ``cell_id`` has lost its cell, when ``cells`` announce themselves.

    A row that should name a cell but names none counts only when there are no cells at all: upstream's query has a
    condition on the cell's name only if there are any.
    """
    return cell_id not in cells and (bool(cell_id) or not cells)


def lost_its_cell(lrp: ActualLRP, cells: Set[str]) -> bool:
    return lrp.state.is_held and is_missing(lrp.instance.cell_id, cells)


def displace(rows: Rows, desired: DesiredLRP | None, cells: Set[str], *, now_ns: int, epoch: str) -> Outcome:
    """The cell of the ordinary row is missing: the row becomes suspect, and a new ordinary row is placed elsewhere.

    If there is a suspect already, the ordinary row is its replacement, which has lost its cell as well. The suspect stays, and
    the ordinary row becomes unclaimed. As upstream, no auction is asked for: the row is auctioned once it is stale. The group
    hub is told nothing, since to it the suspect stands for the instance all the time.

    Raises:
      ResourceExists: there is a suspect row that no cell holds, which should not be; it takes the place of a new one.
    """
    lrp, suspect = rows.ordinary, rows.suspect
    if lrp is None or desired is None or not lost_its_cell(lrp, cells):
        return NOTHING
    if suspect is None:
        return _suspected(lrp, desired, now_ns=now_ns, epoch=epoch)
    if not suspect.state.is_held:
        raise ResourceExists
    after = unclaimed_again(lrp, now_ns=now_ns)
    return Outcome(
        rows=(put(after),),
        announcements=(
            Told(Hub.INSTANCE, ActualLRPInstanceCreated(after, "")),
            Told(Hub.INSTANCE, ActualLRPInstanceRemoved(lrp, "")),
        ),
    )


def promote(rows: Rows, cells: Set[str]) -> Outcome:
    """The cell of the suspect row is back: the row becomes ordinary again, and its replacement is removed, however far
    that has come. The group hub is told only of the replacement's removal: to it the suspect stood for the instance.
    """
    suspect = rows.suspect
    if suspect is None or suspect.instance.cell_id not in cells:
        return NOTHING
    promoted = with_presence(suspect, Presence.ORDINARY)
    told = Told(Hub.INSTANCE, ActualLRPInstanceChanged(suspect, promoted, ""))
    # The promoted row is put under the key of the replacement, and so overwrites it: that needs no deletion of its own.
    return Outcome(
        rows=(delete(suspect), put(promoted)),
        announcements=(told,) if rows.ordinary is None else (removed(rows.ordinary), told),
    )


def has_been_replaced(rows: Rows) -> bool:
    """Whether the suspect's replacement runs. Its start should have removed the suspect."""
    running = ActualLRPState.RUNNING
    return all(row is not None and row.state is running for row in (rows.ordinary, rows.suspect))


def remove_suspect(rows: Rows, desired: DesiredLRP | None) -> Outcome:
    """The suspect row goes, if nobody desires the process any more or the replacement runs."""
    if rows.suspect is None or (desired is not None and not has_been_replaced(rows)):
        return NOTHING
    return Outcome(rows=(delete(rows.suspect),), announcements=(removed(rows.suspect),))


def _suspected(lrp: ActualLRP, desired: DesiredLRP, *, now_ns: int, epoch: str) -> Outcome:
    # Both rows in one outcome. If only the first were written, the instance would be without an ordinary row, and nothing
    # would place it until the next pass found it missing.
    suspect = with_presence(lrp, Presence.SUSPECT)
    replacement = unclaimed(lrp.process_guid, lrp.index, desired.domain, now_ns=now_ns, epoch=epoch)
    return Outcome(
        rows=(put(suspect), put(replacement)),
        announcements=(
            Told(Hub.INSTANCE, ActualLRPInstanceChanged(lrp, suspect, "")),
            Told(Hub.INSTANCE, ActualLRPInstanceCreated(replacement, "")),
        ),
        effects=(RequestAuction(lrp.process_guid, (lrp.index,)),),
    )
