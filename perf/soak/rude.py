"""Clients that leave in the middle, each at another place: what they had opened has to go with them."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from perf.load import Target

RECEIVE_BYTES: Final = 64 * 1024
NARROW_BYTES: Final = 4 * 1024
SEGMENT_BYTES: Final = 536
"""Of a connection that holds little on its way: the kernel's buffers grow with the size of a segment."""

_RESETS: Final = struct.pack("ii", 1, 0)
"""``struct linger``: to close the socket resets the connection."""


class RudeFailed(Exception):
    """The server did not do with a rude client what it should."""


async def nothing_at_all(target: Target) -> None:
    async with await trio.open_tcp_stream(target.host, target.port):
        pass


async def no_tls(target: Target) -> None:
    """Plain HTTP to the TLS port, until the server hangs up."""
    async with await trio.open_tcp_stream(target.host, target.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n" if target.tls else b"\x16\x03\x01\x00\x00")
        await _until_the_end(stream)


async def half_a_handshake(target: Target) -> None:
    """The beginning of a ClientHello, then a reset."""
    async with await trio.open_tcp_stream(target.host, target.port) as stream:
        await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)


async def handshake_and_no_request(target: Target) -> None:
    async with encrypted(target):
        pass


async def half_a_head(target: Target) -> None:
    async with encrypted(target) as stream:
        await stream.send_all(b"POST /v1/ping HTTP/1.1\r\nHost: ")


async def half_a_body(target: Target) -> None:
    async with encrypted(target) as stream:
        await stream.send_all(
            b"POST /v1/actual_lrps/list HTTP/1.1\r\nHost: bbs\r\nContent-Length: 1000\r\n\r\nhalf"
        )


async def no_reading_of_the_answer(target: Target) -> None:
    async with encrypted(target) as stream:
        await stream.send_all(target.post("/v1/actual_lrps/list"))


async def nonsense(target: Target) -> None:
    async with encrypted(target) as stream:
        await stream.send_all(b"BREW /pot HTCPCP/1.0\r\n\r\n")
        await _until_the_end(stream)


async def chunks(target: Target) -> None:
    """Not rude, but rare: a body in chunks leaves the fast lane."""
    async with encrypted(target) as stream:
        await stream.send_all(
            b"POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        )
        answer = await _until_the_end(stream)
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise RudeFailed(f"a ping in chunks was answered {answer[:100]!r}")


async def unknown_path(target: Target) -> None:
    async with encrypted(target) as stream:
        await stream.send_all(b"GET /nowhere HTTP/1.1\r\nHost: bbs\r\nConnection: close\r\n\r\n")
        await _until_the_end(stream)


RUDE: Final[Sequence[Callable[[Target], Awaitable[None]]]] = (
    nothing_at_all,
    no_tls,
    half_a_handshake,
    handshake_and_no_request,
    half_a_head,
    half_a_body,
    no_reading_of_the_answer,
    nonsense,
    chunks,
    unknown_path,
)


@asynccontextmanager
async def encrypted(target: Target, *, is_narrow: bool = False) -> AsyncIterator[trio.abc.Stream]:
    """A connection with its handshake done (plain if the target is). In the end it is closed without a goodbye.

    With ``is_narrow`` little is on its way to a reader who does not read, some ten kB.
    """
    plain = trio.socket.socket()
    try:
        if is_narrow:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        await plain.connect((target.host, target.port))
        stream: trio.abc.Stream = trio.SocketStream(plain)
        if target.tls is not None:
            encrypting = trio.SSLStream(stream, target.tls, server_hostname=target.host)
            await encrypting.do_handshake()
            stream = encrypting
        yield stream
    finally:
        plain.close()


async def _until_the_end(stream: trio.abc.Stream) -> bytes:
    """All that comes until the server hangs up, however it does."""
    received = b""
    try:
        while piece := await stream.receive_some(RECEIVE_BYTES):
            received += piece
    except (trio.BrokenResourceError, ssl.SSLError):
        pass
    return received
