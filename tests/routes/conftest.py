"""A server on a real socket, its rows in memory only, through either lane; and a client that shows every byte."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import h11
import pytest
import trio
from google.protobuf.message import Message

from bbs.http.listener import Hooks, HTTPServer
from bbs.http.sockets import open_listeners
from bbs.log import Logger, null_logger
from bbs.models import pb
from bbs.service import Service
from bbs.store.backend import Backend, DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs
from tests.faulty_peers import FaultyPeers

ResponseT = TypeVar("ResponseT", bound=Message)

KEYRING: Final = Keyring({"label": "key"}, "label")
NOW_NS = 1_700_000_000_000_000_000


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """``bugs`` are exceptions that handlers raised and should not have."""

    port: int
    peers: FaultyPeers
    store: Store
    hubs: EventHubs
    service: Service
    bugs: list[Exception] = field(default_factory=list)
    now_ns: int = NOW_NS

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def post(
        self,
        path: str,
        body: Message | bytes = b"",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        payload = body if isinstance(body, bytes) else body.SerializeToString()
        connection = h11.Connection(h11.CLIENT)
        with trio.fail_after(10):
            async with await self.connect() as stream:
                given = [("Host", "bbs"), ("Content-Length", str(len(payload))), *(headers or {}).items()]
                for event in (
                    h11.Request(method=method, target=path, headers=given),
                    h11.Data(payload),
                    h11.EndOfMessage(),
                ):
                    await stream.send_all(connection.send(event) or b"")
                reply = Reply(0, {}, b"")
                while True:
                    match connection.next_event():
                        case h11.NEED_DATA:
                            connection.receive_data(await stream.receive_some())
                        case h11.Response() as response:
                            reply.status = response.status_code
                            reply.headers = {
                                name.decode().title(): value.decode() for name, value in response.headers
                            }
                        case h11.Data(data):
                            reply.body += data
                        case h11.EndOfMessage():
                            return reply
                        case other:
                            raise AssertionError(f"unexpected {other!r}")

    async def ask(self, path: str, request: Message | bytes, response_class: type[ResponseT]) -> ResponseT:
        reply = await self.post(path, request)
        assert reply.status == 200
        return response_class.FromString(reply.body)

    async def change(self, path: str, request: Message) -> str:
        """The error text of a lifecycle call, or ``""``."""
        return (await self.ask(path, request, pb.ActualLRPLifecycleResponse)).error.message


def fail_on_dropped_row(row: DroppedRow) -> None:
    raise AssertionError(f"a row that we wrote could not be read: {row}")


@pytest.fixture(params=["fast lane", "quart"])
async def server(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Server]:
    backend = MemoryBackend(Disk(), KEYRING, on_dropped=fail_on_dropped_row)
    async with serving_lrps(backend, nursery, fast_lane=request.param == "fast lane") as running:
        yield running


@asynccontextmanager
async def serving_lrps(
    backend: Backend,
    nursery: trio.Nursery,
    *,
    fast_lane: bool,
    tls: ssl.SSLContext | None = None,
    log: Logger | None = None,
    **circumstances: Any,
) -> AsyncIterator[Server]:
    """A server with the rows of ``backend``, that must have met no bug in the end. ``circumstances`` go to `Service`."""
    await backend.acquire_writer_lock()
    peers = FaultyPeers()
    listeners = await open_listeners("127.0.0.1:0")
    bugs: list[Exception] = []
    running: Server
    service = Service(
        backend,
        peers=peers.as_peers(),
        log=null_logger() if log is None else log,
        now_ns=lambda: running.now_ns,
        on_unrecoverable=bugs.append,
        **circumstances,
    )
    running = Server(listeners[0].socket.getsockname()[1], peers, service.store, service.hubs, service, bugs)
    await service.store.load()
    http = HTTPServer(
        service.routes,
        tls=tls,
        gate=lambda: True,
        hooks=Hooks(
            on_bug=lambda bug, call: bugs.append(bug),
            on_connection_failed=lambda failure, peer: bugs.append(failure),
            on_accept_failed=bugs.append,
        ),
        fast_lane=fast_lane,
    )
    await nursery.start(service.write)
    await nursery.start(http.serve, listeners)
    yield running
    service.hubs.close()
    assert not bugs
