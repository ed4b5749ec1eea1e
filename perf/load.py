"""A load generator that costs little: non-blocking TLS sockets and epoll, no event loop framework, no HTTP library.

Every connection has one request under way at a time and takes the next from a shared source as soon as its answer is
complete (a closed loop, as a fleet of cells is). Requests are whole HTTP/1.1 requests, encoded beforehand. An answer
counts as good if its status is 200 and its body does not begin with field 1, length-delimited, which in every response
message but ``PingResponse`` is ``error`` (spec: api.md, section 3.1).

It has to share two cores with the server and its Postgres, so what it needs per request matters. CPU per request,
64 TLS connections to a bare asyncio server, median of seven alternating runs on a noisy two-core machine: 44 µs (41 to
49); with asyncio protocols 62 µs (38 to 70), with blocking sockets on 64 threads 75 µs (52 to 91).
`Sample.generator_cpu_s` says what it was in a run.

Run it alone with ``python -m perf.load --url https://… --path /v1/ping``; prints one line of JSON.
"""

import argparse
import json
import select
import socket
import ssl
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from bbs.models import pb
from perf.figures import Sample
from perf.interruption import raise_if_interrupted

CONNECT_MAX_S: Final = 10.0
GRACE_S: Final = 10.0  # for answers under way when the time is up
POLL_S: Final = 0.5  # how late the end of the time may be noticed
RECORD_BYTES_MAX: Final = (
    16 * 1024
)  # a TLS record's payload: one read takes one record, so OpenSSL keeps nothing back
READS_PER_TURN_MAX: Final = 64  # one large list must not keep the other connections waiting
REQUEST_BYTES_MAX: Final = 64 * 1024  # fits an empty socket buffer, so a send is never partial

_LIFECYCLE_ERROR: Final = b"\n"  # tag of field 1, length-delimited


class RequestTooLarge(ValueError):
    """A request may not fit a socket's buffer, and this generator has no partial sends."""


