"""The server's TLS stream against Python's own client: whole records, many records, and every way to end."""

import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from bbs.http.tls_stream import TLSStream

CA = trustme.CA()


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    return context


@asynccontextmanager
async def connected(
    *, https_compatible: bool = False
) -> AsyncIterator[tuple[TLSStream, "trio.SSLStream[trio.SocketStream]"]]:
    client_context = ssl.create_default_context()
    CA.configure_trust(client_context)
    ours, theirs = (trio.SocketStream(side) for side in trio.socket.socketpair())
    server = TLSStream(ours, server_context())
    client = trio.SSLStream(
        theirs, client_context, server_hostname="localhost", https_compatible=https_compatible
    )
    with trio.fail_after(10):
        async with server, client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.do_handshake)
                nursery.start_soon(client.do_handshake)
            yield server, client


async def receive_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = await stream.receive_some()
        assert piece, "ended early"
        received += piece
    return received


@pytest.mark.parametrize("count", [1, 16 * 1024, 16 * 1024 + 1, 1_000_000])
async def test_bytes_arrive_as_they_were_sent(count: int) -> None:
    data = bytes(range(256)) * (count // 256 + 1)
    async with connected() as (server, client), trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, data[:count])
        assert await receive_exactly(client, count) == data[:count]
        nursery.start_soon(client.send_all, data[:count])
        assert await receive_exactly(server, count) == data[:count]


class Steps(trio.abc.Instrument):
    """Counts how often the event loop lets a task go on."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@pytest.mark.parametrize(("count", "has_turns"), [(1, False), (16 * 1024, False), (16 * 1024 + 1, True)])
async def test_only_what_is_longer_than_a_record_lets_others_have_a_turn(count: int, has_turns: bool) -> None:
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    async with connected() as (server, client):
        before = steps.count
        await server.send_all(bytes(count))
        assert (steps.count > before) == has_turns
        assert await receive_exactly(client, count) == bytes(count)
    trio.lowlevel.remove_instrument(steps)


async def test_small_records_arrive_when_the_peer_is_slow() -> None:
    async with connected() as (server, client), trio.open_nursery() as nursery:
        piece, pieces = bytes(range(250)), 4_000  # more than the kernel takes, so that some have to wait

        async def send() -> None:
            for _ in range(pieces):
                await server.send_all(piece)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert await receive_exactly(client, pieces * len(piece)) == piece * pieces


async def test_a_stream_that_is_closed_meanwhile() -> None:
    async with connected() as (server, _), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await server.send_all(b"too late")


async def send_on_and_on(stream: trio.abc.SendStream) -> None:
    while True:
        await stream.send_all(b"anybody there?")


async def test_a_peer_that_has_reset_the_connection() -> None:
    async with connected() as (server, client):
        await trio.aclose_forcefully(client)
        with pytest.raises(trio.BrokenResourceError):
            await send_on_and_on(server)


async def test_a_receiver_gets_what_is_left_of_a_record() -> None:
    async with connected() as (server, client):
        await client.send_all(b"abcdef")

        assert [await server.receive_some(4), await server.receive_some(4)] == [b"abcd", b"ef"]


async def test_the_end_with_and_without_a_word() -> None:
    async with connected() as (server, client):
        await client.aclose()
        assert await server.receive_some() == b""
    async with connected(https_compatible=True) as (server, client):
        await client.transport_stream.send_eof()
        assert await server.receive_some() == b""
        assert await server.receive_some() == b"", "again"


async def test_garbage_breaks_the_connection() -> None:
    async with connected() as (server, client):
        await client.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()


def client_hello() -> bytes:
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return hello.read()


@pytest.mark.parametrize("how", ["ends its side", "closes", "resets"])
async def test_a_peer_that_left_before_its_turn_costs_no_handshake(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TLSStream, "_shake", lambda self: pytest.fail("it was computed"))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ours = await listener.accept()
    received = trio.Event()

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        received.set()
        await trio.testing.wait_all_tasks_blocked()
        yield

    async def leave() -> None:
        await received.wait()
        if how == "ends its side":
            await theirs.send_eof()
            return
        if how == "resets":
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await theirs.aclose()

    async with ours, theirs:
        await theirs.send_all(client_hello())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            with pytest.raises(trio.BrokenResourceError, match="before its handshake began") as refused:
                await TLSStream(ours, server_context()).do_handshake(turn)
        assert refused.value.__cause__ is None


async def test_a_step_is_computed_beside_the_event_loop_and_is_not_left_alone_when_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing may touch the connection while a thread does."""
    goes_on, is_in_turn, was_in_turn = threading.Event(), False, list[bool]()

    def shake(stream: TLSStream) -> bool:
        assert goes_on.wait(10)
        was_in_turn.append(is_in_turn)
        return True

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        nonlocal is_in_turn
        is_in_turn = True
        try:
            yield
        finally:
            is_in_turn = False

    monkeypatch.setattr(TLSStream, "_shake", shake)
    ours, theirs = (trio.SocketStream(side) for side in trio.socket.socketpair())
    async with ours, theirs, trio.open_nursery() as nursery:
        nursery.start_soon(TLSStream(ours, server_context()).do_handshake, turn)
        await theirs.send_all(client_hello())
        with trio.fail_after(10):
            while not is_in_turn:
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        goes_on.set()
    assert was_in_turn == [True]


async def test_a_peer_that_leaves_during_the_handshake() -> None:
    ours, theirs = (trio.SocketStream(side) for side in trio.socket.socketpair())
    await theirs.aclose()
    async with ours:
        with pytest.raises(trio.BrokenResourceError, match="in the middle of the handshake"):
            await TLSStream(ours, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)).do_handshake()
