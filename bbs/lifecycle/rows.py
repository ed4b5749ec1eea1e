"""What each operation does to the fields of a row: one function per column of the table in actual-lrps.md §7.

None of them asks whether the operation is allowed. What a function does not name stays as it is: in particular a row
that is given up keeps its routes, tags, routability and zone until the next start.
"""

from dataclasses import replace
from typing import Self

from bbs.lifecycle.columns import truncated
from bbs.models import pb
from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.record import record
from bbs.models.wire import encode


@record
class StartReport:
    """What a cell says of an instance that it runs.

    ``net_info``, ``internal_routes`` and ``metric_tags`` are as in `ActualLRP`: absent is not the same as empty.
    """

    process_guid: str
    index: int
    domain: str
    instance: InstanceKey
    net_info: bytes
    internal_routes: tuple[str, ...] | None
    metric_tags: tuple[tuple[str, str], ...] | None
    routable: bool
    availability_zone: str

    @classmethod
    def from_request(cls, request: pb.StartActualLRPRequest | pb.EvacuateRunningActualLRPRequest) -> Self:
        """The report of a revision 1 request. Nothing said about routability means routable; no routes is absent."""
        key = request.actual_lrp_key
        return cls(
            process_guid=key.process_guid,
            index=key.index,
            domain=key.domain,
            instance=InstanceKey.from_message(request.actual_lrp_instance_key),
            net_info=encode(request.actual_lrp_net_info),
            internal_routes=tuple(route.hostname for route in request.actual_lrp_internal_routes) or None,
            metric_tags=tuple(sorted(request.metric_tags.items())) or None,
            routable=request.Routable if request.HasField("Routable") else True,
            availability_zone=request.availability_zone,
        )

    @classmethod
    def from_request_r0(cls, request: pb.StartActualLRPRequest) -> Self:
        """The report of a revision 0 request, which knows neither routes (so: none) nor tags (so: absent)."""
        return replace(cls.from_request(request), internal_routes=(), metric_tags=None)

    @classmethod
    def from_evacuation_r0(cls, request: pb.EvacuateRunningActualLRPRequest) -> Self:
        """The report of a revision 0 request, which knows neither routes nor tags; here both are absent."""
        return replace(cls.from_request(request), internal_routes=None, metric_tags=None)

    def agrees_with(self, lrp: ActualLRP) -> bool:
        """Whether ``lrp`` already says all of this, so that there is nothing to write."""
        return (
            lrp.state is ActualLRPState.RUNNING
            and self.instance == lrp.instance
            and self.domain == lrp.domain
            and self.net_info == lrp.net_info
            and self.internal_routes == lrp.internal_routes
            and self.metric_tags == lrp.metric_tags
            and self.routable == lrp.routable
            and self.availability_zone == lrp.availability_zone
        )


def unclaimed(process_guid: str, index: int, domain: str, *, now_ns: int, epoch: str) -> ActualLRP:
    """A new row that waits for a cell."""
    return ActualLRP(
        process_guid=process_guid,
        index=index,
        domain=domain,
        state=ActualLRPState.UNCLAIMED,
        since_ns=now_ns,
        tag=ModificationTag(epoch=epoch, index=0),
    )


def claimed(lrp: ActualLRP, claimant: InstanceKey, *, now_ns: int) -> ActualLRP:
    return replace(
        lrp,
        state=ActualLRPState.CLAIMED,
        instance=claimant,
        net_info=b"",
        placement_error="",
        since_ns=now_ns,
        tag=lrp.tag.next(),
    )


def running(report: StartReport, *, now_ns: int, epoch: str) -> ActualLRP:
    """A new row for an instance that nobody was known to have."""
    return ActualLRP(
        process_guid=report.process_guid,
        index=report.index,
        domain=report.domain,
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


def started(lrp: ActualLRP, report: StartReport, *, now_ns: int) -> ActualLRP:
    return replace(
        lrp,
        state=ActualLRPState.RUNNING,
        instance=report.instance,
        net_info=report.net_info,
        internal_routes=report.internal_routes,
        metric_tags=report.metric_tags,
        routable=report.routable,
        availability_zone=report.availability_zone,
        placement_error="",
        since_ns=now_ns,
        tag=lrp.tag.next(),
    )


def crashed(
    lrp: ActualLRP, *, state: ActualLRPState, crash_count: int, reason: str, now_ns: int
) -> ActualLRP:
    """The row after a crash, with the whole ``reason``: what events tell. See `as_stored`."""
    return replace(
        unclaimed_again(lrp, now_ns=now_ns), state=state, crash_count=crash_count, crash_reason=reason
    )


def failed(lrp: ActualLRP, *, reason: str, now_ns: int) -> ActualLRP:
    """The row after it could not be placed, with the whole ``reason``: what events tell. See `as_stored`."""
    return replace(lrp, placement_error=reason, since_ns=now_ns, tag=lrp.tag.next())


def unclaimed_again(lrp: ActualLRP, *, now_ns: int) -> ActualLRP:
    return replace(
        lrp,
        state=ActualLRPState.UNCLAIMED,
        instance=NO_INSTANCE,
        net_info=b"",
        since_ns=now_ns,
        tag=lrp.tag.next(),
    )


def with_presence(lrp: ActualLRP, presence: Presence) -> ActualLRP:
    """The same row under another key. Its age and its tag stay: to clients nothing else has changed."""
    return replace(lrp, presence=presence)


def as_stored(lrp: ActualLRP) -> ActualLRP:
    """``lrp`` with its reasons cut to what the database takes."""
    crash_reason, placement_error = truncated(lrp.crash_reason), truncated(lrp.placement_error)
    if crash_reason == lrp.crash_reason and placement_error == lrp.placement_error:
        return lrp  # one record, encoded once, serves readers and subscribers
    return replace(lrp, crash_reason=crash_reason, placement_error=placement_error)
