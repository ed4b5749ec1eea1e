"""Many event streams at once, held by a process of their own, which only counts the events on them.

`Streams` is the harness' end. The other process reads whatever comes and counts ``data:`` lines, so it can follow a few
hundred thousand events a second; with a decoder it would be slower than the server.
"""

import multiprocessing
import select
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self

from perf.beside import leave_interrupts_to_the_harness
from perf.load import Credentials, Target
from perf.room import take_all_descriptors

OPEN_MAX_S: Final = 300.0
ANSWER_MAX_S: Final = 60.0
HEAD_MAX_S: Final = 30.0
RECEIVE_BYTES: Final = 64 * 1024
MARK: Final = b"data:"
"""Once in each event, and never within one: base64 has no colon."""

_CONTEXT: Final = multiprocessing.get_context("spawn")


class StreamsFailed(Exception):
    """A stream could not be opened; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Events so far, per stream in the order of opening; how many streams have ended; the CPU seconds of the process that
    reads them; and the wall clock's time of the last event.
    """

    events: Sequence[int]
    ended: int
    cpu_s: float
    last_s: float

    @property
    def total(self) -> int:
        return sum(self.events)


class Streams:
    """A context manager: the process, and all its streams, end with it."""

    def __init__(self, credentials: Credentials) -> None:
        self._ours, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_follow, args=(credentials, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ours.close()  # which the other side takes for its end
        self._process.join(ANSWER_MAX_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def open(self, requests: Sequence[bytes]) -> float:
        """Open one stream per request, one after the other; seconds that it took. Counts start anew.

        Raises:
          StreamsFailed: one was refused.
        """
        answer = self._ask(("open", list(requests)), OPEN_MAX_S)
        if isinstance(answer, str):
            raise StreamsFailed(answer)
        assert isinstance(answer, float)
        return answer

    def close_all(self) -> None:
        self._ask(("close", ()), ANSWER_MAX_S)

    def delivered(self) -> Delivered:
        answer = self._ask(("count", ()), ANSWER_MAX_S)
        assert isinstance(answer, Delivered)
        return answer

    def delivered_once(self, total: int, *, max_s: float) -> Delivered:
        """What was delivered once it is that much, or has not become more for ``max_s``."""
        seen, changed_s = -1, time.monotonic()
        while True:
            delivered = self.delivered()
            if delivered.total != seen:
                seen, changed_s = delivered.total, time.monotonic()
            if delivered.total >= total or time.monotonic() > changed_s + max_s:
                return delivered
            time.sleep(0.01)

    def _ask(self, what: tuple[str, Sequence[bytes]], max_s: float) -> object:
        self._ours.send(what)
        if not self._ours.poll(max_s):
            raise StreamsFailed(f"{what[0]}: no answer within {max_s:.0f} s")
        try:
            return self._ours.recv()
        except EOFError:
            raise StreamsFailed("the process that reads them has ended") from None


class _Stream:
    __slots__ = ("events", "socket", "tail")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.events = 0
        self.tail = b""

    def take(self, piece: bytes) -> int:
        """Count the events that ``piece`` completes; a mark may be cut in two."""
        text = self.tail + piece
        found = text.count(MARK)
        # A mark that ends within the tail has been counted: what is kept is too short to hold one.
        self.tail = text[-(len(MARK) - 1) :]
        self.events += found
        return found


class _Follower:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: list[_Stream] = []
        self._by_fileno: dict[int, _Stream] = {}
        self.poll = select.epoll()
        self._last_s = 0.0
        self._ended = 0

    def open(self, requests: Sequence[bytes]) -> float | str:
        self.close()
        began_s = time.monotonic()
        for request in requests:
            try:
                stream = self._subscribe(request)
            except (OSError, StreamsFailed) as error:
                return f"{type(error).__name__}: {error}"
            self._streams.append(stream)
            self._by_fileno[stream.socket.fileno()] = stream
            self.poll.register(stream.socket.fileno(), select.EPOLLIN)
        return time.monotonic() - began_s

    def close(self) -> None:
        for stream in self._by_fileno.values():
            self.poll.unregister(stream.socket.fileno())
            stream.socket.close()
        self._streams, self._by_fileno, self._ended = [], {}, 0

    def counts(self) -> Delivered:
        return Delivered(
            events=[stream.events for stream in self._streams],
            ended=self._ended,
            cpu_s=time.process_time(),
            last_s=self._last_s,
        )

    def read(self, fileno: int) -> None:
        stream = self._by_fileno[fileno]
        try:
            while piece := stream.socket.recv(RECEIVE_BYTES):
                if stream.take(piece):
                    self._last_s = time.time()
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self.poll.unregister(fileno)
        del self._by_fileno[fileno]
        stream.socket.close()
        self._ended += 1

    def _subscribe(self, request: bytes) -> _Stream:
        connection = self._target.connect()
        connection.settimeout(HEAD_MAX_S)
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(RECEIVE_BYTES)
            if not piece:
                raise StreamsFailed("the server closed the connection")
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        if head[9:12] != b"200":
            raise StreamsFailed(head.split(b"\r\n")[0].decode("latin-1"))
        connection.setblocking(False)
        stream = _Stream(connection)
        stream.take(rest)
        return stream


def _follow(credentials: Credentials, harness: "Connection[object, tuple[str, Sequence[bytes]]]") -> None:
    """The process: read streams until the harness closes its end of the pipe."""
    leave_interrupts_to_the_harness()
    take_all_descriptors()
    follower = _Follower(credentials.target())
    follower.poll.register(harness.fileno(), select.EPOLLIN)
    while True:
        for fileno, _ in follower.poll.poll():
            if fileno != harness.fileno():
                if fileno in follower._by_fileno:
                    follower.read(fileno)
                continue
            try:
                what, argument = harness.recv()
            except EOFError:
                return
            if what == "open":
                harness.send(follower.open(argument))
            elif what == "close":
                follower.close()
                harness.send(None)
            else:
                harness.send(follower.counts())
