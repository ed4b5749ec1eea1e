"""Events in words, and which of them are chosen."""

from typing import Any

import pytest

from bbs.cfdot.events import GROUP_EVENTS
from bbs.client import Event, EventMessage
from bbs.client._events import MESSAGES
from bbs.console.choice import Choice
from bbs.console.events_flags import TYPES
from bbs.console.last_heard import LastHeard
from bbs.models import pb
from bbs.words.events import BAD, GOOD, in_words

KEY = pb.ActualLRPKey(process_guid="p", index=1, domain="d")


def held_by(cell_id: str) -> pb.ActualLRPInstanceKey:
    return pb.ActualLRPInstanceKey(instance_guid="i", cell_id=cell_id)


def row(state: str = "RUNNING", cell_id: str = "", index: int = 1, **fields: Any) -> pb.ActualLRP:
    message = pb.ActualLRP(actual_lrp_key=KEY, state=state, **fields)
    if cell_id:
        message.actual_lrp_instance_key.CopyFrom(held_by(cell_id))
    message.modification_tag.CopyFrom(pb.ModificationTag(epoch="e", index=index))
    return message


def created(lrp: pb.ActualLRP) -> Event:
    return Event("actual_lrp_instance_created", pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp))


def removed(lrp: pb.ActualLRP) -> Event:
    return Event("actual_lrp_instance_removed", pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp))


def changed(before: dict[str, Any], after: dict[str, Any], cell_id: str = "cell-3") -> Event:
    first, second = (
        pb.ActualLRPInfo(modification_tag=pb.ModificationTag(epoch="e", index=index), **fields)
        for index, fields in ((1, before), (2, after))
    )
    return Event(
        "actual_lrp_instance_changed",
        pb.ActualLRPInstanceChangedEvent(
            actual_lrp_key=KEY, actual_lrp_instance_key=held_by(cell_id), before=first, after=second
        ),
    )


def task_changed(before: pb.Task, after: pb.Task) -> Event:
    return Event("task_changed", pb.TaskChangedEvent(before=before, after=after))


def task(state: str, **fields: Any) -> pb.Task:
    return pb.Task(task_guid="t", state=state, **fields)


DESIRED = pb.DesiredLRP(process_guid="p", instances=2)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (pb.DesiredLRPCreatedEvent(desired_lrp=DESIRED), "p desired, 2 instances"),
        (pb.DesiredLRPRemovedEvent(desired_lrp=DESIRED), "p not desired any more"),
        (pb.DesiredLRPChangedEvent(before=DESIRED, after=DESIRED), "p desired anew: written again"),
        (
            pb.DesiredLRPChangedEvent(
                before=DESIRED,
                after=pb.DesiredLRP(
                    process_guid="p",
                    instances=1,
                    annotation="a",
                    routes=pb.ProtoRoutes(routes={"r": b"1"}),
                    metric_tags={"t": pb.MetricTagValue(static="v")},
                ),
            ),
            "p desired anew: 2 -> 1 instance, other routes, other annotation, other metric tags",
        ),
    ],
)
def test_what_is_desired_in_words(message: EventMessage, text: str) -> None:
    assert in_words(Event("desired_lrp", message)).text == text


@pytest.mark.parametrize(
    ("event", "text", "style"),
    [
        (
            changed({"state": "CLAIMED"}, {"state": "RUNNING", "availability_zone": "z1"}),
            "p/1 claimed -> running on cell-3 (z1)",
            GOOD,
        ),
        (
            changed({"state": "RUNNING"}, {"state": "CRASHED", "crash_count": 3, "crash_reason": "oom"}),
            "p/1 running -> crashed, was on cell-3, crash 3: oom",
            BAD,
        ),
        (
            changed({"state": "RUNNING"}, {"state": "RUNNING", "presence": pb.ActualLRP.EVACUATING}),
            "p/1 running -> evacuating running on cell-3",
            GOOD,
        ),
        (
            changed({"state": "UNCLAIMED"}, {"state": "UNCLAIMED", "placement_error": "no memory"}, ""),
            "p/1 unclaimed: no memory",
            "yellow",
        ),
        (created(row("UNCLAIMED")), "p/1 new: unclaimed", "yellow"),
        (removed(row(cell_id="cell-3")), "p/1 gone, was running on cell-3", ""),
        (
            task_changed(task("Pending"), task("Running", cell_id="c")),
            "task t pending -> running on c",
            GOOD,
        ),
        (
            task_changed(task("Running"), task("Completed", failed=True, failure_reason="why")),
            "task t running -> completed, failed: why",
            BAD,
        ),
    ],
)
def test_words(event: Event, text: str, style: str) -> None:
    words = in_words(event)
    assert (words.text, words.style) == (text, style)


