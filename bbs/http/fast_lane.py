"""Serves plain requests straight from the socket; everything else goes to Hypercorn.

A connection is one task that reads a request, calls its handler, sends the answer and starts over, so a request costs
no task, no cancel scope and no queue of its own. It works on any Trio stream. `head` says which requests are plain. The
first one that is not takes its connection over to the slow lane for good, together with the bytes already read.

Deadlines. Moving a cancel scope's deadline several times per request is dear, so a connection only writes down when its
present phase must be over, and one task for all of them, ``FastLane.watch``, cancels those that overstayed. What the
cancelled connection does then depends on its phase: see ``Phase``. While a handler runs there is no deadline: what it
waits for has its own, and an answer in preparation is never thrown away, except at the end of the stop grace.

A stop closes what has no request yet, at once and silently, and tells through ``FastLane.unserved`` when the last
handler is done. No request begins after that: a connection reads its next one only if there is no stop.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Final, NoReturn

import trio

from bbs.http.chunked import BadChunk, BodyTooLarge, ChunkedBody, FramingTooLarge
from bbs.http.endpoints import (
    Answer,
    Call,
    CannotOpenStream,
    Peer,
    Refusal,
    RouteTable,
    StreamSource,
    Unary,
)
from bbs.http.error_answers import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CANNOT_OPEN_STREAM,
    HEADERS_TOO_LARGE,
    NOT_READY,
    PROTOBUF,
    REQUEST_TIMEOUT,
    STREAM_HEADERS,
    ErrorAnswer,
    answer_bytes,
    http_date,
    refused,
    slices,
)
from bbs.http.limits import Limits
from bbs.http.request_head import END_OF_HEAD, RequestHead, head_reader
from bbs.http.sockets import linger
from bbs.http.unserved import Unserved

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

HandOver = Callable[[trio.abc.Stream, Peer, bytearray], Awaitable[None]]
"""Serves a connection to its end, given the bytes that were read from it already. It takes them out of the array, which we
have until then.
"""


class Phase(Enum):
    """What a connection is waiting for. It decides what becomes of the connection when that takes too long."""

    IDLE = auto()  # a request: closed silently, also when the server stops
    READING_HEAD = (
        auto()
    )  # the rest of a header block: answered 408, closed; closed silently when the server stops
    READING_BODY = auto()  # the rest of a body: answered 408, closed
    HANDLING = auto()  # a handler, or the next event: never too long
    SENDING = auto()  # the peer to take what we send: dropped
    HANDED_OVER = auto()  # Hypercorn, which has deadlines of its own


class _CannotRead(Exception):
    """The request can't be read to its end: answer with ``error`` and close."""

    def __init__(self, error: ErrorAnswer) -> None:
        super().__init__(error.status)
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class FastLaneStatistics:
    connections: int
    requests: int
    handed_over: int
    streams: int


