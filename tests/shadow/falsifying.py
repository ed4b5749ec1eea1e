"""A stand-in for a master that hands on what the real one tells, and lies where it is told to.

It speaks plain HTTP, as a stand-in may, and asks the real one by its client.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from bbs.client import BBSClient, Event, EventSource, EventSourceError, RowsOf
from bbs.client._encoded_rows import ROUTES
from bbs.client._routes import EVENTS, INSTANCE_EVENTS, PING, TASK_EVENTS
from bbs.http.endpoints import Answer, Call, EventStream, Route, RouteTable, Unary
from bbs.http.listener import Hooks, HTTPServer
from bbs.http.sockets import open_listeners
from bbs.models import pb
from bbs.models.wire import frame
from bbs.sync.hubs.sse import event_tail, numbered


@dataclass
class Lies:
    """What is made of a list's encoded rows, and of each event: those that are told instead of it. ``asked`` are the paths of
    all requests.
    """

    rows: Callable[[RowsOf, list[bytes]], list[bytes]] = lambda which, rows: rows
    events: Callable[[Event], list[Event]] = lambda event: [event]
    asked: list[str] = field(default_factory=list)


class _Source:
    """The events of the real master, falsified."""

    def __init__(self, source: EventSource, lies: Lies) -> None:
        self._source = source
        self._lies = lies
        self._told = 0
        self._queue: deque[bytes] = deque()
        self._news = trio.Event()
        self._is_closed = False

    async def run(self) -> None:
        async with self._source as events:
            try:
                while not self._is_closed:
                    event = await events.next()
                    for told in self._lies.events(event):
                        self._queue.append(event_tail(told.name, told.message.SerializeToString()))
                    self._news.set()
            except EventSourceError:
                self.close()

    async def receive(self) -> bytes:
        while not self._queue:
            if self._is_closed:
                raise trio.EndOfChannel
            await self._news.wait()
            self._news = trio.Event()
        text = numbered(self._queue, first_id=self._told)
        self._told += len(self._queue)
        self._queue.clear()
        return text

    def close(self) -> None:
        self._is_closed = True
        self._news.set()


@asynccontextmanager
async def falsifying(master: BBSClient, lies: Lies) -> AsyncIterator[str]:
    """The URL of the stand-in."""

    async def list_(which: RowsOf, call: Call) -> Answer:
        lies.asked.append(call.target)
        rows = lies.rows(which, list(await master.encoded_rows(which)))
        return b"".join(frame(2, row) for row in rows)

    async with trio.open_nursery() as nursery:

        async def open_(subscribe: Callable[[], Awaitable[EventSource]], call: Call) -> _Source:
            lies.asked.append(call.target)
            source = _Source(await subscribe(), lies)
            nursery.start_soon(source.run)
            return source

        async def ping(call: Call) -> Answer:
            return pb.PingResponse(available=True).SerializeToString()

        routes: list[Route] = [
            Route(PING.name, "POST", PING.path, Unary(ping)),
            *(
                Route(which.value, "POST", route.path, Unary(partial(list_, which)))
                for which, route in ROUTES.items()
            ),
        ]
        for stream, subscribe in (
            (EVENTS, master.subscribe_to_events),
            (INSTANCE_EVENTS, master.subscribe_to_instance_events),
            (TASK_EVENTS, master.subscribe_to_task_events),
        ):
            endpoint = EventStream(partial(open_, subscribe))
            routes.append(Route(stream.name, stream.method, stream.path, endpoint))

        def fail(error: Exception, *of: Any) -> None:
            raise error

        hooks = Hooks(on_bug=fail, on_connection_failed=fail, on_accept_failed=fail)
        server = HTTPServer(RouteTable(routes), tls=None, gate=lambda: True, hooks=hooks)
        [listener] = await open_listeners("127.0.0.1:0")
        host, port = listener.socket.getsockname()
        await nursery.start(server.serve, [listener])
        yield f"http://{host}:{port}"
        nursery.cancel_scope.cancel()
