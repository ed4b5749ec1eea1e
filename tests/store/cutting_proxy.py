"""TCP in front of one of the suite's servers that cuts a connection at any byte: see `Cut`."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

import trio

Direction = Literal["to server", "to client"]
How = Literal["close", "reset", "stall"]

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass
class Cut:
    """What happens to one connection when ``after`` bytes have gone in ``direction``: they arrive, and no more does.

    With 0 it happens when the first byte comes. To ``close`` it ends it for both sides. To ``reset`` it ends it for the
    client only, as a firewall does: the server goes on to believe in it. One that is to ``stall`` ends for neither side.
    """

    direction: Direction
    after: int
    how: How
    happened: bool = field(default=False, init=False)


@dataclass
class _Connection:
    client: trio.SocketStream
    server: trio.SocketStream
    ended: trio.CancelScope
    is_cut: bool = False


class CuttingProxy:
    """Leads from ``port`` on 127.0.0.1 to a database server. Made by `cutting_proxy`.

    ``passed`` counts the bytes of each direction, over all connections, since the last `arm`, and ``paused_at`` has its
    values after each piece that came at once: where one side waits for the other, and some other places.
    """

    def __init__(self, path: Path) -> None:
        self.port = 0
        self.passed: dict[Direction, int] = {"to server": 0, "to client": 0}
        self.paused_at: dict[Direction, list[int]] = {"to server": [0], "to client": [0]}
        self._path = path
        self._cut: Cut | None = None
        self._half_open: list[_Connection] = []

    def arm(self, cut: Cut | None) -> None:
        """Have ``cut`` befall the connection whose bytes, counted from now on, reach it. Only that one."""
        self.passed = {"to server": 0, "to client": 0}
        self.paused_at = {"to server": [0], "to client": [0]}
        self._cut = cut

    def forget(self) -> None:
        """End what is left of connections that were cut."""
        for connection in self._half_open:
            connection.ended.cancel()
        self._half_open.clear()

    async def serve(self, client: trio.SocketStream) -> None:
        async with client, await trio.open_unix_socket(self._path) as server, trio.open_nursery() as nursery:
            connection = _Connection(client, server, nursery.cancel_scope)
            nursery.start_soon(self._pass_on, connection, "to server")
            nursery.start_soon(self._pass_on, connection, "to client")

    async def _pass_on(self, connection: _Connection, direction: Direction) -> None:
        source, sink = connection.client, connection.server
        if direction == "to client":
            source, sink = sink, source
        try:
            async for data in source:
                if connection.is_cut:
                    break
                cut = self._cut
                if cut is not None and cut.direction == direction:
                    data = data[: cut.after - self.passed[direction]]
                self.passed[direction] += len(data)
                self.paused_at[direction].append(self.passed[direction])
                await sink.send_all(data)
                if cut is not None and cut.direction == direction and self.passed[direction] == cut.after:
                    self._cut = None
                    await self._befall(connection, cut)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if connection.is_cut:
            await trio.sleep_forever()  # neither bytes nor the end of a side get to the other
        connection.ended.cancel()

    async def _befall(self, connection: _Connection, cut: Cut) -> None:
        cut.happened = True
        if cut.how == "close":
            connection.ended.cancel()
            await trio.lowlevel.checkpoint()  # where this ends
        connection.is_cut = True
        self._half_open.append(connection)
        if cut.how == "reset":
            connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.client.socket.close()


@asynccontextmanager
async def cutting_proxy(path: Path) -> AsyncIterator[CuttingProxy]:
    """A proxy before the server whose socket is at ``path``. Connections end with the context."""
    proxy = CuttingProxy(path)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
        proxy.port = listener.socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
