"""TCP in front of the suite's Postgres, which listens on a Unix socket only: there TLS is asked for, and refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from bbs.embedded_postgres import EmbeddedPostgres
from bbs.embedded_postgres.postmaster import PORT as POSTGRES_PORT


@asynccontextmanager
async def tcp_proxy(server: EmbeddedPostgres) -> AsyncIterator[int]:
    """The port on 127.0.0.1 that leads to ``server``. Connections end with the context."""
    path = server.socket_directory / f".s.PGSQL.{POSTGRES_PORT}"

    async def serve(client: trio.SocketStream) -> None:
        async with client, await trio.open_unix_socket(path) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, client, upstream, nursery.cancel_scope)
            nursery.start_soon(_copy, upstream, client, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    both.cancel()
