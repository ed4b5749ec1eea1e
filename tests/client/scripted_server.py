"""A server that answers as its script says, and remembers what it was asked.

Over memory streams, with virtual time (`ScriptedServer.connect`), or on loopback (`ScriptedServer.listen`).
"""

import ssl
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

import h11
import trio
import trio.abc
import trio.testing
from google.protobuf.message import Message
from trio.testing import memory_stream_pair


class Then(Enum):
    """What the server does once it has sent what it has to say."""

    KEEP = auto()
    CLOSE = auto()
    HANG = auto()


@dataclass(frozen=True)
class Say:
    """An answer, as the bytes on the wire."""

    text: bytes
    then: Then = Then.KEEP


REFUSE_CONNECTION = "refuse connection"
IGNORE_CONNECTION = "ignore connection"

Step = Say | str


def answer(
    body: bytes | Message = b"",
    *,
    status: str = "200 OK",
    content_type: str = "application/x-protobuf",
    headers: str = "",
    then: Then = Then.KEEP,
) -> Say:
    body = body if isinstance(body, bytes) else body.SerializeToString()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    )
    return Say(head.encode() + body, then)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x;\r\n%b\r\n" % (len(data), data)


def stream(*chunks: bytes, then: Then = Then.KEEP, end: bytes = LAST_CHUNK) -> Say:
    """An event stream that ends cleanly, unless told otherwise."""
    return Say(STREAM_HEAD + b"".join(map(chunk, chunks)) + end, then)


def broken_stream(*chunks: bytes) -> Say:
    return stream(*chunks, end=b"", then=Then.CLOSE)


def open_stream(*chunks: bytes) -> Say:
    return stream(*chunks, end=b"", then=Then.HANG)


@dataclass(frozen=True)
class Asked:
    """A request as it came, and when, in seconds since the clock's start."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float


class ScriptedServer:
    """One step of the script is used up by each request; a connection step, by the attempt to connect."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.script: deque[Step] = deque()
        self.asked: list[Asked] = []
        self.dialled: list[float] = []
        self.accepted = 0
        self.closed_connections = 0
        self._open: set[trio.abc.Stream] = set()

    def plays(self, *steps: Step) -> None:
        self.script.extend(steps)

    @property
    def times(self) -> list[float]:
        return [asked.at for asked in self.asked]

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        self.dialled.append(trio.current_time())
        if self.script and self.script[0] == REFUSE_CONNECTION:
            self.script.popleft()
            raise ConnectionRefusedError(111, "Connection refused")
        if self.script and self.script[0] == IGNORE_CONNECTION:
            self.script.popleft()
            await trio.sleep_forever()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, ours)
        return theirs

    async def listen(self, context: ssl.SSLContext | None) -> int:
        """Accept connections on loopback. Returns the port."""

        async def accept(stream: trio.SocketStream) -> None:
            self.accepted += 1
            await self._serve(
                stream if context is None else trio.SSLStream(stream, context, server_side=True)
            )

        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._nursery.start_soon(trio.serve_listeners, accept, [listener])
        port: int = listener.socket.getsockname()[1]
        return port

    async def hang_up(self) -> None:
        """Close all connections, and wait until that can be seen on the other side."""
        # An answer may have arrived before the task that sent it has noticed.
        await trio.testing.wait_all_tasks_blocked()
        for stream in list(self._open):
            assert isinstance(stream, trio.SocketStream)
            await stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        http = h11.Connection(h11.SERVER)
        self._open.add(stream)
        try:
            while (asked := await _read_request(stream, http)) is not None:
                self.asked.append(asked)
                step = self.script.popleft()
                assert isinstance(step, Say), f"{step}, but the connection stands"
                await stream.send_all(step.text)
                if step.then is Then.CLOSE:
                    return
                if step.then is Then.HANG:
                    await _read_to_end(stream)
                    return
                # What was sent by hand, the protocol has to be told of.
                http.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                http.send(h11.EndOfMessage())
                http.start_next_cycle()
        except trio.BrokenResourceError:
            pass  # the client hung up
        finally:
            self._open.discard(stream)
            self.closed_connections += 1
            await trio.aclose_forcefully(stream)


async def _read_request(stream: trio.abc.Stream, http: h11.Connection) -> Asked | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            data = await stream.receive_some()
            if not data:
                return None
            http.receive_data(bytes(data))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Asked(head.method.decode(), head.target.decode(), headers, body, trio.current_time())


async def _read_to_end(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass
