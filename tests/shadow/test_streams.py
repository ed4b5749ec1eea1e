"""When events may be compared at all, and what is made of a stream that is lost; rounds that can't be made. In virtual time."""

from base64 import b64encode
from dataclasses import dataclass, field
from math import inf

import pytest
import trio
from trio.testing import MockClock

from bbs.client import ClientConfig
from bbs.log import Logger
from bbs.models import pb
from bbs.shadow.events import EventDifference, Side
from bbs.shadow.shadow import Shadow, ShadowSettings
from bbs.shadow.sides import OneSide
from bbs.shadow.streams import PAUSE_S, STREAMS, StreamComparison
from tests.client.scripted_server import (
    REFUSE_CONNECTION,
    ScriptedServer,
    answer,
    broken_stream,
    open_stream,
    stream,
)

GRACE_S = 10.0
TASKS = STREAMS[2]


@dataclass
class Followed:
    """What a follower says of itself."""

    as_of: float = inf
    streams: int = 1
    is_streaming: bool = True
    unreadable: int = 0
    has_loaded: trio.Event = field(default_factory=trio.Event)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        raise AssertionError("the sides of these tests have connectors of their own")


@dataclass
class Pair:
    master: ScriptedServer
    follower: ScriptedServer
    followed: Followed
    found: list[EventDifference] = field(default_factory=list)

    def sides(self) -> list[OneSide]:
        config = ClientConfig(url="http://bbs", attempts=1, request_timeout_s=5)
        return [
            OneSide(Side.MASTER, config, self.master.connect),
            OneSide(Side.FOLLOWER, config, self.follower.connect),
        ]

    async def compared_for(self, seconds: float) -> StreamComparison:
        comparison = StreamComparison(
            TASKS,
            self.sides(),
            self.followed,
            grace_s=GRACE_S,
            on_differences=self.found.extend,
            on_void=lambda reason: None,
        )
        with trio.move_on_after(seconds):
            await comparison.run()
        return comparison


@pytest.fixture
def pair(nursery: trio.Nursery) -> Pair:
    return Pair(ScriptedServer(nursery), ScriptedServer(nursery), Followed())


def created(task_guid: str) -> bytes:
    payload = b64encode(pb.TaskCreatedEvent(task=pb.Task(task_guid=task_guid)).SerializeToString()).decode()
    return f"id: 0\nevent: task_created\ndata: {payload}\n\n".encode()


async def test_the_same_events_are_matched(pair: Pair, autojump_clock: MockClock) -> None:
    pair.master.plays(open_stream(created("a"), created("b")))
    pair.follower.plays(open_stream(created("b"), created("a")))

    comparison = await pair.compared_for(100)

    assert comparison.counts.matched == 2
    assert comparison.voids == {}
    assert comparison.watched_s == pytest.approx(100, abs=1)


@pytest.mark.parametrize("lost", [broken_stream(created("a")), stream(created("a"))], ids=["broken", "ended"])
@pytest.mark.parametrize("side", Side)
async def test_a_stream_that_is_lost_makes_the_window_void(
    pair: Pair, side: Side, lost: object, autojump_clock: MockClock
) -> None:
    """It is not opened again behind our back: what was told meanwhile would be missing, and nobody would know."""
    loser, other = (pair.master, pair.follower) if side is Side.MASTER else (pair.follower, pair.master)
    loser.plays(lost, open_stream(created("b")))  # type: ignore[arg-type]  # any of the streams that are lost
    other.plays(open_stream(), open_stream(created("b")))

    comparison = await pair.compared_for(100)

    [(reason, times)] = comparison.voids.items()
    assert reason.startswith(f"the {side}: ")
    assert times == 1
    assert (comparison.counts.unjudged, comparison.counts.matched) == (1, 1)
    assert pair.found == []
    assert len(loser.asked) == len(other.asked) == 2
    assert loser.times[1] >= PAUSE_S


