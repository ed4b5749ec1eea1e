"""Routes, and what handlers take and give. Says nothing of bytes on a wire: both lanes serve the same ``RouteTable``."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Final, Protocol

from bbs.http.header_lines import checked_pair

AT_LEAST_HEADER: Final = "X-Bbs-At-Least"
"""In a request: see `Call.at_least`."""


@dataclass(frozen=True, slots=True)
class LatePieces:
    """The body of an answer whose pieces are made one by one while it is sent, so that however slowly it is read, no more than
    one of them is in memory. Together they have ``body_bytes``, each time that ``make`` is called.
    """

    body_bytes: int
    make: Callable[[], Iterator[bytes]]

    def __iter__(self) -> Iterator[bytes]:
        return self.make()


Answer = bytes | Sequence[bytes] | LatePieces
"""The body of a 200 answer: one blob, or pieces that are sent one after another without being joined first."""


class CannotOpenStream(Exception):
    """The request cannot be turned into an event stream: answered 500 without a body (spec: events.md 1)."""


class Refusal(Exception):
    """What an endpoint raises to answer with a status that says no: ``text``, with a line end behind it, as plain text.

    ``headers`` are names and values; in a value, which may come from elsewhere, whatever is not printable ASCII becomes
    ``?``. The request is otherwise like any other: the connection stays open, and observers are told.

    Raises:
      ValueError: the status says yes, or a header is HTTP's own or not spelt like ``Retry-After``.
    """

    def __init__(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(status, text)
        if status < HTTPStatus.BAD_REQUEST:
            raise ValueError(f"{status} is no refusal")
        self.status: Final = status
        self.text: Final = text
        self.headers: Final = tuple(checked_pair(name, value) for name, value in headers)


class StreamSource(Protocol):
    """Where an event stream's bytes come from."""

    async def receive(self) -> bytes:
        """Wait for at least one event and return everything queued, framed as server-sent events.

        Raises:
          trio.EndOfChannel: the stream is over and nothing is queued, because the server ended it or because
            ``close`` was called.
        """
        ...

    def close(self) -> None:
        """No more events are wanted. Wakes a waiting ``receive``; idempotent.

        Called at least once for each source that was opened, whatever ended the stream.
        """
        ...


class CertificateSource(Protocol):
    """The part of an ``SSLObject`` that ``Peer`` needs."""

    def getpeercert(self, binary_form: bool) -> bytes | None: ...


class Peer:
    """Who is at the other end of a connection."""

    def __init__(self, remote_addr: str, tls: CertificateSource | None = None) -> None:
        self.remote_addr: Final = remote_addr
        """``ip:port``, or '' for a stream that has no address."""
        self._tls = tls

    @property
    def is_tls(self) -> bool:
        return self._tls is not None

    @cached_property
    def certificate_der(self) -> bytes | None:
        """The client's leaf certificate; None without TLS. Asked of OpenSSL on first use only."""
        return None if self._tls is None else self._tls.getpeercert(True)


@dataclass(slots=True, eq=False)
class Call:
    """One request, as a handler sees it. Not frozen because that doubles the cost of making one."""

    body: bytes
    """Empty once an event stream is open, which may be for days."""
    trace_id: str
    """``X-Vcap-Request-Id`` verbatim, '' if absent (spec: api.md 4)."""
    target: str
    """Path, and ``?query`` if there was one: what the access log calls ``request``."""
    peer: Peer
    at_least: str = ""
    """``X-Bbs-At-Least`` verbatim, '' if absent: the answer is to know of this. If a client sends
    several, they are joined by commas."""
    session: int = 0
    """The number of its session in the log; 0 unless ``Hooks.on_request_begin`` gives it one."""
    access_session: int = 0
    """The number of its session in the access log, likewise."""
    trace_data: Mapping[str, str] | None = None
    """What lines in the log carry of the trace id, remembered; ``None`` until the first of them is written."""

    @property
    def remote_addr(self) -> str:
        return self.peer.remote_addr

    @property
    def client_certificate_der(self) -> bytes | None:
        return self.peer.certificate_der


UnaryEndpoint = Callable[[Call], Awaitable[Answer]]
EventStreamEndpoint = Callable[[Call], Awaitable[StreamSource]]


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one answer: 200 with ``Content-Type: application/x-protobuf``, errors included, or a `Refusal`.

    Any other exception from ``handle`` is a bug of ours: it is reported, and the connection is closed without a
    response, which clients take for a lost connection (spec: api.md 3.2).
    """

    handle: UnaryEndpoint


@dataclass(frozen=True, slots=True)
class EventStream:
    """One request, then events until either side ends it (spec: events.md 2)."""

    open: EventStreamEndpoint
    """Raises ``CannotOpenStream`` or `Refusal`. The response head is sent as soon as this returns."""


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    method: str
    path: str
    endpoint: Unary | EventStream

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[A-Z]+", self.method)
        assert re.fullmatch(r"/[!-~]*", self.path)
        assert not re.search(r"[?#]", self.path)


@dataclass(frozen=True, slots=True)
class WrongMethod:
    allow: str
    """The path's methods, joined as the ``Allow`` header wants them."""


class RouteTable:
    """Routes by path, then method (spec: api.md 2). Paths are compared byte by byte: nothing is decoded or normalised."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: Final = tuple(routes)
        by_path: dict[bytes, dict[str, Route]] = {}
        for route in self.routes:
            methods = by_path.setdefault(route.path.encode("ascii"), {})
            assert route.method not in methods, f"{route.method} {route.path} is listed twice"
            methods[route.method] = route
        self._by_path: Final[Mapping[bytes, Mapping[str, Route]]] = by_path
        self.by_request_line: Final[Mapping[bytes, Route]] = {
            f"{route.method} {route.path} HTTP/1.1".encode("ascii"): route for route in self.routes
        }
        """Routes by the whole request line, in the one form that the fast lane takes; any other is for the slow lane."""

    def find(self, method: str, raw_path: bytes) -> Route | WrongMethod | None:
        """Find a route; ``raw_path`` is as the client wrote it, without the query string."""
        methods = self._by_path.get(raw_path)
        if methods is None:
            return None
        return methods.get(method) or WrongMethod(", ".join(sorted(methods)))
