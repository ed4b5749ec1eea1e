"""Two streams that tell of the same rows: what has to be matched, what may be told differently, and what is a difference."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.client import Event
from bbs.client._events import MESSAGES, EventMessage
from bbs.models import pb
from bbs.shadow import events
from bbs.shadow.events import EventCounts, EventDifference, EventMatching, Side, TooManyUnmatched

GRACE_S = 30.0
LATER = 100.0
"""When the first seconds, in which all is forgiven, have passed."""

MASTER, FOLLOWER = Side.MASTER, Side.FOLLOWER
KEY = pb.ActualLRPKey(process_guid="p", index=1)
NAMES = {message: name for name, message in MESSAGES.items()}


def event(message: EventMessage) -> Event:
    return Event(NAMES[type(message)], message)


def lrp(
    version: int = 0, state: str = "UNCLAIMED", presence: pb.ActualLRP.Presence = pb.ActualLRP.ORDINARY
) -> pb.ActualLRP:
    return pb.ActualLRP(
        actual_lrp_key=KEY,
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=f"i{version}"),
        actual_lrp_net_info=pb.ActualLRPNetInfo(),
        modification_tag=pb.ModificationTag(index=version),
        state=state,
        presence=presence,
        metric_tags={"a": "b"},
        routable=True,
    )


def info(of: pb.ActualLRP) -> pb.ActualLRPInfo:
    return pb.ActualLRPInfo(
        actual_lrp_net_info=of.actual_lrp_net_info,
        state=of.state,
        modification_tag=of.modification_tag,
        presence=of.presence,
        Routable=of.routable,
    )


def created(of: pb.ActualLRP, trace_id: str = "") -> Event:
    return event(pb.ActualLRPInstanceCreatedEvent(actual_lrp=of, trace_id=trace_id))


def changed(before: pb.ActualLRP, after: pb.ActualLRP) -> Event:
    return event(
        pb.ActualLRPInstanceChangedEvent(
            actual_lrp_key=KEY,
            actual_lrp_instance_key=after.actual_lrp_instance_key,
            before=info(before),
            after=info(after),
        )
    )


def removed(of: pb.ActualLRP) -> Event:
    return event(pb.ActualLRPInstanceRemovedEvent(actual_lrp=of))


def group_changed(before: pb.ActualLRP, after: pb.ActualLRP) -> Event:
    return event(
        pb.ActualLRPChangedEvent(
            before=pb.ActualLRPGroup(instance=before), after=pb.ActualLRPGroup(instance=after)
        )
    )


CRASHED = event(pb.ActualLRPCrashedEvent(actual_lrp_key=KEY, crash_count=1))
SUSPECT = pb.ActualLRP.SUSPECT


def judged(master: Iterable[Event], follower: Iterable[Event]) -> tuple[list[EventDifference], EventCounts]:
    """What is found of events that come one after another, those of the master first."""
    matching = EventMatching(grace_s=GRACE_S)
    matching.begin(0)
    for side, told in ((MASTER, master), (FOLLOWER, follower)):
        for each in told:
            matching.arrived(side, each, LATER)
    assert matching.judge(LATER + GRACE_S - 1) == []
    found = matching.judge(LATER + GRACE_S)
    assert matching.judge(LATER + 10 * GRACE_S) == []
    return found, matching.counts


def sides(found: Iterable[EventDifference]) -> list[tuple[str, bool, bool]]:
    return [(each.name, each.master is not None, each.follower is not None) for each in found]


def test_the_same_events_are_the_same_in_whatever_order_and_of_whatever_request() -> None:
    found, counts = judged(
        [created(lrp(1), trace_id="a request"), CRASHED, changed(lrp(1), lrp(2))],
        [changed(lrp(1), lrp(2)), created(lrp(1)), CRASHED],
    )

    assert found == []
    assert counts == EventCounts(matched=3)


ALL_EVENTS = [
    created(lrp(1)),
    changed(lrp(1), lrp(2)),
    removed(lrp(1)),
    CRASHED,
    group_changed(lrp(1), lrp(2)),
    event(pb.ActualLRPCreatedEvent(actual_lrp_group=pb.ActualLRPGroup(evacuating=lrp(1)))),
    event(pb.ActualLRPRemovedEvent(actual_lrp_group=pb.ActualLRPGroup(instance=lrp(1)))),
    event(pb.DesiredLRPCreatedEvent(desired_lrp=pb.DesiredLRP(process_guid="p"))),
    event(
        pb.DesiredLRPChangedEvent(
            before=pb.DesiredLRP(process_guid="p"), after=pb.DesiredLRP(process_guid="p", instances=2)
        )
    ),
    event(pb.DesiredLRPRemovedEvent(desired_lrp=pb.DesiredLRP(process_guid="p"))),
    event(pb.TaskCreatedEvent(task=pb.Task(task_guid="t"))),
    event(pb.TaskChangedEvent(before=pb.Task(task_guid="t"), after=pb.Task(task_guid="t", cell_id="c"))),
    event(pb.TaskRemovedEvent(task=pb.Task(task_guid="t"))),
]


def test_all_events_have_a_case() -> None:
    assert {each.name for each in ALL_EVENTS} == set(MESSAGES)


@pytest.mark.parametrize("missing", ALL_EVENTS, ids=lambda each: each.name)
def test_an_event_that_one_side_does_not_tell_is_a_difference(missing: Event) -> None:
    cases: tuple[tuple[list[Event], list[Event]], ...] = (([missing], []), ([], [missing]))
    for master, follower in cases:
        found, counts = judged(master, follower)

        assert sides(found) == [(missing.name, bool(master), bool(follower))]
        assert counts == EventCounts(different=1)


def test_an_event_that_is_told_twice_by_one_side_is_a_difference() -> None:
    found, counts = judged([CRASHED], [CRASHED, CRASHED])

    assert sides(found) == [("actual_lrp_crashed", False, True)]
    assert counts == EventCounts(matched=1, different=1)


def test_one_field_that_differs_is_one_difference_with_both_sides() -> None:
    found, _ = judged([created(lrp(1))], [created(lrp(2))])

    assert sides(found) == [("actual_lrp_instance_created", True, True)]
    assert found[0].subject == "actual LRP p/1"


ONE, TWO, THREE = lrp(1), lrp(2, "CLAIMED"), lrp(3, "RUNNING")


@pytest.mark.parametrize(
    ("master", "follower"),
    [
        ([changed(ONE, TWO), changed(TWO, THREE)], [changed(ONE, THREE)]),
        ([created(ONE), changed(ONE, TWO), changed(TWO, THREE)], [created(THREE)]),
        ([created(ONE), removed(ONE)], []),
        ([removed(ONE), created(TWO)], [changed(ONE, TWO)]),
        ([CRASHED, changed(ONE, TWO), changed(TWO, THREE)], [changed(ONE, THREE)]),
        ([group_changed(ONE, TWO), group_changed(TWO, THREE)], [group_changed(ONE, THREE)]),
    ],
)
def test_changes_that_were_committed_together_are_told_in_less_steps(
    master: list[Event], follower: list[Event]
) -> None:
    found, counts = judged(master, follower)

    assert found == []
    assert counts == EventCounts(merged=len(master))


def test_what_is_not_the_sum_is_a_difference() -> None:
    found, _ = judged([changed(ONE, TWO), changed(TWO, THREE)], [changed(ONE, TWO), changed(TWO, ONE)])

    assert sides(found) == [("actual_lrp_instance_changed", True, True)]


def test_a_follower_tells_of_nothing_that_the_master_does_not() -> None:
    found, _ = judged([], [created(ONE), removed(ONE)])

    assert len(found) == 2


def test_a_removal_that_the_master_announces_is_no_difference() -> None:
    assert judged([removed(THREE)], []) == ([], EventCounts(announced=1))
    assert len(judged([], [removed(THREE)])[0]) == 1


def test_of_suspects_the_group_stream_need_not_tell() -> None:
    suspect = lrp(4, "RUNNING", SUSPECT)

    assert judged([], [group_changed(THREE, suspect)]) == ([], EventCounts(announced=1))
    assert len(judged([group_changed(THREE, suspect)], [])[0]) == 1


def test_nothing_is_judged_before_its_subject_has_come_to_rest() -> None:
    matching = EventMatching(grace_s=GRACE_S)
    matching.begin(0)
    matching.arrived(MASTER, changed(ONE, TWO), LATER)
    matching.arrived(MASTER, changed(TWO, THREE), LATER + 20)
    assert matching.judge(LATER + 45) == []

    matching.arrived(FOLLOWER, changed(ONE, THREE), LATER + 49)
    assert matching.judge(LATER + 49 + GRACE_S) == []
    assert matching.counts == EventCounts(merged=2)


def test_a_subject_that_never_rests_is_given_up() -> None:
    matching = EventMatching(grace_s=GRACE_S)
    matching.begin(0)
    for second in range(0, 400, 20):
        matching.arrived(MASTER, changed(lrp(second), lrp(second + 1)), LATER + second)
        assert matching.judge(LATER + second) == []
    assert matching.counts.unjudged > 0
    assert matching.counts.different == 0


def test_what_came_in_the_first_seconds_is_not_judged() -> None:
    matching = EventMatching(grace_s=GRACE_S)
    matching.begin(LATER)
    matching.arrived(MASTER, CRASHED, LATER + 1)

    assert matching.judge(LATER + 10 * GRACE_S) == []
    assert matching.counts == EventCounts(unjudged=1)


def test_the_end_of_a_window_is_nobodys_fault() -> None:
    matching = EventMatching(grace_s=GRACE_S)
    matching.begin(0)
    matching.arrived(MASTER, CRASHED, LATER)
    matching.end()
    matching.begin(LATER)

    assert matching.judge(LATER + 10 * GRACE_S) == []
    assert matching.counts == EventCounts(unjudged=1)


def test_streams_that_have_nothing_in_common_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITING_MAX", 3)
    matching = EventMatching(grace_s=GRACE_S)
    matching.begin(0)
    for version in range(3):
        matching.arrived(MASTER, created(lrp(version)), LATER)

    with pytest.raises(TooManyUnmatched):
        matching.arrived(MASTER, created(lrp(3)), LATER)


@given(
    versions=st.lists(st.integers(0, 1_000), min_size=2, max_size=8, unique=True),
    told=st.lists(st.booleans(), min_size=8, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_a_follower_that_leaves_out_states_in_between_is_never_blamed(
    versions: list[int], told: list[bool], order: Random
) -> None:
    history = [lrp(version) for version in versions]
    seen = [
        history[0],
        *(each for each, is_told in zip(history[1:-1], told, strict=False) if is_told),
        history[-1],
    ]
    master = [changed(before, after) for before, after in pairwise(history)]
    follower = [changed(before, after) for before, after in pairwise(seen)]
    order.shuffle(master)

    found, counts = judged(master, follower)

    assert found == []
    assert counts.matched + counts.merged == len(master)


@given(versions=st.lists(st.integers(0, 1_000), min_size=4, max_size=8, unique=True), lost=st.integers(0, 6))
def test_an_event_that_a_follower_loses_is_found_whatever_else_it_tells(
    versions: list[int], lost: int
) -> None:
    history = [lrp(version) for version in versions]
    master = [changed(before, after) for before, after in pairwise(history)]
    follower = [each for number, each in enumerate(master) if number != lost % len(master)]

    found, _ = judged(master, follower)

    assert sides(found) == [("actual_lrp_instance_changed", True, False)]
