"""Views are made once for all who look, sent as far as they have changed, and cost no more than they may."""

import json
from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.dashboard.live import (
    INTERVAL_MAX_S,
    INTERVAL_S,
    SHARE_MAX,
    TOPICS_MAX,
    Live,
    TooManyViewers,
    Viewer,
)
from bbs.dashboard.page_stream import HEARTBEAT, VIEWERS_MAX
from tests.log_lines import Lines


class Number:
    """A view of one number; ``made`` counts how often it was made."""

    def __init__(self) -> None:
        self.number = 0
        self.made = 0

    async def view(self, parameters: Mapping[str, str]) -> dict[str, object]:
        self.made += 1
        await trio.lowlevel.checkpoint()
        if self.number < 0:
            raise ValueError("below zero")
        return {"number": self.number, "asked": dict(parameters), "same": "always"}


def live_of(number: Number, lines: Lines) -> Live:
    return Live({"number": number.view}, header=lambda: "head", now_ns=lambda: 5_000_000, log=lines.logger())


def sections(text: bytes) -> dict[str, object]:
    frames = [frame.split("\n") for frame in text.decode().split("\n\n") if frame.startswith("event: ")]
    return {name.removeprefix("event: "): json.loads(data.removeprefix("data: ")) for name, data in frames}


async def greeted(live: Live, **parameters: str) -> Viewer:
    viewer = live.look("number", parameters)
    assert sections(await viewer.receive()) == {"clock": 5, "header": "head"}
    return viewer


async def test_whoever_looks_gets_everything_and_then_what_changes(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines
) -> None:
    number = Number()
    live = live_of(number, lines)
    nursery.start_soon(live.run)
    viewer = await greeted(live, guid="p")

    assert sections(await viewer.receive()) == {
        "failed": None,
        "header": "head",
        "number": 0,
        "asked": {"guid": "p"},
        "same": "always",
    }
    number.number = 1
    assert sections(await viewer.receive()) == {"number": 1}


async def test_a_view_is_made_once_for_all_who_look_and_not_when_nobody_does(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines
) -> None:
    number = Number()
    live = live_of(number, lines)
    nursery.start_soon(live.run)
    await trio.sleep(60)
    assert number.made == 0

    viewers = [await greeted(live) for _ in range(10)]
    for viewer in viewers:
        assert sections(await viewer.receive())["number"] == 0
    await trio.sleep(10 * INTERVAL_S)
    # And not ten times as often. A busy machine makes it a little less often than once a second.
    assert 5 <= number.made <= 12

    for viewer in viewers:
        viewer.close()
    made = number.made
    await trio.sleep(60)
    assert number.made == made


async def test_a_slow_viewer_is_shown_the_newest_only(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines
) -> None:
    number = Number()
    live = live_of(number, lines)
    nursery.start_soon(live.run)
    viewer = await greeted(live)
    for value in range(1, 6):
        number.number = value
        await trio.sleep(2 * INTERVAL_S)

    text = await viewer.receive()

    assert text.count(b"event: number\n") == 1
    assert sections(text)["number"] == 5


async def test_a_stream_on_which_nothing_changes_shows_that_it_lives(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines
) -> None:
    live = live_of(Number(), lines)
    nursery.start_soon(live.run)
    viewer = await greeted(live)
    await viewer.receive()

    assert await viewer.receive() == HEARTBEAT


async def test_a_closed_stream_ends_whoever_waits_for_it(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines
) -> None:
    live = live_of(Number(), lines)
    viewer = await greeted(live)

    async def close() -> None:
        await wait_all_tasks_blocked()
        viewer.close()
        viewer.close()

    nursery.start_soon(close)
    with pytest.raises(trio.EndOfChannel):
        await viewer.receive()


async def test_a_view_that_fails_is_told_and_made_again(
    autojump_clock: MockClock, nursery: trio.Nursery, lines: Lines
) -> None:
    number = Number()
    number.number = -1
    live = live_of(number, lines)
    nursery.start_soon(live.run)
    viewer = await greeted(live)
    assert "below zero" in str(sections(await viewer.receive())["failed"])
    await trio.sleep(10)
    assert str(lines.lines).count("failed-to-make-dashboard-view") == 1

    number.number = 3
    again = sections(await viewer.receive())
    assert (again["number"], again["failed"]) == (3, None)


async def test_viewers_and_topics_are_bounded(lines: Lines) -> None:
    live = live_of(Number(), lines)
    topics = [live.look("number", {"guid": str(place)}) for place in range(TOPICS_MAX)]
    with pytest.raises(TooManyViewers):
        live.look("number", {"guid": "one more"})

    more = [live.look("number", {"guid": "0"}) for _ in range(VIEWERS_MAX - TOPICS_MAX)]
    with pytest.raises(TooManyViewers, match="close some"):
        live.look("number", {"guid": "0"})

    for viewer in (*topics, *more):
        viewer.close()
    live.look("number", {"guid": "one more"})


@pytest.mark.parametrize(
    ("cost_s", "interval_s"),
    [(0.0, INTERVAL_S), (0.001, INTERVAL_S), (0.3, 0.3 / SHARE_MAX), (9.0, INTERVAL_MAX_S)],
)
async def test_dear_views_are_made_less_often(cost_s: float, interval_s: float, lines: Lines) -> None:
    live = live_of(Number(), lines)
    live.look("number", {})
    [topic] = live._topics.values()
    topic.cost_s = cost_s

    assert live.interval_s() == pytest.approx(interval_s)
