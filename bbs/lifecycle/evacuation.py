"""What a draining cell asks about its containers: whether to keep each of them for now (spec: evacuation.md).

The cell repeats its question until the answer is no, and then destroys the container. Meanwhile the instance goes on
serving in an *evacuating* row, while its ordinary row is placed elsewhere: the replacement's start ends the evacuating
row. Under the other update strategy, recreate, there is no such row: instances are given up one at a time, each once
all others run.

``held`` below is the row that the question is about: the first of the three that has the asking instance's key. It is
seldom the only one, and may be missing, since cells ask late and again. Some answers that look odd are upstream's: a row
that nobody desires any more is announced as gone though it stays (`_drop`), and an evacuating row that is told twice
keeps its routability and zone (`_evacuated_again`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bbs.lifecycle.actual_lrps import crashed_row
from bbs.lifecycle.announcements import After, RowsChanged, created, recorded
from bbs.lifecycle.columns import must_fit
from bbs.lifecycle.groups import alone
from bbs.lifecycle.rows import StartReport, as_stored, unclaimed_again
from bbs.models.actual_lrp import (
    ActualLRP,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
    Rows,
)
from bbs.models.desired_lrp import RECREATE, DesiredLRP
from bbs.models.errors import BBSError, ResourceExists, ResourceNotFound
from bbs.models.events import ActualLRPGroupChanged, ActualLRPInstanceCreated, Hub
from bbs.models.outcome import NOTHING, Outcome, RequestAuction, Row, Told, delete, put

PROVEN = (ActualLRPState.RUNNING, ActualLRPState.CRASHED)
"""States of an ordinary row that end the evacuation of another instance: it runs elsewhere, or will not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evacuation:
    """What to do, and what to tell the cell: keep the container running and ask again (``keep``), or destroy it.

    ``error`` is what the cell is answered besides; then ``outcome`` is empty. ``keep_if_unwritten`` is the answer if
    ``outcome`` can't be written: a container that may still be serving must not go because the database is away.
    """

    keep: bool
    outcome: Outcome = NOTHING
    error: BBSError | None = None
    keep_if_unwritten: bool = False

    def keep_after(self, error: BBSError) -> bool:
        """Whether to keep the container although the cell is answered ``error``: ours, or that of the write."""
        # By identity: the write may have failed with an error of the same type.
        return self.keep if error is self.error else self.keep_if_unwritten


# Neither writes anything, but either may rest on a staged row that comes to nothing. Then the container is kept, and the cell
# asks again.
DESTROY = Evacuation(keep=False, keep_if_unwritten=True)
KEEP = Evacuation(keep=True, keep_if_unwritten=True)


def remove_evacuating(rows: Rows, instance: InstanceKey) -> Outcome:
    """The container of an evacuating row is gone (spec: evacuation.md §4).

    Raises:
      ResourceNotFound: it is no evacuating row that ``instance`` holds, or none at all.
    """
    held = rows.held_by(instance)
    if held is None or held.presence is not Presence.EVACUATING:
        raise ResourceNotFound
    return _removal(rows, held)


def evacuate_claimed(rows: Rows, instance: InstanceKey, *, now_ns: int) -> Evacuation:
    """The container was claimed and has not started: another cell shall (spec: evacuation.md §5)."""
    held = rows.held_by(instance)
    if held is None or held.presence is not Presence.ORDINARY:
        return _ended_elsewhere(rows, held)
    return Evacuation(keep=False, outcome=_given_up(rows, held, now_ns=now_ns), keep_if_unwritten=True)


def evacuate_crashed(rows: Rows, instance: InstanceKey, reason: str, *, now_ns: int) -> Evacuation:
    """The container crashed while its cell drained (spec: evacuation.md §6).

    As any crash, but told without a crash event while it is to be placed again, and without an auction: convergence
    finds the unclaimed row.
    """
    held = rows.held_by(instance)
    if held is None or held.presence is not Presence.ORDINARY:
        return _ended_elsewhere(rows, held)
    after = crashed_row(held, instance, reason, now_ns=now_ns)
    outcome = Outcome(rows=(put(as_stored(after)),), announcements=(_changed(rows, held, after),))
    # Also if that can't be written: a crashed container serves nobody, so there is nothing to keep.
    return Evacuation(keep=False, outcome=outcome)


