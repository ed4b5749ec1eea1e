"""Fleets of every kind, most of them in trouble, for Hypothesis."""

from dataclasses import replace

from hypothesis import strategies as st

from bbs.models.actual_lrp import NO_INSTANCE, ActualLRP, ActualLRPState, InstanceKey, Presence
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.outcome import Record
from tests.lifecycle.notation import SECOND_NS, N
from tests.records import actual_lrp, desired_lrp

NOWS = st.sampled_from([N, N + SECOND_NS // 2 - 1, N + SECOND_NS // 2, N + 1])
CELL_SETS = st.frozensets(st.sampled_from(["c1", "c2"]))
GUIDS = st.sampled_from(["p", "q"])
DOMAINS = st.sampled_from(["d", "e"])
WAITS_S = (0, 30, 60, 120, 240, 480, 960)
TIMES = st.sampled_from([N + i - wait_s * SECOND_NS for wait_s in WAITS_S for i in (-1, 0, 1)])
EXPIRIES = st.sampled_from([N - 1, N, N + 1, N + SECOND_NS // 2, N + SECOND_NS, N + SECOND_NS + 1, NEVER_NS])
CRASH_COUNTS = st.sampled_from([0, 2, 3, 4, 7, 8, 199, 200])
ROUTES = st.sampled_from(
    [
        None,
        (("cf-router", b"[]"),),
        (("internal-router", b"[]"),),
        (("internal-router", b"null"),),
        (("internal-router", b'[{"hostname":"a"}]'),),
        (("internal-router", b'[{"hostname":"a"},{"hostname":"b"}]'),),
        (("internal-router", b'[{"hostname":"a"},{"hostname":"a"}]'),),
        (("internal-router", b'{"not":"routes"}'),),
    ]
)
STORED_ROUTES = st.sampled_from([None, (), ("a",), ("a", "b"), ("b", "a")])
TAGS = st.sampled_from(
    [
        (),
        (("s", MetricTag(static="x")),),
        (("i", MetricTag(dynamic=1)),),
        (("g", MetricTag(dynamic=2)), ("s", MetricTag(static="x"))),
    ]
)
STORED_TAGS = st.sampled_from([None, (), (("s", "x"),), (("i", "0"),), (("i", "1"),)])


@st.composite
def actual_lrps(draw: st.DrawFn) -> ActualLRP:
    """A row in any state of any presence. Ordinary ones that nobody has name no instance, as those we write."""
    guid, index = draw(GUIDS), draw(st.integers(0, 3))
    presence, state = draw(st.sampled_from(Presence)), draw(st.sampled_from(ActualLRPState))
    instance = InstanceKey(
        instance_guid=f"{guid}{index}{presence.name[0]}",
        cell_id=draw(st.sampled_from(["c1", "c2", "c9", ""])),
    )
    if presence is Presence.ORDINARY and state in (ActualLRPState.UNCLAIMED, ActualLRPState.CRASHED):
        instance = NO_INSTANCE
    return actual_lrp(
        guid,
        index,
        presence,
        domain=draw(DOMAINS),
        state=state,
        instance=instance,
        since_ns=draw(TIMES),
        crash_count=draw(CRASH_COUNTS),
        internal_routes=draw(STORED_ROUTES),
        metric_tags=draw(STORED_TAGS),
    )


@st.composite
def desired_lrps(draw: st.DrawFn) -> DesiredLRP:
    return replace(
        DESIRED,
        process_guid=draw(GUIDS),
        domain=draw(DOMAINS),
        instances=draw(st.integers(0, 3)),
        routes=draw(ROUTES),
        metric_tags=draw(TAGS),
    )


DESIRED = desired_lrp()
DOMAIN_ROWS = st.builds(Domain, name=DOMAINS, expire_time_ns=EXPIRIES)
RECORDS: st.SearchStrategy[Record] = actual_lrps() | actual_lrps() | desired_lrps() | DOMAIN_ROWS

Change = tuple[Record, bool]
HISTORIES = st.lists(st.tuples(RECORDS, st.booleans() | st.just(True)), max_size=30)
"""Records, and whether each is put or deleted."""
