"""HTTP as the BBS speaks it to its peers: one client for each kind of peer (spec: peers.md §1).

A call is one request, redirects followed, of which only the status matters; response bodies are never read. It has the
limits that Go's client has by default or upstream sets: 5 s to resolve a name and connect, the whole of it bounded by
``communication_timeout``, two idle connections kept per host for 90 s. HTTP/1.1 only; proxies of the environment,
cookies and the like do not exist here.
"""

import errno
import math
import os
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import httpcore
import httpx
import trio

from bbs.concurrency.causes import root_cause
from bbs.http.reasons import go_reason
from bbs.peers.connections import CLOSE_MAX_S, CONNECTIONS_MAX, Connections
from bbs.peers.interfaces import PeerUnavailable

REQUESTS_MAX: Final = 10
"""Requests of one call. Go stops a chain of redirects after the tenth request."""

SENT_AT_ONCE_BYTES: Final = 256 * 1024
"""Bytes of a body handed to TLS at once. The auctions of a convergence pass can be 30 MB, and TLS encrypts all that it is
given without a checkpoint, while everybody else waits."""

JSON_CONTENT: Final = (("Content-Type", "application/json"),)
REQUEST_ID: Final = "X-Vcap-Request-Id"

Headers = tuple[tuple[str, str], ...]
"""Names and values, the latter as the fast lane reads them: Latin-1."""


class NoResponse(PeerUnavailable):
    """No HTTP response came: not resolved, refused, broken, not TLS, not HTTP, redirected in circles."""


class TimedOut(NoResponse):
    """The whole call took longer than ``communication_timeout``."""


class ConnectionClosed(NoResponse):
    """We closed the connection ourselves while the call was under way, because the process stops."""


class URLInvalid(NoResponse):
    """The text is no URL, so that no request could be made."""


class BadStatus(PeerUnavailable):
    """The peer answered, and not as it does when it complies."""

    def __init__(self, status: int) -> None:
        super().__init__(f"http error: status code {status} ({go_reason(status)})")
        self.status = status


