"""Serves a connection through Hypercorn, from its start or from where the fast lane left off.

Hypercorn's ``TCPServer`` is given a stream of ours in place of the socket. It first plays back the bytes already read,
and adds what Hypercorn lacks on a Trio stream:

- a deadline for an incomplete header block, and one for sends;
- the end of the client's sending side is held back until requests in flight are answered. Hypercorn takes it for the
  client's death and cancels the handler; but a client that half-closes still reads, and a commit wants to be finished;
- a way to close after an answer, or without one.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import inf
from typing import Any, Final, cast
from wsgiref.handlers import format_date_time

import h11
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, LifespanState

from bbs.http_reasons import go_reason
from bbs.routes.http.endpoints import Peer, StreamSource
from bbs.routes.http.limits import Limits
from bbs.routes.http.sockets import transport_of

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]

STATE_KEY: Final = "connection"
"""Where an ASGI scope's ``state`` holds the request's ``SlowConnection``."""


# Hypercorn does not tell h11 the reason phrase, which upstream sends.
_BARE_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) (?=\r\n)")


# What Hypercorn stumbles over when a client breaks the protocol while an answer is on its way: reader and writer share
# one h11 connection. The client's fault, and the connection is closed in any case.
_STUMBLES: Final = (
    h11.LocalProtocolError,
    trio.BusyResourceError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


class SlowConnection:
    """The stream that Hypercorn gets, and what the application may ask of its connection."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        socket: trio.socket.SocketType,
        peer: Peer,
        replay: bytes,
        limits: Limits,
    ) -> None:
        self.socket: Final = socket  # Hypercorn asks it for addresses
        self.peer: Final = peer
        self._stream = stream
        self._replay = replay
        self._limits = limits
        self._requests_in_flight = 0
        self._all_answered = trio.Event()
        self._head_since = inf
        """When the first byte came of a request whose head may be incomplete; inf if there is none."""
        self._waiting = trio.CancelScope()
        self._over = False
        self._dropped = False
        self._close_after_answer = False
        self._sources: set[StreamSource] = set()
        self._streams_are_over = False
        self._head_is_next = True
        self._head_timed_out = False
        self._may_be_abandoned = False
        self.request_is_complete: Callable[[], bool] = lambda: False
        """Whether Hypercorn has read a request to its end and not yet been through with the answer."""

    # -- for the application

    def begin_request(self) -> None:
        self._requests_in_flight += 1
        self._head_since = inf
        self._may_be_abandoned = False

    def end_request(self) -> None:
        self._requests_in_flight -= 1
        self._head_is_next = True
        if self._requests_in_flight == 0:
            for source in tuple(self._sources):
                self.end_stream(source)  # only those whose response was never started are left
            self._all_answered.set()
            self._all_answered = trio.Event()
            if self._close_after_answer:
                self._close_soon()

    def may_be_abandoned(self) -> None:
        """Let the end of the client's sending side cancel the present request, as Quart does it: for pages."""
        self._may_be_abandoned = True
        self._waiting.cancel()

    def add_stream(self, source: StreamSource) -> None:
        """Close ``source`` when the client ends its sending side, when the server stops, and after its request."""
        self._sources.add(source)
        if self._streams_are_over:
            source.close()

    def end_stream(self, source: StreamSource) -> None:
        self._sources.discard(source)
        source.close()

    def end_streams(self) -> None:
        self._streams_are_over = True
        for source in tuple(self._sources):
            source.close()

    def begin_response(self) -> None:
        self._head_is_next = True

    @property
    def streams(self) -> int:
        return len(self._sources)

    def close_after_answer(self) -> None:
        self._close_after_answer = True

    def drop(self) -> None:
        """Close without sending another byte."""
        self._dropped = True
        self._close_soon()

    def _close_soon(self) -> None:
        """Read nothing more, which makes Hypercorn close the connection."""
        self._over = True
        self._waiting.cancel()

    # -- for Hypercorn

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data = b""
        if self._replay:
            data, self._replay = self._replay, b""
        elif not self._over:
            data = await self._receive()
        if data:
            if self._requests_in_flight == 0 and self._head_since == inf:
                self._head_since = trio.current_time()
            return data
        await self._wait_for_answers()
        return b""

    async def _receive(self) -> bytes:
        while True:
            self._waiting = trio.CancelScope(deadline=self._head_since + self._limits.header_timeout_s)
            with self._waiting:
                try:
                    return bytes(await self._stream.receive_some(self._limits.receive_bytes))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return b""
            # The head may have become complete while we waited: then its request took the deadline away.
            self._head_timed_out = trio.current_time() >= self._head_since + self._limits.header_timeout_s
            if self._over or self._head_timed_out:
                return b""

    async def _wait_for_answers(self) -> None:
        """Return when no complete request is in flight. No deadline of its own: handlers have theirs."""
        self.end_streams()
        while self.request_is_complete() and not (self._over or self._may_be_abandoned):
            self._waiting = trio.CancelScope()
            with self._waiting:
                await self._all_answered.wait()

    async def send_all(self, data: bytes) -> None:
        if self._dropped:
            raise trio.BrokenResourceError("dropped by the application")
        if self._head_is_next and (status := _BARE_STATUS.match(data)):
            # h11 knows only that the request is incomplete.
            code = HTTPStatus.REQUEST_TIMEOUT if self._head_timed_out else HTTPStatus(int(status[1]))
            self._head_is_next = code < HTTPStatus.OK
            data = b"HTTP/1.1 %d %b%b" % (code, go_reason(code).encode("ascii"), data[status.end() :])
        with trio.move_on_after(self._limits.send_stall_s) as stall:
            await self._stream.send_all(data)
        if stall.cancelled_caught:
            self.drop()
            raise trio.BrokenResourceError("the peer takes nothing")

    async def send_eof(self) -> None:
        self._close_soon()
        await cast(trio.abc.HalfCloseableStream, transport_of(self._stream)).send_eof()

    async def aclose(self) -> None:
        self._close_soon()
        # Not gracefully: Hypercorn shields some of its calls, and nothing is left to be said.
        await trio.aclose_forcefully(self._stream)


