"""Serves a connection through Hypercorn, from its start or from where the fast lane left off.

Of Hypercorn only its HTTP/1.1 is used (`bbs.http.hypercorn_http1`). It is given a stream of ours in place of the
socket, which first plays back the bytes already read, and adds what Hypercorn lacks on a Trio stream:

- a deadline for an incomplete header block, and one for sends;
- a goodbye after a last answer, so that unread bytes do not turn it into a reset;
- the end of the client's sending side is held back until requests in flight are answered. Hypercorn takes it for the
  client's death and cancels the handler; but a client that half-closes still reads, and a commit wants to be finished;
- a way to close after an answer, or without one.

How far a request has come is what h11 says: ``SEND_RESPONSE`` is our state from its whole header block to the head of
its answer. A stop closes connections in any other state that no answer is going out on, and waits for those in it.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from math import inf
from typing import Any, Final, cast

import h11
import trio
from hypercorn.trio.worker_context import WorkerContext

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.http.endpoints import Peer, StreamSource
from bbs.http.hypercorn_http1 import HypercornHTTP1, hypercorn_config
from bbs.http.limits import Limits
from bbs.http.reasons import go_reason
from bbs.http.sockets import linger, transport_of
from bbs.http.unserved import Unserved

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]

STATE_KEY: Final = "connection"
"""Where an ASGI scope's ``state`` holds the request's ``SlowConnection``."""

VERSIONS: Final = ("1.0", "1.1")
"""What we speak. A request that claims another one is the last of its connection."""

# Hypercorn does not tell h11 the reason phrase, which upstream sends.
_BARE_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) (?=\r\n)")

# What Go's server takes for a host (RFC 3986, 3.2.2). A folded line behind it, with a coding in it say, is none.
_HOST: Final = re.compile(rb"[-!$%&'()*+,.:;=\[\]_~0-9a-zA-Z]*+")

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
        peer: Peer,
        replay: bytearray,
        limits: Limits,
        on_progress: Callable[["SlowConnection"], None],
    ) -> None:
        transport = transport_of(stream)
        assert isinstance(transport, trio.SocketStream)
        self.socket: Final = transport.socket  # Hypercorn asks it for addresses
        self.is_tls: Final = transport is not stream
        self.peer: Final = peer
        self._on_progress = on_progress
        self._stream = stream
        self._replay = replay
        self._limits = limits
        self._requests_in_flight = 0
        self._all_answered = ClearableEvent()
        self._head_since = inf
        """When the first byte came of a request whose head may be incomplete; inf if there is none."""
        self._sending = trio.Lock()  # reader and writer may both come to the end
        self._waiting = trio.CancelScope()
        self._reading_body = trio.CancelScope()
        self.serving: Final = trio.CancelScope()
        """In which Hypercorn serves this connection."""
        self._over = False
        self._dropped = False
        self._said_goodbye = False
        self._stopping = False
        self._peer_has_ended = False
        """Whether the client has ended its sending side."""
        self._close_after_answer = False
        self._sources: set[StreamSource] = set()
        self._is_streaming = False
        self._head_is_next = True
        self._head_timed_out = False
        self._may_be_abandoned = False
        self.idle_since = trio.current_time()
        """When the last request was over, or the connection began."""
        self.http: h11.Connection
        """Hypercorn's h11 state machine, which knows how far the present request has come. Set before Hypercorn runs."""

    # -- for the application

    def begin_request(self) -> None:
        self._requests_in_flight += 1
        self._head_since = inf
        self._may_be_abandoned = False

    def end_request(self) -> None:
        self._requests_in_flight -= 1
        self._head_is_next = True
        self._is_streaming = False
        self.idle_since = trio.current_time()
        if self._requests_in_flight == 0:
            for source in tuple(self._sources):
                self.end_stream(source)  # only those whose response was never started are left
            self._all_answered.set()
            self._all_answered.clear()
            if self._close_after_answer:
                self._close_soon()
            if self._dropped:
                # To Hypercorn this request has not ended, and never will, since its answer could not be sent. Its reader waits for
                # that end if more requests were sent behind this one.
                self.serving.cancel()

    def may_be_abandoned(self) -> None:
        """Let the end of the client's sending side cancel the present request, as Quart has it. For pages (a CPU profile,
        say), which change nothing and need not be finished for a client that is gone.
        """
        self._may_be_abandoned = True
        self._waiting.cancel()

    def reads_body(self, scope: trio.CancelScope) -> None:
        """The application reads a body in ``scope``, which is cancelled if a stop can't wait for it any longer."""
        self._reading_body = scope

    def add_stream(self, source: StreamSource) -> None:
        """Close ``source`` when the client ends its sending side, when the server stops, and after its request. Either may have
        happened while the source was being opened.
        """
        self._sources.add(source)
        self._is_streaming = True
        if self._stopping or self._peer_has_ended:
            source.close()

    def end_stream(self, source: StreamSource) -> None:
        self._sources.discard(source)
        source.close()

    def end_streams(self) -> None:
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

    # -- for the lane

    @property
    def is_idle(self) -> bool:
        """Whether there is no request: none has come, or not with its whole header block. And no answer is going out."""
        return self.http.our_state is h11.IDLE

    @property
    def is_over(self) -> bool:
        """Whether the connection reads no more requests, and is closed or about to be."""
        return self._over

    @property
    def is_unserved(self) -> bool:
        """Whether a handler runs, or will once its request's body is there."""
        return self.http.our_state is h11.SEND_RESPONSE

    def stop(self) -> None:
        """Close now if there is no request, else after the present one; end event streams. Does not block."""
        self._stopping = True
        self.end_streams()
        if self.is_idle:
            self.drop()

    def stop_waiting(self) -> None:
        """Some time after ``stop``: whoever still owes us a body, or does not read the end of a stream, is cut off."""
        if self._is_streaming:
            self.abort()
        elif self.http.their_state is h11.SEND_BODY:
            self._reading_body.cancel()

    def abort(self) -> None:
        """Close at once, whatever is going on: whoever waits for the peer finds the connection gone."""
        self.drop()
        self.socket.close()

    async def part(self) -> None:
        """Close the connection. After a last answer give the client time to read it (`linger`)."""
        if self._said_goodbye and not self._dropped:
            with trio.move_on_after(self._limits.linger_s), suppress(*_STUMBLES):
                await linger(self._stream, self._limits.receive_bytes)
        await trio.aclose_forcefully(self._stream)

    # -- for Hypercorn

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data = await self._receive()
        if data:
            if self._requests_in_flight == 0 and self._head_since == inf:
                self._head_since = trio.current_time()
            return data
        await self._wait_for_answers()
        return b""

    async def _receive(self) -> bytes:
        # Not all at once: Hypercorn has what it was given until it is given something else.
        data = bytes(self._replay[: self._limits.receive_bytes])
        del self._replay[: len(data)]
        while not (self._over or self._head_timed_out or data):
            self._waiting = trio.CancelScope(deadline=self._head_since + self._limits.header_timeout_s)
            with self._waiting:
                try:
                    data = bytes(await self._stream.receive_some(self._limits.receive_bytes))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return b""
                if not data:
                    return b""
            # The head may have become complete while we waited: then its request took the deadline away.
            self._head_timed_out = (
                not data and trio.current_time() >= self._head_since + self._limits.header_timeout_s
            )
        # Bytes that overtook the end come too late all the same: no request may begin with them.
        return b"" if self._over else data

    def _request_is_complete(self) -> bool:
        """Whether a request was read to its end, and its answer is not through."""
        # The states that are left are DONE, and those of a client that asks for another protocol, which it does not get.
        unfinished = (h11.IDLE, h11.SEND_BODY, h11.CLOSED, h11.ERROR)
        return self.http.their_state not in unfinished and self.http.our_state in (
            h11.SEND_RESPONSE,
            h11.SEND_BODY,
        )

    async def _wait_for_answers(self) -> None:
        """The client has ended its sending side: return when no complete request is in flight. No deadline of its own: handlers
        have theirs.
        """
        self._peer_has_ended = True
        self.end_streams()
        while self._request_is_complete() and not (self._over or self._may_be_abandoned):
            self._waiting = trio.CancelScope()
            with self._waiting:
                await self._all_answered.wait()

    async def send_all(self, data: bytes) -> None:
        if self._dropped:
            raise trio.BrokenResourceError("dropped by the application")
        if self._said_goodbye:
            raise trio.ClosedResourceError
        # These may be the first bytes of an answer. Then the handler is done, and a stop need not wait for it any more.
        self._on_progress(self)
        if self._head_is_next and (status := _BARE_STATUS.match(data)):
            # After a time-out we end the client's bytes. To h11 that is an incomplete request, which it refuses with 400.
            code = HTTPStatus.REQUEST_TIMEOUT if self._head_timed_out else HTTPStatus(int(status[1]))
            self._head_is_next = code < HTTPStatus.OK
            data = b"HTTP/1.1 %d %b%b" % (code, go_reason(code).encode("ascii"), data[status.end() :])
        try:
            with trio.move_on_after(self._limits.send_stall_s) as stall:
                async with self._sending:
                    await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.drop()
            raise
        if stall.cancelled_caught:
            self.drop()
            raise trio.BrokenResourceError("the peer takes nothing")

    async def send_eof(self) -> None:
        """Hypercorn has nothing more to say. An answer that has begun is sent to its end all the same: Hypercorn's reader
        does not wait for it when it meets bytes that make no sense.
        """
        while self.http.our_state is h11.SEND_BODY and self._requests_in_flight and not self._over:
            self.end_streams()
            self._waiting = trio.CancelScope()
            with self._waiting:
                await self._all_answered.wait()
        self._close_soon()
        async with self._sending:
            await cast(trio.abc.HalfCloseableStream, transport_of(self._stream)).send_eof()
            self._said_goodbye = True

    async def aclose(self) -> None:
        """Close, unless a goodbye has been said: then `part` closes, when the peer has heard it."""
        self._close_soon()
        if not self._said_goodbye:
            # Not gracefully: Hypercorn shields some of its calls, and nothing is left to be said.
            await trio.aclose_forcefully(self._stream)