class HTTPClient:
    """Calls peers of one kind. ``timeout_s`` bounds a whole call; 0, or less, is upstream's word for no bound."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext],
        timeout_s: float,
        network: httpcore.AsyncNetworkBackend | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._timeout_s = timeout_s if timeout_s > 0 else math.inf
        self._connections = Connections(tls=tls, network=network, connections_max=connections_max)

    async def send(self, method: str, url: str, *, headers: Headers = (), body: bytes | None = None) -> int:
        """Send a request, follow redirects, and return the status of the last response.

        Raises:
          URLInvalid, TimedOut, ConnectionClosed, NoResponse: there is no response.
        Cancellation:
          The peer may have got the request, or some of it.
        """
        request = _Request(method, _parse(url), headers, body)
        with trio.move_on_after(self._timeout_s):
            for _ in range(REQUESTS_MAX):
                status, location = await self._exchange(request)
                if location is None:
                    return status
                request = request.redirected(status, location)
            raise NoResponse(request.went_wrong(f"stopped after {REQUESTS_MAX} redirects"))
        raise TimedOut(
            request.went_wrong("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")
        )

    async def aclose(self) -> None:
        """Close all connections. Calls that wait for their answer fail."""
        await self._connections.aclose()

    async def _exchange(self, request: "_Request") -> tuple[int, str | None]:
        """One request and the head of its response: the status, and where a redirect leads."""
        try:
            message = request.to_httpcore()
            async with self._connections.to(message.url) as connection:
                response = await connection.handle_async_request(message)
                headers = _first_values(response.headers)
                try:
                    if headers.get(b"content-length") == b"0":
                        # Nothing to wait for, and the connection can be used again. With a body unread it can't.
                        await response.aread()
                finally:
                    with trio.move_on_after(CLOSE_MAX_S, shield=True):
                        await response.aclose()
        except httpcore.ConnectTimeout as error:
            raise NoResponse(request.went_wrong(f"dial tcp {request.host_port}: i/o timeout")) from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            OSError,
            # What is odd about a host or a header shows only deep in the socket, TLS or HTTP library.
            ValueError,
        ) as error:
            if error.args and isinstance(error.args[0], trio.ClosedResourceError):
                raise ConnectionClosed(request.went_wrong("use of closed network connection")) from error
            raise NoResponse(request.went_wrong(_reason(error, request.host_port))) from error
        return response.status, _location(response.status, headers)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: httpx.URL
    headers: Headers
    body: bytes | None

    @property
    def host_port(self) -> str:
        return f"{self.url.host}:{self.url.port or (443 if self.url.scheme == 'https' else 80)}"

    def went_wrong(self, how: str) -> str:
        url = self.url.copy_with(userinfo=b"") if self.url.userinfo else self.url
        return f'{self.method.capitalize()} "{url}": {how}'

    def to_httpcore(self) -> httpcore.Request:
        """The request with the headers that Go's client sends, in its order."""
        if self.url.scheme not in ("http", "https"):
            raise ValueError(f'unsupported protocol scheme "{self.url.scheme}"')
        if not self.url.host:
            raise ValueError("http: no Host in request URL")
        body = self.body or b""
        headers = [("Host", self.url.netloc.decode("ascii")), ("User-Agent", "Go-http-client/1.1")]
        if self.method != "GET":
            headers.append(("Content-Length", str(len(body))))
        if self.url.userinfo:
            given = f"{self.url.username}:{self.url.password}".encode()
            headers.append(("Authorization", f"Basic {b64encode(given).decode()}"))
        headers += self.headers
        headers.append(("Accept-Encoding", "gzip"))
        return httpcore.Request(
            self.method,
            httpcore.URL(
                scheme=self.url.raw_scheme,
                host=self.url.raw_host,
                port=self.url.port,
                target=self.url.raw_path,
            ),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
            content=_Slices(body),
        )

    def redirected(self, status: int, location: str) -> "_Request":
        """The request to make next: 301, 302 and 303 turn it into a GET, 307 and 308 repeat it elsewhere."""
        try:
            url = self.url.join(location)
        except httpx.InvalidURL as error:
            raise NoResponse(
                self.went_wrong(f'failed to parse Location header "{location}": {error}')
            ) from error
        if status in (307, 308):
            return replace(self, url=url)
        headers = tuple(header for header in self.headers if header not in JSON_CONTENT)
        return _Request("GET", url, headers, None)


class _Slices:
    """A body in pieces; unlike a generator's, its iteration may be left unfinished."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = bytes(self._body[self._sent : self._sent + SENT_AT_ONCE_BYTES])
        if not piece:
            raise StopAsyncIteration
        self._sent += len(piece)
        return piece


def _parse(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise URLInvalid(f'parse "{url}": {error}') from error


def _first_values(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in reversed(headers)}


def _location(status: int, headers: dict[bytes, bytes]) -> str | None:
    """Where to go on. A redirect that does not say is a response like any other."""
    if status not in (301, 302, 303, 307, 308) or not headers.get(b"location"):
        return None
    return headers[b"location"].decode("utf-8", "replace")


def _reason(error: Exception, host_port: str) -> str:
    """The text of a failure in Go's words. The libraries wrap the system's error several times; the innermost one says
    what happened.
    """
    told: BaseException = error
    while told.args and isinstance(told.args[0], BaseException):
        told = told.args[0]
    told = root_cause(told.__cause__ or told)
    if not isinstance(told, OSError) or isinstance(told, ssl.SSLError) or told.errno not in errno.errorcode:
        return str(told) or type(told).__name__
    assert told.errno is not None
    why = os.strerror(told.errno).lower()
    return f"dial tcp {host_port}: connect: {why}" if isinstance(error, httpcore.ConnectError) else why
