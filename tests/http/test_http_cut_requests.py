"""A client whose connection is cut after any number of bytes of a request: it has done nothing, and costs nothing."""

import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.http.limits import Limits
from tests.http.held import Held
from tests.http.serving import PATIENCE_S, Contexts, Served, Wire, World, post, serving_lane
from tests.waiting import wait_until

TLS_BYTES_BETWEEN_CUTS = 53
"""Of a TLS connection not every byte is tried unless ``--every-byte`` is given: each try is a handshake."""

LIMITS = Limits(linger_s=0.2)


def chunked(path: str, body: bytes) -> bytes:
    """With all that chunks can have: an extension, more than one of them, and a trailer."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n"
    return head.encode() + b"1;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nSum: 1\r\n\r\n" % (
        body[:1],
        len(body) - 1,
        body[1:],
    )


REQUESTS: dict[str, Callable[[bytes], bytes]] = {
    "a length": lambda body: post("/v1/echo", body),
    "chunks": lambda body: chunked("/v1/echo", body),
    "expect": lambda body: post("/v1/echo", body, "Expect: 100-continue"),
    "a stream": lambda body: post("/v1/events.r1", body),
    "a second one": lambda body: post("/v1/echo", b"before it") + post("/v1/echo", body),
    "handed over": lambda body: chunked("/v1/echo?", body),
}
"""By what is sent: requests that change something, the body being what they write."""


class CutOff(Exception):
    """So many bytes have been sent as may be."""


class CutStream(trio.abc.Stream):
    """A client's socket that sends ``bytes_max`` bytes and no more."""

    def __init__(self, transport: trio.SocketStream, bytes_max: float) -> None:
        self._transport = transport
        self._bytes_max = bytes_max
        self.bytes_sent = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        left = self._bytes_max - self.bytes_sent
        piece = data if len(data) <= left else data[: int(left)]
        await self._transport.send_all(piece)
        self.bytes_sent += len(piece)
        if len(piece) < len(data):
            raise CutOff

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._transport.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def half_close(self) -> None:
        """Send a FIN, as a client that has nothing more to say, and read what still comes."""
        await self._transport.send_eof()
        with trio.fail_after(PATIENCE_S):
            while await self._transport.receive_some():
                pass
        await self._transport.aclose()

    async def close(self) -> None:
        """Send a FIN, as the kernel does for a client that ended. It answers with a reset to whatever comes after that."""
        await trio.aclose_forcefully(self._transport)

    async def reset(self) -> None:
        self._transport.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )  # to linger for no time is to reset
        await trio.aclose_forcefully(self._transport)


CUTS: dict[str, Callable[[CutStream], object]] = {
    "half-close": CutStream.half_close,
    "close": CutStream.close,
    "reset": CutStream.reset,
}


@dataclass
class Cutter:
    """Sends requests and cuts them, and sees after each whether another client is served."""

    served: Served
    witness: Wire
    whole: set[bytes] = field(default_factory=set)
    """Bodies of the requests that were sent to their last byte."""
    cut: set[bytes] = field(default_factory=set)

    async def send(self, request: bytes, *, body: bytes, bytes_max: float, how: str) -> int:
        """How many bytes went out, with those of TLS."""
        transport = CutStream(await trio.open_tcp_stream(*self.served.address), bytes_max)
        stream: trio.abc.Stream = transport
        if self.served.client_tls is not None:
            stream = trio.SSLStream(
                transport, self.served.client_tls, server_hostname="localhost", https_compatible=True
            )
        try:
            await stream.send_all(request)
            self.whole.add(body)
        except CutOff:
            self.cut.add(body)
        await getattr(transport, how.replace("-", "_"))()
        await self.witness.send(post("/v1/echo", b"witness"))
        assert (await self.witness.read_response()).body == b"witness"
        return transport.bytes_sent

    def written(self) -> set[bytes]:
        """What the server has done of what was asked."""
        return {call.body for call in self.served.world.calls} - {b"witness", b"before it"}


@asynccontextmanager
async def cutting(world: World, lane: str, contexts: Contexts) -> AsyncIterator[Cutter]:
    """In the end everything must be as it was before."""
    async with serving_lane(world, lane, contexts, LIMITS) as served:
        cutter = Cutter(served, await served.connect())
        # The first requests of all make what lasts: a thread for handshakes, say.
        await cutter.send(post("/v1/echo"), body=b"", bytes_max=inf, how="half-close")
        await wait_until(
            lambda: served.server.statistics().connections == 1, within_s=PATIENCE_S, what="only the witness"
        )
        await wait_all_tasks_blocked()
        before = Held.by(served)
        yield cutter
        with suppress(AssertionError):  # the next line tells what it is that is held
            await wait_until(
                lambda: Held.by(served) == before, within_s=2 * PATIENCE_S, what="all are forgotten"
            )
        assert Held.by(served) == before
        assert all(source.closed for source in world.sources)
        assert world.bugs == []


def places(size: int, *, how: str, between: int) -> Iterable[int]:
    """Where to cut ``size`` bytes: some on the way, others for each way to cut, and the last few, where all but nothing has come.

    With ``between`` 3 the three ways together have been everywhere.
    """
    return sorted(
        {*range(list(CUTS).index(how) * between // len(CUTS), size, between), *range(size - 8, size + 1)}
    )


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_a_request_that_is_cut_at_any_byte_is_not_done_and_holds_nothing(
    world: World, contexts: Contexts, lane: str, kind: str, every_byte: bool
) -> None:
    async with cutting(world, lane, contexts) as cutter:
        for how in CUTS:
            size = len(REQUESTS[kind](b"%-12s %04d" % (how.encode(), 0)))
            for place in places(size, how=how, between=1 if every_byte else 3):
                body = b"%-12s %04d" % (how.encode(), place)
                await cutter.send(REQUESTS[kind](body), body=body, bytes_max=place, how=how)
    assert cutter.written() <= cutter.whole
    assert len(cutter.whole) == len(CUTS) + 1  # the first is that of `cutting`
    # Who waits for the answer gets it. What came whole from somebody who has left may be done or not.
    assert {body for body in cutter.whole if body.startswith(b"half-close")} <= cutter.written()


@pytest.mark.slow
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("lane", ["fast-tls", "slow-tls"])
async def test_a_tls_connection_that_is_cut_at_any_byte_does_nothing_and_holds_nothing(
    world: World, contexts: Contexts, lane: str, how: str, every_byte: bool
) -> None:
    """The bytes of the handshake and of the records count, too: most places are inside them."""
    kind = "chunks"
    async with cutting(world, lane, contexts) as cutter:
        size = await cutter.send(REQUESTS[kind](b"0000"), body=b"0000", bytes_max=inf, how=how)
        for place in places(size, how=how, between=1 if every_byte else TLS_BYTES_BETWEEN_CUTS):
            body = b"%04d" % (place + 1)
            await cutter.send(REQUESTS[kind](body), body=body, bytes_max=place, how=how)
    assert cutter.cut
    assert cutter.written() <= cutter.whole
