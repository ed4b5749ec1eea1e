"""A peer that answers as its script says, and keeps what it was sent to the byte. Over real sockets, with or without TLS."""

import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

import trio
import trio.abc

WAIT_S = 10
"""No test waits longer for what must happen."""


class Do(Enum):
    """What to do instead of answering."""

    HANG = auto()
    HANG_UP = auto()
    """End the connection after the request was read."""


@dataclass(frozen=True)
class Last:
    """An answer, after which the connection ends without a word of warning."""

    answer: bytes


Step = bytes | Last | Do


def answer(status: str, *, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def redirect(status: str, location: str) -> bytes:
    return answer(status, headers=f"Location: {location}\r\n")


ACCEPTED = answer("202 Accepted")


@dataclass(frozen=True)
class Sent:
    """A request as it was on the wire."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode()

    @property
    def lines(self) -> list[str]:
        """All lines of the head."""
        return self.head.decode("latin-1").split("\r\n")

    def header(self, name: str) -> str | None:
        found = [line for line in self.lines[1:] if line.lower().startswith(f"{name.lower()}: ")]
        return found[0].partition(": ")[2] if found else None


@dataclass
class PeerServer:
    """One step of the script per request; once it is used up, ``otherwise``."""

    address: str
    port: int
    script: deque[Step] = field(default_factory=deque)
    otherwise: Step = ACCEPTED
    sent: list[Sent] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    arrived: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)

    def plays(self, *steps: Step) -> None:
        self.script.extend(steps)

    @property
    def lines(self) -> list[str]:
        return [sent.line for sent in self.sent]

    async def wait_for_requests(self, number: int) -> None:
        with trio.fail_after(WAIT_S):
            while len(self.sent) < number:
                self.arrived = trio.Event()
                await self.arrived.wait()

    async def wait_for_connections(self, *, at_most: int) -> None:
        """Wait until no more than that many are open."""
        with trio.fail_after(WAIT_S):
            while self.open_connections > at_most:
                self.left = trio.Event()
                await self.left.wait()

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            # Who is hung up on, or does not like our certificate, leaves in the middle.
            with suppress(trio.BrokenResourceError):
                await self._converse(stream)
        finally:
            self.open_connections -= 1
            self.left.set()
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.abc.Stream) -> None:
        unread = b""
        while True:
            while b"\r\n\r\n" not in unread:
                if not (data := await stream.receive_some()):
                    return
                unread += data
            head, _, unread = unread.partition(b"\r\n\r\n")
            length = int(Sent(head, b"").header("Content-Length") or 0)
            while len(unread) < length:
                unread += await stream.receive_some()
            body, unread = unread[:length], unread[length:]
            self.sent.append(Sent(head, body))
            self.arrived.set()
            step = self.script.popleft() if self.script else self.otherwise
            if step is Do.HANG:
                while await stream.receive_some():
                    pass
                return
            if step is Do.HANG_UP:
                return
            if isinstance(step, Last):
                await stream.send_all(step.answer)
                return
            assert isinstance(step, bytes)
            await stream.send_all(step)


@asynccontextmanager
async def peer_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[PeerServer]:
    """A server on a free port of the loopback, until the block ends."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    server = PeerServer(f"{'http' if tls is None else 'https'}://127.0.0.1:{port}", port)

    async def serve(stream: trio.SocketStream) -> None:
        if tls is None:
            await server.serve(stream)
        else:
            await server.serve(trio.SSLStream(stream, tls, server_side=True, https_compatible=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def closed_port() -> int:
    """A port that refuses connections."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port
