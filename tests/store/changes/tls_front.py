"""TLS in front of the tests' Postgres, whose build has none: it shakes hands as Postgres does, then passes on what comes."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from struct import pack
from typing import Final

import trio

SSL_REQUEST: Final = pack("!II", 8, 80877103)


@asynccontextmanager
async def tls_front(path: Path, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port on 127.0.0.1 and 127.0.0.2 that leads to the socket at ``path``, for those who ask for TLS and whom ``context``
    lets in.
    """

    async def serve(client: trio.SocketStream) -> None:
        async with client, await trio.open_unix_socket(path) as upstream:
            if await client.receive_some(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            await client.send_all(b"S")
            stream = trio.SSLStream(client, context, server_side=True, https_compatible=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_copy, stream, upstream, nursery.cancel_scope)
                nursery.start_soon(_copy, upstream, stream, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        await nursery.start(partial(trio.serve_tcp, serve, port, host="127.0.0.2"))
        yield port
        nursery.cancel_scope.cancel()


async def _copy(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    both.cancel()
