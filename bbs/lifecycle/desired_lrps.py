"""Requests about what should run: desire, update, remove, and what they cause (spec: desired-lrps.md).

A request about few instances is one outcome: upstream writes the record first and every instance by itself, here all
of it becomes durable together. The order of the announcements is still upstream's: on a desire and a remove the
record's event comes first, on an update last.

A request about many instances would keep everybody else waiting, so it is decided in parts by whoever handles it
(`bbs.routes.large_processes`): the record first (`desired`, `updated`, `removed_record`), then its instances some at a
time (`start_some`, `stop_some`, `push_to`), each on the rows as they are by then.

``rows`` are the rows that a decision is about, by index and then presence, as the next mutation must see them: all of
the process, or those of the indices in question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from bbs.lifecycle import internal_routes, metric_tags
from bbs.lifecycle.announcements import created, removed
from bbs.lifecycle.columns import ROOTFS_CHARACTERS_MAX, must_fit
from bbs.lifecycle.rows import unclaimed
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ModificationTag, Presence
from bbs.models.desired_lrp import (
    DesiredLRP,
    MetricTags,
    desired_lrp_from_message,
    metric_tags_from_message,
    stored_routes,
)
from bbs.models.errors import InvalidRequest, ResourceExists, ResourceNotFound
from bbs.models.events import DesiredLRPChanged, DesiredLRPCreated, DesiredLRPRemoved, Event, Hub
from bbs.models.outcome import (
    NOTHING,
    Outcome,
    RequestAuction,
    StopInstance,
    Told,
    UpdateInstance,
    delete,
    put,
)
from bbs.models.wire import encode

ANNOTATION_CHARACTERS_MAX: Final = 10 * 1024
"""Validation has bounded the annotation's bytes already, so what `must_fit` can still find in it is a NUL character."""

INSTANCES_MAX: Final = 100_000
"""Instances that one process may be desired with, unless the operator says otherwise. The largest foundations run some
250,000 instances in all and the largest apps a few hundred each, so no app that is meant comes near it; without a bound
one request with 2147483647 would take all memory there is."""

