"""Connections in memory: what TCP is to the fleet, with latency, partitions and servers that are away.

A connection belongs to a *host*, the name of who opened it. A partitioned host's bytes wait, in both directions, and go
through when the partition has healed, unless somebody has lost patience: as TCP does it. What is *lost* breaks its
connection: a request that way was never heard, an answer was given and never came. Connections have latencies of their
own, so what is sent over two of them may arrive in either order.

There may be several servers. Clients connect to the one that has begun to listen last, of those that still do.
"""

import errno
from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

import trio
import trio.abc
import trio.testing

from bbs.client import Connector
from bbs.testing._cpu import ALWAYS_ON, CPU

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
        self.ends: tuple[End, ...] = ()

    def shatter(self) -> None:
        """Break the connection: both ends notice with what they do next."""
        for end in self.ends:
            self.network.forget(end)
            end.shatter()


class End(trio.abc.HalfCloseableStream):
    """One end of a connection. Latency is that of sending. ``cpu`` is that of the process whose end it is."""

    def __init__(self, link: Link, stream: "MemoryStream", cpu: CPU) -> None:
        self._link = link
        self._stream = stream
        self._cpu = cpu
        self.socket = self  # what the listener wants to know of the socket, this knows itself

    def getpeername(self) -> tuple[str, int]:
        return self._link.host, 1

    def setsockopt(self, level: int, option: int, value: int) -> None:
        pass

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._cpu.wait()
        await self._link.network.pass_through(self._link.host)
        if self._link.network.loses():
            self._link.shatter()
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
        await self._cpu.wait()
        return data

    async def aclose(self) -> None:
        self._link.network.forget(self)
        await self._stream.aclose()

    def leads_to(self, cpu: CPU) -> bool:
        return any(end._cpu is cpu for end in self._link.ends)

    def shatter(self) -> None:
        """Break this end, and have the other one notice with what it does next."""
        self._link.is_broken = True
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    def _require_whole(self) -> None:
        if self._link.is_broken:
            raise trio.BrokenResourceError("the connection broke")


class Listener:
    """A server's door. A listener of Trio's as far as `HTTPServer` looks."""

    def __init__(self, cpu: CPU) -> None:
        self.cpu = cpu
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
        self.latency_s = latency_s
        self.lost_share = 0.0
        """The share of what is sent that breaks its connection."""
        self._cut: dict[str, trio.Event] = {}
        self._ends: dict[End, str] = {}
        self._listeners: list[Listener] = []

    def listen(self, cpu: CPU = ALWAYS_ON) -> Listener:
        self._listeners = [listener for listener in self._listeners if listener.is_open]
        self._listeners.append(Listener(cpu))
        return self._listeners[-1]

    @property
    def listener(self) -> Listener | None:
        """Where clients connect to."""
        return next((listener for listener in reversed(self._listeners) if listener.is_open), None)

    def connector(self, host: str, *, may_connect: Callable[[], bool] = lambda: True) -> Connector:
        """How ``host`` reaches the server. It is refused while there is none, or while it may not."""

        async def connect(_: str, port: int) -> trio.abc.Stream:
            await self.pass_through(host)
            listener = self.listener
            if listener is None or not may_connect():
                raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
            link = Link(self, host)
            here, there = trio.testing.memory_stream_pair()
            ours, theirs = link.ends = End(link, here, ALWAYS_ON), End(link, there, listener.cpu)
            self._ends[ours] = self._ends[theirs] = host
            listener.arrive(theirs)
            return ours

        return connect

    async def pass_through(self, host: str) -> None:
        """Take as long as bytes of ``host`` take, however long it is cut off."""
        await trio.sleep(self._random.uniform(*self.latency_s))
        while host in self._cut:
            await self._cut[host].wait()

    def loses(self) -> bool:
        """Whether what is sent now is lost."""
        return self.lost_share > 0 and self._random.random() < self.lost_share

    def cut(self, host: str) -> None:
        self._cut.setdefault(host, trio.Event())

    def heal(self, host: str) -> None:
        if host in self._cut:
            self._cut.pop(host).set()

    def break_connections(self, host: str | None = None, *, to: CPU | None = None) -> None:
        """Break those of ``host`` that lead to the process of that CPU; each ``None`` means any."""
        for end in [
            end
            for end, owner in self._ends.items()
            if host in (None, owner) and (to is None or end.leads_to(to))
        ]:
            self._ends.pop(end, None)
            end.shatter()

    def forget(self, end: End) -> None:
        self._ends.pop(end, None)
