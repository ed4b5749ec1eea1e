"""How long the fast lane waits for whom, in virtual time on streams in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, memory_stream_one_way_pair, memory_stream_pair, wait_all_tasks_blocked

from bbs.http.endpoints import Peer
from bbs.http.limits import Limits
from tests.http.serving import Wire, World, fast_lane_for, post

LIMITS = Limits(linger_s=0.5)
SLACK_S = 2 * LIMITS.tick_s + LIMITS.linger_s


@asynccontextmanager
async def connected(world: World, limits: Limits = LIMITS) -> AsyncIterator[Wire]:
    lane = fast_lane_for(world, limits)
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.watch)
        nursery.start_soon(lane.serve, theirs, Peer(""))
        yield Wire(ours)
        nursery.cancel_scope.cancel()
    assert world.failures == []


async def read_to_end(wire: Wire) -> tuple[bytes, float]:
    """What still comes, and after how many seconds the connection ends."""
    start = trio.current_time()
    received = b""
    while data := await wire.stream.receive_some():
        received += data
    return received, trio.current_time() - start


async def test_an_idle_connection_is_closed_silently(autojump_clock: MockClock, world: World) -> None:
    async with connected(world) as wire:
        received, after_s = await read_to_end(wire)

    assert received == b""
    assert LIMITS.idle_timeout_s <= after_s <= LIMITS.idle_timeout_s + SLACK_S


async def test_each_request_starts_the_idle_time_anew(autojump_clock: MockClock, world: World) -> None:
    async with connected(world) as wire:
        for _ in range(5):
            await trio.sleep(LIMITS.idle_timeout_s - 1)
            await wire.send(post("/v1/echo", b"still here"))

            assert await wire.read_until(b"still here")


async def test_a_slow_head_is_answered_408_counted_from_its_first_byte(
    autojump_clock: MockClock, world: World
) -> None:
    async with connected(world) as wire:

        async def drip() -> None:
            for byte in post("/v1/echo", b"", "A: " + "b" * 1000):
                await wire.send(bytes([byte]))
                await trio.sleep(LIMITS.header_timeout_s / 20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            received, after_s = await read_to_end(wire)
            nursery.cancel_scope.cancel()

    assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n")
    assert LIMITS.header_timeout_s <= after_s <= LIMITS.header_timeout_s + SLACK_S


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_body_that_stops_is_answered_408(
    autojump_clock: MockClock, world: World, framing: str
) -> None:
    async with connected(world) as wire:
        await wire.send(f"POST /v1/echo HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n64\r\nabc".encode())

        received, after_s = await read_to_end(wire)

    assert received.startswith(b"HTTP/1.1 408 ")
    assert LIMITS.body_timeout_s <= after_s <= LIMITS.body_timeout_s + SLACK_S


async def test_a_slow_body_is_welcome_while_it_makes_progress(
    autojump_clock: MockClock, world: World
) -> None:
    async with connected(world) as wire:
        await wire.send(b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await trio.sleep(LIMITS.body_timeout_s - 1)
            await wire.send(b"x")

        assert await wire.read_until(b"xxxxxxxxxx")


async def test_a_handler_may_take_its_time(autojump_clock: MockClock, world: World) -> None:
    async with connected(world) as wire:
        await wire.send(post("/v1/slow"))
        await trio.sleep(10 * LIMITS.idle_timeout_s)
        world.handler_may_go_on.set()

        assert await wire.read_until(b"at last")


async def test_an_event_stream_may_be_silent(autojump_clock: MockClock, world: World) -> None:
    async with connected(world) as wire:
        await wire.send(post("/v1/events.r1"))
        await wire.read_until(b"\r\n\r\n")
        await trio.sleep(10 * LIMITS.idle_timeout_s)
        world.sources[0].push(b"id: 0\n\n")

        assert await wire.read_until(b"\n\n\r\n") == b"7\r\nid: 0\n\n\r\n"


class FullPipe(trio.abc.SendStream):
    """To a peer that takes nothing."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/pieces", "/v1/events.r1"])
async def test_a_peer_that_takes_nothing_is_dropped(
    autojump_clock: MockClock, world: World, path: str
) -> None:
    world.pieces = [b"x" * 1_000_000]
    lane = fast_lane_for(world, LIMITS)
    to_lane, from_peer = memory_stream_one_way_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.watch)
        await to_lane.send_all(post(path))
        start = trio.current_time()

        await lane.serve(trio.StapledStream(FullPipe(), from_peer), Peer(""))

        nursery.cancel_scope.cancel()
    assert LIMITS.send_stall_s <= trio.current_time() - start <= LIMITS.send_stall_s + SLACK_S
    assert all(source.closed for source in world.sources)


async def test_a_request_that_overtakes_its_cut_off_is_not_half_done(
    autojump_clock: MockClock, world: World
) -> None:
    lane = fast_lane_for(world, LIMITS)
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.serve, theirs, Peer(""))
        await wait_all_tasks_blocked()
        await ours.send_all(post("/v1/echo", b"too late"))
        lane.stop()  # before the connection's task has seen the bytes
    assert world.calls == []


async def test_more_than_the_header_limit_is_answered_431(autojump_clock: MockClock, world: World) -> None:
    limits = Limits(header_bytes_max=500)
    for request in (post("/v1/echo", b"", "A: " + "b" * 500), b"POST /v1/echo HTTP/1.1\r\nA: " + b"b" * 500):
        async with connected(world, limits) as wire:
            await wire.send(request)

            received, _ = await read_to_end(wire)

        assert received.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


async def test_framing_without_a_body_is_bounded(autojump_clock: MockClock, world: World) -> None:
    async with connected(world, Limits(header_bytes_max=500)) as wire:
        await wire.send(
            b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            + b"A: b\r\n" * 200
        )

        received, _ = await read_to_end(wire)

    assert received.startswith(b"HTTP/1.1 431 ")


async def test_expect_100_continue_is_not_answered_if_the_body_is_too_large(
    autojump_clock: MockClock, world: World
) -> None:
    async with connected(world, Limits(body_bytes_max=500)) as wire:
        await wire.send(
            b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 501\r\n\r\n"
        )

        received, _ = await read_to_end(wire)

    assert received.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
