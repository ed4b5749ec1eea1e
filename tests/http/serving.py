"""A tiny route table, a server for it on loopback, and a client that sees bytes."""

import ssl
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import trio
import trustme

from bbs.http.endpoints import (
    Answer,
    Call,
    CannotOpenStream,
    EventStream,
    Peer,
    Refusal,
    Route,
    RouteTable,
    Unary,
)
from bbs.http.fast_lane import FastLane
from bbs.http.limits import Limits
from bbs.http.listener import Hooks, HTTPServer
from bbs.http.sockets import open_listeners
from tests.waiting import wait_until

PATIENCE_S = 5
"""Bounds each wait of a test on real sockets; none comes near it."""


class QueuedEvents:
    """A stream source that tests push into."""

    def __init__(self) -> None:
        self.closed = False
        self.broken = False
        self._queue: deque[bytes] = deque()
        self._news = trio.Event()

    def push(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._news.set()

    def break_down(self) -> None:
        self.broken = True
        self._news.set()

    def close(self) -> None:
        self.closed = True
        self._news.set()

    async def receive(self) -> bytes:
        while not self._queue:
            if self.closed:
                raise trio.EndOfChannel
            if self.broken:
                raise RuntimeError("the hub is broken")
            await self._news.wait()
            self._news = trio.Event()
        frames = b"".join(self._queue)
        self._queue.clear()
        return frames


def _already() -> trio.Event:
    """One that nobody has to wait for."""
    event = trio.Event()
    event.set()
    return event


@dataclass
class World:
    """What the handlers of the table do, and what was seen to happen."""

    ready: bool = True
    calls: list[Call] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    accept_failures: list[OSError] = field(default_factory=list)
    sources: list[QueuedEvents] = field(default_factory=list)
    stream_asked_for: trio.Event = field(default_factory=trio.Event)
    stream_may_open: trio.Event = field(default_factory=_already)
    stream_opened: trio.Event = field(default_factory=trio.Event)
    handler_entered: trio.Event = field(default_factory=trio.Event)
    handler_may_go_on: trio.Event = field(default_factory=trio.Event)
    pieces: Iterable[bytes] = ()
    refusal: Refusal | None = None
    answer_head: Callable[[], bytes] | None = None
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def table(self) -> RouteTable:
        return RouteTable(
            [
                Route("Echo", "POST", "/v1/echo", Unary(self._echo)),
                Route("Slow", "POST", "/v1/slow", Unary(self._slow)),
                Route("Failing", "POST", "/v1/failing", Unary(self._fail)),
                Route("Pieces", "POST", "/v1/pieces", Unary(self._many)),
                Route("Events", "GET", "/v1/events", EventStream(self._open)),
                Route("EventsByPost", "POST", "/v1/events.r1", EventStream(self._open)),
            ]
        )

    def hooks(self) -> Hooks:
        return Hooks(
            on_bug=lambda bug, call: self.bugs.append(bug),
            on_connection_failed=lambda failure, peer: self.failures.append(failure),
            on_accept_failed=self.accept_failures.append,
            on_request_begin=lambda route, call: self.begun.append(route.name),
            on_request_end=lambda route, call, duration_ns: self.ended.append(route.name),
        )

    async def _echo(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.refusal is not None:
            raise self.refusal
        return call.body

    async def _slow(self, call: Call) -> Answer:
        self.calls.append(call)
        self.handler_entered.set()
        await self.handler_may_go_on.wait()
        return b"at last"

    async def _fail(self, call: Call) -> Answer:
        raise ValueError(call.body)

    async def _many(self, call: Call) -> Answer:
        return list(self.pieces)

    async def _open(self, call: Call) -> QueuedEvents:
        if call.body == b"undecodable":
            raise CannotOpenStream
        if self.refusal is not None:
            raise self.refusal
        self.stream_asked_for.set()
        await self.stream_may_open.wait()
        source = QueuedEvents()
        self.sources.append(source)
        self.calls.append(replace(call))  # as it is now: an open stream's call has no body any more
        self.stream_opened.set()
        return source


@dataclass(frozen=True)
class Response:
    status_line: str
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.status_line.split()[1])


class Wire:
    """The client's end of a connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._unread = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def read_until(self, end: bytes) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while end not in self._unread:
                data = await self.stream.receive_some()
                assert data, f"the connection ended after {self._unread!r}"
                self._unread += data
        before, _, self._unread = self._unread.partition(end)
        return before + end

    async def read_to_end(self) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while data := await self.stream.receive_some():
                self._unread += data
        rest, self._unread = self._unread, b""
        return rest

    async def count_to_end(self) -> int:
        """How many bytes still come: for those that are too many to keep."""
        count = len(self._unread)
        with trio.fail_after(4 * PATIENCE_S):
            while data := await self.stream.receive_some():
                count += len(data)
        return count

    async def count_bytes(self, count: int) -> int:
        """Read so many bytes that are too many to keep, or as many as come."""
        seen = min(count, len(self._unread))
        self._unread = self._unread[seen:]
        with trio.fail_after(4 * PATIENCE_S):
            while seen < count and (data := await self.stream.receive_some(min(count - seen, 65536))):
                seen += len(data)
        return seen

    async def read_response(self, *, head_only: bool = False) -> Response:
        head = await self.read_until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = 0 if head_only else int({k.lower(): v for k, v in headers.items()}["content-length"])
        with trio.fail_after(PATIENCE_S):
            while len(self._unread) < length:
                data = await self.stream.receive_some()
                assert data, "the connection ended within a body"
                self._unread += data
        body, self._unread = self._unread[:length], self._unread[length:]
        return Response(status_line, headers, body)


@dataclass
class Served:
    server: HTTPServer
    world: World
    address: tuple[str, int]
    client_tls: ssl.SSLContext | None
    until_stopped: trio.CancelScope
    wires: list[Wire] = field(default_factory=list)

    async def connect_plain(self) -> Wire:
        wire = Wire(await trio.open_tcp_stream(*self.address))
        self.wires.append(wire)
        return wire

    async def connect(self) -> Wire:
        """Once both sides have shaken hands: TLS 1.3's client is done before the server has seen its last message, and
        what the server computes in a thread no `wait_all_tasks_blocked` waits for.
        """
        others = self.server.statistics().handshakes
        wire = await self.connect_plain()
        if self.client_tls is not None:
            secured = trio.SSLStream(
                wire.stream, self.client_tls, server_hostname="localhost", https_compatible=True
            )
            await secured.do_handshake()
            wire = Wire(secured)
            await wait_until(
                lambda: self.server.statistics().handshakes <= others,
                within_s=PATIENCE_S,
                what="the server has shaken hands",
            )
        return wire


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
"""The server's and the clients'."""

LANES: Final = ("fast", "slow", "fast-tls", "slow-tls")
"""Each way through the server, with and without TLS."""


@asynccontextmanager
async def serving(
    world: World,
    *,
    fast_lane: bool,
    server_tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
    client_tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Served]:
    """A server on loopback that must have stopped, and seen no unexpected failure, in the end."""
    limits = limits or Limits(linger_s=0.2)
    listeners = await open_listeners("127.0.0.1:0")
    server = HTTPServer(
        world.table(),
        tls=server_tls,
        gate=lambda: world.ready,
        hooks=world.hooks(),
        limits=limits,
        fast_lane=fast_lane,
        answer_head=world.answer_head,
    )
    until_stopped = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            with until_stopped:
                await server.serve(listeners, task_status=task_status)

        await nursery.start(serve)
        address = listeners[0].socket.getsockname()
        served = Served(server, world, address, client_tls, until_stopped)
        try:
            yield served
        finally:
            for wire in served.wires:
                await trio.aclose_forcefully(wire.stream)
            world.handler_may_go_on.set()
            until_stopped.cancel()
    assert not world.failures, "".join(map(_told, world.failures))


@asynccontextmanager
async def serving_lane(
    world: World, lane: str, contexts: Contexts, limits: Limits | None = None
) -> AsyncIterator[Served]:
    """`serving` through one of the `LANES`."""
    name, _, tls = lane.partition("-")
    server_tls, client_tls = contexts if tls else (None, None)
    async with serving(
        world, fast_lane=name == "fast", server_tls=server_tls, client_tls=client_tls, limits=limits
    ) as served:
        yield served


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server's and client's, each with a certificate that the other wants to see."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    authority.issue_cert("cell").configure_cert(client)
    return server, client


def fast_lane_for(world: World, limits: Limits) -> FastLane:
    """A fast lane without a listener, for any stream. Handing over is recorded as a failure."""

    async def hand_over(stream: trio.abc.Stream, peer: Peer, unread: bytearray) -> None:
        world.failures.append(AssertionError(f"handed over: {unread!r}"))

    return FastLane(
        world.table(),
        limits=limits,
        gate=lambda: world.ready,
        on_bug=world.hooks().on_bug,
        hand_over=hand_over,
    )


def post(path: str, body: bytes = b"", *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: bbs:8889", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _told(failure: Exception) -> str:
    return "".join(traceback.format_exception(failure))