class SlowTLSConnection(SlowConnection):
    """The same over TLS, for Hypercorn to recognise as such. The handshake is done already."""

    async def do_handshake(self) -> None:
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str:
        return "http/1.1"

    @property
    def transport_stream(self) -> trio.abc.Stream:
        return transport_of(self._stream)


class _TCPServer(TCPServer):
    async def _read_data(self) -> None:
        """Read to the end. Hypercorn would then keep the closed connection for the rest of its idle time."""
        await super()._read_data()
        await self.idle_task.stop()


class _HypercornConfig(Config):
    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """As in Hypercorn, but spelt as Go spells it."""
        return [(b"Date", format_date_time(time.time()).encode("ascii"))]


def hypercorn_config(limits: Limits, *, keep_alive_requests_max: int) -> Config:
    config = _HypercornConfig()
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    config.h11_max_incomplete_size = limits.header_bytes_max
    config.keep_alive_timeout = limits.idle_timeout_s
    config.keep_alive_max_requests = keep_alive_requests_max
    config.ssl_handshake_timeout = limits.handshake_timeout_s
    config.graceful_timeout = limits.stop_grace_s
    # Bounds every read, also while a handler runs or a stream is quiet: `SlowConnection` and the app know better.
    config.read_timeout = None
    config.accesslog = None
    config.errorlog = logging.getLogger(__name__)
    return config


class SlowLane:
    """Hypercorn running ``app`` on connections that are brought to it."""

    def __init__(self, app: ASGIApp, *, limits: Limits, keep_alive_requests_max: int) -> None:
        self.stopping = False
        self._app = app
        self._limits = limits
        self._config = hypercorn_config(limits, keep_alive_requests_max=keep_alive_requests_max)
        self._context = WorkerContext(None)
        self._connections: set[SlowConnection] = set()

    async def serve(self, stream: trio.abc.Stream, peer: Peer, replay: bytes = b"") -> None:
        """Serve a connection to its end and close it. ``replay`` was read from it before."""
        transport = transport_of(stream)
        assert isinstance(transport, trio.SocketStream)
        connection_class = SlowConnection if transport is stream else SlowTLSConnection
        connection = connection_class(stream, transport.socket, peer, replay, self._limits)
        server = _TCPServer(
            cast(AppWrapper, self._serve_request),
            self._config,
            self._context,
            cast(LifespanState, {STATE_KEY: connection}),
            cast("trio.SSLStream[trio.SocketStream]", connection),
        )

        def request_is_complete() -> bool:
            h11_connection = getattr(server.protocol.protocol, "connection", None)  # not with HTTP/2
            return (
                isinstance(h11_connection, h11.Connection)
                and h11_connection.their_state in (h11.DONE, h11.MUST_CLOSE)
                and h11_connection.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)
            )

        connection.request_is_complete = request_is_complete
        if self.stopping:
            connection.end_streams()
        self._connections.add(connection)
        try:
            await server
        except* _STUMBLES:
            pass
        finally:
            self._connections.discard(connection)

    async def stop(self) -> None:
        """Close idle connections now, others after the answer they are at; end event streams."""
        self.stopping = True
        await self._context.terminated.set()
        for connection in self._connections:
            connection.end_streams()

    @property
    def streams(self) -> int:
        return sum(connection.streams for connection in self._connections)

    async def _serve_request(
        self, scope: Any, receive: Receive, send: Send, _sync_spawn: object, _call_soon: object
    ) -> None:
        """What Hypercorn calls per request: bookkeeping and strictness around the application."""
        connection: SlowConnection = scope["state"][STATE_KEY]
        connection.begin_request()
        answered = False

        async def receive_until_answered() -> Any:
            message = await receive()
            if answered and message["type"] == "http.disconnect":
                # Hypercorn says so after each answer. Quart would cancel the task that sent it, which is just then
                # making the connection ready for the next request.
                await trio.sleep_forever()
            return message

        async def send_in_gos_spelling(message: Any) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                headers = [(name.title(), value) for name, value in message["headers"]]
                if self.stopping and not any(name == b"Connection" for name, _ in headers):
                    headers.append((b"Connection", b"close"))
                message = {**message, "headers": headers}
                connection.begin_response()
            elif message["type"] == "http.response.body":
                answered = not message.get("more_body", False)
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, receive_until_answered, send_in_gos_spelling)
            else:
                headers = [(b"Content-Length", b"0"), (b"Connection", b"close")]
                await send({"type": "http.response.start", "status": refusal, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except _STUMBLES:
            connection.drop()
        finally:
            connection.end_request()

    def _refusal(self, scope: Any) -> HTTPStatus | None:
        if scope["type"] != "http":
            return None
        lengths = [int(value) for name, value in scope["headers"] if name == b"content-length"]
        if lengths and any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return HTTPStatus.BAD_REQUEST  # h11 would go by the chunks. Two framings are one too many
        if lengths and max(lengths) > self._limits.body_bytes_max:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if not scope["raw_path"]:
            return HTTPStatus.BAD_REQUEST  # Quart can't take it
        return None
