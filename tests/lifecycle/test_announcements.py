"""The event calculator (spec: events.md §7), for whatever rows there are."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle.announcements import RowsChanged, RowsChangedByCrash, created, recorded, removed
from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPGroupCreated,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    Event,
    Hub,
)

from .notation import read_row, show_event

LRPS = st.builds(
    ActualLRP,
    process_guid=st.just("p"),
    index=st.just(0),
    domain=st.just("d"),
    presence=st.sampled_from(Presence),
    state=st.sampled_from(ActualLRPState),
    instance=st.sampled_from(
        [
            NO_INSTANCE,
            InstanceKey(instance_guid="a", cell_id="c1"),
            InstanceKey(instance_guid="b", cell_id="c1"),
        ]
    ),
    internal_routes=st.sampled_from([None, (), ("h",)]),
    since_ns=st.just(1),
    tag=st.builds(ModificationTag, epoch=st.sampled_from("ef"), index=st.integers(0, 2)),
)
BEFORE = st.lists(LRPS, max_size=3).map(tuple)
AFTER = st.lists(LRPS | st.none(), max_size=5).map(tuple)
CHANGES = st.builds(RowsChanged, BEFORE, AFTER, st.sampled_from(["", "trace"])) | st.builds(
    RowsChangedByCrash, BEFORE, AFTER
)
Change = RowsChanged | RowsChangedByCrash


def score(event: Event) -> int:
    """The slow twin of the calculator's own, straight from events.md 7.2."""
    match event:
        case ActualLRPCrashed():
            return 2
        case ActualLRPInstanceCreated():
            return int(event.actual_lrp.state == "RUNNING")
        case ActualLRPInstanceChanged():
            return int(event.after.state == "RUNNING")
        case ActualLRPGroupCreated():
            return int(event.group.resolve().state == "RUNNING")
        case ActualLRPGroupChanged():
            return int(event.after.resolve().state == "RUNNING")
    return 0


def instance_names(old: ActualLRP | None, new: ActualLRP | None, *, by_crash: bool) -> list[str]:
    """The instance events of one position, by name: the tables of events.md 7.3 and 7.4, row by row."""
    if (old is None and new is None) or (
        old is not None and new is not None and old.message() == new.message()
    ):
        return []
    if new is None:
        return ["removed"]
    if old is None:
        return ["created"]
    if new.state == "CRASHED":
        return ["crashed", "changed"]
    if by_crash:
        return ["crashed", "created", "removed"]
    if new.state == "UNCLAIMED":
        return ["changed"] if old.state == "UNCLAIMED" else ["created", "removed"]
    return ["changed"]


def names(events: Sequence[Event]) -> list[str]:
    return sorted(event.name.rsplit("_", 1)[-1] for event in events)


@given(CHANGES)
def test_events_come_by_falling_score(change: Change) -> None:
    for hub in (Hub.GROUP, Hub.INSTANCE):
        scores = [score(event) for event in change.events(hub)]

        assert scores == sorted(scores, reverse=True)


@given(CHANGES)
def test_the_instance_hub_is_told_of_every_position_by_the_table(change: Change) -> None:
    by_crash = isinstance(change, RowsChangedByCrash)
    expected = [
        name
        for old, new in zip_longest(change.before, change.after)
        for name in instance_names(old, new, by_crash=by_crash)
    ]

    assert names(change.events(Hub.INSTANCE)) == sorted(expected)


@given(CHANGES)
def test_only_the_two_lrp_hubs_are_told(change: Change) -> None:
    assert change.events(Hub.DESIRED) == ()
    assert change.events(Hub.TASK) == ()


@given(BEFORE, st.sampled_from([RowsChanged, RowsChangedByCrash]))
def test_nothing_is_told_when_nothing_changed(rows: tuple[ActualLRP, ...], change: type[Change]) -> None:
    assert list(change(rows, rows).events(Hub.GROUP)) == []
    assert list(change(rows, rows).events(Hub.INSTANCE)) == []


@given(BEFORE)
def test_what_the_wire_cannot_show_is_no_change(rows: tuple[ActualLRP, ...]) -> None:
    def swapped(lrp: ActualLRP) -> ActualLRP:
        if lrp.internal_routes:
            return lrp
        return replace(lrp, internal_routes=() if lrp.internal_routes is None else None)

    change = RowsChanged(rows, tuple(swapped(lrp) for lrp in rows))

    assert list(change.events(Hub.GROUP)) == []
    assert list(change.events(Hub.INSTANCE)) == []