def evacuate_stopped(rows: Rows, instance: InstanceKey) -> Evacuation:
    """The container was stopped as asked: its row goes, whatever its presence (spec: evacuation.md §7)."""
    held = rows.held_by(instance)
    if held is None:
        return _ended_elsewhere(rows, held)
    return Evacuation(keep=False, outcome=_removal(rows, held))


def evacuate_running(
    rows: Rows,
    report: StartReport,
    desired: DesiredLRP | None,
    *,
    running: Callable[[], int],
    now_ns: int,
    epoch: str,
) -> Evacuation:
    """The container runs: keep it until a replacement does (spec: evacuation.md §8).

    ``running`` counts the process' ordinary rows that run. ``epoch`` is used only for a new row.

    Raises:
      InvalidRequest: a text of the report does not fit its column. The container is to be kept.
    """
    # In upstream's order: is there anything at all, is the instance still needed, and only then how to keep it up.
    if not rows.present():
        return DESTROY
    held, ordinary = rows.held_by(report.instance), rows.ordinary
    is_replaced = ordinary is not None and ordinary is not held and ordinary.state in PROVEN
    if ordinary is None or is_replaced or desired is None:
        return _drop(rows, held)
    if desired.update_strategy == RECREATE:
        return _recreate(rows, held, is_enough=lambda: running() >= desired.instances, now_ns=now_ns)
    return _roll(rows, held, report, now_ns=now_ns, epoch=epoch)


def _recreate(
    rows: Rows, held: ActualLRP | None, *, is_enough: Callable[[], bool], now_ns: int
) -> Evacuation:
    """Give the instance up if all others run; until then it stays (spec: evacuation.md §8.2)."""
    if held is None:
        return DESTROY
    match held.presence:
        case Presence.EVACUATING:
            return _drop(rows, held)
        case Presence.SUSPECT:
            # Its replacement is under way, so there is nothing to be placed.
            return Evacuation(keep=False, outcome=_removal(rows, held), keep_if_unwritten=True)
    if not held.state.is_held:
        return DESTROY
    if not is_enough():
        return KEEP
    return Evacuation(keep=False, outcome=_given_up(rows, held, now_ns=now_ns), keep_if_unwritten=True)


def _roll(rows: Rows, held: ActualLRP | None, report: StartReport, *, now_ns: int, epoch: str) -> Evacuation:
    """Keep the instance up in an evacuating row, and place the ordinary one elsewhere (spec: evacuation.md §8.3)."""
    if held is None:
        if rows.evacuating is not None:
            return DESTROY
        return _evacuated_from_report(report, now_ns=now_ns, epoch=epoch)
    if held.presence is Presence.EVACUATING:
        return _evacuated_again(held, report, now_ns=now_ns)
    if not held.state.is_held:
        return DESTROY
    return _dance(rows, held, now_ns=now_ns, epoch=epoch)


def _evacuated_from_report(report: StartReport, *, now_ns: int, epoch: str) -> Evacuation:
    must_fit(report.process_guid, report.domain)
    must_fit(report.instance.instance_guid, report.instance.cell_id, report.availability_zone)
    row = ActualLRP(
        process_guid=report.process_guid,
        index=report.index,
        domain=report.domain,
        presence=Presence.EVACUATING,
        state=ActualLRPState.RUNNING,
        instance=report.instance,
        net_info=report.net_info,
        internal_routes=report.internal_routes,
        metric_tags=report.metric_tags,
        routable=report.routable,
        availability_zone=report.availability_zone,
        since_ns=now_ns,
        tag=ModificationTag(epoch=epoch, index=0),
    )
    outcome = Outcome(rows=(put(row),), announcements=(created(row),))
    return Evacuation(keep=True, outcome=outcome, keep_if_unwritten=True)


def _evacuated_again(before: ActualLRP, report: StartReport, *, now_ns: int) -> Evacuation:
    """The cell reports an evacuating row again. It is written only if domain or net info are others.

    As upstream, the instance hub is told of a created row, and the events show the reported zone, while the row keeps the
    zone and the routability that it had.
    """
    if (report.domain, report.net_info) == (before.domain, before.net_info):
        return KEEP
    must_fit(report.domain)
    told = replace(
        before,
        domain=report.domain,
        net_info=report.net_info,
        internal_routes=report.internal_routes,
        metric_tags=report.metric_tags,
        availability_zone=report.availability_zone,
        since_ns=now_ns,
        tag=before.tag.next(),
    )
    outcome = Outcome(
        rows=(put(replace(told, availability_zone=before.availability_zone)),),
        announcements=(
            Told(Hub.GROUP, ActualLRPGroupChanged(alone(before), alone(told))),
            Told(Hub.INSTANCE, ActualLRPInstanceCreated(told, "")),
        ),
    )
    return Evacuation(keep=True, outcome=outcome, keep_if_unwritten=True)


