"""Requests about one instance: claim, start, crash, fail, remove, and creation (spec: actual-lrps.md §6).

Each function is given the rows of the instance as the next mutation must see them, and decides by the first case of
its table that matches. A *suspect* row answers for a cell that we had given up: its claims and starts are acknowledged
and ignored, and its crash only ends it. Which events follow is worked out in `bbs.lifecycle.announcements`.
"""

from dataclasses import replace

from bbs.lifecycle.announcements import After, RowsChanged, RowsChangedByCrash, created, recorded
from bbs.lifecycle.columns import must_fit
from bbs.lifecycle.restart import crash_count_after_crash, restarts_at_once
from bbs.lifecycle.rows import StartReport, as_stored, claimed, crashed, failed, running, started, unclaimed
from bbs.lifecycle.transitions import may_move
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence, Rows
from bbs.models.errors import (
    ActualLRPCannotBeClaimed,
    ActualLRPCannotBeCrashed,
    ActualLRPCannotBeFailed,
    ActualLRPCannotBeStarted,
    ResourceExists,
    ResourceNotFound,
)
from bbs.models.outcome import NOTHING, Outcome, RequestAuction, Row, delete, put


def create_unclaimed(
    rows: Rows, *, process_guid: str, index: int, domain: str, now_ns: int, epoch: str, trace_id: str = ""
) -> Outcome:
    """A new ordinary row that waits for a cell (spec: actual-lrps.md §6.8). Does not ask for an auction.

    Raises:
      ResourceExists: there is an ordinary row.
    """
    if rows.ordinary is not None:
        raise ResourceExists
    lrp = unclaimed(process_guid, index, domain, now_ns=now_ns, epoch=epoch)
    return Outcome(rows=(put(lrp),), announcements=(created(lrp, trace_id=trace_id),))


def claim(rows: Rows, claimant: InstanceKey, *, now_ns: int) -> Outcome:
    """A cell has taken the instance on (spec: actual-lrps.md §6.2).

    Raises:
      ResourceNotFound: there is no ordinary row.
      ActualLRPCannotBeClaimed: another instance has it, or it has crashed.
      InvalidRequest: the claimant's names do not fit their columns.
    """
    if (suspect := _suspect(rows, claimant)) is not None:
        return Outcome(ignored=suspect)
    before = _ordinary(rows)
    if not may_move(before, ActualLRPState.CLAIMED, claimant):
        raise ActualLRPCannotBeClaimed
    if before.state is ActualLRPState.CLAIMED:
        return NOTHING
    must_fit(claimant.instance_guid, claimant.cell_id)
    after = claimed(before, claimant, now_ns=now_ns)
    return Outcome(rows=(put(after),), announcements=(_changed(rows, before, after),))


def start(rows: Rows, report: StartReport, *, now_ns: int, epoch: str) -> Outcome:
    """A cell runs the instance (spec: actual-lrps.md §6.3).

    Creates the row if there is none, without asking whether anybody desires it. Ends the evacuating and the suspect
    row, which were kept only until their replacement runs. ``epoch`` is used only for a new row.

    Raises:
      ActualLRPCannotBeStarted: another instance runs, it has crashed, or the domain is not the row's.
      InvalidRequest: a text of the report does not fit its column.
    """
    if (suspect := _suspect(rows, report.instance)) is not None:
        return Outcome(ignored=suspect)
    before, present = rows.ordinary, rows.present()
    written: list[Row] = []
    after_rows: After = present
    # Cells report what they run again and again. A report that says nothing new must not be a write: it would also move
    # the modification tag and so wake every subscriber.
    if before is None or not report.agrees_with(before):
        after = _started_row(before, report, now_ns=now_ns, epoch=epoch)
        written.append(put(after))
        after_rows = recorded(before, after, after_rows)
    # These two kept the app up until the instance runs elsewhere, which it does now. If they stayed, routes would go on to a
    # container that is being given up. Also after a report that says nothing new: a row may have come in since the
    # first report, and an upstream server deletes them in a step of its own, which may have failed.
    for superseded in (rows.evacuating, rows.suspect):
        if superseded is not None:
            written.append(delete(superseded))
            after_rows = recorded(superseded, None, after_rows)
    if not written:
        return NOTHING
    return Outcome(rows=tuple(written), announcements=(RowsChanged(present, after_rows),))


