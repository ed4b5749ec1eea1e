"""A TLS handshake for its own sake: to find out whether one can be had, and which certificate is shown."""

import ssl
from typing import Final

import trio

from bbs.client._connector import tcp_connector
from bbs.client._errors import TransportError, TransportTimeout
from bbs.client._http import Transport

KEEP_ALIVE_S: Final = 15


async def shake_hands(
    host: str, port: int, context: ssl.SSLContext, *, timeout_s: float, objects_within_s: float = 0.0
) -> bytes | None:
    """Connect, shake hands, and wait for so long whether the server objects: in TLS 1.3 it looks at our certificate when the
    handshake is over for us. Returns its certificate, in DER.

    Raises:
      TransportError: as a call would, but for the name of the request.
    """
    transport = Transport(tcp_connector(keep_alive_s=KEEP_ALIVE_S), context, idle_connections_max=0)
    try:
        with trio.move_on_after(timeout_s):
            return await transport.shake_hands(host, port, objects_within_s=objects_within_s)
        raise TransportTimeout(f"{host}:{port}: no handshake within {timeout_s:g} s")
    except TransportError as error:
        error.server = f"{host}:{port}"
        raise