def _dance(rows: Rows, held: ActualLRP, *, now_ns: int, epoch: str) -> Evacuation:
    """The held row goes on as the evacuating one. An ordinary row is then free to be placed; a suspect one is over,
    since its replacement is under way already.

    What the cell reports is ignored: the row has what it reported when it started.
    """
    former = rows.evacuating
    if former is None:
        told = stored = replace(
            held,
            presence=Presence.EVACUATING,
            state=ActualLRPState.RUNNING,
            crash_count=0,
            crash_reason="",
            placement_error="",
            since_ns=now_ns,
            tag=ModificationTag(epoch=epoch, index=0),
        )
    elif (former.domain, former.instance, former.net_info) == (held.domain, held.instance, held.net_info):
        return Evacuation(keep=True, error=ResourceExists())
    else:
        told = replace(
            former,
            domain=held.domain,
            instance=held.instance,
            net_info=held.net_info,
            internal_routes=held.internal_routes,
            metric_tags=held.metric_tags,
            availability_zone=held.availability_zone,
            since_ns=now_ns,
            tag=former.tag.next(),
        )
        stored = replace(told, availability_zone=former.availability_zone)
    after: After = recorded(held, told, rows.present())
    written: tuple[Row, ...]
    if held.presence is Presence.SUSPECT:
        written = (put(stored), delete(held))
        effects: tuple[RequestAuction, ...] = ()
    else:
        # Upstream reads the clock for each row, the evacuating one first. Cloud Controller shows the row with the later
        # `since`, and takes the first of two that are equal. With one time for both rows it would show the instance that
        # is going away, or the other, by chance of the order; one nanosecond later settles it, however fine the clock.
        freed = unclaimed_again(held, now_ns=now_ns + 1)
        after = recorded(None, freed, after)
        written = (put(stored), put(freed))
        effects = (RequestAuction(held.process_guid, (held.index,)),)
    outcome = Outcome(rows=written, announcements=(RowsChanged(rows.present(), after),), effects=effects)
    return Evacuation(keep=True, outcome=outcome, keep_if_unwritten=True)


def _drop(rows: Rows, held: ActualLRP | None) -> Evacuation:
    """The instance is not needed any more (spec: evacuation.md §3.3).

    Only an evacuating row of its own is removed. As upstream, any other row that it holds is announced as gone although
    it stays, for convergence to deal with. If somebody else holds the evacuating row, nothing is removed or announced.
    """
    if held is None:
        return DESTROY
    evacuating = rows.evacuating
    if evacuating is not None and evacuating.instance != held.instance:
        return DESTROY
    outcome = Outcome(
        rows=() if evacuating is None else (delete(evacuating),),
        announcements=(_changed(rows, held, None),),
    )
    return Evacuation(keep=False, outcome=outcome, keep_if_unwritten=True)


def _ended_elsewhere(rows: Rows, held: ActualLRP | None) -> Evacuation:
    """The row that the cell asks about is not the ordinary one: it was kept only for as long as its container, and goes
    with it. Without any row the cell is told so, and destroys the container (spec: evacuation.md §3.4).
    """
    if held is None:
        return Evacuation(keep=False, error=ResourceNotFound())
    return Evacuation(keep=False, outcome=_removal(rows, held))


def _given_up(rows: Rows, held: ActualLRP, *, now_ns: int) -> Outcome:
    """The held row becomes unclaimed and goes up for auction, so that another cell runs the instance."""
    after = unclaimed_again(held, now_ns=now_ns)
    return Outcome(
        rows=(put(after),),
        announcements=(_changed(rows, held, after),),
        effects=(RequestAuction(held.process_guid, (held.index,)),),
    )


def _removal(rows: Rows, held: ActualLRP) -> Outcome:
    return Outcome(rows=(delete(held),), announcements=(_changed(rows, held, None),))


def _changed(rows: Rows, before: ActualLRP, after: ActualLRP | None) -> RowsChanged:
    return RowsChanged(rows.present(), recorded(before, after, rows.present()))
