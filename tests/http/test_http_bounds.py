"""What is as large as it may be is served; one byte more is refused, alike through both lanes and in any framing. And once it is
answered, nothing of it is kept.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.http.limits import DEFAULT_LIMITS, Limits
from tests.http.serving import PATIENCE_S, Contexts, Response, Served, World, post, serving, serving_lane
from tests.memory import traced_bytes
from tests.waiting import wait_until

SMALL = Limits(header_bytes_max=1_000, body_bytes_max=3_000, linger_s=0.2)
BESIDE = [-1, 0, 1]
"""Beside the limit."""


EMPTY = post("/v1/echo")


def by_length(size: int) -> bytes:
    return post("/v1/echo", b"x" * size)


def in_one_chunk(size: int) -> bytes:
    return in_chunks(size, of=size)


def in_small_chunks(size: int) -> bytes:
    return in_chunks(size, of=1 + size // 10)


def in_chunks(size: int, *, of: int) -> bytes:
    sizes = [min(of, size - start) for start in range(0, size, of)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (each, b"x" * each) for each in sizes)
    return b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def behind_another(size: int) -> bytes:
    return EMPTY + by_length(size)


FRAMINGS = [by_length, in_one_chunk, in_small_chunks, behind_another]


def head_of(size: int) -> bytes:
    """A request without a body whose request line and header block are so long."""
    shortest = post("/v1/echo", b"", "A: ")
    return post("/v1/echo", b"", "A: " + "a" * (size - len(shortest)))


async def last_answer(served: Served, request: bytes) -> Response:
    """To the last of the requests in ``request``."""
    wire = await served.connect()
    await wire.send(request)
    response = await wire.read_response(head_only=b"Expect" in request)
    while response.status == 100 or (
        response.status == 200 and request.startswith(EMPTY) and not response.body
    ):
        response = await wire.read_response()
    await trio.aclose_forcefully(wire.stream)
    return response


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_body_up_to_its_limit(
    world: World, contexts: Contexts, lane: str, framing: Callable[[int], bytes], beside: int
) -> None:
    async with serving_lane(world, lane, contexts, SMALL) as served:
        response = await last_answer(served, framing(SMALL.body_bytes_max + beside))

    if beside <= 0:
        assert (response.status, len(response.body)) == (200, SMALL.body_bytes_max + beside)
    else:
        assert (response.status, response.body) == (413, b"")
        assert all(call.body == b"" for call in world.calls)


@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast", "slow"])
async def test_a_body_without_an_end_is_refused_while_it_comes(world: World, fast_lane: bool) -> None:
    """In chunks that are small beside the limit, and by a client that sends on and on."""
    async with serving(world, fast_lane=fast_lane, limits=SMALL) as served:
        wire = await served.connect()
        await wire.send(b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def send_on_and_on() -> None:
                with suppress(trio.BrokenResourceError):
                    while True:
                        await wire.send(b"5\r\nthree\r\n")
                        await trio.lowlevel.checkpoint()

            nursery.start_soon(send_on_and_on)
            response = await wire.read_response()
            nursery.cancel_scope.cancel()

    assert response.status == 413
    assert world.calls == []


@pytest.mark.parametrize("beside", BESIDE)
async def test_a_head_up_to_its_limit(world: World, contexts: Contexts, lane: str, beside: int) -> None:
    limits = replace(SMALL, receive_bytes=100)
    if beside > 0 and lane.startswith("slow"):
        beside += limits.receive_bytes  # see `Limits.header_bytes_max`
    async with serving_lane(world, lane, contexts, limits) as served:
        response = await last_answer(served, head_of(limits.header_bytes_max + beside))

    assert response.status == (200 if beside <= 0 else 431)
    assert len(world.calls) == (beside <= 0)


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("what", ["a size line", "trailers"])
async def test_framing_of_chunks_up_to_the_limit_of_heads(
    world: World, contexts: Contexts, what: str, beside: int
) -> None:
    """Only the fast lane counts to the byte; h11 has a bound of its own for size lines."""
    size = SMALL.header_bytes_max + beside
    if what == "a size line":  # what is not yet a line, which ends with two bytes more
        parts = [b"1;" + b"a" * (size - 2), b"\r\nx\r\n0\r\n\r\n"]
    else:
        parts = [b"1\r\nx\r\n0\r\nA: " + b"a" * (size - 3), b"\r\n\r\n"]
    async with serving_lane(world, "fast", contexts, SMALL) as served:
        wire = await served.connect()
        await wire.send(b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + parts[0])
        await wait_all_tasks_blocked(0.01)
        await wire.send(parts[1])

        response = await wire.read_response()

    assert response.status == (200 if beside <= 0 else 431)


@pytest.mark.slow
@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast", "slow"])
async def test_the_limits_that_hold_unless_others_are_said(world: World, fast_lane: bool) -> None:
    limits = DEFAULT_LIMITS
    async with serving(world, fast_lane=fast_lane, limits=limits) as served:
        for framing in (by_length, in_small_chunks):
            for beside in BESIDE:
                response = await last_answer(served, framing(limits.body_bytes_max + beside))
                assert response.status == (200 if beside <= 0 else 413), (framing, beside)
        for size, status in ((0, 200), (1 if fast_lane else limits.receive_bytes + 1, 431)):
            response = await last_answer(served, head_of(limits.header_bytes_max + size))
            assert response.status == status


MIB = 1 << 20
LONG = "a" * (MIB - 5_000)
LARGE_REQUESTS = {
    "by length": post("/v1/pieces", b"x" * MIB),
    "in chunks": in_small_chunks(MIB).replace(b"echo", b"pieces"),
    "by a query": post("/v1/pieces?a=b", b"x" * MIB),
    "a trace id": post("/v1/pieces", b"", f"X-Vcap-Request-Id: {LONG}"),
    "a head": post("/v1/pieces?a=b", b"", f"A: {LONG}"),
    "not found": post("/v1/nope", b"x" * MIB),
    "too large": post("/v1/pieces", b"x" * (8 * MIB + 1)),
    "a stream": post("/v1/events.r1", b"x" * MIB),
    "a stream by a query": post("/v1/events.r1?a=b", b"x" * MIB),
}


@pytest.mark.parametrize("request_bytes", [pytest.param(it, id=name) for name, it in LARGE_REQUESTS.items()])
@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast", "slow"])
async def test_nothing_of_a_large_request_is_kept_once_it_is_answered(
    world: World, fast_lane: bool, request_bytes: bytes
) -> None:
    """While its connection is idle or its stream quiet, without a garbage collection. One read from the socket may be kept."""
    async with serving(world, fast_lane=fast_lane) as served:
        await last_answer(served, post("/v1/pieces?a=b"))  # so that all is imported
        wire = await served.connect()
        with traced_bytes() as kept:
            with suppress(trio.BrokenResourceError):  # refused before it had all come
                await wire.send(request_bytes)
            await wire.read_until(b"\r\n\r\n")
            world.calls.clear()

            await wait_until(lambda: kept() < MIB // 5, within_s=PATIENCE_S, what="the request is let go")
