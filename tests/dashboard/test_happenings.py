"""Events in words for pages: chosen, bounded, and put into words only when they are shown."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bbs.dashboard import happenings as happenings_module
from bbs.dashboard.happenings import (
    INTERVAL_S,
    KEPT_MAX,
    KINDS,
    SHOWN_MAX,
    UNSENT_MAX,
    About,
    Choice,
    Happenings,
    TooManyWatchers,
    Watcher,
    about,
)
from bbs.dashboard.page_stream import HEARTBEAT, WATCHERS_MAX
from bbs.log import Logger, null_logger
from bbs.models import events
from bbs.models.actual_lrp import ActualLRPState, InstanceKey
from bbs.models.events import Event, Hub
from bbs.models.outcome import Told
from bbs.models.task import TaskState
from bbs.words.events import Words
from tests.log_lines import Lines
from tests.records import A_AT_C1, actual_lrp, desired_lrp, task

RUNNING = actual_lrp(state=ActualLRPState.RUNNING, instance=A_AT_C1, availability_zone="z1")
MOVED = actual_lrp(state=ActualLRPState.RUNNING, instance=InstanceKey(instance_guid="b", cell_id="c2"))
CRASHED = actual_lrp(state=ActualLRPState.CRASHED, crash_count=3, crash_reason="out of <b>memory</b>")
NEW = events.ActualLRPInstanceCreated(RUNNING, "")

EVERY_KIND: list[tuple[Hub, Event, str, str, tuple[str, ...], str]] = [
    (Hub.DESIRED, events.DesiredLRPCreated(desired_lrp(), ""), "app", "p", (), "p desired, 1 instance"),
    (
        Hub.DESIRED,
        events.DesiredLRPChanged(desired_lrp(), desired_lrp(instances=2), ""),
        "app",
        "p",
        (),
        "1 -> 2",
    ),
    (Hub.DESIRED, events.DesiredLRPRemoved(desired_lrp(), ""), "app", "p", (), "not desired any more"),
    (Hub.INSTANCE, NEW, "instance", "p", ("c1",), "p/0 new: running on c1 (z1)"),
    (
        Hub.INSTANCE,
        events.ActualLRPInstanceChanged(RUNNING, MOVED, ""),
        "instance",
        "p",
        ("c1", "c2"),
        "on c2",
    ),
    (Hub.INSTANCE, events.ActualLRPInstanceRemoved(RUNNING, ""), "instance", "p", ("c1",), "p/0 gone"),
    (Hub.INSTANCE, events.ActualLRPCrashed(RUNNING, CRASHED), "crash", "p", ("c1",), "out of <b>memory</b>"),
    (Hub.TASK, events.TaskCreated(task()), "task", "t", (), "task t new"),
    (Hub.TASK, events.TaskChanged(task(cell_id="c3"), task()), "task", "t", ("c3",), "task t"),
    (Hub.TASK, events.TaskRemoved(task(state=TaskState.Resolving)), "task", "t", (), "task t gone"),
]


def happenings(log: Logger | None = None) -> Happenings:
    return Happenings(now_ns=lambda: 9, greeting=lambda: b"greeting", log=log or null_logger())


async def greeted(of: Happenings, choice: Choice | None = None) -> Watcher:
    watcher = of.watch(choice or Choice())
    assert await watcher.receive() == b"greeting"
    return watcher


async def told(watcher: Watcher) -> dict[str, Any]:
    with trio.fail_after(60):
        text = await watcher.receive()
    assert text.startswith(b"event: events\ndata: ")
    found: dict[str, Any] = json.loads(text.removeprefix(b"event: events\ndata: "))
    return found


@pytest.mark.parametrize(("hub", "event", "kind", "guid", "cells", "text"), EVERY_KIND, ids=lambda case: "")
async def test_each_event_is_told_in_words_with_what_it_is_about(
    hub: Hub,
    event: Event,
    kind: str,
    guid: str,
    cells: tuple[str, ...],
    text: str,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    of = happenings()
    nursery.start_soon(of.run)
    watcher = await greeted(of)

    of.published([Told(hub, event)])

    [shown] = (await told(watcher))["events"]
    assert (shown["kind"], shown["guid"], tuple(shown["cells"]), shown["at_ns"]) == (kind, guid, cells, 9)
    assert text in shown["text"]


def test_every_event_of_the_feeds_that_are_shown_has_a_case() -> None:
    of_groups = {events.ActualLRPGroupCreated, events.ActualLRPGroupChanged, events.ActualLRPGroupRemoved}
    every = {
        each
        for each in vars(events).values()
        if isinstance(each, type) and hasattr(each, "cells") and each is not Event
    }

    assert {type(event) for _, event, *_ in EVERY_KIND} == every - of_groups


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (Choice(), {"app", "instance", "crash", "task"}),
        (Choice(kinds=frozenset({"crash"})), {"crash"}),
        (Choice(guid="t"), {"task"}),
        (Choice(guid="nothing"), set()),
        (Choice(cell="c1"), {"instance", "crash"}),
        (Choice(cell="c2", kinds=frozenset({"crash"})), set()),
    ],
)
async def test_a_page_is_shown_what_it_chose(choice: Choice, wanted: set[str]) -> None:
    watcher = await greeted(happenings(), choice)

    assert {kind for _, event, kind, *_ in EVERY_KIND if watcher.wants(about(event))} == wanted


async def test_more_than_can_be_read_is_counted_and_not_put_into_words(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    of = happenings()
    nursery.start_soon(of.run)
    watcher = await greeted(of)

    of.published([Told(Hub.INSTANCE, NEW)] * (SHOWN_MAX + 30))

    shown = await told(watcher)
    assert (len(shown["events"]), shown["left_out"]) == (SHOWN_MAX, 30)


async def test_what_nobody_takes_in_time_is_left_out_and_counted(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    of = happenings()
    nursery.start_soon(of.run)
    watcher = await greeted(of)
    published = 3 * KEPT_MAX

    of.published([Told(Hub.INSTANCE, NEW)] * published)
    for _ in range(2 * UNSENT_MAX // SHOWN_MAX):
        await trio.sleep(2 * INTERVAL_S)
        of.published([Told(Hub.INSTANCE, NEW)] * SHOWN_MAX)
        published += SHOWN_MAX
    await trio.sleep(2 * INTERVAL_S)

    shown = await told(watcher)
    assert len(shown["events"]) == UNSENT_MAX
    assert len(shown["events"]) + shown["left_out"] == published


async def test_nothing_is_kept_while_nobody_looks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    of = happenings()
    nursery.start_soon(of.run)
    of.published([Told(Hub.INSTANCE, NEW)])
    watcher = await greeted(of)

    assert await watcher.receive() == HEARTBEAT
    watcher.close()
    with pytest.raises(trio.EndOfChannel):
        await watcher.receive()


async def test_what_was_left_out_before_a_page_came_is_none_of_its_affairs(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    of = happenings()
    first = of.watch(Choice())
    of.published([Told(Hub.INSTANCE, NEW)] * (KEPT_MAX + 1))
    first.close()
    watcher = await greeted(of)
    nursery.start_soon(of.run)

    assert await watcher.receive() == HEARTBEAT


async def test_an_event_that_cannot_be_put_into_words_is_told_of_and_the_others_go_on(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_of_desired(event: Event, about: About) -> Words:
        if about.kind == "instance":
            raise ValueError("no words")
        return Words("desired")

    monkeypatch.setattr(happenings_module, "_words", only_of_desired)
    of = happenings(lines.logger())
    nursery.start_soon(of.run)
    watcher = await greeted(of)

    of.published([Told(Hub.INSTANCE, NEW), Told(Hub.DESIRED, events.DesiredLRPCreated(desired_lrp(), ""))])

    unsaid, said = (await told(watcher))["events"]
    assert (unsaid["guid"], said["text"]) == ("p", "desired")
    assert "can't be put into words" in unsaid["text"]
    assert "failed-to-put-event-into-words" in str(lines.lines)


def test_watchers_are_bounded() -> None:
    of = happenings()
    watchers = [of.watch(Choice(kinds=frozenset(KINDS))) for _ in range(WATCHERS_MAX)]
    with pytest.raises(TooManyWatchers, match="pages of events"):
        of.watch(Choice())

    watchers[0].close()
    of.watch(Choice())
