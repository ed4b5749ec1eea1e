"""One GET of a server that is no BBS, such as a rep, with the certificate and in the words of the client."""

import ssl
from typing import Final

import trio

from bbs.client._connector import tcp_connector
from bbs.client._errors import TransportError
from bbs.client._http import Headers, Request, Transport, awaited_headers, origin_of

KEEP_ALIVE_S: Final = 15
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Much more than a rep has to say of its cell."""


async def http_get(
    url: str, *, ssl_context: ssl.SSLContext | None, headers: Headers = (), timeout_s: float
) -> tuple[int, bytes]:
    """The status and the body of the answer, on a connection of its own.

    Raises:
      TransportError: there is no whole answer within ``timeout_s``. The text names the request, as Go's does.
    """
    try:
        return await _get(Request(method="GET", url=url, headers=headers), ssl_context, timeout_s)
    except TransportError as error:
        error.server = error.server or origin_of(url)
        raise


async def _get(request: Request, ssl_context: ssl.SSLContext | None, timeout_s: float) -> tuple[int, bytes]:
    transport = Transport(tcp_connector(keep_alive_s=KEEP_ALIVE_S), ssl_context, idle_connections_max=0)
    has_answered = False
    with trio.move_on_after(timeout_s):
        response, lease = await transport.open(request)
        try:
            has_answered = True
            pieces, length = [], 0
            while piece := await response.read_some():
                pieces.append(piece)
                length += len(piece)
                if length > BODY_BYTES_MAX:
                    raise TransportError(f"the answer is longer than {BODY_BYTES_MAX} bytes")
            return response.status, b"".join(pieces)
        finally:
            await lease.discard()
    if has_answered:
        raise TransportError(
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
        )
    raise TransportError(awaited_headers(request))
