"""An auctioneer that accepts whatever it is asked for, at once, and counts: a process of its own on the loopback."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_long
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from perf.server import ServerFailed

START_MAX_S: Final = 10.0
STOP_MAX_S: Final = 5.0

_ACCEPTED: Final = (
    b"HTTP/1.1 202 Accepted\r\nDate: Sat, 28 Nov 2026 05:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What has come so far: calls, connections, and auctions, of LRPs and tasks."""

    calls: int
    connections: int
    auctions: int

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            calls=self.calls - earlier.calls,
            connections=self.connections - earlier.connections,
            auctions=self.auctions - earlier.auctions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingAuctioneer:
    address: str
    counted: Any
    """Shared with the process: calls, connections, auctions."""

    def counts(self) -> Counts:
        calls, connections, auctions = self.counted[:]
        return Counts(calls=calls, connections=connections, auctions=auctions)


@contextmanager
def counting_auctioneer() -> Iterator[CountingAuctioneer]:
    """
    Raises:
      ServerFailed: it does not listen in time.
    """
    context = multiprocessing.get_context("spawn")
    counted = context.Array(c_long, 3)
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(counted, send), daemon=True)
    process.start()
    try:
        if not receive.poll(START_MAX_S):
            raise ServerFailed("the auctioneer does not start")
        yield CountingAuctioneer(address=f"http://127.0.0.1:{receive.recv()}", counted=counted)
    finally:
        process.terminate()
        process.join(STOP_MAX_S)


def _serve(counted: Any, send: Connection) -> None:
    asyncio.run(_listen(counted, send))


async def _listen(counted: Any, send: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Peer(counted), "127.0.0.1", 0)
    send.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Peer(asyncio.Protocol):
    """One connection, on which a request at a time comes."""

    def __init__(self, counted: Any) -> None:
        self._counted = counted
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counted[1] += 1

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._unread = rest[length:]
        self._counted[0] += 1
        # An LRP's element has one of the first, a task's one of the second.
        self._counted[2] += rest[:length].count(b'"indices":') + rest[:length].count(b'"Task":')
        self._transport.write(_ACCEPTED)
