"""What each operation does to each field (spec: actual-lrps.md §7), and what a start request says (§6.3)."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle import rows
from bbs.lifecycle.rows import StartReport
from bbs.models import pb
from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)

NOW_NS = 1000
CLAIMANT = InstanceKey(instance_guid="new", cell_id="new-cell")
REPORT = StartReport(
    process_guid="q",
    index=7,
    domain="new-domain",
    instance=CLAIMANT,
    net_info=b"\x0a\x01n",
    internal_routes=("new.internal",),
    metric_tags=(("new", "tag"),),
    routable=True,
    availability_zone="new-zone",
)
REPORTED = {
    "instance": CLAIMANT,
    "net_info": b"\x0a\x01n",
    "internal_routes": ("new.internal",),
    "metric_tags": (("new", "tag"),),
    "routable": True,
    "availability_zone": "new-zone",
}
IDENTITY = ("process_guid", "index")

guids = st.text(st.sampled_from("abc"), max_size=2)
actual_lrps = st.builds(
    ActualLRP,
    process_guid=guids,
    index=st.integers(0, 3),
    domain=guids,
    presence=st.sampled_from(Presence),
    state=st.sampled_from(ActualLRPState),
    instance=st.builds(InstanceKey, instance_guid=guids, cell_id=guids),
    net_info=st.sampled_from([b"", b"\x0a\x01h"]),
    internal_routes=st.none() | st.tuples(guids),
    metric_tags=st.none() | st.tuples(st.tuples(guids, guids)),
    routable=st.booleans(),
    availability_zone=guids,
    crash_count=st.integers(0, 9),
    crash_reason=guids,
    placement_error=guids,
    since_ns=st.integers(0, 9),
    tag=st.builds(ModificationTag, epoch=guids, index=st.integers(0, 9)),
)


def effects(before: ActualLRP, after: ActualLRP) -> dict[str, object]:
    """The fields that differ, with their new values."""
    names = [field.name for field in fields(ActualLRP) if field.compare]
    return {name: getattr(after, name) for name in names if getattr(before, name) != getattr(after, name)}


def differing(before: ActualLRP, **expected: object) -> dict[str, object]:
    return {name: value for name, value in expected.items() if getattr(before, name) != value}


@given(actual_lrps)
def test_a_claim_takes_the_row_and_clears_what_the_last_holder_left(lrp: ActualLRP) -> None:
    assert effects(lrp, rows.claimed(lrp, CLAIMANT, now_ns=NOW_NS)) == differing(
        lrp,
        state=ActualLRPState.CLAIMED,
        instance=CLAIMANT,
        net_info=b"",
        placement_error="",
        since_ns=NOW_NS,
        tag=lrp.tag.next(),
    )


@given(actual_lrps)
def test_a_start_takes_all_that_is_reported_but_neither_key_nor_domain(lrp: ActualLRP) -> None:
    assert effects(lrp, rows.started(lrp, REPORT, now_ns=NOW_NS)) == differing(
        lrp, state=ActualLRPState.RUNNING, placement_error="", since_ns=NOW_NS, tag=lrp.tag.next(), **REPORTED
    )


@given(actual_lrps, st.sampled_from([ActualLRPState.UNCLAIMED, ActualLRPState.CRASHED]))
def test_a_crash_frees_the_row_and_keeps_what_was_routed(lrp: ActualLRP, state: ActualLRPState) -> None:
    after = rows.crashed(lrp, state=state, crash_count=5, reason="boom", now_ns=NOW_NS)

    assert effects(lrp, after) == differing(
        lrp,
        state=state,
        instance=NO_INSTANCE,
        net_info=b"",
        crash_count=5,
        crash_reason="boom",
        since_ns=NOW_NS,
        tag=lrp.tag.next(),
    )


@given(actual_lrps)
def test_a_failed_placement_is_noted(lrp: ActualLRP) -> None:
    after = rows.failed(lrp, reason="full", now_ns=NOW_NS)

    assert effects(lrp, after) == differing(lrp, placement_error="full", since_ns=NOW_NS, tag=lrp.tag.next())


@given(actual_lrps)
def test_unclaiming_frees_the_row_and_keeps_its_crashes(lrp: ActualLRP) -> None:
    assert effects(lrp, rows.unclaimed_again(lrp, now_ns=NOW_NS)) == differing(
        lrp,
        state=ActualLRPState.UNCLAIMED,
        instance=NO_INSTANCE,
        net_info=b"",
        since_ns=NOW_NS,
        tag=lrp.tag.next(),
    )


@given(actual_lrps, st.sampled_from(Presence))
def test_a_change_of_presence_changes_nothing_else(lrp: ActualLRP, presence: Presence) -> None:
    assert effects(lrp, rows.with_presence(lrp, presence)) == differing(lrp, presence=presence)


def test_a_new_unclaimed_row_has_explicit_empty_collections() -> None:
    lrp = rows.unclaimed("q", 7, "new-domain", now_ns=NOW_NS, epoch="fresh")

    assert lrp == ActualLRP(
        process_guid="q",
        index=7,
        domain="new-domain",
        presence=Presence.ORDINARY,
        state=ActualLRPState.UNCLAIMED,
        instance=NO_INSTANCE,
        net_info=b"",
        internal_routes=(),
        metric_tags=(),
        routable=False,
        availability_zone="",
        crash_count=0,
        crash_reason="",
        placement_error="",
        since_ns=NOW_NS,
        tag=ModificationTag(epoch="fresh", index=0),
    )


def test_a_new_running_row_has_what_is_reported() -> None:
    fresh = rows.unclaimed("q", 7, "new-domain", now_ns=NOW_NS, epoch="fresh")

    after = rows.running(REPORT, now_ns=NOW_NS, epoch="fresh")

    assert effects(fresh, after) == {"state": ActualLRPState.RUNNING, **REPORTED}


@given(actual_lrps)
def test_short_reasons_are_stored_as_the_very_record_that_is_told(lrp: ActualLRP) -> None:
    assert rows.as_stored(lrp) is lrp


@pytest.mark.parametrize("name", ["crash_reason", "placement_error"])
def test_long_reasons_are_stored_cut(name: str) -> None:
    lrp = rows.unclaimed("p", 0, "d", now_ns=NOW_NS, epoch="e")
    long = {
        "crash_reason": rows.crashed(lrp, state=lrp.state, crash_count=1, reason="x" * 1024, now_ns=NOW_NS),
        "placement_error": rows.failed(lrp, reason="x" * 1024, now_ns=NOW_NS),
    }[name]

    assert effects(long, rows.as_stored(long)) == {name: "x" * 1013 + "(truncated)"}


def start_request() -> pb.StartActualLRPRequest:
    request = pb.StartActualLRPRequest(metric_tags={"b": "2", "a": "1"}, availability_zone="z1")
    request.actual_lrp_key.process_guid = "p"
    request.actual_lrp_key.index = 3
    request.actual_lrp_key.domain = "d"
    request.actual_lrp_instance_key.instance_guid = "a"
    request.actual_lrp_instance_key.cell_id = "c1"
    request.actual_lrp_net_info.address = "10.0.0.1"
    for hostname in ("h2", "h1"):
        request.actual_lrp_internal_routes.add(hostname=hostname)
    return request


EXPECTED_REPORT = StartReport(
    process_guid="p",
    index=3,
    domain="d",
    instance=InstanceKey(instance_guid="a", cell_id="c1"),
    net_info=pb.ActualLRPNetInfo(address="10.0.0.1").SerializeToString(),
    internal_routes=("h2", "h1"),
    metric_tags=(("a", "1"), ("b", "2")),
    routable=True,
    availability_zone="z1",
)


def test_a_start_request_says_routable_unless_it_says_otherwise() -> None:
    request = start_request()
    assert StartReport.from_request(request) == EXPECTED_REPORT

    request.Routable = False
    assert not StartReport.from_request(request).routable
    assert not StartReport.from_request_r0(request).routable


def test_a_start_request_without_routes_and_tags_leaves_them_absent() -> None:
    report = StartReport.from_request(pb.StartActualLRPRequest())

    assert report.internal_routes is None
    assert report.metric_tags is None


def test_revision_0_has_no_routes_and_absent_tags_whatever_is_sent() -> None:
    report = StartReport.from_request_r0(start_request())

    assert report.internal_routes == ()
    assert report.metric_tags is None
    assert report.availability_zone == "z1"
