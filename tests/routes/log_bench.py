"""Handlers with a log that remembers what they say."""

from dataclasses import dataclass, field

import trio
from google.protobuf.message import Message

from bbs.http.endpoints import Answer, Call, EventStream, Peer, RouteTable, Unary
from bbs.log import LagerSink, root_logger
from bbs.models.outcome import Outcome, Record, put
from bbs.peers.stub import StubPeers
from bbs.routes.context import Context
from bbs.routes.table import route_table
from bbs.service import Service
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from tests.log_lines import Lines
from tests.records import AnyScope


@dataclass
class BBS:
    context: Context
    sink: LagerSink
    out: Lines
    peers: StubPeers
    requests: int = 0
    tables: dict[bool, RouteTable] = field(default_factory=dict)

    def call(self, body: Message | bytes, trace_id: str = "") -> Call:
        self.requests += 1
        call = Call(body if isinstance(body, bytes) else body.SerializeToString(), trace_id, "", Peer("1:2"))
        call.session = self.requests
        return call

    async def ask(
        self, name: str, body: Message | bytes = b"", trace_id: str = "", *, heartbeats: bool = False
    ) -> Answer:
        [endpoint] = [route.endpoint for route in self.table(heartbeats).routes if route.name == name]
        assert isinstance(endpoint, Unary)
        return await endpoint.handle(self.call(body, trace_id))

    def stream(self, name: str) -> EventStream:
        [endpoint] = [route.endpoint for route in self.table(False).routes if route.name == name]
        assert isinstance(endpoint, EventStream)
        return endpoint

    def table(self, heartbeats: bool) -> RouteTable:
        if heartbeats not in self.tables:
            self.tables[heartbeats] = route_table(
                self.context, on_unrecoverable=lambda error: None, debug_lrp_start_heartbeats=heartbeats
            )
        return self.tables[heartbeats]

    async def there_is(self, *records: Record) -> None:
        await self.context.store.commit(
            Outcome(rows=tuple(put(record) for record in records)), AnyScope(self.context.store, "")
        )


def fail_on_dropped_row(row: DroppedRow) -> None:
    raise AssertionError(row)


async def open_bbs(nursery: trio.Nursery) -> BBS:
    out = Lines()
    sink = LagerSink(out, now_ns=lambda: 1795466755_702186515)
    log = root_logger("bbs", sink)
    backend = MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=fail_on_dropped_row)
    await backend.acquire_writer_lock()
    peers = StubPeers()
    service = Service(
        backend,
        peers=peers.as_peers(),
        log=log,
        app_log=lambda process_guid, error: False,
        on_unrecoverable=lambda error: None,
    )
    await service.store.load()
    await nursery.start(service.store.run)
    return BBS(service.context, sink, out, peers)
