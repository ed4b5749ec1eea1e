"""What observers are told of requests, through either lane."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import trio

from bbs.http.endpoints import Call, Route
from bbs.http.listener import Hooks
from bbs.http.observed import observed
from tests.http.serving import Served, World, post, serving


@dataclass
class Observer:
    begun: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    durations_ns: list[int] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    def begin(self, route: Route, call: Call) -> None:
        call.session = len(self.begun) + 1
        self.begun.append((route.name, call.target))

    def end(self, route: Route, call: Call, duration_ns: int) -> None:
        assert call.session == self.begun.index((route.name, call.target)) + 1
        self.ended.append((route.name, call.target))
        self.durations_ns.append(duration_ns)
        self.news.set()

    async def wait_for_an_end(self) -> None:
        with trio.fail_after(5):
            await self.news.wait()
        self.news = trio.Event()


@dataclass
class ObservedWorld(World):
    observer: Observer = field(default_factory=Observer)

    def hooks(self) -> Hooks:
        unobserved = super().hooks()
        return Hooks(
            on_bug=unobserved.on_bug,
            on_connection_failed=unobserved.on_connection_failed,
            on_accept_failed=unobserved.on_accept_failed,
            on_request_begin=self.observer.begin,
            on_request_end=self.observer.end,
        )


@pytest.fixture
async def world() -> ObservedWorld:
    return ObservedWorld()


@pytest.fixture(params=["fast", "slow"])
async def served(request: pytest.FixtureRequest, world: ObservedWorld) -> AsyncIterator[Served]:
    async with serving(world, fast_lane=request.param == "fast") as it:
        yield it


async def test_a_request_begins_and_ends_with_its_handler(served: Served, world: ObservedWorld) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/slow"))
    await world.handler_entered.wait()

    assert (world.observer.begun, world.observer.ended) == ([("Slow", "/v1/slow")], [])

    world.handler_may_go_on.set()
    await wire.read_response()

    assert world.observer.ended == [("Slow", "/v1/slow")]
    assert world.observer.durations_ns[0] > 0


async def test_the_query_is_part_of_the_target(served: Served, world: ObservedWorld) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo?a=b"))
    await wire.read_response()

    assert world.observer.ended == [("Echo", "/v1/echo?a=b")]
    assert [call.session for call in world.calls] == [1]  # handlers see what the observer noted


async def test_a_request_that_ends_in_a_bug_has_ended(served: Served, world: ObservedWorld) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/failing"))
    await wire.read_to_end()

    assert world.observer.ended == [("Failing", "/v1/failing")]


@pytest.mark.parametrize("who", ["the client", "the source", "the server"])
async def test_a_stream_ends_once_whoever_ends_it(served: Served, world: ObservedWorld, who: str) -> None:
    wire = await served.connect()
    await wire.send(b"GET /v1/events HTTP/1.1\r\nHost: bbs\r\n\r\n")
    await wire.read_until(b"\r\n\r\n")

    assert (world.observer.begun, world.observer.ended) == ([("Events", "/v1/events")], [])

    match who:
        case "the client":
            await wire.stream.aclose()
        case "the source":
            world.sources[0].close()
        case "the server":
            served.until_stopped.cancel()
    await world.observer.wait_for_an_end()
    if who != "the client":
        await wire.read_to_end()

    assert world.observer.ended == [("Events", "/v1/events")]


async def test_a_stream_that_cannot_be_opened_has_ended(served: Served, world: ObservedWorld) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/events.r1", b"undecodable"))
    await wire.read_response()

    assert world.observer.ended == [("EventsByPost", "/v1/events.r1")]


@pytest.mark.parametrize(
    ("ready", "request_bytes", "status"),
    [
        (False, post("/v1/echo"), 503),
        (True, post("/v1/nowhere"), 404),
        (True, b"GET /v1/echo HTTP/1.1\r\nHost: bbs\r\n\r\n", 405),
    ],
    ids=["gated", "unknown path", "wrong method"],
)
async def test_what_reaches_no_handler_is_not_told_of(
    served: Served, world: ObservedWorld, ready: bool, request_bytes: bytes, status: int
) -> None:
    world.ready = ready
    wire = await served.connect()
    await wire.send(request_bytes)

    assert (await wire.read_response()).status == status
    assert (world.observer.begun, world.observer.ended) == ([], [])


def test_without_observers_nothing_is_wrapped() -> None:
    table = World().table()

    assert observed(table, begin=None, end=None) is table
