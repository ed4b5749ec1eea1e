"""Answers without a handler, byte for byte (spec: api.md 1.1, 2), and what both lanes need to write answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from bbs.http.endpoints import Answer, LatePieces, Refusal
from bbs.http.reasons import go_reason

PROTOBUF: Final = "application/x-protobuf"

# In the order in which they are sent; Date and Transfer-Encoding are added by whoever sends (spec: events.md 2).
STREAM_HEADERS: Final = (
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Connection", "keep-alive"),
    ("Content-Type", "text/event-stream; charset=utf-8"),
)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A response that no handler made. ``headers`` are those besides Content-Length, Connection and Date."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def as_bytes(self, *, date: bytes, close: bool) -> bytes:
        """The whole response, as the fast lane sends it."""
        lines = [
            f"HTTP/1.1 {self.status.value} {go_reason(self.status)}",
            f"Content-Length: {len(self.body)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if close:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1")
        return head + b"\r\nDate: " + date + b"\r\n\r\n" + self.body


def _text(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> ErrorAnswer:
    common = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
    return ErrorAnswer(status, headers + common, text.encode())


NOT_FOUND: Final = _text(HTTPStatus.NOT_FOUND, "404 page not found\n")
NOT_READY: Final = ErrorAnswer(HTTPStatus.SERVICE_UNAVAILABLE)
CANNOT_OPEN_STREAM: Final = ErrorAnswer(HTTPStatus.INTERNAL_SERVER_ERROR)
BAD_REQUEST: Final = ErrorAnswer(HTTPStatus.BAD_REQUEST)
REQUEST_TIMEOUT: Final = ErrorAnswer(HTTPStatus.REQUEST_TIMEOUT)
BODY_TOO_LARGE: Final = ErrorAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
HEADERS_TOO_LARGE: Final = ErrorAnswer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

# Sent in the clear on the TLS port (spec: security.md 2).
PLAIN_HTTP_ON_TLS_PORT: Final = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
)


def wrong_method(allow: str) -> ErrorAnswer:
    return _text(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed\n", ("Allow", allow))


def refused(refusal: Refusal) -> ErrorAnswer:
    return _text(refusal.status, f"{refusal.text}\n", *refusal.headers)


def http_date() -> bytes:
    return formatdate(usegmt=True).encode("ascii")


def answer_bytes(answer: Answer) -> int:
    """The number of bytes in an answer's body, whether it is one blob or pieces."""
    if isinstance(answer, LatePieces):
        return answer.body_bytes
    return len(answer) if isinstance(answer, bytes) else sum(map(len, answer))


def slices(answer: Answer, slice_bytes: int, *, first: bytes = b"") -> Iterator[bytes | memoryview]:
    """Cut ``first`` and ``answer`` into sends of at most ``slice_bytes`` (``first`` may exceed it).

    Small pieces are joined, large ones are cut without being copied.
    """
    gathered = [first] if first else []
    gathered_bytes = len(first)
    for piece in (answer,) if isinstance(answer, bytes) else answer:
        if gathered and gathered_bytes + len(piece) > slice_bytes:
            yield b"".join(gathered)
            gathered, gathered_bytes = [], 0
        if len(piece) > slice_bytes:
            view = memoryview(piece)
            for start in range(0, len(piece), slice_bytes):
                yield view[start : start + slice_bytes]
        elif piece:
            gathered.append(piece)
            gathered_bytes += len(piece)
    if gathered:
        yield b"".join(gathered)
