"""A server that is asked anything: its disk, its log at debug, and what must hold whatever it is asked."""

from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from google.protobuf.message import Message

from bbs.client import _routes as client_routes
from bbs.http.endpoints import Route
from bbs.log import Level
from bbs.models import pb
from bbs.models.errors import Type
from bbs.models.outcome import Outcome, Record, put
from bbs.peers.interfaces import Cell
from bbs.service import ServiceSettings
from bbs.store.backend import DroppedRow
from bbs.store.codecs import CODECS
from bbs.store.memory_backend import Disk, MemoryBackend
from tests.canaries import found
from tests.http.serving import Wire, post
from tests.log_lines import Lines
from tests.records import AnyScope, desired_message
from tests.routes.conftest import KEYRING, Server, fail_on_dropped_row, serving_lrps
from tests.routes.test_every_route import CALLED
from tests.routes.test_request_lines import CASES
from tests.test_secrets import STREAMS, TENANTS, lrp, routes, task

BY_GUID = pb.DesiredLRPByProcessGuidRequest(process_guid="p")
ALL_DESIRED = [pb.DesiredLRPsRequest(domain="d"), pb.DesiredLRPsRequest(process_guids=["p", "q"])]
TASK = pb.TaskByGuidRequest(task_guid="t")
ALL_TASKS = [pb.TasksRequest(domain="d", cell_id="c1")]
CELL = [pb.EventsByCellId(cell_id="c1")]
DESIRE = [
    pb.DesireLRPRequest(desired_lrp=lrp("p")),
    pb.DesireLRPRequest(desired_lrp=lrp("p", memory_mb=-1)),
    pb.DesireLRPRequest(desired_lrp=lrp("r", instances=3)),
]
UPDATE = pb.UpdateDesiredLRPRequest(
    process_guid="p",
    update=pb.DesiredLRPUpdate(
        instances=2, annotation="a", routes=routes(), metric_tags=desired_message().metric_tags
    ),
)
REQUESTS: dict[str, Sequence[Message]] = {
    case.route: [
        each.request for each in CASES if each.route == case.route and isinstance(each.request, Message)
    ]
    for case in CASES
} | {
    "Ping": [],
    "ActualLRPs": [pb.ActualLRPsRequest(domain="d", cell_id="c1", process_guid="p", index=0)],
    "ActualLRPGroups": [pb.ActualLRPGroupsRequest(domain="d", cell_id="c1")],
    "DesiredLRPSchedulingInfos": ALL_DESIRED,
    "DesiredLRPRoutingInfos": ALL_DESIRED,
    "DesiredLRPs": ALL_DESIRED,
    "DesiredLRPs_r2": ALL_DESIRED,
    "DesireDesiredLRP": DESIRE,
    "UpdateDesireLRP": [UPDATE],
    "Tasks": ALL_TASKS,
    "Tasks_r2": ALL_TASKS,
    "DesireTask": [
        pb.DesireTaskRequest(task_guid="u", domain="d", task_definition=task("", memory_mb=-1)),
        pb.DesireTaskRequest(task_guid="u", domain="d", task_definition=task("http://127.0.0.1:1/")),
    ],
    "EventStream": CELL,
    "TaskEventStream": CELL,
    "LRPInstanceEventStream": CELL,
    "EventStream_r0": CELL,
    "TaskEventStream_r0": CELL,
    "LrpInstanceEventStream_r0": CELL,
}
"""What each route may be asked for: that from which bodies are made."""

RESPONSES: dict[str, type[Message]] = {
    route.path: route.response for route in CALLED.values() if isinstance(route, client_routes.Route)
} | {
    "/v1/desired_lrps/list.r2": pb.DesiredLRPsResponse,
    "/v1/desired_lrps/get_by_process_guid.r2": pb.DesiredLRPResponse,
    "/v1/tasks/list.r2": pb.TasksResponse,
    "/v1/tasks/get_by_task_guid.r2": pb.TaskResponse,
}


