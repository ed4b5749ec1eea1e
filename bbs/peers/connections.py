"""The connections of one HTTP client: as many per host as are asked for at once, two of which are kept when idle.

Over all hosts they are bounded: a call that finds no room waits until another one ends, and idle connections to other
hosts are closed to make room for it. The wait is part of the call's time.

httpcore's own pool is not used: it looks at each of its connections for each request, bounds the idle ones over all
hosts, and closes those of a host that is not called any more only when it is. With a thousand cells the look is slow, and
the one bound leaves most hosts without an idle connection, so most calls would begin with a TLS handshake.
"""

import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import httpcore
import trio

from bbs.peers.connection import Connection, Origin

DIAL_TIMEOUT_S: Final = 5.0
IDLE_PER_HOST_MAX: Final = 2
IDLE_S: Final = 90.0
CONNECTIONS_MAX: Final = 1024
CLOSE_MAX_S: Final = 1.0


@dataclass(slots=True)
class _Host:
    used_at: float = 0.0
    idle: list[Connection] = field(default_factory=list)
    busy: set[Connection] = field(default_factory=set)


class Connections:
    """The connections to all hosts that one client calls.

    ``tls`` is a context, or a function that is asked for one at each new connection. ``network`` makes byte streams: the
    real network, unless a test gives another.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext],
        network: httpcore.AsyncNetworkBackend | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._room = trio.Semaphore(connections_max)
        self._idle = 0
        self._tls: Callable[[], ssl.SSLContext] = (lambda: tls) if isinstance(tls, ssl.SSLContext) else tls
        self._dialler = _Dialler(network or httpcore.TrioBackend())
        self._hosts: OrderedDict[Origin, _Host] = OrderedDict()

    @asynccontextmanager
    async def to(self, origin: Origin) -> AsyncIterator[Connection]:
        """A connection for one request, which is kept or closed when the block ends. No checkpoint if there is one.

        It connects when it gets the request. One that the server closed while it was idle is not given out.
        """
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        try:
            await self._close_stale()
            host = self._hosts.get(origin)
            if host is None:
                host = self._hosts[origin] = _Host()
            host.used_at = trio.current_time()  # from now on it is not stale
            self._hosts.move_to_end(origin)
            connection = await self._idle_one(host)
            if connection is None:
                await self._make_room()
                connection = Connection(origin, tls=self._tls(), network=self._dialler, idle_max_s=IDLE_S)
            host.busy.add(connection)
            try:
                yield connection
            finally:
                host.busy.discard(connection)
                host.used_at = trio.current_time()
                if connection.is_idle and len(host.idle) < IDLE_PER_HOST_MAX:
                    host.idle.append(connection)
                    self._idle += 1
                else:
                    await _close(connection)
        finally:
            self._room.release()

    async def aclose(self) -> None:
        """Close all connections. Calls that wait for their answer fail."""
        while self._hosts:
            _, host = self._hosts.popitem()
            self._idle -= len(host.idle)
            for connection in (*host.idle, *host.busy):
                await _close(connection)

    async def _close_stale(self) -> None:
        """Forget hosts not called for a while. Two looks per call: each call adds one host at most."""
        for _ in range(2):
            if not self._hosts:
                return
            key, oldest = next(iter(self._hosts.items()))
            if oldest.busy:
                self._hosts.move_to_end(key)
            elif oldest.used_at + IDLE_S < trio.current_time():
                del self._hosts[key]
                self._idle -= len(oldest.idle)
                for connection in oldest.idle:
                    await _close(connection)

    async def _idle_one(self, host: _Host) -> Connection | None:
        """The connection used last that still stands."""
        while host.idle:
            connection = host.idle.pop()
            self._idle -= 1
            if not connection.has_expired():
                return connection
            await _close(connection)
        return None

    async def _make_room(self) -> None:
        """For one more connection, close idle ones, those of the host first that was called longest ago."""
        # What the semaphore has left is what may be idle, now that the one that room is made for counts as busy.
        if self._idle <= self._room.value:
            return
        for host in tuple(self._hosts.values()):
            while host.idle and self._idle > self._room.value:
                self._idle -= 1
                await _close(host.idle.pop(0))


async def _close(connection: Connection) -> None:
    with trio.move_on_after(CLOSE_MAX_S, shield=True):
        await connection.aclose()


class _Dialler(httpcore.AsyncNetworkBackend):
    """Bounds connecting by `DIAL_TIMEOUT_S`. As upstream, the TLS handshake after it has only the whole call's deadline."""

    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Dialled(
            await self._network.connect_tcp(
                host,
                port,
                timeout=DIAL_TIMEOUT_S,
                local_address=local_address,
                socket_options=socket_options,
            )
        )


class _Dialled(httpcore.AsyncNetworkStream):
    """A stream that is closed when its TLS handshake is cancelled; httpcore's is left to the garbage collector."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read = stream.read  # type: ignore[method-assign]  # nothing in between
        self.write = stream.write  # type: ignore[method-assign]
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with trio.move_on_after(CLOSE_MAX_S, shield=True):
                await self._stream.aclose()
            raise