class FastLane:
    """What all connections of one server share. Needs a task in ``watch`` while connections are served."""

    def __init__(
        self,
        table: RouteTable,
        *,
        limits: Limits,
        gate: Callable[[], bool],
        on_bug: Callable[[Exception, Call], None],
        hand_over: HandOver,
        answer_head: Callable[[], bytes] | None = None,
    ) -> None:
        self.limits: Final = limits
        self.gate: Final = gate
        self.on_bug: Final = on_bug
        self.hand_over: Final = hand_over
        self.answer_head: Final = answer_head
        self.read_head: Final = head_reader(table.by_request_line, lines_max=limits.header_lines_max)
        self.stopping = False
        self.requests = 0
        self.handed_over = 0
        self.sources: Final[set[StreamSource]] = set()
        self.unserved: Final = Unserved()
        self._connections: Final[set[_Connection]] = set()
        self._look_at_the_clocks()

    async def serve(self, stream: trio.abc.Stream, peer: Peer) -> None:
        """Serve a connection until either side ends it, then close it. A peer that vanishes is no error."""
        connection = _Connection(self, stream, peer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self.unserved.served(connection)

    async def watch(self) -> NoReturn:
        """Keep the deadlines of all connections, and the time of day that answers carry."""
        while True:
            await trio.sleep(self.limits.tick_s)
            self._look_at_the_clocks()

    def stop(self) -> None:
        """Close connections without a whole header block now, others after their present answer; end event streams."""
        self.stopping = True
        self.unserved.found([connection for connection in self._connections if connection.is_unserved])
        for connection in self._connections:
            if connection.phase in (Phase.IDLE, Phase.READING_HEAD):
                connection.cut_off()
        for source in tuple(self.sources):
            source.close()

    def stop_waiting(self) -> None:
        """Some time after ``stop``: cut off clients whose body is still coming, or who do not read the end of a stream."""
        for connection in self._connections:
            if connection.phase is Phase.READING_BODY or connection.is_streaming:
                connection.cut_off()

    def statistics(self) -> FastLaneStatistics:
        return FastLaneStatistics(
            connections=len(self._connections),
            requests=self.requests,
            handed_over=self.handed_over,
            streams=len(self.sources),
        )

    def _look_at_the_clocks(self) -> None:
        now = trio.current_time()
        # Ahead by one tick, which is how old it can get, so that no deadline counted from it comes early.
        self.now = now + self.limits.tick_s
        for connection in self._connections:
            if connection.deadline < now:
                connection.cut_off()
        self.date = http_date()
        # To be completed with the length of the body and, if there are any, lines of `answer_head`.
        more = b"" if self.answer_head is None else b"%b"
        self.unary_head = (
            b"HTTP/1.1 200 OK\r\nContent-Length: %%d\r\nContent-Type: %b\r\n%bDate: %b\r\n\r\n"
            % (PROTOBUF.encode(), more, self.date)
        )
        self.last_unary_head = self.unary_head.replace(b"Date", b"Connection: close\r\nDate")


class _Connection:
    """One connection. Only ``run`` changes it, but for ``cut_off``."""

    __slots__ = ("_cut_off", "_lane", "_peer", "_scope", "_stream", "deadline", "is_streaming", "phase")

    def __init__(self, lane: FastLane, stream: trio.abc.Stream, peer: Peer) -> None:
        self._lane = lane
        self._stream = stream
        self._peer = peer
        self._scope = trio.CancelScope()
        self._cut_off = False
        self.is_streaming = False
        self.phase = Phase.IDLE
        self.deadline = inf

    @property
    def is_unserved(self) -> bool:
        """Whether a handler runs that may change something, or will once its request's body is there."""
        return self.phase is Phase.READING_BODY or (self.phase is Phase.HANDLING and not self.is_streaming)

    def cut_off(self) -> None:
        """End what the connection waits for; `run` then decides by its phase how to say so to the client."""
        self._cut_off = True
        self._scope.cancel()

    async def run(self) -> None:
        error: ErrorAnswer | None = None
        try:
            with self._scope:
                try:
                    await self._serve_requests()
                except _CannotRead as cannot_read:
                    error = cannot_read.error
            if self._scope.cancelled_caught:
                # A head that is late is answered 408. At a stop it is not: the request has not begun, and the client will
                # send it again over another connection, where a 408 would be its answer.
                is_late = self.phase is Phase.READING_HEAD and not self._lane.stopping
                if not is_late and self.phase is not Phase.READING_BODY:
                    return
                error = REQUEST_TIMEOUT
            if self.phase is not Phase.HANDED_OVER:
                self.phase = Phase.SENDING
                self._lane.unserved.served(self)
                await self._say_goodbye(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone, and nobody else waits for this connection
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _serve_requests(self) -> None:
        """Answer one request after another; returns when the connection is to be closed."""
        lane = self._lane
        unread = b""
        while True:
            if unread:
                # The client did not wait for our answer to send its next request. Nothing else on the way need make it wait,
                # so without this others would get no turn until all that it has sent is answered.
                await trio.lowlevel.checkpoint()
            if lane.stopping:
                return
            if not unread:
                self.phase = Phase.IDLE
                self.deadline = lane.now + lane.limits.idle_timeout_s
                unread = await self._receive()
                if not unread:
                    return
            head_end = unread.find(b"\r\n\r\n") + 4
            if head_end < 4 or head_end > lane.limits.header_bytes_max:
                unread, head_end = await self._read_rest_of_head(unread)
            head = lane.read_head(unread[:head_end])
            if head is None:
                replay = bytearray(unread)
                del unread
                await self._leave_the_lane(replay)
                return

            body_end = head_end + head.content_length
            if (
                head.chunked
                or body_end > len(unread)
                or head.content_length > lane.limits.body_bytes_max  # although it has come whole
            ):
                body, unread = await self._read_body(head, unread[head_end:])
            else:
                body, unread = unread[head_end:body_end], unread[body_end:]

            call = Call(body, head.trace_id, head.route.path, self._peer, head.at_least)
            # Nothing of the request may be kept here for longer than the call needs it: the connection may be a stream for days
            # then, or idle for a quarter of an hour, and thousands of them would keep megabytes each.
            del body
            if not await self._answer(head, call):
                return
            del head, call

    # -- reading

    async def _receive(self) -> bytes:
        data = await self._stream.receive_some(self._lane.limits.receive_bytes)
        if self._cut_off:
            # The bytes overtook the cancellation. It would hit the handler next, so they come too late all the same.
            await trio.lowlevel.checkpoint_if_cancelled()
        return bytes(data)

    async def _read_rest_of_head(self, start: bytes) -> tuple[bytes, int]:
        """Read on until the header block ends; returns what was read and where the block ends."""
        lane = self._lane
        self.phase = Phase.READING_HEAD
        self.deadline = lane.now + lane.limits.header_timeout_s
        unread = bytearray(start)
        searched = 0
        while True:
            end = END_OF_HEAD.search(unread, searched)
            # A header block can start with a capital letter only. h11 wants to see the others at once.
            if end is not None or not 0x41 <= unread[0] <= 0x5A:
                head_end = len(unread) if end is None else end.end()
                if head_end > lane.limits.header_bytes_max:
                    raise _CannotRead(HEADERS_TOO_LARGE)
                return bytes(unread), head_end
            if len(unread) > lane.limits.header_bytes_max:
                raise _CannotRead(HEADERS_TOO_LARGE)
            searched = max(0, len(unread) - 2)
            more = await self._receive()
            if not more:
                raise _CannotRead(BAD_REQUEST)
            unread += more

    async def _read_body(self, head: RequestHead, start: bytes) -> tuple[bytes, bytes]:
        """Read on until the body ends; returns the body and what follows it."""
        limits = self._lane.limits
        self.phase = Phase.READING_BODY
        if head.content_length > limits.body_bytes_max:
            raise _CannotRead(BODY_TOO_LARGE)
        if head.expects_continue and not start:
            # Still in this phase: the request is no less unserved while we ask for its body.
            self.deadline = self._lane.now + limits.send_stall_s
            await self._stream.send_all(CONTINUE)
        if head.chunked:
            return await self._read_chunks(start)

        body = bytearray(start)
        while len(body) < head.content_length:
            body += await self._receive_body()
        return bytes(body[: head.content_length]), bytes(body[head.content_length :])

    async def _read_chunks(self, start: bytes) -> tuple[bytes, bytes]:
        limits = self._lane.limits
        chunks = ChunkedBody(
            body_bytes_max=limits.body_bytes_max,
            framing_bytes_max=limits.header_bytes_max,
            trailers_max=limits.header_lines_max,
        )
        try:
            chunks.feed(start)
            while not chunks.complete:
                chunks.feed(await self._receive_body())
        except BadChunk:
            raise _CannotRead(BAD_REQUEST) from None
        except BodyTooLarge:
            raise _CannotRead(BODY_TOO_LARGE) from None
        except FramingTooLarge:
            raise _CannotRead(HEADERS_TOO_LARGE) from None
        return chunks.body, chunks.rest

    async def _receive_body(self) -> bytes:
        self.deadline = self._lane.now + self._lane.limits.body_timeout_s
        data = await self._receive()
        if not data:
            raise _CannotRead(BAD_REQUEST)
        return data

    async def _leave_the_lane(self, replay: bytearray) -> None:
        self.phase = Phase.HANDED_OVER
        self.deadline = inf
        self._lane.handed_over += 1
        await self._lane.hand_over(self._stream, self._peer, replay)

    # -- answering

    async def _answer(self, head: RequestHead, call: Call) -> bool:
        """Call the handler and send what it returns. False if the connection is to be closed."""
        lane = self._lane
        lane.requests += 1
        self.phase = Phase.HANDLING
        self.deadline = inf
        if not lane.gate():
            return await self._answer_error(NOT_READY, close=head.close)
        endpoint = head.route.endpoint
        try:
            if isinstance(endpoint, Unary):
                answer = await endpoint.handle(call)
            else:
                source = await endpoint.open(call)
        except CannotOpenStream:
            return await self._answer_error(CANNOT_OPEN_STREAM, close=head.close)
        except Refusal as refusal:
            return await self._answer_error(refused(refusal), close=head.close)
        except Exception as bug:
            # One request's end, not the server's: state is changed by commits only, and they are whole or not at all.
            lane.on_bug(bug, call)
            return False
        if isinstance(endpoint, Unary):
            if not lane.gate():  # shut meanwhile: what the handler read may not be the truth any more
                return await self._answer_error(NOT_READY, close=True)
            return await self._send_answer(answer, close=head.close)
        self.is_streaming = True
        call.body = b""
        await self._send_events(source, call)
        return False

    async def _answer_error(self, error: ErrorAnswer, *, close: bool) -> bool:
        close = close or self._lane.stopping
        await self._send(error.as_bytes(date=self._lane.date, close=close))
        return not close

    async def _send_answer(self, answer: Answer, *, close: bool) -> bool:
        lane = self._lane
        close = close or lane.stopping
        head = lane.last_unary_head if close else lane.unary_head
        if lane.answer_head is None:
            head %= answer_bytes(answer)
        else:
            head %= (answer_bytes(answer), lane.answer_head())
        if type(answer) is bytes and len(answer) <= lane.limits.send_slice_bytes:
            await self._send(head + answer)
        else:
            for data in slices(answer, lane.limits.send_slice_bytes, first=head):
                await self._send(data)
        return not close

    async def _send(self, data: bytes | memoryview) -> None:
        self.phase = Phase.SENDING
        self.deadline = self._lane.now + self._lane.limits.send_stall_s
        if self._lane.stopping:
            self._lane.unserved.served(self)
        await self._stream.send_all(data)

    # -- event streams

    async def _send_events(self, source: StreamSource, call: Call) -> None:
        """Send events until either side ends the stream, then the final chunk (spec: events.md 2)."""
        lane = self._lane
        lane.sources.add(source)
        if lane.stopping:
            source.close()
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in STREAM_HEADERS), ""]
        head = "\r\n".join(lines).encode("ascii")
        try:
            more = b"" if lane.answer_head is None else lane.answer_head()
            await self._send(head + more + b"Date: " + lane.date + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_when_peer_ends, source)
                whole = await self._forward(source, call)
                nursery.cancel_scope.cancel()
            if whole:
                await self._send(LAST_CHUNK)
        finally:
            lane.sources.discard(source)
            source.close()

    async def _forward(self, source: StreamSource, call: Call) -> bool:
        """Send what ``source`` gives; True if it came to its regular end."""
        while True:
            self.phase = Phase.HANDLING
            self.deadline = inf
            try:
                frames = await source.receive()
            except trio.EndOfChannel:
                return True
            except Exception as bug:
                # Without the final chunk, so that the client knows that this is no regular end.
                self._lane.on_bug(bug, call)
                return False
            if frames:
                try:
                    await self._send(b"%x\r\n%b\r\n" % (len(frames), frames))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return False

    async def _close_when_peer_ends(self, source: StreamSource) -> None:
        """Discard what the client sends. When it ends its sending side it wants no more events, as upstream takes it."""
        try:
            while await self._stream.receive_some(self._lane.limits.receive_bytes):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        source.close()

    # -- ending

    async def _say_goodbye(self, error: ErrorAnswer | None) -> None:
        """Send ``error``, if there is one, then end our side and give the client time to read it. See `linger`."""
        with trio.move_on_after(self._lane.limits.linger_s):
            if error is not None:
                await self._stream.send_all(error.as_bytes(date=self._lane.date, close=True))
            await linger(self._stream, self._lane.limits.receive_bytes)
