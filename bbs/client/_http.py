"""HTTP/1.1 for the client: one exchange per connection at a time, idle connections kept (spec: client.md §2).

A connection belongs to whoever opened it, until its response is released: back to the idle ones if the response was
read to its end, else closed. There is no task in the background, so a connection that has been idle for too long is
closed when its pool is next used.
"""

import copy
import math
import select
import socket
import ssl
import zlib
from collections import deque
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import h11
import trio
import trio.abc

from bbs.client._connector import Connector, failure, unresolved
from bbs.client._errors import HostNotFound, TransportError, TransportTimeout

IDLE_TIMEOUT_S: Final = 90.0
REDIRECTS_MAX: Final = 10
HEAD_BYTES_MAX: Final = 1024 * 1024
READ_BYTES: Final = 64 * 1024

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOuts:
    """Bounds of one exchange, in seconds: of connecting, of the TLS handshake, of the whole way to a response's head (with both),
    and of the wait for each piece of its body.
    """

    connect_s: float = 5.0
    tls_handshake_s: float = 10.0
    head_s: float = math.inf
    piece_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""

    @property
    def verb(self) -> str:
        """As upstream's error texts spell the method."""
        return self.method.capitalize()

    def head(self) -> h11.Request:
        parsed = urlsplit(self.url)
        target = parsed.path or "/"
        headers = [("Host", parsed.netloc.rpartition("@")[2]), ("User-Agent", "bbs-client"), *self.headers]
        if self.body or self.method != "GET":
            headers.append(("Content-Length", str(len(self.body))))
        headers.append(("Accept-Encoding", "gzip"))
        return h11.Request(
            method=self.method, target=f"{target}?{parsed.query}" if parsed.query else target, headers=headers
        )


class Response:
    """A response whose head has arrived; its body is read piece by piece."""

    def __init__(self, head: h11.Response, connection: "Connection", *, piece_timeout_s: float) -> None:
        self.status: Final = head.status_code
        self.reason: Final = head.reason.decode("latin-1")
        self._headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers
        }
        self._connection = connection
        self._piece_timeout_s = piece_timeout_s
        self._inflate = zlib.decompressobj(wbits=31) if self.header("Content-Encoding") == "gzip" else None

    def header(self, name: str) -> str | None:
        return self._headers.get(name.lower())

    @property
    def media_type(self) -> str:
        return (self.header("Content-Type") or "").partition(";")[0].strip().lower()

    async def read_some(self) -> bytes:
        """The next piece of the body; empty at its end.

        Raises:
          TransportTimeout: nothing came for too long.
          TransportError: the connection broke, or the body is not whole.
        """
        while piece := await self._next_piece():
            if self._inflate is None:
                return piece
            try:
                if inflated := self._inflate.decompress(piece):
                    return inflated
            except zlib.error as error:
                raise TransportError(f"gzip: {error}") from error
        return b""

    async def _next_piece(self) -> bytes:
        with trio.move_on_after(self._piece_timeout_s):
            return await self._connection.read_body_piece()
        raise TransportTimeout(f"nothing came for {self._piece_timeout_s:g} s")

    async def read(self) -> bytes:
        pieces = []
        while piece := await self.read_some():
            pieces.append(piece)
        return b"".join(pieces)