class _BadAnswer(Exception):
    """The answer to one request is no good; its text says why. The connection can't be used any further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a BBS listens, and with which certificates to talk to it (``tls`` is None for plain HTTP)."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    @classmethod
    def from_url(
        cls, url: str, *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
    ) -> "Target":
        """``https://host:port``. Without ``ca`` the system's authorities count, without ``cert`` none is shown."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"not an http or https URL: {url}")
        tls = None
        if parts.scheme == "https":
            tls = ssl.create_default_context(cafile=ca)
            if cert is not None:
                tls.load_cert_chain(cert, key)
        return cls(host=parts.hostname, port=parts.port or (443 if tls else 80), tls=tls)

    def post(self, path: str, body: bytes = b"") -> bytes:
        """One request with the headers upstream's client sends (spec: client.md, section 2)."""
        head = (
            f"POST {path} HTTP/1.1\r\n"
            f"Host: {self.host}:{self.port}\r\n"
            "User-Agent: bbs-perf\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Content-Type: application/x-protobuf\r\n"
            "X-Vcap-Request-Id: \r\n"
            "Accept-Encoding: gzip\r\n\r\n"
        )
        request = head.encode("ascii") + body
        if len(request) > REQUEST_BYTES_MAX:
            raise RequestTooLarge(f"{path}: {len(request)} bytes, more than {REQUEST_BYTES_MAX}")
        return request

    def connect(self) -> socket.socket:
        """A non-blocking connection, TLS handshake done.

        Raises:
          OSError: nobody listens, or the handshake failed (`ssl.SSLError` is one).
        """
        plain = socket.create_connection((self.host, self.port), timeout=CONNECT_MAX_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname=self.host)
        connection.setblocking(False)
        return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A `Target` in a form that can be handed to another process: the URL and the paths of certificates."""

    url: str
    ca: Path | None
    cert: Path | None
    key: Path | None

    def target(self) -> Target:
        return Target.from_url(self.url, ca=self.ca, cert=self.cert, key=self.key)


class LoadGenerator:
    """``connections`` connections to one target, kept from run to run. Close it, or use it as a context manager."""

    def __init__(self, target: Target, *, connections: int) -> None:
        assert connections > 0
        self._target = target
        self._connections_wanted = connections
        self._connections: dict[int, _Connection] = {}
        self._poll = select.epoll()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._poll.close()

    def connect(self) -> None:
        """Open what is missing. `run` does it too, before its clock starts."""
        while len(self._connections) < self._connections_wanted:
            connection = _Connection(self._target.connect())
            self._connections[connection.fileno] = connection
            self._poll.register(connection.fileno, select.EPOLLIN)

    def run(self, requests: Iterable[bytes], *, max_s: float) -> Sample:
        """Send ``requests``, in order, as fast as answers come; stop sending after ``max_s`` seconds.

        A failed request is counted in the sample, never raised. A connection that breaks is not replaced before the
        next run, and what it was doing counts as an error; without connections left the run ends.

        Raises:
          OSError: a connection can't be opened.
          KeyboardInterrupt: there was one earlier, which nobody heard.
        """
        self.connect()
        source = iter(requests)
        sample = Sample(latencies_s=array("d"))
        started_s = time.perf_counter()
        started_cpu_s = time.process_time()
        in_flight = 0
        for connection in list(self._connections.values()):
            in_flight += self._send_next(connection, source, sample)
        time_up = False
        while in_flight:
            raise_if_interrupted()
            now_s = time.perf_counter()
            if now_s > started_s + max_s and not time_up:
                time_up = True
                sample.cut_short = next(source, None) is not None
                source = iter(())  # nothing more is sent; what is under way may still be answered
            if now_s > started_s + max_s + GRACE_S:
                self._give_up(sample)
                break
            for fileno, _ in self._poll.poll(POLL_S):
                connection = self._connections[fileno]
                try:
                    body = connection.receive()
                except (OSError, _BadAnswer) as error:
                    sample.fail(f"{type(error).__name__.lstrip('_')}: {error}")
                    self._drop(connection)
                    in_flight -= 1
                    continue
                if body is None:
                    continue
                sample.latencies_s.append(time.perf_counter() - connection.sent_s)
                sample.response_bytes += len(body)
                if body[:1] == _LIFECYCLE_ERROR and (refusal := _refusal(body)) is not None:
                    sample.fail(refusal)
                sample.last_body = body
                in_flight -= 1
                in_flight += self._send_next(connection, source, sample)
        sample.cut_short = sample.cut_short or next(source, None) is not None  # or every connection broke
        sample.elapsed_s = time.perf_counter() - started_s
        sample.generator_cpu_s = time.process_time() - started_cpu_s
        return sample

    def _send_next(self, connection: "_Connection", source: Iterator[bytes], sample: Sample) -> int:
        """How many requests are under way on this connection now: one or none."""
        request = next(source, None)
        if request is None:
            return 0
        try:
            connection.send(request)
        except OSError as error:
            sample.fail(f"{type(error).__name__}: {error}")
            self._drop(connection)
            return 0
        return 1

    def _give_up(self, sample: Sample) -> None:
        for connection in [each for each in self._connections.values() if each.waiting]:
            sample.fail(f"no answer within {time.perf_counter() - connection.sent_s:.0f} s")
            self._drop(connection)

    def _drop(self, connection: "_Connection") -> None:
        self._poll.unregister(connection.fileno)
        del self._connections[connection.fileno]
        connection.close()


class _Connection:
    """One keep-alive connection: a request goes out, a whole answer comes in, and nothing in between."""

    __slots__ = ("_body_ends", "_received", "_socket", "fileno", "sent_s", "waiting")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = bytearray()
        self._body_ends = 0  # 0: the head is not complete yet
        self.fileno = connected.fileno()
        self.sent_s = 0.0
        self.waiting = False

    def close(self) -> None:
        self._socket.close()

    def send(self, request: bytes) -> None:
        self.waiting = True
        self.sent_s = time.perf_counter()
        sent_bytes = self._socket.send(request)
        if sent_bytes != len(request):
            raise OSError(f"the socket took {sent_bytes} of {len(request)} bytes")

    def receive(self) -> bytes | None:
        """The body once it is complete, else None.

        Raises:
          _BadAnswer: not a 200 with a Content-Length, or more than one answer, or the server closed.
          OSError: the connection broke.
        """
        for _ in range(READS_PER_TURN_MAX):
            try:
                piece = self._socket.recv(RECORD_BYTES_MAX)
            except (BlockingIOError, ssl.SSLWantReadError):
                return None
            if not piece:
                raise _BadAnswer("the server closed the connection")
            if not self.waiting:
                raise _BadAnswer("bytes without a request")
            if not self._received:
                # The usual case, an answer in one piece, is not copied into the buffer.
                body_starts, body_ends = _body_span(piece)
                if body_starts and body_ends == len(piece):
                    self.waiting = False
                    return piece[body_starts:]
            self._received += piece
            if not self._body_ends:
                self._body_ends = _body_span(self._received)[1]
            if self._body_ends and len(self._received) >= self._body_ends:
                return self._take_body()
        return None

    def _take_body(self) -> bytes:
        if len(self._received) > self._body_ends:
            raise _BadAnswer("more bytes than Content-Length says")
        body = bytes(memoryview(self._received)[_body_span(self._received)[0] :])
        self._received = bytearray()
        self._body_ends = 0
        self.waiting = False
        return body


def _body_span(received: bytes | bytearray) -> tuple[int, int]:
    """Where the body starts and ends; zeros while the head is incomplete."""
    head_ends = received.find(b"\r\n\r\n")
    if head_ends < 0:
        return 0, 0
    head = bytes(received[:head_ends])
    if head[9:12] != b"200":
        raise _BadAnswer(head.split(b"\r\n", 1)[0].decode("latin-1"))
    # Lower-cased because Hypercorn and Go spell it differently.
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise _BadAnswer("no Content-Length")
    body_starts = head_ends + 4
    return body_starts, body_starts + int(rest.split(b"\r\n", 1)[0])


def _refusal(body: bytes) -> str | None:
    """The error in a response, as text; every response with an error has it in field 1."""
    try:
        response = pb.ActualLRPLifecycleResponse.FromString(body)
    except DecodeError:
        return "a body that does not decode"
    if not response.HasField("error"):
        return None
    number = response.error.type
    known = pb.Error.Type.values()
    return f"{pb.Error.Type.Name(number) if number in known else number}: {response.error.message}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m perf.load", description="Send one request many times; print one line of JSON."
    )
    parser.add_argument("--url", required=True)
    for name in ("--ca", "--cert", "--key"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--path", default="/v1/ping")
    parser.add_argument("--body", type=Path, help="file with the protobuf message to send")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--max-s", type=float, default=60.0)
    options = parser.parse_args(argv)
    target = Target.from_url(options.url, ca=options.ca, cert=options.cert, key=options.key)
    request = target.post(options.path, options.body.read_bytes() if options.body else b"")
    with LoadGenerator(target, connections=options.connections) as generator:
        sample = generator.run((request for _ in range(options.requests)), max_s=options.max_s)
    print(json.dumps(sample.as_json()))
    return 0 if sample.good else 1


if __name__ == "__main__":
    sys.exit(main())
