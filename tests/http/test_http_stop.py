"""A stop waits for handlers and answers, and for nobody who owes us a request (spec: api.md 1.1, config.md 6)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.http.limits import Limits
from bbs.http.listener import HTTPServer
from bbs.http.sockets import open_listeners
from tests.http.serving import PATIENCE_S, Contexts, Served, World, post

LONG_S = 50 * PATIENCE_S
LARGE = b"x" * (16 << 20)
"""More than the socket buffers of both ends hold."""


@dataclass(kw_only=True)
class Stoppable(Served):
    """With an event for each half of the stop."""

    handlers_are_done: trio.Event = field(default_factory=trio.Event)
    all_is_done: trio.Event = field(default_factory=trio.Event)


@asynccontextmanager
async def stoppable(world: World, lane: str, contexts: Contexts, limits: Limits) -> AsyncIterator[Stoppable]:
    server_tls, client_tls = contexts if lane.endswith("tls") else (None, None)
    server = HTTPServer(
        world.table(),
        tls=server_tls,
        gate=lambda: True,
        hooks=world.hooks(),
        limits=limits,
        fast_lane=lane.startswith("fast"),
    )
    listeners = await open_listeners("127.0.0.1:0")
    address = listeners[0].socket.getsockname()
    served = Stoppable(server, world, address, client_tls, trio.CancelScope())
    until_handlers_are_done = trio.CancelScope()

    async def keep(task_status: trio.TaskStatus[None]) -> None:
        with until_handlers_are_done:
            await server.keep_connections(task_status=task_status)
        served.all_is_done.set()

    async def accept() -> None:
        with served.until_stopped:
            await server.accept(listeners)
        await server.finish()
        served.handlers_are_done.set()
        until_handlers_are_done.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(keep)
        nursery.start_soon(accept)
        try:
            yield served
        finally:
            for wire in served.wires:
                await trio.aclose_forcefully(wire.stream)
            world.handler_may_go_on.set()
            served.until_stopped.cancel()
    assert world.failures == []


# So long that a test which waits for one of them fails.
PATIENT = Limits(
    stop_unfinished_s=LONG_S,
    stop_grace_s=LONG_S,
    header_timeout_s=LONG_S,
    handshake_timeout_s=LONG_S,
    linger_s=0.2,
)
BRIEF = Limits(
    stop_unfinished_s=0.3, stop_grace_s=LONG_S, body_timeout_s=LONG_S, send_stall_s=LONG_S, linger_s=0.2
)

NO_WHOLE_HEAD = {
    "nothing": b"",
    "one byte": b"P",
    "a small letter": b"p",
    "part of a head": b"POST /v1/echo HTTP/1.1\r\nHost: a\r\n",
    "part of a request after another": post("/v1/echo") + b"POST /v1/ec",
    "part of a request after an unknown one": post("/nope") + b"POST /v1/ec",
}


@pytest.mark.parametrize("case", NO_WHOLE_HEAD)
async def test_who_has_no_request_in_flight_is_closed_at_once_and_silently(
    world: World, contexts: Contexts, lane: str, case: str
) -> None:
    async with stoppable(world, lane, contexts, PATIENT) as served:
        wire = await served.connect()
        await wire.send(NO_WHOLE_HEAD[case])
        if b"\r\n\r\n" in NO_WHOLE_HEAD[case]:
            await wire.read_response()
        await wait_all_tasks_blocked(0.01)
        served.until_stopped.cancel()

        assert await wire.read_to_end() == b""
        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"], ids=["nothing", "half a handshake"])
@pytest.mark.parametrize("tls_lane", ["fast-tls", "slow-tls"])
async def test_handshakes_end_at_once(world: World, contexts: Contexts, tls_lane: str, sent: bytes) -> None:
    async with stoppable(world, tls_lane, contexts, PATIENT) as served:
        wire = await served.connect_plain()
        await wire.send(sent)
        await wait_all_tasks_blocked(0.01)
        served.until_stopped.cancel()

        assert await wire.read_to_end() == b""
        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()


BODIES = {
    "a length": post("/v1/echo", b"three")[:-1],
    "a length, no byte of it": post("/v1/echo", b"three")[:-5],
    "chunks": b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    "a query": post("/v1/echo?", b"three")[:-1],
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_does_not_come_is_waited_for_a_little(
    world: World, contexts: Contexts, lane: str, case: str
) -> None:
    async with stoppable(world, lane, contexts, BRIEF) as served:
        wire = await served.connect()
        await wire.send(BODIES[case])
        await wait_all_tasks_blocked(0.01)
        served.until_stopped.cancel()
        began = trio.current_time()

        assert (await wire.read_to_end()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert trio.current_time() - began >= BRIEF.stop_unfinished_s
        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()
        assert world.calls == []


async def test_a_body_that_comes_after_the_stop_is_served(
    world: World, contexts: Contexts, lane: str
) -> None:
    async with stoppable(world, lane, contexts, PATIENT) as served:
        wire = await served.connect()
        request = post("/v1/echo", b"whole", "Expect: 100-continue")
        await wire.send(request[:-5])
        assert (await wire.read_response(head_only=True)).status == 100
        served.until_stopped.cancel()
        await wait_all_tasks_blocked(0.01)
        assert not served.handlers_are_done.is_set()
        await wire.send(request[-5:])

        response = await wire.read_response()

        assert response.body == b"whole"
        assert {name.lower(): value for name, value in response.headers.items()}["connection"] == "close"
        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()


async def test_a_stream_that_is_not_read_is_waited_for_a_little(
    world: World, contexts: Contexts, lane: str
) -> None:
    async with stoppable(world, lane, contexts, BRIEF) as served:
        wire = await served.connect()
        await wire.send(post("/v1/events.r1"))
        await wire.read_until(b"\r\n\r\n")
        world.sources[0].push(LARGE)
        await wait_all_tasks_blocked(0.01)
        served.until_stopped.cancel()

        with trio.fail_after(PATIENCE_S):
            await served.handlers_are_done.wait()
            await served.all_is_done.wait()
        assert world.sources[0].closed


async def test_a_slow_reader_gets_its_whole_answer_and_holds_up_no_more_than_that(
    world: World, contexts: Contexts, lane: str
) -> None:
    world.pieces = [LARGE]
    async with stoppable(world, lane, contexts, BRIEF) as served:
        wire = await served.connect()
        await wire.send(post("/v1/pieces"))
        await wire.read_until(b"\r\n\r\n")
        served.until_stopped.cancel()
        with trio.fail_after(PATIENCE_S):
            await served.handlers_are_done.wait()
        with pytest.raises(trio.TooSlowError), trio.fail_after(2 * BRIEF.stop_unfinished_s):
            await served.all_is_done.wait()

        assert await wire.count_to_end() == len(LARGE)
        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()


async def test_a_handler_holds_up_the_first_half_of_the_stop(
    world: World, contexts: Contexts, lane: str
) -> None:
    async with stoppable(world, lane, contexts, BRIEF) as served:
        wire = await served.connect()
        await wire.send(post("/v1/slow"))
        await world.handler_entered.wait()
        served.until_stopped.cancel()
        with pytest.raises(trio.TooSlowError), trio.fail_after(2 * BRIEF.stop_unfinished_s):
            await served.handlers_are_done.wait()
        world.handler_may_go_on.set()

        assert (await wire.read_response()).body == b"at last"
        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()


async def test_no_request_begins_after_the_stop_though_it_was_received_before(
    world: World, contexts: Contexts, lane: str
) -> None:
    async with stoppable(world, lane, contexts, PATIENT) as served:
        wire = await served.connect()
        await wire.send(post("/v1/slow") + post("/v1/echo", b"pipelined"))
        await world.handler_entered.wait()
        served.until_stopped.cancel()
        await wait_all_tasks_blocked(0.01)
        world.handler_may_go_on.set()

        assert (await wire.read_to_end()).count(b"HTTP/1.1 ") == 1
        assert [call.target for call in world.calls] == ["/v1/slow"]


@pytest.mark.parametrize("one_lane", ["fast", "slow"])
async def test_what_hypercorn_shields_ends_with_the_grace_too(
    world: World, contexts: Contexts, one_lane: str
) -> None:
    world.pieces = [LARGE]
    limits = Limits(stop_unfinished_s=0.1, stop_grace_s=0.3, send_stall_s=LONG_S)
    async with stoppable(world, one_lane, contexts, limits) as served:
        wire = await served.connect()
        await wire.send(post("/v1/pieces"))
        await wire.read_until(b"\r\n\r\n")
        served.until_stopped.cancel()

        with trio.fail_after(PATIENCE_S):
            await served.all_is_done.wait()