class SlowLane:
    """Hypercorn running ``app`` on connections that are brought to it."""

    def __init__(self, app: ASGIApp, *, limits: Limits, keep_alive_requests_max: int) -> None:
        self.stopping = False
        self.unserved: Final = Unserved()
        self._app = app
        self._limits = limits
        self._config = hypercorn_config(limits, keep_alive_requests_max=keep_alive_requests_max)
        self._config.errorlog = logging.getLogger(__name__)
        self._context = WorkerContext(None)
        self._connections: set[SlowConnection] = set()

    async def serve(self, stream: trio.abc.Stream, peer: Peer, replay: bytearray | None = None) -> None:
        """Serve a connection to its end and close it. ``replay`` was read from it before, and is emptied when it is looked at."""
        if replay is None:
            replay = bytearray()
        connection = SlowConnection(stream, peer, replay, self._limits, self._on_progress)
        http1 = HypercornHTTP1(
            self._serve_request,
            self._config,
            self._context,
            connection,
            limits=self._limits,
            is_tls=connection.is_tls,
            state={STATE_KEY: connection},
        )
        connection.http = http1.h11
        if self.stopping:
            connection.stop()
        self._connections.add(connection)
        try:
            try:
                with connection.serving:
                    await http1.serve()
            except* _STUMBLES:
                pass
            self.unserved.served(connection)
            await connection.part()
        finally:
            self._connections.discard(connection)
            self.unserved.served(connection)
            await trio.aclose_forcefully(stream)

    async def stop(self) -> None:
        """Close idle connections now, others after the answer they are at; end event streams. Does not block."""
        self.stopping = True
        await self._context.terminated.set()
        self.unserved.found([connection for connection in self._connections if connection.is_unserved])
        for connection in self._connections:
            connection.stop()

    def stop_waiting(self) -> None:
        """Some time after ``stop``: see `SlowConnection.stop_waiting`."""
        for connection in self._connections:
            connection.stop_waiting()

    def abort(self) -> None:
        """End all connections at once, also what Hypercorn shields from cancellation."""
        for connection in self._connections:
            connection.abort()

    def longest_idle_since(self) -> float:
        """Since when the connection that has been without a request for longest is so; inf if all have one."""
        return min((connection.idle_since for connection in self._idle()), default=inf)

    def close_longest_idle(self) -> bool:
        """Close the connection that has been without a request for longest; False if all have one."""
        longest = min(self._idle(), key=lambda connection: connection.idle_since, default=None)
        if longest is None:
            return False
        longest.abort()
        return True

    def _idle(self) -> list[SlowConnection]:
        return [
            connection for connection in self._connections if connection.is_idle and not connection.is_over
        ]

    def _on_progress(self, connection: SlowConnection) -> None:
        if self.stopping and not connection.is_unserved:
            self.unserved.served(connection)

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
                # Hypercorn says so after each answer. Quart would take it for the client's death and cancel the task that
                # sent the answer, which is just then making the connection ready for the next request.
                await trio.sleep_forever()
            return message

        async def send_in_gos_spelling(message: Any) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                headers = [(name.title(), value) for name, value in message["headers"]]
                closes = self.stopping or scope["http_version"] not in VERSIONS
                if closes and not any(name == b"Connection" for name, _ in headers):
                    headers.append((b"Connection", b"close"))
                message = {**message, "headers": headers}
                connection.begin_response()
            elif message["type"] == "http.response.body":
                answered = not message.get("more_body", False)
            await send(message)

        try:
            error_status = self._error_status(scope)
            if error_status is None:
                await self._app(scope, receive_until_answered, send_in_gos_spelling)
            else:
                await _answer_status(error_status, receive, send)
        except* _STUMBLES:
            connection.drop()
        finally:
            connection.end_request()

    def _error_status(self, scope: Any) -> HTTPStatus | None:
        if scope["type"] != "http":
            return None
        if scope["http_version"] not in VERSIONS and not _is_http2_preface(scope):
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        lengths = [int(value) for name, value in scope["headers"] if name == b"content-length"]
        if lengths and any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return HTTPStatus.BAD_REQUEST  # h11 would go by the chunks. Two framings are one too many
        if lengths and max(lengths) > self._limits.body_bytes_max:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if not all(_HOST.fullmatch(value) for name, value in scope["headers"] if name == b"host"):
            return HTTPStatus.BAD_REQUEST
        if not scope["raw_path"]:
            return HTTPStatus.BAD_REQUEST  # Quart can't take it
        return None


async def _answer_status(status: HTTPStatus, receive: Receive, send: Send) -> None:
    """Answer without a body, and close. What still comes of the request has to be taken: Hypercorn's queue is short."""

    async def discard() -> None:
        while True:
            await receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(discard)
        headers = [(b"Content-Length", b"0"), (b"Connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        nursery.cancel_scope.cancel()


def _is_http2_preface(scope: Any) -> bool:
    """What HTTP/2 begins with is made to look like a request. Go's server lets it pass: its routes know no such path."""
    return (scope["method"], scope["raw_path"], scope["http_version"]) == ("PRI", b"*", "2.0")
