"""HTTP as the BBS speaks it to its peers: one client for each kind of peer (spec: peers.md §1).

A call is one request, redirects followed, of which only the status matters; response bodies are never read. It has the
limits that Go's client has by default or upstream sets: 5 s to resolve a name and connect, the whole of it bounded by
``communication_timeout``, two idle connections kept per host for 90 s. HTTP/1.1 only; proxies of the environment,
cookies and the like do not exist here.
"""

import errno
import math
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import h11
import httpcore
import httpx
import trio

from bbs.concurrency.causes import root_cause
from bbs.http.reasons import go_reason
from bbs.peers.addresses import Address, URLUnreadable
from bbs.peers.connection import SENT_AT_ONCE_BYTES as SENT_AT_ONCE_BYTES
from bbs.peers.connections import CONNECTIONS_MAX, Connections
from bbs.peers.interfaces import PeerUnavailable

REQUESTS_MAX: Final = 10
"""Requests of one call. Go stops a chain of redirects after the tenth request."""

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
        request = _Request(method, _address(url), headers, body)
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
            head = request.head()
            async with self._connections.to(request.address.origin) as connection:
                response = await connection.exchange(request.method, head, request.body or b"")
        except httpcore.ConnectTimeout as error:
            raise NoResponse(
                request.went_wrong(f"dial tcp {request.address.host_port}: i/o timeout")
            ) from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            OSError,
            # What is odd about a host or a header shows only deep in the socket, TLS or HTTP library.
            ValueError,
        ) as error:
            if error.args and isinstance(error.args[0], trio.ClosedResourceError):
                raise ConnectionClosed(request.went_wrong("use of closed network connection")) from error
            raise NoResponse(request.went_wrong(_reason(error, request.address.host_port))) from error
        return response.status, _location(response.status, response.headers)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    address: Address
    headers: Headers
    body: bytes | None

    def went_wrong(self, how: str) -> str:
        return f'{self.method.capitalize()} "{self.address.told}": {how}'

    def head(self) -> bytes:
        """The request line and the headers that Go's client sends, in its order, up to the empty line.

        Raises:
          ValueError, httpcore.LocalProtocolError: the address or a header is none that can be sent.
        """
        address = self.address
        if address.origin.scheme not in ("http", "https"):
            raise ValueError(f'unsupported protocol scheme "{address.origin.scheme}"')
        if not address.origin.host:
            raise ValueError("http: no Host in request URL")
        lines = [f"{self.method} {address.target} HTTP/1.1", f"Host: {address.host}", _USER_AGENT]
        if self.method != "GET":
            lines.append(f"Content-Length: {len(self.body or b'')}")
        if address.authorization:
            lines.append(f"Authorization: {address.authorization}")
        given = [f"{name}: {value}" for name, value in self.headers]
        if _PLAIN_TARGET.fullmatch(address.target) is None or not all(map(_PLAIN_LINE.fullmatch, given)):
            self._check()
        return "\r\n".join([*lines, *given, _LAST_LINE]).encode("latin-1")

    def redirected(self, status: int, location: str) -> "_Request":
        """The request to make next: 301, 302 and 303 turn it into a GET, 307 and 308 repeat it elsewhere."""
        try:
            url = httpx.URL(self.address.url).join(location)
        except httpx.InvalidURL as error:
            raise NoResponse(
                self.went_wrong(f'failed to parse Location header "{location}": {error}')
            ) from error
        address = Address.of(url)
        if status in (307, 308):
            return replace(self, address=address)
        headers = tuple(header for header in self.headers if header not in JSON_CONTENT)
        return _Request("GET", address, headers, None)

    def _check(self) -> None:
        """Have h11 say what is wrong with the head, if anything is."""
        headers = [("Host", self.address.host), *self.headers]
        try:
            h11.Request(
                method=self.method,
                target=self.address.target,
                headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
            )
        except h11.LocalProtocolError as error:
            raise httpcore.LocalProtocolError(error) from error


_USER_AGENT: Final = "User-Agent: Go-http-client/1.1"
_LAST_LINE: Final = "Accept-Encoding: gzip\r\n\r\n"

# What can be sent without asking h11, which takes more than that.
_PLAIN_TARGET: Final = re.compile("[!-~]+")
_PLAIN_LINE: Final = re.compile("[-!#$%&'*+.^_`|~0-9a-zA-Z]+: (?:[!-~](?:[ -~]*[!-~])?)?")


def _address(url: str) -> Address:
    try:
        return Address.parsed(url)
    except URLUnreadable as error:
        raise URLInvalid(f'parse "{url}": {error}') from error


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
