"""TCP in front of the suite's servers, which listen on Unix sockets only: there Postgres is asked for TLS, and refuses."""

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
        self.mend()

    def cut(self) -> None:
        self.is_alive.clear()

    def mend(self) -> None:
        self.is_alive.set()


@asynccontextmanager
async def tcp_proxy(path: Path, line: Line | None = None) -> AsyncIterator[int]:
    """The port on 127.0.0.1 that leads to the socket at ``path``. Connections end with the context."""
    line = line or Line()

    async def serve(client: trio.SocketStream) -> None:
        async with client, await trio.open_unix_socket(path) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, client, upstream, line, nursery.cancel_scope)
            nursery.start_soon(_copy, upstream, client, line, nursery.cancel_scope)

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