async def test_a_follower_that_began_anew_makes_the_window_void(
    pair: Pair, autojump_clock: MockClock
) -> None:
    for server in (pair.master, pair.follower):
        server.plays(open_stream(), open_stream())

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def begin_anew() -> None:
            await trio.sleep(50)
            pair.followed.streams += 1

        comparison = await pair.compared_for(100)

    assert comparison.voids == {"the follower's stream of changes was lost and begun anew": 1}
    assert len(pair.master.asked) == 2


async def test_without_a_stream_of_changes_nobody_is_asked_for_events(
    pair: Pair, autojump_clock: MockClock
) -> None:
    pair.followed.is_streaming = False

    comparison = await pair.compared_for(100)

    assert "looks through the database" in next(iter(comparison.voids))
    assert pair.master.asked == pair.follower.asked == []


async def rounds(pair: Pair, log: Logger, **settings: float) -> Shadow:
    pair.followed.has_loaded.set()
    pair.followed.is_streaming = False
    master, follower = pair.sides()
    shadow = Shadow(
        pair.followed,
        master=master,
        follower=follower,
        settings=ShadowSettings(**settings),  # type: ignore[arg-type]  # numbers of both kinds
        log=log,
    )
    await shadow.run()
    return shadow


PONG = answer(pb.PingResponse(available=True))
NOTHING = answer()


async def test_a_follower_that_is_late_is_not_compared(
    pair: Pair, log: Logger, autojump_clock: MockClock
) -> None:
    pair.followed.as_of = -inf
    pair.master.plays(PONG, NOTHING)

    report = (await rounds(pair, log, rounds=1)).report()

    assert report.kinds[0].not_compared == {"the follower: it was more than 60 s behind": 1}
    assert report.exit_code == 2
    assert pair.follower.asked == []


async def test_a_list_that_one_of_them_does_not_have_is_left_out(
    pair: Pair, log: Logger, autojump_clock: MockClock
) -> None:
    absent = answer(status="404 Not Found", content_type="text/plain")
    pair.master.plays(PONG, absent, *(PONG, NOTHING) * 14)
    pair.follower.plays(*(PONG, NOTHING) * 7)

    report = (await rounds(pair, log, rounds=1)).report()

    assert report.kinds[0].not_compared == {"the master: it does not have this list": 1}
    assert [kind.rounds for kind in report.kinds] == [0, 1, 1, 1, 1, 1, 1, 1]


async def test_a_master_that_is_away_is_asked_once_in_a_round(
    pair: Pair, log: Logger, autojump_clock: MockClock
) -> None:
    pair.master.plays(*[REFUSE_CONNECTION] * 4)

    report = (await rounds(pair, log, rounds=2, interval_s=60)).report()

    assert len(pair.master.dialled) == 4  # a ping, and a list
    assert pair.master.dialled[2] >= 60
    assert (report.rounds, report.complete_rounds, report.exit_code) == (2, 0, 2)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_domain_has_to_differ_three_times(
    pair: Pair, log: Logger, autojump_clock: MockClock, times: int
) -> None:
    """It has no version, so it may have gone and come back between two looks."""
    domains = answer(pb.DomainsResponse(domains=["d"]))
    pair.master.plays(*(PONG, NOTHING) * 12)
    pair.follower.plays(*(PONG, NOTHING) * 6)
    for look in range(3):
        differs = look < times
        pair.master.plays(PONG, domains, PONG, domains)
        pair.follower.plays(PONG, NOTHING if differs else domains)
        if not differs:
            break
    pair.master.plays(*(PONG, NOTHING) * 2)
    pair.follower.plays(PONG, NOTHING)

    report = (await rounds(pair, log, rounds=1)).report()

    assert report.complete_rounds == 1
    assert [finding.key for finding in report.findings.of("domains")] == ["d"] * (times == 3)


async def test_it_ends_after_the_time_that_it_is_given(
    pair: Pair, log: Logger, autojump_clock: MockClock
) -> None:
    pair.master.plays(*(PONG, NOTHING) * 16 * 10)
    pair.follower.plays(*(PONG, NOTHING) * 8 * 10)
    began = trio.current_time()

    report = (await rounds(pair, log, for_s=500, interval_s=100)).report()

    assert trio.current_time() - began == pytest.approx(500)
    assert report.rounds == 5
    assert report.lateness is not None
