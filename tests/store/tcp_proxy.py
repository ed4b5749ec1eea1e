"""TCP in front of the suite's Postgres servers, which listen on Unix sockets only (there Postgres is asked for TLS, and refuses);
or of any server whose connections a test wants to break.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from bbs.concurrency.clearable_event import ClearableEvent


class Line:
    """Of all connections through a proxy. While it is dead nothing that one end sends, not even its end, gets to the other;
    it is kept, and gets there when the line is mended.
    """

    def __init__(self) -> None:
        self.is_alive = ClearableEvent()
        self.connections: set[trio.CancelScope] = set()
        self.mend()

    def cut(self) -> None:
        self.is_alive.clear()

    def mend(self) -> None:
        self.is_alive.set()

    def end_connections(self) -> None:
        """Those that there are. New ones get through."""
        for connection in self.connections:
            connection.cancel()


@asynccontextmanager
async def tcp_proxy(to: Path | int, line: Line | None = None) -> AsyncIterator[int]:
    """The port on 127.0.0.1 that leads to the socket at a path, or to another port there. Connections end with the context."""
    line = line or Line()

    async def connect() -> trio.SocketStream:
        if isinstance(to, Path):
            return await trio.open_unix_socket(to)
        return await trio.open_tcp_stream("127.0.0.1", to)

    async def serve(client: trio.SocketStream) -> None:
        async with client, await connect() as upstream, trio.open_nursery() as nursery:
            line.connections.add(nursery.cancel_scope)
            nursery.start_soon(_copy, client, upstream, line, nursery.cancel_scope)
            nursery.start_soon(_copy, upstream, client, line, nursery.cancel_scope)
        line.connections.discard(nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _copy(
    source: trio.SocketStream, sink: trio.SocketStream, line: Line, both: trio.CancelScope
) -> None:
    try:
        async for data in source:
            await line.is_alive.wait()
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    await line.is_alive.wait()
    both.cancel()
