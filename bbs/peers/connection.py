"""One connection to a peer: requests out, and of each answer the head in, over HTTP/1.1.

Most answers of peers look alike: one small head, no body. Those that fit a strict pattern are read here, whatever else
comes is h11's to judge: a head in two pieces, an informational response, a chunked body, nonsense. So this is as strict as
h11, and a call costs half of what it did with httpcore's connection, which asks h11 about each step. The streams beneath,
and with them the errors of connecting, reading and writing, are httpcore's.
"""

import re
import ssl
from typing import Final, NamedTuple

import h11
import httpcore
import trio

READ_BYTES: Final = 64 * 1024
HEAD_BYTES_MAX: Final = 100 * 1024
"""Of a response; httpcore's bound."""

SENT_AT_ONCE_BYTES: Final = 256 * 1024
"""Bytes of a body handed to TLS at once. The auctions of a convergence pass can be 30 MB, and TLS encrypts all that it is
given without a checkpoint, while everybody else waits."""

# Less than h11 takes: no empty values, no bytes beyond ASCII, nothing before HTTP/1.1.
_PLAIN_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) [ -~]*\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_PLAIN_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_WITHOUT_BODY: Final = (204, 304)


class Origin(NamedTuple):
    """Whom a connection is to: ``http`` or ``https``, and a host as DNS has it."""

    scheme: str
    host: str
    port: int


class ResponseHead(NamedTuple):
    """The names of ``headers`` are lower-case; of several with one name it has the first."""

    status: int
    headers: dict[bytes, bytes]


class Connection:
    """A connection to ``origin``, which connects with its first request. One request at a time. It is good for ``idle_max_s``
    seconds without one.

    It `is_idle` when the last answer was over with its head, so that the next request may follow. In any other case it
    is of no use any more.
    """

    def __init__(
        self, origin: Origin, *, tls: ssl.SSLContext, network: httpcore.AsyncNetworkBackend, idle_max_s: float
    ) -> None:
        self._origin = origin
        self._tls = tls
        self._network = network
        self._idle_max_s = idle_max_s
        self._stream: httpcore.AsyncNetworkStream | None = None
        self._idle_since_s: float | None = None

    @property
    def is_idle(self) -> bool:
        return self._idle_since_s is not None

    def has_expired(self) -> bool:
        """Whether an idle connection has been so for too long, or the peer has closed it, or said what nobody asked for."""
        assert self._stream is not None
        assert self._idle_since_s is not None
        return (
            trio.current_time() > self._idle_since_s + self._idle_max_s
            or self._stream.get_extra_info("is_readable") is True
        )

    async def exchange(self, method: str, head: bytes, body: bytes) -> ResponseHead:
        """Send a request, of which ``head`` is all up to the empty line, and receive the head of its response.

        Raises:
          httpcore.ConnectTimeout, httpcore.NetworkError, httpcore.ProtocolError: there is no response.
          OSError, ValueError: what httpcore leaves as the libraries beneath it raise it.
        Cancellation:
          The connection can't be used any more, but for `aclose`.
        """
        self._idle_since_s = None
        if self._stream is None:
            self._stream = await self._connect()
        was_sent = True
        try:
            # In one piece as a rule, which is one system call, one record of TLS and one packet.
            await self._stream.write(head + body[:SENT_AT_ONCE_BYTES])
            for begin in range(SENT_AT_ONCE_BYTES, len(body), SENT_AT_ONCE_BYTES):
                await self._stream.write(body[begin : begin + SENT_AT_ONCE_BYTES])
        except httpcore.WriteError:
            was_sent = False  # A server may answer before it has read all, and close; its answer counts.
        data = await _some(self._stream)
        response, is_over = plain_response(data) or await self._any_response(method, self._stream, data)
        if is_over and was_sent:
            self._idle_since_s = trio.current_time()
        return response

    async def aclose(self) -> None:
        """A request under way fails."""
        self._idle_since_s = None
        if self._stream is not None:
            await self._stream.aclose()

    async def _connect(self) -> httpcore.AsyncNetworkStream:
        scheme, host, port = self._origin
        stream = await self._network.connect_tcp(host, port)
        if scheme == "https":
            self._tls.set_alpn_protocols(["http/1.1"])
            stream = await stream.start_tls(self._tls, server_hostname=host)
        return stream

    @staticmethod
    async def _any_response(
        method: str, stream: httpcore.AsyncNetworkStream, data: bytes
    ) -> tuple[ResponseHead, bool]:
        """As `plain_response`, but of any response, and waits for the rest of its head."""
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        # How a response is read depends on the method alone.
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "peer")]))
        reader.send(h11.EndOfMessage())
        try:
            reader.receive_data(data)
            while not isinstance(event := reader.next_event(), h11.Response):
                if event is h11.NEED_DATA:
                    reader.receive_data(await _some(stream))
            headers = dict(reversed(list(event.headers)))
            is_over = False
            if headers.get(b"content-length") == b"0":
                reader.next_event()
                is_over = reader.their_state is h11.DONE and reader.trailing_data == (b"", False)
        except h11.RemoteProtocolError as error:
            raise httpcore.RemoteProtocolError(error) from error
        return ResponseHead(event.status_code, headers), is_over


async def _some(stream: httpcore.AsyncNetworkStream) -> bytes:
    data = await stream.read(READ_BYTES)
    if not data:
        raise httpcore.RemoteProtocolError("Server disconnected without sending a response.")
    return data


def plain_response(data: bytes) -> tuple[ResponseHead, bool] | None:
    """The response that ``data`` begins with, and whether that is all of it; None if it takes h11 to read it.

    A response with a body counts as unfinished, however much of the body has come.
    """
    match = _PLAIN_HEAD.match(data)
    if match is None:
        return None
    status = int(match[1])
    lines = match[2].split(b"\r\n")[:-1]
    headers = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        headers[name.lower()] = value
    length = headers.get(b"content-length", b"")
    if (
        len(headers) < len(lines)  # several with one name
        or b"connection" in headers
        or b"transfer-encoding" in headers
        or status in _WITHOUT_BODY
        or not _PLAIN_LENGTH.fullmatch(length)
    ):
        return None
    return ResponseHead(status, headers), int(length) == 0 and match.end() == len(data)
