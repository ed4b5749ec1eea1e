"""What convergence does to instances that are not as desired (spec: convergence.md §4); suspects have their own module.

Each function decides about the rows of one instance as the next mutation must see them. What the pass has found may
have moved on since; then there is `NOTHING` to do. Domains matter only to what goes (spec: domains.md §5), and whether
they are fresh is settled before.
"""

from collections.abc import Set
from typing import Final

from bbs.lifecycle.actual_lrps import create_unclaimed
from bbs.lifecycle.announcements import removed
from bbs.lifecycle.domains import is_expired
from bbs.lifecycle.groups import alone
from bbs.lifecycle.restart import IMMEDIATE_RESTARTS, RESTARTS_MAX, backoff_ns
from bbs.lifecycle.retirement import retire
from bbs.lifecycle.rows import unclaimed_again
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.drift import routes_differ, tags_differ
from bbs.models.events import (
    ActualLRPGroupChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Hub,
)
from bbs.models.internal_routes import parse_internal_routes, raw_internal_routes
from bbs.models.metric_tags import resolved
from bbs.models.outcome import NOTHING, Outcome, RequestAuction, Told, UpdateInstance, delete, put

STALE_UNCLAIMED_NS: Final = 30_000_000_000
"""How long an instance may wait for a cell before it is put up for auction again. An auction that was asked for may come to
nothing without a word, when the auctioneer ends or the request is lost; within this time it normally has its result."""


END_OF_TIME_NS: Final = 2**63
"""Later than any time that is stored, in Unix nanoseconds."""


def restarts_if_crashed_before_ns(crash_count: int, *, now_ns: int) -> int | None:
    """The time, in Unix nanoseconds, before which an instance must have crashed for the ``crash_count``-th time to be
    started again now; ``None`` if it never is.

    This is `restart.should_restart` turned around: crashed rows are filed by their count and their time, so one
    comparison finds all that are due, without a look at each.
    """
    if crash_count < IMMEDIATE_RESTARTS:
        return END_OF_TIME_NS
    # `should_restart` is true from the very nanosecond on at which the back-off is over (<=), while the caller asks for times
    # *before* the one returned here (<): hence one nanosecond more.
    return now_ns - backoff_ns(crash_count) + 1 if crash_count < RESTARTS_MAX else None


def prune_domain(domain: Domain | None, *, now_ns: int) -> Outcome:
    """A domain that has expired goes, and nobody is told (spec: domains.md §4)."""
    if domain is None or not is_expired(domain, now_ns=now_ns):
        return NOTHING
    return Outcome(rows=(delete(domain),))


def prune_evacuating(rows: Rows, cells: Set[str]) -> Outcome:
    """An evacuating row whose cell is not there goes (spec: convergence.md §3.2): its container is gone, and no request of its
    cell will remove it.
    """
    lrp = rows.evacuating
    if lrp is None or lrp.instance.cell_id in cells:
        return NOTHING
    return Outcome(rows=(delete(lrp),), announcements=(removed(lrp),))


def retire_undesired(rows: Rows, desired: DesiredLRP | None) -> Outcome:
    """The first step of retiring an instance that is not desired, or whose index is beyond those desired; `NOTHING` if
    neither is so (any more).
    """
    lrp = rows.ordinary
    if lrp is None or (desired is not None and lrp.index < desired.instances):
        return NOTHING
    return retire(rows, trace_id="")


def create_missing(rows: Rows, desired: DesiredLRP | None, index: int, *, now_ns: int, epoch: str) -> Outcome:
    """An instance that is desired and has no ordinary row gets one, and an auction.

    Raises:
      ResourceExists: it has one by now.
    """
    if desired is None or index >= desired.instances:
        return NOTHING
    outcome = create_unclaimed(
        rows,
        process_guid=desired.process_guid,
        index=index,
        domain=desired.domain,
        now_ns=now_ns,
        epoch=epoch,
    )
    return Outcome(
        rows=outcome.rows,
        announcements=outcome.announcements,
        effects=(RequestAuction(desired.process_guid, (index,)),),
    )


def place_again(rows: Rows, desired: DesiredLRP | None, *, now_ns: int) -> Outcome:
    """An instance that has waited too long for a cell, or has been down long enough after a crash, gets an auction.

    One that was claimed a moment ago gets it too, as upstream's does; one that runs by now is left alone, unlike
    upstream's, which would take the row from an instance that serves. The group hub is told of the end of a crash even if
    a suspect row stands for the instance there.
    """
    lrp = rows.ordinary
    if lrp is None or desired is None or lrp.state is ActualLRPState.RUNNING:
        return NOTHING
    auction = RequestAuction(lrp.process_guid, (lrp.index,))
    if lrp.state is not ActualLRPState.CRASHED:
        return Outcome(effects=(auction,))
    after = unclaimed_again(lrp, now_ns=now_ns)
    return Outcome(
        rows=(put(after),),
        announcements=(
            Told(Hub.GROUP, ActualLRPGroupChanged(alone(lrp), alone(after))),
            Told(Hub.INSTANCE, ActualLRPInstanceCreated(after, "")),
            Told(Hub.INSTANCE, ActualLRPInstanceRemoved(lrp, "")),
        ),
        effects=(auction,),
    )


def update_routes(rows: Rows, desired: DesiredLRP | None) -> Outcome:
    """The cell of a running instance is given the internal routes it should have.

    No routes at all are passed on as "leave them alone", so this never takes the last one away, as upstream's does not.
    """
    lrp = _running(rows)
    if lrp is None or desired is None or not routes_differ(desired, lrp):
        return NOTHING
    hostnames = parse_internal_routes(raw_internal_routes(desired.routes))
    return Outcome(effects=(UpdateInstance(lrp, hostnames or None, None, ""),))


def update_tags(rows: Rows, desired: DesiredLRP | None) -> Outcome:
    """The cell of a running instance is given the metric tags it should have."""
    lrp = _running(rows)
    if lrp is None or desired is None or not tags_differ(desired, lrp):
        return NOTHING
    return Outcome(effects=(UpdateInstance(lrp, None, resolved(desired.metric_tags, lrp), ""),))


def _running(rows: Rows) -> ActualLRP | None:
    lrp = rows.ordinary
    return lrp if lrp is not None and lrp.state is ActualLRPState.RUNNING else None