NewEpoch = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What decisions about a DesiredLRP need besides the request and the rows. ``now_ns`` is Unix time.

    ``new_epoch`` makes the uuid text of a new record's tag. ``update_workers`` is upstream's setting for how many
    instances are created at a time; it matters only in that less than one creates none. No request may ask for more
    than ``instances_max``.
    """

    now_ns: int
    new_epoch: NewEpoch
    update_workers: int
    trace_id: str
    instances_max: int = INSTANCES_MAX


def must_be_allowed(instances: int, instances_max: int) -> None:
    """Look at how many instances a request asks for, before anything is built for them.

    Raises:
      InvalidRequest: too many.
    """
    if instances > instances_max:
        raise InvalidRequest(f"Invalid field: instances: {instances} is more than {instances_max}")


def desire(
    existing: DesiredLRP | None, message: pb.DesiredLRP, rows: Sequence[ActualLRP], at: Circumstances
) -> Outcome:
    """A process is to run (spec: desired-lrps.md §5). Rows that are there already are adopted as they are.

    Raises:
      InvalidRequest: a text does not fit its column, a route is not valid JSON, or there are too many instances.
      ResourceExists: the process is desired already.
    """
    lrp, recorded = desired(existing, message, at)
    if lrp.instances <= 0:
        return recorded
    return _in_turn(recorded, start_range(lrp, range(lrp.instances), rows, at))


def desired(
    existing: DesiredLRP | None, message: pb.DesiredLRP, at: Circumstances
) -> tuple[DesiredLRP, Outcome]:
    """The record of a desire, and the outcome that is only it. Raises as `desire` does."""
    must_be_allowed(message.instances, at.instances_max)
    tag = ModificationTag(epoch=at.new_epoch(), index=0)
    lrp = desired_lrp_from_message(message, tag=tag, created_at_ns=at.now_ns)
    must_fit(lrp.process_guid, lrp.domain, lrp.log_guid)
    must_fit(lrp.rootfs, characters_max=ROOTFS_CHARACTERS_MAX)
    must_fit(lrp.annotation, characters_max=ANNOTATION_CHARACTERS_MAX)
    if existing is not None:
        raise ResourceExists
    return lrp, Outcome(rows=(put(lrp),), announcements=(_told(DesiredLRPCreated(lrp, at.trace_id)),))


def update(
    before: DesiredLRP | None, message: pb.DesiredLRPUpdate, rows: Sequence[ActualLRP], at: Circumstances
) -> Outcome:
    """Change what may be changed, scale, and tell running instances of new routes and tags (spec: §3, §6).

    Raises:
      ResourceNotFound: the process is not desired.
      InvalidRequest: a text does not fit its column, a route is not valid JSON, or there are too many instances.
    """
    after, recorded = updated(before, message, at)
    assert before is not None
    return _in_turn(
        recorded,
        _scaled(before, after, rows, at),
        push_to(rows, pushed(before, message), trace_id=at.trace_id),
        Outcome(announcements=(changed(before, after, at),)),
    )


def updated(
    before: DesiredLRP | None, message: pb.DesiredLRPUpdate, at: Circumstances
) -> tuple[DesiredLRP, Outcome]:
    """The record after an update, and the outcome that writes only it. It has no announcement yet: upstream tells of an
    update when everything else about it is done, and `changed` makes that announcement. Raises as `update` does.
    """
    if before is None:
        raise ResourceNotFound
    if message.HasField("instances"):
        must_be_allowed(message.instances, at.instances_max)
    after = _updated(before, message)
    must_fit(after.annotation, characters_max=ANNOTATION_CHARACTERS_MAX)
    return after, Outcome(rows=(put(after),))


def changed(before: DesiredLRP, after: DesiredLRP, at: Circumstances) -> Told:
    """What is told of an update once all of it is done."""
    return _told(DesiredLRPChanged(before, after, at.trace_id))


def remove(lrp: DesiredLRP | None, rows: Sequence[ActualLRP], *, trace_id: str) -> Outcome:
    """A process is no longer to run (spec: desired-lrps.md §7).

    Raises:
      ResourceNotFound: the process is not desired.
    """
    return _in_turn(removed_record(lrp, trace_id=trace_id), stop_from(0, rows, trace_id=trace_id))


def removed_record(lrp: DesiredLRP | None, *, trace_id: str) -> Outcome:
    """Only the record goes. Raises as `remove` does."""
    if lrp is None:
        raise ResourceNotFound
    return Outcome(rows=(delete(lrp),), announcements=(_told(DesiredLRPRemoved(lrp, trace_id)),))


def start_some(
    lrp: DesiredLRP | None, indices: Sequence[int], rows: Sequence[ActualLRP], at: Circumstances
) -> Outcome:
    """`start_range` for some ``indices`` of a process, of which fewer may be desired by now, or none."""
    if lrp is None:
        return NOTHING
    return start_range(lrp, [index for index in indices if index < lrp.instances], rows, at)


def stop_some(lrp: DesiredLRP | None, rows: Sequence[ActualLRP], *, trace_id: str) -> Outcome:
    """`stop_from` for some ``rows`` of a process: those that are too many by now."""
    return stop_from(0 if lrp is None else lrp.instances, rows, trace_id=trace_id)


def start_range(
    lrp: DesiredLRP, indices: Sequence[int], rows: Sequence[ActualLRP], at: Circumstances
) -> Outcome:
    """New rows for those ``indices`` that have no ordinary one, and one auction for all of them.

    Used by a scale-up and by a desire. As upstream, the auctioneer is asked even if there is nothing to place.
    """
    # Only ordinary rows count: an evacuating or a suspect one is about to go and needs a replacement.
    taken = {row.index for row in rows if row.presence is Presence.ORDINARY}
    new = [
        unclaimed(lrp.process_guid, index, lrp.domain, now_ns=at.now_ns, epoch=at.new_epoch())
        for index in (indices if at.update_workers >= 1 else ())
        if index not in taken
    ]
    return Outcome(
        rows=tuple(put(row) for row in new),
        announcements=tuple(created(row, trace_id=at.trace_id) for row in new),
        effects=(RequestAuction(lrp.process_guid, tuple(row.index for row in new), at.trace_id),),
    )


def stop_from(first_index: int, rows: Sequence[ActualLRP], *, trace_id: str) -> Outcome:
    """End the instances from ``first_index`` on: rows without a cell go, the others' cells are asked to stop them.

    Evacuating rows stay until their cell has drained. A suspect row without a cell is not removed itself: as upstream,
    the ordinary row of its index goes instead, once, while the event tells of the row that was looked at.
    """
    ordinary = {row.index: row for row in rows if row.presence is Presence.ORDINARY}
    gone: list[ActualLRP] = []
    told: list[ActualLRP] = []
    to_stop: list[ActualLRP] = []
    for row in rows:
        if row.index < first_index or row.presence is Presence.EVACUATING:
            continue
        if row.state.is_held:
            to_stop.append(row)
        # Taken out, so that the ordinary row of an index goes once, though a suspect one may ask for it as well.
        elif (removable := ordinary.pop(row.index, None)) is not None:
            gone.append(removable)
            told.append(row)
    return Outcome(
        rows=tuple(delete(row) for row in gone),
        announcements=tuple(removed(row, trace_id=trace_id) for row in told),
        effects=tuple(StopInstance(row, trace_id) for row in to_stop),
    )


def _updated(before: DesiredLRP, message: pb.DesiredLRPUpdate) -> DesiredLRP:
    """``before`` with what the update carries; its tag always moves on, even if the update carries nothing."""
    return replace(
        before,
        instances=message.instances if message.HasField("instances") else before.instances,
        annotation=message.annotation if message.HasField("annotation") else before.annotation,
        routes=stored_routes(message.routes.routes) if message.HasField("routes") else before.routes,
        metric_tags=metric_tags_from_message(message.metric_tags) or before.metric_tags,
        run_info=_run_info_with_credentials(before.run_info, message),
        tag=before.tag.next(),
    )


def _run_info_with_credentials(run_info: bytes, message: pb.DesiredLRPUpdate) -> bytes:
    has_username, has_password = message.HasField("image_username"), message.HasField("image_password")
    if not (has_username or has_password):
        return run_info  # to the byte, see `DesiredLRPCodec`
    patched = pb.DesiredLRPRunInfo.FromString(run_info)
    if has_username:
        patched.image_username = message.image_username
    if has_password:
        patched.image_password = message.image_password
    # A row that upstream's server wrote can name a port twice; it drops doubles whenever it reads one.
    patched.ports[:] = dict.fromkeys(patched.ports)
    return encode(patched)


def _scaled(before: DesiredLRP, after: DesiredLRP, rows: Sequence[ActualLRP], at: Circumstances) -> Outcome:
    if after.instances > before.instances:
        return start_range(after, range(before.instances, after.instances), rows, at)
    if after.instances < before.instances:
        return stop_from(after.instances, rows, trace_id=at.trace_id)
    return NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What an update sends to the cells that have instances. A part that is ``None`` is not sent and stays as it is."""

    internal_routes: tuple[str, ...] | None
    metric_tags: MetricTags | None