class Connection:
    """One stream to a server, speaking HTTP/1.1."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self.idle_since = 0.0

    async def ask(self, request: Request, *, piece_timeout_s: float) -> Response:
        """Send a request and wait for the head of its response.

        Raises:
          TransportError: the connection broke, or what came is not HTTP.
        """
        try:
            message = self._http.send(request.head()) or b""
            if request.body:
                message += self._http.send(h11.Data(data=request.body)) or b""
            message += self._http.send(h11.EndOfMessage()) or b""
            await self._stream.send_all(message)
            while True:
                event = await self._next_event()
                if isinstance(event, h11.Response):
                    return Response(event, self, piece_timeout_s=piece_timeout_s)
        except (OSError, trio.BrokenResourceError, h11.ProtocolError) as error:
            raise failure(error) from error

    async def read_body_piece(self) -> bytes:
        try:
            while self._http.their_state is h11.SEND_BODY:
                event = await self._next_event()
                if isinstance(event, h11.Data):
                    return bytes(event.data)
            return b""
        except (OSError, trio.BrokenResourceError, h11.ProtocolError) as error:
            raise failure(error) from error

    def make_reusable(self) -> bool:
        """Get ready for the next request, if the last response has been read and the server keeps the connection."""
        try:
            while self._http.their_state is h11.SEND_BODY and self._http.next_event() is not h11.NEED_DATA:
                pass
            self._http.start_next_cycle()
        except h11.ProtocolError:
            return False
        return not self._http.trailing_data[0]

    def looks_alive(self) -> bool:
        """Whether an idle connection can still be used, as far as can be told without sending.

        If there is anything to read the server has closed it, or is about to: it has no request to answer. Without this
        look the next request would fail on every connection that a restarted server has left behind.
        """
        stream = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        if not isinstance(stream, trio.SocketStream):
            return True
        poll = select.poll()
        poll.register(stream.socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def close(self) -> None:
        """Close at once, without a word to the server. Safe in a cancelled scope."""
        await trio.aclose_forcefully(self._stream)

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if not isinstance(event, type) or event is h11.PAUSED:
                return event
            data = await self._stream.receive_some(READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise TransportError("EOF")
            self._http.receive_data(bytes(data))


@dataclass(frozen=True, slots=True)
class _Origin:
    is_tls: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: SplitResult) -> "_Origin":
        is_tls = url.scheme == "https"
        return cls(is_tls, url.hostname or "", url.port or (443 if is_tls else 80))


class Transport:
    """Opens exchanges, over idle connections where there are any. Close it in the end."""

    def __init__(
        self,
        connector: Connector,
        ssl_context: ssl.SSLContext | None,
        *,
        idle_connections_max: int,
        time_outs: TimeOuts | None = None,
    ) -> None:
        self._connector = connector
        self._ssl_context = ssl_context
        self._idle_max = idle_connections_max
        self._time_outs = time_outs or TimeOuts()
        self._idle: dict[_Origin, deque[Connection]] = {}

    async def open(self, request: Request) -> tuple[Response, "Lease"]:
        """Send a request and wait for the head of its response, going where redirects lead.

        The lease holds the connection: release it when done with the response.

        Raises:
          TransportTimeout: connecting took too long, or the whole of it.
          TransportError: there is no response; the text names the request.
        """
        with trio.move_on_after(self._time_outs.head_s):
            return await self._open(request)
        raise TransportTimeout(awaited_headers(request))

    async def _open(self, request: Request) -> tuple[Response, "Lease"]:
        asked = request
        for _ in range(REDIRECTS_MAX + 1):
            try:
                lease = await self._lease(_Origin.of(urlsplit(asked.url)))
                response = await lease.ask(asked, piece_timeout_s=self._time_outs.piece_s)
            except TransportError as error:
                raise _of_request(error, asked) from error
            if (redirected := _redirected(asked, response)) is None:
                return response, lease
            await lease.release()
            asked = redirected
        raise TransportError(f'{asked.verb} "{asked.url}": stopped after {REDIRECTS_MAX} redirects')

    async def shake_hands(self, host: str, port: int, *, objects_within_s: float) -> bytes | None:
        """Make a TLS connection and close it again. Returns the server's certificate, in DER.

        Raises:
          TransportError: there is none, or the server objected to ours within that time.
        """
        stream = await self._dial(_Origin(True, host, port))
        try:
            with trio.move_on_after(objects_within_s):
                await stream.receive_some(1)
        except (OSError, trio.BrokenResourceError) as error:
            raise failure(error) from error
        finally:
            await trio.aclose_forcefully(stream)
        assert isinstance(stream, trio.SSLStream)
        shown: bytes | None = stream.getpeercert(binary_form=True)
        return shown

    async def aclose(self) -> None:
        """Close the idle connections; those in use close when they are released."""
        self._idle_max = 0
        while self._idle:
            _, connections = self._idle.popitem()
            while connections:
                await connections.popleft().close()

    async def _lease(self, origin: _Origin) -> "Lease":
        idle = self._idle.get(origin, deque())
        while idle:
            # The one used last is the likeliest to be open still.
            connection = idle.pop()
            if trio.current_time() - connection.idle_since < IDLE_TIMEOUT_S and connection.looks_alive():
                return Lease(self, origin, connection)
            await connection.close()
        return Lease(self, origin, Connection(await self._dial(origin)))

    async def _dial(self, origin: _Origin) -> trio.abc.Stream:
        address = f"{origin.host}:{origin.port}"
        try:
            with trio.fail_after(self._time_outs.connect_s):
                stream = await self._connector(origin.host, origin.port)
        except trio.TooSlowError as error:
            raise TransportTimeout(f"dial tcp {address}: i/o timeout") from error
        except socket.gaierror as error:
            raise HostNotFound(f"dial tcp: {unresolved(origin.host, error)}") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise failure(error, before=f"dial tcp {address}: connect: ") from error
        return await self._with_tls(stream, origin.host) if origin.is_tls else stream

    async def _with_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        if self._ssl_context is None:
            await trio.aclose_forcefully(stream)
            raise TransportError("redirected to https without TLS being configured")
        tls = trio.SSLStream(stream, self._ssl_context, server_hostname=host, https_compatible=True)
        is_up = False
        try:
            with trio.fail_after(self._time_outs.tls_handshake_s):
                await tls.do_handshake()
            is_up = True
        except trio.TooSlowError as error:
            raise TransportTimeout("net/http: TLS handshake timeout") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise failure(error) from error
        finally:
            if not is_up:
                await trio.aclose_forcefully(stream)
        return tls

    async def take_back(self, origin: _Origin, connection: Connection) -> None:
        """Keep ``connection`` for the next call if that is possible and there is room, or close it."""
        if self._idle_max and connection.make_reusable():
            connection.idle_since = trio.current_time()
            idle = self._idle.setdefault(origin, deque())
            idle.append(connection)
            # Asked anew each time: while one is closed, other calls take connections and give them back.
            while idle and (
                len(idle) > self._idle_max or trio.current_time() - idle[0].idle_since >= IDLE_TIMEOUT_S
            ):
                await idle.popleft().close()
        else:
            await connection.close()


class Lease:
    """A connection on loan for one exchange."""

    def __init__(self, transport: Transport, origin: _Origin, connection: Connection) -> None:
        self._transport = transport
        self._origin = origin
        self._connection: Connection | None = connection

    async def ask(self, request: Request, *, piece_timeout_s: float) -> Response:
        assert self._connection is not None
        answered = False
        try:
            response = await self._connection.ask(request, piece_timeout_s=piece_timeout_s)
            answered = True
        finally:
            if not answered:
                await self.discard()
        return response

    async def release(self) -> None:
        """Give the connection back; it is kept if the response has been read. Releasing twice is harmless."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._transport.take_back(self._origin, connection)

    async def discard(self) -> None:
        """Close the connection, whatever state it is in. Safe in a cancelled scope."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


def awaited_headers(request: Request) -> str:
    """What Go's client says when a deadline passed before there was a response."""
    return f'{request.verb} "{request.url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'


def _of_request(error: TransportError, request: Request) -> TransportError:
    """The same error, which tells of the request that it ended."""
    told = copy.copy(error)
    told.args = (f'{request.verb} "{request.url}": {error}',)
    told.server = origin_of(request.url)
    return told


def origin_of(url: str) -> str:
    """Host and port of a URL."""
    origin = _Origin.of(urlsplit(url))
    return f"{origin.host}:{origin.port}"


def _redirected(request: Request, response: Response) -> Request | None:
    location = response.header("Location")
    if location is None or response.status not in (301, 302, 303, 307, 308):
        return None
    url = urljoin(request.url, location)
    if response.status in (307, 308):
        return replace(request, url=url)
    headers = tuple((name, value) for name, value in request.headers if name != "Content-Type")
    return Request(method="GET", url=url, headers=headers)