@pytest.mark.parametrize("name", MESSAGES)
def test_an_empty_event_has_words(name: str) -> None:
    assert in_words(Event(name, MESSAGES[name]())).text


def test_numbers_of_a_newer_server_have_words() -> None:
    assert "state 9" in in_words(task_changed(pb.Task(state=9), pb.Task(state=9))).text
    assert in_words(created(row(presence=9))).text == "p/1 new: 9 running"


def test_the_types_are_those_of_both_streams() -> None:
    assert set(TYPES) == set(MESSAGES) - GROUP_EVENTS


ALL = frozenset(TYPES)


@pytest.mark.parametrize(
    ("choice", "event", "known", "is_chosen"),
    [
        (Choice(types=ALL), created(row(cell_id="a")), (), True),
        (Choice(types=ALL - {"actual_lrp_instance_created"}), created(row(cell_id="a")), (), False),
        (Choice(types=ALL, cell_id="a"), created(row(cell_id="a")), (), True),
        (Choice(types=ALL, cell_id="b"), created(row(cell_id="a")), (), False),
        # An instance that the cell had, and another one takes over, concerns both.
        (Choice(types=ALL, cell_id="a"), changed({}, {}, "b"), (row(cell_id="a"),), True),
        (Choice(types=ALL, process_guid="p"), changed({}, {}), (), True),
        (Choice(types=ALL, process_guid="q"), changed({}, {}), (), False),
        (Choice(types=ALL, cell_id="a"), task_changed(task("Pending"), task("Running", cell_id="a")), (), True),
        (Choice(types=ALL, cell_id="a"), task_changed(task("Pending"), task("Running", cell_id="b")), (), False),
        (Choice(types=ALL, process_guid="p"), task_changed(task("Pending"), task("Running")), (), False),
    ],
)  # fmt: skip
def test_what_is_chosen(
    choice: Choice, event: Event, known: tuple[pb.ActualLRP, ...], is_chosen: bool
) -> None:
    assert choice.has_event(event, known) is is_chosen


def test_streams_that_nothing_is_wanted_of() -> None:
    assert not Choice(types=frozenset({"task_changed"})).wants_lrps
    assert not Choice(types=ALL, process_guid="p").wants_tasks
    assert not Choice(types=frozenset({"actual_lrp_crashed"})).wants_tasks


def test_what_a_list_has_told_is_no_news() -> None:
    heard = LastHeard()
    assert [event.name for event, _ in heard.compare([row("CLAIMED", "a")])] == [
        "actual_lrp_instance_created"
    ]
    assert not heard.take(created(row("CLAIMED", "a")))
    assert heard.take(changed({"state": "CLAIMED"}, {"state": "RUNNING"}))
    assert not heard.take(changed({"state": "CLAIMED"}, {"state": "RUNNING"}))
    assert heard.take(removed(row(index=2)))
    assert not heard.take(removed(row(index=2)))
    assert heard.take(Event("actual_lrp_crashed", pb.ActualLRPCrashedEvent(actual_lrp_key=KEY)))


def test_taking_an_event_leaves_it_as_it_is() -> None:
    event = created(row(cell_id="a", actual_lrp_internal_routes=[pb.ActualLRPInternalRoute(hostname="h")]))
    before = event.message.SerializeToString()
    LastHeard().take(event)
    assert event.message.SerializeToString() == before


def test_differences_between_lists() -> None:
    heard = LastHeard()
    heard.compare([row("CLAIMED", "a"), task("Running", cell_id="a", updated_at=1)])
    differences = heard.compare([row("CRASHED", index=4, crash_count=2, crash_reason="oom")])

    assert [in_words(event).text for event, _ in differences] == [
        "p/1 claimed -> crashed, was on a, crash 2: oom",
        "task t gone, was running on a",
    ]
    assert heard.compare([row("CRASHED", index=4)]) == []