def pushed(before: DesiredLRP, message: pb.DesiredLRPUpdate) -> Push | None:
    """The internal routes and metric tags that an update changes; ``None`` if it changes neither.

    An update that drops the internal routes cannot say so to a cell (``None`` means "leave them"), so they stay there, as
    with upstream.
    """
    raw_routes = (
        message.routes.routes.get(internal_routes.INTERNAL_ROUTER) if message.HasField("routes") else None
    )
    routes_updated = message.HasField("routes") and internal_routes.are_updated(
        stored=before.routes, raw=raw_routes
    )
    tags: MetricTags = metric_tags_from_message(message.metric_tags)
    tags_updated = metric_tags.are_updated(stored=before.metric_tags, update=tags)
    if not (routes_updated or tags_updated):
        return None
    try:
        hostnames = internal_routes.parse_internal_routes(raw_routes) if routes_updated else None
    except ValueError:
        return None  # valid JSON, but not routes: upstream gives up on every instance, tags and all
    return Push(internal_routes=hostnames, metric_tags=tags if tags_updated else None)


def push_to(rows: Sequence[ActualLRP], push: Push | None, *, trace_id: str) -> Outcome:
    """Ask the cells that have instances to take over ``push``. Rows change only when a cell reports what it has."""
    if push is None:
        return NOTHING
    tags = push.metric_tags
    return Outcome(
        effects=tuple(
            UpdateInstance(
                row,
                push.internal_routes,
                None if tags is None else metric_tags.resolved(tags, row),
                trace_id,
            )
            for row in rows
            if row.presence is not Presence.EVACUATING and row.state.is_held
        )
    )


def _told(event: Event) -> Told:
    return Told(Hub.DESIRED, event)


def _in_turn(*outcomes: Outcome) -> Outcome:
    """One outcome of several, which keeps their order: that of announcements is what subscribers see."""
    return Outcome(
        rows=tuple(chain.from_iterable(outcome.rows for outcome in outcomes)),
        announcements=tuple(chain.from_iterable(outcome.announcements for outcome in outcomes)),
        effects=tuple(chain.from_iterable(outcome.effects for outcome in outcomes)),
    )