def crash(rows: Rows, instance: InstanceKey, reason: str, *, is_desired: bool, now_ns: int) -> Outcome:
    """The instance has crashed on its cell (spec: actual-lrps.md §6.4).

    Its first crashes put it up for auction at once; later ones leave it CRASHED, for convergence to restart in time.
    If nobody desires it any more (``is_desired``), there is nothing to auction: the crash stands, and the caller is
    refused.

    Raises:
      ResourceNotFound: there is no ordinary row.
      ActualLRPCannotBeCrashed: it is not this instance that has the row.
    """
    if (suspect := _suspect(rows, instance)) is not None:
        return _without(rows, suspect)
    before = _ordinary(rows)
    after = crashed_row(before, instance, reason, now_ns=now_ns)
    # The event has the whole reason, the row as much of it as its column takes; so does upstream.
    outcome = Outcome(
        rows=(put(as_stored(after)),),
        announcements=(RowsChangedByCrash(rows.present(), recorded(before, after, rows.present())),),
    )
    if after.state is ActualLRPState.CRASHED:
        return outcome
    if not is_desired:
        return replace(outcome, refusal=ResourceNotFound())
    return replace(outcome, effects=(RequestAuction(before.process_guid, (before.index,)),))


def crashed_row(lrp: ActualLRP, instance: InstanceKey, reason: str, *, now_ns: int) -> ActualLRP:
    """``lrp`` after its crash, with the whole reason; UNCLAIMED if it is to be placed again at once, else CRASHED.

    Raises:
      ActualLRPCannotBeCrashed: it is not this instance that has the row.
    """
    if not may_move(lrp, ActualLRPState.CRASHED, instance):
        raise ActualLRPCannotBeCrashed
    count = crash_count_after_crash(lrp, now_ns=now_ns)
    state = ActualLRPState.UNCLAIMED if restarts_at_once(count) else ActualLRPState.CRASHED
    return crashed(lrp, state=state, crash_count=count, reason=reason, now_ns=now_ns)


def fail(rows: Rows, reason: str, *, now_ns: int) -> Outcome:
    """The auctioneer found no cell for the instance (spec: actual-lrps.md §6.5). Without a row nothing happens.

    Raises:
      ActualLRPCannotBeFailed: a cell has it.
    """
    before = rows.ordinary
    if before is None:
        # The auctioneer reports each instance that it could not place. If it was removed meanwhile there is nothing to note,
        # and an error would only be logged as one there.
        return NOTHING
    if before.state is not ActualLRPState.UNCLAIMED:
        raise ActualLRPCannotBeFailed
    after = failed(before, reason=reason, now_ns=now_ns)
    return Outcome(rows=(put(as_stored(after)),), announcements=(_changed(rows, before, after),))


def remove(rows: Rows, instance: InstanceKey | None) -> Outcome:
    """The ordinary row goes (spec: actual-lrps.md §6.6), if ``instance`` holds it; ``None`` stands for any instance.

    Raises:
      ResourceNotFound: there is no ordinary row, or another instance has it.
    """
    lrp = _ordinary(rows)
    if instance is not None and instance != lrp.instance:
        raise ResourceNotFound
    return _without(rows, lrp)


def _started_row(before: ActualLRP | None, report: StartReport, *, now_ns: int, epoch: str) -> ActualLRP:
    # Of an existing row guid and domain are in the table already, so only what the report brings anew is checked; and the
    # refusal of the move comes first, since upstream's comes before its write.
    if before is None:
        must_fit(report.process_guid, report.domain)
    elif not may_move(before, ActualLRPState.RUNNING, report.instance, domain=report.domain):
        raise ActualLRPCannotBeStarted
    must_fit(report.instance.instance_guid, report.instance.cell_id, report.availability_zone)
    if before is None:
        return running(report, now_ns=now_ns, epoch=epoch)
    return started(before, report, now_ns=now_ns)


def _suspect(rows: Rows, instance: InstanceKey) -> ActualLRP | None:
    """The suspect row, if it is the one that ``instance`` holds."""
    holder = rows.held_by(instance)
    return holder if holder is not None and holder.presence is Presence.SUSPECT else None


def _ordinary(rows: Rows) -> ActualLRP:
    if rows.ordinary is None:
        raise ResourceNotFound
    return rows.ordinary


def _changed(rows: Rows, before: ActualLRP, after: ActualLRP) -> RowsChanged:
    return RowsChanged(rows.present(), recorded(before, after, rows.present()))


def _without(rows: Rows, lrp: ActualLRP) -> Outcome:
    gone = RowsChanged(rows.present(), recorded(lrp, None, rows.present()))
    return Outcome(rows=(delete(lrp),), announcements=(gone,))