@dataclass
class Fuzzed:
    """A server with its disk, its log, a connection to it, and a reader of each event stream."""

    server: Server
    disk: Disk
    lines: Lines
    wire: Wire

    async def there_are(self, records: Sequence[Record]) -> None:
        store = self.server.store
        await store.commit(Outcome(rows=tuple(put(record) for record in records)), AnyScope(store, ""))

    async def ask(self, route: Route, body: bytes) -> None:
        """The answer must be one message of the route's, and say nothing of how we are made, nor a secret."""
        await self.wire.send(post(route.path, body))
        response = await self.wire.read_response()
        assert response.status == 200
        message: Any = RESPONSES[route.path].FromString(response.body)
        if "error" in message.DESCRIPTOR.fields_by_name and message.HasField("error"):
            error = message.error
            assert error.type in Type.values()
            # Of what we refuse only this is Postgres' own: a row's count is at the greatest that its column takes.
            assert error.type != Type.UnknownError or "out of range" in error.message, error
            assert not any(word in error.message for word in ("Traceback", "Error(", ".py", "object at")), (
                error
            )
            assert found(TENANTS, error.message.encode()) == set()

    async def subscribe(self, route: Route, body: bytes) -> None:
        """A stream begins, or the request for it is refused."""
        wire = Wire(await self.server.connect())
        async with wire.stream:
            await wire.send(post(route.path, body).replace(b"POST", route.method.encode(), 1))
            head = await wire.read_until(b"\r\n\r\n")
        assert head.split(b" ")[1] in (b"200", b"500")
        assert (b"text/event-stream" in head) == (b" 200 " in head)

    def check_log(self) -> None:
        """Nobody panics, and no tenant's secret is told, at any level."""
        told = "\n".join(self.lines.writes)
        self.lines.writes.clear()
        self.lines.lines.clear()
        assert found(TENANTS, told.encode()) == set()
        assert not any(word in told for word in ("panic", "Traceback", '"trace":', "unexpected")), told

    def check_rows(self, left_out: Set[tuple[str, tuple[Any, ...]]] = frozenset()) -> None:
        """What would be read at the next start is what the server has. ``left_out`` are table and key of rows that it may not
        be able to read.
        """
        for record_class, codec in CODECS.items():
            rows, undecodable = codec.decode_rows(list(self.disk.rows[codec.table].values()), KEYRING)
            assert {(each.table, each.key) for each in undecodable} <= left_out
            assert self.server.store.committed.sizes()[record_class] == len(rows)
            for row in rows:
                assert self.server.store.committed.get(row.key) == row.record

    async def converge(self) -> None:
        """A pass over whatever the requests have left."""
        service = self.server.service
        await service.lrp_convergence.converge()
        await service.task_convergence.converge()


@asynccontextmanager
async def fuzzed(
    disk: Disk | None = None, *, on_dropped: Callable[[DroppedRow], None] = fail_on_dropped_row
) -> AsyncIterator[Fuzzed]:
    """Its event streams are read all the time, and must not end."""
    lines, disk = Lines(), Disk() if disk is None else disk
    backend = MemoryBackend(disk, KEYRING, on_dropped=on_dropped)
    async with trio.open_nursery() as nursery:
        async with serving_lrps(
            backend,
            nursery,
            fast_lane=True,
            log=lines.logger(Level.DEBUG),
            settings=ServiceSettings(desired_lrp_instances_max=50),
        ) as server:
            server.peers.cells |= {
                cell_id: Cell(cell_id=cell_id, rep_url=f"https://{cell_id}") for cell_id in ("c1", "c2")
            }
            for route in STREAMS:
                await nursery.start(read_events, server, route)
            async with await server.connect() as stream:
                yield Fuzzed(server, disk, lines, Wire(stream))
        nursery.cancel_scope.cancel()


async def read_events(
    server: Server, route: client_routes.StreamRoute, *, task_status: trio.TaskStatus[None]
) -> None:
    """Until the server ends the stream, which it must not while there are requests."""
    async with await server.connect() as stream:
        wire = Wire(stream)
        await wire.send(post(route.path).replace(b"POST", route.method.encode(), 1))
        assert b" 200 " in await wire.read_until(b"\r\n\r\n")
        task_status.started()
        while await stream.receive_some():
            pass
        raise AssertionError(f"{route.name} ended")
