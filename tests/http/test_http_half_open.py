"""Peers that go silent, at whatever point: each is closed at its deadline, not before it, and nothing of it is left."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.http.limits import Limits
from tests.http.held import Held
from tests.http.serving import LANES, PATIENCE_S, Contexts, Served, Wire, World, post, serving_lane
from tests.listening import tcp_sockets
from tests.waiting import wait_until

LIMIT_S = 1.0
LIMITS = Limits(
    handshake_timeout_s=LIMIT_S,
    header_timeout_s=LIMIT_S,
    body_timeout_s=LIMIT_S,
    idle_timeout_s=LIMIT_S,
    send_stall_s=LIMIT_S,
    linger_s=LIMIT_S,
)
LARGE = b"x" * (16 << 20)
"""More than the socket buffers of both ends hold."""

HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: a\r\n"

SILENT_AFTER: Mapping[str, bytes] = {
    "nothing": b"",
    "one byte": b"P",
    "a byte that begins no request": b"p",
    "half a head": HEAD,
    "half a body": post("/v1/echo", b"three")[:-1],
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nthre",
    "the trailers' beginning": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: ",
    "a head that awaits 100": post("/v1/echo", b"three", "Expect: 100-continue")[:-5],
    "half a body for the slow lane": post("/v1/echo?", b"three")[:-1],
    "half a body of no known path": post("/nope", b"three")[:-1],
    "a whole request": post("/v1/echo"),
    "a request to no known path": post("/nope"),
    "half a request after a whole one": post("/v1/echo") + HEAD,
    "a request that is refused": HEAD + b"no colon\r\n\r\n",
    "a body that is too long": HEAD + b"Content-Length: 99999999\r\n\r\nthree",
    "asking for much": post("/v1/pieces"),
    "asking for much again and again": post("/v1/pieces") * 3,
    "asking for a stream": post("/v1/events.r1"),
}
"""Nobody of these reads a byte of any answer."""

SILENT_IN_HANDSHAKE = ("at its first byte", "inside its hello", "after its hello")


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def own_port(wire: Wire) -> int:
    stream = wire.stream
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    assert isinstance(transport, trio.SocketStream)
    port: int = transport.socket.getsockname()[1]
    return port


def held_ports(served: Served) -> set[int]:
    """The ports of clients whose connection the server has not closed."""
    return {each.peer_port for each in tcp_sockets() if each.port == served.address[1] and each.inode != "0"}


@asynccontextmanager
async def forgetful(world: World, lane: str, contexts: Contexts) -> AsyncIterator[Served]:
    """A server that must be as it was before, once its clients have closed."""
    async with serving_lane(world, lane, contexts, LIMITS) as served:
        await is_served(served)  # the first request makes what lasts
        await wait_until(
            lambda: served.server.statistics().connections == 0, within_s=PATIENCE_S, what="nobody is there"
        )
        await wait_all_tasks_blocked()
        before = Held.by(served)
        yield served
        for wire in served.wires:
            await trio.aclose_forcefully(wire.stream)
        await wait_until(lambda: Held.by(served) == before, within_s=PATIENCE_S, what="all are forgotten")


async def is_served(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"witness", "Connection: close"))
    assert (await wire.read_response()).body == b"witness"
    await trio.aclose_forcefully(wire.stream)
    served.wires.pop()


@pytest.mark.slow
@pytest.mark.parametrize("lane", LANES)
async def test_silent_peers_are_left_at_their_deadline_and_others_are_served(
    world: World, contexts: Contexts, lane: str
) -> None:
    world.pieces = [LARGE]
    async with forgetful(world, lane, contexts) as served:
        began = trio.current_time()
        silent = dict[int, str]()
        for case, sent in SILENT_AFTER.items():
            wire = await served.connect()
            silent[own_port(wire)] = case
            await wire.send(sent)
        if served.client_tls is not None:
            hello = client_hello(served.client_tls)
            for case, sent in zip(SILENT_IN_HANDSHAKE, (b"", hello[:100], hello), strict=True):
                wire = await served.connect_plain()
                silent[own_port(wire)] = case
                await wire.send(sent)
        with trio.fail_after(PATIENCE_S):
            await world.stream_opened.wait()
        world.sources[0].push(LARGE)
        left_after_s = dict[str, float]()

        async def are_all_left() -> bool:
            await is_served(served)
            held = held_ports(served)
            for port, case in silent.items():
                if port not in held and case not in left_after_s:
                    left_after_s[case] = trio.current_time() - began
            return len(left_after_s) == len(silent)

        with suppress(AssertionError):  # the next line tells who is not
            await wait_until(are_all_left, within_s=20 * LIMIT_S, every_s=0.05, what="all are left")
        assert set(silent.values()) - set(left_after_s) == set()
        assert all(source.closed for source in world.sources)
        assert world.bugs == []
    assert {case: s for case, s in left_after_s.items() if s < LIMIT_S} == {}
