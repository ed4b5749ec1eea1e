"""Accepts connections and brings each to the lane that serves it.

Nothing that one connection does may harm another, or the listener: whatever ends a connection ends only that one. A
stop closes the listeners at once and then waits, for a bounded time, until the requests in flight are answered
(spec: api.md 1.1, security.md 2).
"""

import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from bbs.routes.http.endpoints import Call, Peer, RouteTable
from bbs.routes.http.fast_lane import FastLane
from bbs.routes.http.limits import DEFAULT_LIMITS, Limits
from bbs.routes.http.quart_app import build_app
from bbs.routes.http.refusals import NOT_READY, PLAIN_HTTP_ON_TLS_PORT
from bbs.routes.http.slow_lane import SlowLane

# Go's default for accepted connections (spec: api.md 1).
TCP_KEEP_ALIVE_S: Final = 180
# The kernel cuts it down to its own limit (net.core.somaxconn).
BACKLOG: Final = 0xFFFF
# No TLS record starts with one of these; the request lines that Go recognises all do.
PLAIN_HTTP_STARTS: Final = b"GHPO"
# Practically unlimited: upstream never closes a connection for its number of requests.
UNLIMITED_REQUESTS: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Who hears of trouble. Called from the middle of things: must neither block nor raise."""

    on_bug: Callable[[Exception, Call], None]
    """A handler or a stream source raised what it should not."""
    on_connection_failed: Callable[[Exception, Peer], None]
    """A connection ended by an exception that nobody expected."""
    on_accept_failed: Callable[[OSError], None]
    """No connection could be accepted, most likely for want of file descriptors. Tried again soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStatistics:
    connections: int
    """Open now."""
    refused: int
    """Turned away since the start because too many were open."""
    requests: int
    """Requests to routes since the start, streams included."""
    handed_over: int
    """Connections that left the fast lane, since the start."""
    streams: int
    """Event streams open now."""


async def open_listeners(address: str) -> list[trio.SocketListener]:
    """Listen on ``host:port`` with SO_REUSEADDR. Port 0 lets the kernel choose; an empty host is all interfaces.

    Raises:
      ValueError: not an address.
      OSError: it cannot be listened on.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError(f"listen address {address!r} is not host:port")
    if host:
        return await trio.open_tcp_listeners(int(port), host=host.strip("[]"), backlog=BACKLOG)
    # One socket for both families, as in Go, so that port 0 is one port.
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listening = socket.create_server(("", int(port)), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(listening))]


class HTTPServer:
    """Both lanes behind one listener."""

    def __init__(
        self,
        table: RouteTable,
        *,
        tls: ssl.SSLContext | None,
        gate: Callable[[], bool],
        hooks: Hooks,
        limits: Limits = DEFAULT_LIMITS,
        fast_lane: bool = True,
    ) -> None:
        self.app: Final = build_app(
            table, limits=limits, gate=gate, on_bug=hooks.on_bug, on_request=self._count_request
        )
        """The slow lane's application: pages that are no RPC are added to it."""
        self._table = table
        self._tls = tls
        self._gate = gate
        self._hooks = hooks
        self._limits = limits
        self._slow_lane = SlowLane(
            self.app,
            limits=limits,
            keep_alive_requests_max=limits.slow_lane_requests_max if fast_lane else UNLIMITED_REQUESTS,
        )
        self._fast_lane: FastLane | None = None
        self._wants_fast_lane = fast_lane
        self._connections = 0
        self._refused = 0
        self._slow_requests = 0

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        stop: trio.Event,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve until ``stop`` is set, then end gracefully. Closes ``listeners``. Call it once.

        Cancellation:
          Is a stop too: takes up to ``Limits.stop_grace_s`` before it takes effect.
        """
        async with trio.open_nursery() as connection_nursery:
            connection_nursery.cancel_scope.shield = True
            self._fast_lane = FastLane(
                self._table,
                limits=self._limits,
                gate=self._gate,
                on_bug=self._hooks.on_bug,
                hand_over=self._slow_lane.serve,
            )
            connection_nursery.start_soon(self._fast_lane.watch)
            try:
                connection_nursery.cancel_scope.shield = False
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(stop.wait)
            finally:
                pass

    def statistics(self) -> ListenerStatistics:
        fast = self._fast_lane.statistics() if self._fast_lane else None
        return ListenerStatistics(
            connections=self._connections,
            refused=self._refused,
            requests=self._slow_requests + (fast.requests if fast else 0),
            handed_over=fast.handed_over if fast else 0,
            streams=self._slow_lane.streams + (fast.streams if fast else 0),
        )

    def _count_request(self) -> None:
        self._slow_requests += 1