@given(LRPS, st.lists(LRPS | st.none(), max_size=4).map(tuple), LRPS | st.none())
def test_a_change_is_recorded_wherever_its_instance_key_is(
    before: ActualLRP, rows: tuple[ActualLRP | None, ...], after: ActualLRP | None
) -> None:
    hits = [row is not None and row.instance == before.instance for row in rows]

    result = recorded(before, after, rows)

    expected = [after if hit else row for row, hit in zip(rows, hits, strict=True)]
    assert list(result) == (expected if any(hits) else [*rows, after])


@given(st.lists(LRPS | st.none(), max_size=4).map(tuple), LRPS)
def test_a_new_row_is_recorded_at_the_end(rows: tuple[ActualLRP | None, ...], after: ActualLRP) -> None:
    assert recorded(None, after, rows) == (*rows, after)


@pytest.mark.parametrize("presence", "OES")
def test_appearing_and_going_are_told_once_on_each_hub(presence: str) -> None:
    lrp = read_row(f"{presence} RUN a@c1 e#1")

    told = [
        [show_event(event) for event in change.events(hub)]
        for change in (created(lrp), removed(lrp))
        for hub in (Hub.GROUP, Hub.INSTANCE)
    ]

    shown = f"{presence} RUN a"
    assert told == [[f"gC{{{shown}}}"], [f"iC({shown})"], [f"gR{{{shown}}}"], [f"iR({shown})"]]


@given(st.text(max_size=3))
def test_the_trace_id_is_passed_on(trace_id: str) -> None:
    old, new = read_row("O UNC - e#0"), read_row("O RUN a@c1 e#1")
    changes = (
        RowsChanged((old,), (new,), trace_id),
        RowsChanged((new,), (old,), trace_id),
        created(new, trace_id=trace_id),
        removed(new, trace_id=trace_id),
    )

    for change in changes:
        for event in change.events(Hub.INSTANCE):
            assert getattr(event, "trace_id") == trace_id  # noqa: B009  # the protocol does not promise it


# evacuation.md's tables lean on the same calculator, in ways that no request of this package reaches.
@pytest.mark.parametrize(
    ("before", "after", "group", "instance"),
    [
        pytest.param(
            ["O RUN a@c1 e#2"],
            ["E RUN a@c1 f#0", "O UNC - e#3"],
            "gC{E RUN a}, gX{O RUN a}->{O UNC}",
            "iX(O RUN a->E RUN a), iC(O UNC)",
            id="F2",
        ),
        pytest.param(
            ["O CLA b@c2 e#1", "S RUN a@c1 s#3"],
            ["O CLA b@c2 e#1", "E RUN a@c1 f#0"],
            "gC{E RUN a}, gC{O CLA b}, gR{S RUN a}",
            "iX(S RUN a->E RUN a)",
            id="F14",
        ),
        pytest.param(
            ["O CLA a@c1 e#2", "E RUN x@c3 f#4"],
            ["E RUN a@c1 f#5", "E RUN x@c3 f#4", "O UNC - e#3"],
            "gX{O CLA a}->{O UNC}",
            "iX(O CLA a->E RUN a), iC(O UNC)",
            id="F26",
        ),
        pytest.param(
            ["O CLA a@c1 e#2", "E RUN a@c1 f#0"],
            ["E RUN a@c1 f#1", "E RUN a@c1 f#1", "O UNC - e#3"],
            "gX{E RUN a}->{E RUN a}, gX{O CLA a}->{O UNC}",
            "iX(O CLA a->E RUN a), iX(E RUN a->E RUN a), iC(O UNC)",
            id="F30",
        ),
        pytest.param(
            ["O RUN a@c1 e#2"], ["O CRA - e#3"], "K(O RUN a->O CRA), gX{O RUN a}->{O CRA}",
            "K(O RUN a->O CRA), iX(O RUN a->O CRA)", id="E11",
        ),
    ],
)  # fmt: skip
def test_evacuations(before: list[str], after: list[str], group: str, instance: str) -> None:
    change = RowsChanged(tuple(map(read_row, before)), tuple(map(read_row, after)))

    assert ", ".join(map(show_event, change.events(Hub.GROUP))) == group
    assert ", ".join(map(show_event, change.events(Hub.INSTANCE))) == instance
