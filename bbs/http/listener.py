"""Accepts connections and brings each to the lane that serves it.

Nothing that one connection does may harm another, or the listener: whatever ends a connection ends only that one.

A stop has two halves, so that a slow client need not hold up what depends on the handlers' end alone (spec: api.md 1.1,
security.md 2). Once `HTTPServer.accept` is cancelled the listeners and all connections that have no request are closed,
and `HTTPServer.finish` returns when no handler runs any more: from then on no request changes anything. Once
`HTTPServer.keep_connections` is cancelled it ends when the last answer is out. Times are bounded by
`Limits.stop_unfinished_s` for what clients owe us, and `Limits.stop_grace_s` for the rest.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from bbs.http.endpoints import Call, Peer, RouteTable
from bbs.http.error_answers import NOT_READY, PLAIN_HTTP_ON_TLS_PORT, http_date
from bbs.http.fast_lane import FastLane
from bbs.http.handshake_turns import HandshakeTurns
from bbs.http.handshakes import PLAIN_HTTP, go_words
from bbs.http.header_lines import checked_lines
from bbs.http.limits import DEFAULT_LIMITS, Limits
from bbs.http.observed import RequestBegin, RequestEnd, observed
from bbs.http.page_guard import PageGuard
from bbs.http.quart_app import build_app
from bbs.http.slow_lane import SlowLane
from bbs.http.sockets import keep_alive, linger, remote_addr
from bbs.http.tls_stream import TLSStream

# The first letters of the methods by which Go recognises plain HTTP on a TLS port (GET, HEAD, POST and PUT, OPTIONS). No
# TLS record starts with one of them.
PLAIN_HTTP_STARTS: Final = b"GHPO"
# The first byte of a TLS handshake, a record's type. No HTTP request starts with it.
TLS_STARTS: Final = b"\x16"
# What an accept fails with when a connection that ends would help.
NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)
# Practically unlimited: upstream never closes a connection for its number of requests.
UNLIMITED_REQUESTS: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions that are told of trouble and, if given, of requests. They are called in the middle of serving a request, so
    they must neither block nor raise.
    """

    on_bug: Callable[[Exception, Call], None]
    """A handler or a stream source raised what it should not."""
    on_connection_failed: Callable[[Exception, Peer], None]
    """A connection ended by an exception that nobody expected."""
    on_accept_failed: Callable[[OSError], None]
    """No connection could be accepted, most likely for want of file descriptors. Tried again soon."""
    on_handshake_failed: Callable[[str, str], None] | None = None
    """A client that did not get through the TLS handshake: its address, and the reason in Go's words."""
    on_request_begin: RequestBegin | None = None
    """A handler is about to be called: the route exists, and the gate is open."""
    on_request_end: RequestEnd | None = None
    """A request that began has ended, also by a bug, after so many nanoseconds; an event stream ends when it is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStatistics:
    connections: int
    """Connections open now."""
    handshakes: int
    """Those of them whose TLS handshake is not done."""
    turned_away: int
    """Turned away since the start because too many were open."""
    requests: int
    """Requests to routes since the start, streams included."""
    handed_over: int
    """Connections that left the fast lane, since the start."""
    streams: int
    """Event streams open now."""


class HTTPServer:
    """Both lanes behind one listener. To be made inside a Trio run.

    ``tls`` is a context, or a function that is asked for one at each new connection; ``None`` is plain HTTP. With
    ``plain_too`` a TLS port speaks plain HTTP as well: the first byte of a connection tells which of them it is. While
    ``gate()`` is false every request is answered 503. ``answer_head`` is asked for more header lines, ``Name: value\\r\\n``
    each, whenever a route's 200 answer or event stream begins to be sent. It must neither block nor raise. ``guard`` may refuse
    requests for pages, and so needs ``fast_lane=False``.

    Connections beyond ``Limits.connections_max`` are turned away; with ``makes_room``, which needs ``fast_lane=False``,
    the one that has been idle longest is closed instead. That is for ports with few clients, who come back: to close an
    idle connection of the API would fail a request that somebody is just sending over it.
    """

    def __init__(
        self,
        table: RouteTable,
        *,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
        plain_too: bool = False,
        gate: Callable[[], bool],
        hooks: Hooks,
        limits: Limits = DEFAULT_LIMITS,
        fast_lane: bool = True,
        makes_room: bool = False,
        answer_head: Callable[[], bytes] | None = None,
        guard: PageGuard | None = None,
    ) -> None:
        assert not ((makes_room or guard is not None) and fast_lane)
        table = observed(table, begin=hooks.on_request_begin, end=hooks.on_request_end)
        if answer_head is not None:
            answer_head = checked_lines(answer_head)
        self.app: Final = build_app(
            table,
            limits=limits,
            gate=gate,
            on_bug=hooks.on_bug,
            on_request=self._count_request,
            answer_head=answer_head,
            guard=guard,
        )
        """The slow lane's application: pages that are no RPC are added to it."""
        self._tls = (lambda: tls) if isinstance(tls, ssl.SSLContext) else tls
        self._speaks_plain = plain_too or tls is None
        self._hooks = hooks
        self._limits = limits
        self._slow_lane = SlowLane(
            self.app,
            limits=limits,
            keep_alive_requests_max=limits.slow_lane_requests_max if fast_lane else UNLIMITED_REQUESTS,
        )
        self._fast_lane = FastLane(
            table,
            limits=limits,
            gate=gate,
            on_bug=hooks.on_bug,
            hand_over=self._slow_lane.serve,
            answer_head=answer_head,
        )
        self._serve_in_lane = self._fast_lane.serve if fast_lane else self._slow_lane.serve
        self._makes_room = makes_room
        self._connections = 0
        self._turned_away = 0
        self._slow_requests = 0
        self._connection_nursery: trio.Nursery | None = None
        # What cancels a connection that has not come to its lane yet, and since when it waits, the longest first.
        self._beginnings: dict[trio.CancelScope, float] = {}
        self._handshakes = 0
        self._handshake_turns = HandshakeTurns(at_once=limits.handshakes_at_once)
        self._stop = trio.Event()

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Accept and serve until cancelled. Closes ``listeners``. Call it once.

        Cancellation:
          Is the graceful stop: it takes effect when the last answer is out, after at most ``Limits.stop_grace_s``.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.keep_connections)
            await self.accept(listeners, task_status=task_status)
        raise AssertionError("cancelled before it gets here")

    async def keep_connections(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Own the connections that `accept` accepts, until cancelled.

        Cancellation:
          Takes effect when the last one has ended, after at most ``Limits.stop_grace_s``.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._shield_connections)
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._stop.set()

    async def accept(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Accept until cancelled, then close ``listeners``. `keep_connections` must have started.

        Cancellation:
          Takes effect at once: handlers may go on, which `finish` waits for.
        """
        assert self._connection_nursery is not None
        try:
            async with trio.open_nursery() as accept_nursery:
                for listener in listeners:
                    accept_nursery.start_soon(self._accept, listener, self._connection_nursery)
                task_status.started()
                await trio.sleep_forever()
        finally:
            for listener in listeners:
                listener.socket.close()
            self._stop.set()

    async def finish(self) -> None:
        """Once `accept` has ended, or if it is never to begin: return when no handler runs any more, or ever will."""
        self._stop.set()
        # Bounded by the stop grace, which ends the handlers.
        await self._fast_lane.unserved.wait_none_left()
        await self._slow_lane.unserved.wait_none_left()

    async def _shield_connections(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Shielded, because a request outlives the cancellation of the server: until the stop grace is over."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as clock_nursery:
                clock_nursery.start_soon(self._fast_lane.watch)
                async with trio.open_nursery() as connection_nursery:
                    self._connection_nursery = connection_nursery
                    task_status.started()
                    await self._stop.wait()
                    for scope in self._beginnings:
                        scope.cancel()
                    self._fast_lane.stop()
                    await self._slow_lane.stop()
                    clock_nursery.start_soon(self._end_patience, connection_nursery)
                clock_nursery.cancel_scope.cancel()

    async def _end_patience(self, connection_nursery: trio.Nursery) -> None:
        """Cut off clients that hold up the stop: after `Limits.stop_unfinished_s` those that owe us something, after
        `Limits.stop_grace_s` all.
        """
        stopped_at = trio.current_time()
        limits = self._limits
        await trio.sleep_until(stopped_at + min(limits.stop_unfinished_s, limits.stop_grace_s))
        self._fast_lane.stop_waiting()
        self._slow_lane.stop_waiting()
        await trio.sleep_until(stopped_at + limits.stop_grace_s)
        self._slow_lane.abort()
        connection_nursery.cancel_scope.cancel()

    async def _accept(self, listener: trio.SocketListener, connection_nursery: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                # Out of descriptors or memory, as a rule: connections that end will free some.
                self._hooks.on_accept_failed(error)
                if self._makes_room and error.errno in NO_DESCRIPTORS:
                    self._make_room()
                await trio.sleep(self._limits.accept_backoff_s)
                continue
            is_full = self._connections >= self._limits.connections_max
            if is_full and not (self._makes_room and self._make_room()):
                self._turned_away += 1
                await self._turn_away(stream)
            else:
                self._connections += 1
                connection_nursery.start_soon(self._serve_connection, stream)

    def _make_room(self) -> bool:
        """Close the connection that has been silent longest; False if each has a request. Does not block."""
        begun = next(iter(self._beginnings.items()), None)
        idle_since = self._slow_lane.longest_idle_since()
        if begun is None or idle_since < begun[1]:
            return self._slow_lane.close_longest_idle()
        begun[0].cancel()
        # It ends in a moment, and is not to be chosen again meanwhile.
        del self._beginnings[begun[0]]
        return True

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        """Answer 503. Only where plain HTTP is spoken: a handshake would cost more than the request that it is for."""
        # A fresh socket has room for these few bytes, so this does not hold up the next accept.
        with trio.move_on_after(self._limits.linger_s), suppress(trio.BrokenResourceError):
            if self._speaks_plain:
                await stream.send_all(NOT_READY.as_bytes(date=http_date(), close=True))
        await trio.aclose_forcefully(stream)

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        peer = Peer("")
        try:
            peer = Peer(remote_addr(stream))
            keep_alive(stream)
            if self._tls is None or (self._speaks_plain and not await self._begins_tls(stream)):
                await self._serve_in_lane(stream, peer)
            else:
                secured = await self._handshake(stream, self._tls(), peer)
                if secured is not None:
                    await self._serve_in_lane(secured, Peer(peer.remote_addr, secured))
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the peer went away, or failed to identify itself
        except* Exception as failure:
            # A bug, but of this connection only.
            self._hooks.on_connection_failed(failure, peer)
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _begins_tls(self, stream: trio.SocketStream) -> bool:
        """Wait for the first byte, without taking it, for as long as for the first request of a plain connection.

        Raises:
          trio.BrokenResourceError: it did not come, or the server stops, or others need the room.
        """
        with trio.move_on_after(self._limits.idle_timeout_s) as scope, self._beginning(scope):
            return await stream.socket.recv(1, socket.MSG_PEEK) == TLS_STARTS
        raise trio.BrokenResourceError("nothing came")

    async def _handshake(
        self, stream: trio.SocketStream, tls: ssl.SSLContext, peer: Peer
    ) -> TLSStream | None:
        """The TLS stream over ``stream``. None if the client is too slow, or speaks plain HTTP (it has been told so), or if
        the server stops.

        Raises:
          trio.BrokenResourceError: the handshake failed, which has been logged.
        """
        with trio.move_on_after(self._limits.handshake_timeout_s) as scope, self._handshaking(scope):
            first = await stream.socket.recv(1, socket.MSG_PEEK)
            if first and first in PLAIN_HTTP_STARTS:
                self._tell_of_handshake(peer, PLAIN_HTTP)
                await stream.send_all(PLAIN_HTTP_ON_TLS_PORT)
                with trio.move_on_after(self._limits.linger_s):
                    await linger(stream, self._limits.receive_bytes)
                return None
            secured = TLSStream(stream, tls)
            try:
                await secured.do_handshake(self._handshake_turns.of(scope))
            except trio.BrokenResourceError as error:
                self._tell_of_handshake(peer, go_words(error.__cause__))
                raise
            return secured
        if not self._stop.is_set():
            self._tell_of_handshake(peer, "i/o timeout")
        return None

    @contextmanager
    def _handshaking(self, scope: trio.CancelScope) -> Iterator[None]:
        self._handshakes += 1
        try:
            with self._beginning(scope):
                yield
        finally:
            self._handshakes -= 1

    @contextmanager
    def _beginning(self, scope: trio.CancelScope) -> Iterator[None]:
        """Have ``scope`` cancelled when the server stops, or needs the room: there is no request yet, so nothing is lost."""
        if self._stop.is_set():
            scope.cancel()
        self._beginnings[scope] = trio.current_time()
        try:
            yield
        finally:
            self._beginnings.pop(scope, None)

    def connect(self, name: str) -> trio.SocketStream:
        """A connection of this process to itself: no port, no TLS, and otherwise served as any other. The log calls the client
        ``name``. `keep_connections` must have started.

        Raises:
          OSError: the server stops.
        """
        if self._stop.is_set() or self._connection_nursery is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
        self._connections += 1
        self._connection_nursery.start_soon(self._serve_own, theirs, Peer(name))
        return ours

    async def _serve_own(self, stream: trio.SocketStream, peer: Peer) -> None:
        try:
            await self._serve_in_lane(stream, peer)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the client has left
        except* Exception as failure:
            self._hooks.on_connection_failed(failure, peer)
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    def _tell_of_handshake(self, peer: Peer, reason: str) -> None:
        if self._hooks.on_handshake_failed is not None:
            self._hooks.on_handshake_failed(peer.remote_addr, reason)

    def statistics(self) -> ListenerStatistics:
        fast = self._fast_lane.statistics()
        return ListenerStatistics(
            connections=self._connections,
            handshakes=self._handshakes,
            turned_away=self._turned_away,
            requests=self._slow_requests + fast.requests,
            handed_over=fast.handed_over,
            streams=self._slow_lane.streams + fast.streams,
        )

    def _count_request(self) -> None:
        self._slow_requests += 1
