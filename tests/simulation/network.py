"""Connections in memory: what TCP is to the fleet, with latency, partitions and servers that are away.

A connection belongs to a *host*, the name of who opened it. A partitioned host's bytes wait, in both directions, and go
through when the partition has healed, unless somebody has lost patience: as TCP does it.
"""

import errno
from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

import trio
import trio.abc
import trio.testing

from bbs.client import Connector

BACKLOG: Final = 4096

MemoryStream: TypeAlias = (
    "trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]"
)


class Link:
    """One connection: both ends know whether it is broken."""

    def __init__(self, network: "Network", host: str) -> None:
        self.network = network
        self.host = host
        self.is_broken = False


class End(trio.abc.HalfCloseableStream):
    """One end of a connection. Latency is that of sending."""

    def __init__(self, link: Link, stream: "MemoryStream") -> None:
        self._link = link
        self._stream = stream
        self.socket = self  # what the listener wants to know of the socket, this knows itself

    def getpeername(self) -> tuple[str, int]:
        return self._link.host, 1

    def setsockopt(self, level: int, option: int, value: int) -> None:
        pass

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._link.network.pass_through(self._link.host)
        self._require_whole()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        self._require_whole()
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.ClosedResourceError:
            self._require_whole()
            raise
        if not data:
            self._require_whole()
        return data

    async def aclose(self) -> None:
        self._link.network.forget(self)
        await self._stream.aclose()

    def shatter(self) -> None:
        """Break the connection: both ends notice with what they do next."""
        self._link.is_broken = True
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    def _require_whole(self) -> None:
        if self._link.is_broken:
            raise trio.BrokenResourceError("the connection broke")


class Listener:
    """The server's door. A listener of Trio's as far as `HTTPServer` looks."""

    def __init__(self) -> None:
        self._offer, self._arrivals = trio.open_memory_channel[End](BACKLOG)
        self.socket = self

    @property
    def is_open(self) -> bool:
        return self._offer.statistics().open_receive_channels > 0

    async def accept(self) -> End:
        try:
            return await self._arrivals.receive()
        except trio.EndOfChannel as end:
            raise trio.ClosedResourceError from end

    def arrive(self, end: End) -> None:
        self._offer.send_nowait(end)

    def close(self) -> None:
        self._offer.close()
        self._arrivals.close()


class Network:
    def __init__(self, random: Random, *, latency_s: tuple[float, float]) -> None:
        self._random = random
        self._latency_s = latency_s
        self._cut: dict[str, trio.Event] = {}
        self._ends: dict[End, str] = {}
        self.listener: Listener | None = None

    def listen(self) -> Listener:
        self.listener = Listener()
        return self.listener

    def connector(self, host: str, *, may_connect: Callable[[], bool] = lambda: True) -> Connector:
        """How ``host`` reaches the server. It is refused while there is none, or while it may not."""

        async def connect(_: str, port: int) -> trio.abc.Stream:
            await self.pass_through(host)
            listener = self.listener
            if listener is None or not listener.is_open or not may_connect():
                raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
            link = Link(self, host)
            ours, theirs = (End(link, stream) for stream in trio.testing.memory_stream_pair())
            self._ends[ours] = self._ends[theirs] = host
            listener.arrive(theirs)
            return ours

        return connect

    async def pass_through(self, host: str) -> None:
        """Take as long as bytes of ``host`` take, however long it is cut off."""
        await trio.sleep(self._random.uniform(*self._latency_s))
        while host in self._cut:
            await self._cut[host].wait()

    def cut(self, host: str) -> None:
        self._cut.setdefault(host, trio.Event())

    def heal(self, host: str) -> None:
        if host in self._cut:
            self._cut.pop(host).set()

    def break_connections(self, host: str | None = None) -> None:
        """Break those of ``host``, or all there are."""
        for end in [end for end, owner in self._ends.items() if host in (None, owner)]:
            self._ends.pop(end, None)
            end.shatter()

    def forget(self, end: End) -> None:
        self._ends.pop(end, None)
