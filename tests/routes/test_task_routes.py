"""The task RPCs over a real socket, through both lanes (spec: tasks.md, api.md 8.6; examples.md H)."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio

from bbs.models import pb
from bbs.models.outcome import Outcome, put
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.peers.interfaces import Cell, PeerUnavailable
from bbs.peers.stub import CallbackRequested, TaskAuctionRequested, TaskCancelRequested
from tests.faulty_peers import PeerFault
from tests.records import task, task_definition
from tests.routes.conftest import NOW_NS, Server
from tests.routes.test_lrp_routes import read_events

URL = "https://callback.example.com/t"
STATES = pb.Task.State
NO_HTTPS = "https scheme is required but none of the addresses support it"


async def desire(server: Server, task_guid: str = "t", domain: str = "d", **fields: Any) -> str:
    request = pb.DesireTaskRequest(
        task_guid=task_guid, domain=domain, task_definition=task_definition(**fields)
    )
    return await change(server, "desire.r2", request)


async def change(server: Server, operation: str, request: Any) -> str:
    """The error text of a call, or ``""``."""
    return (await server.ask(f"/v1/tasks/{operation}", request, pb.TaskLifecycleResponse)).error.message


def guid(task_guid: str = "t") -> pb.TaskGuidRequest:
    return pb.TaskGuidRequest(task_guid=task_guid)


def complete(cell_id: str = "c1", **fields: Any) -> pb.CompleteTaskRequest:
    return pb.CompleteTaskRequest(task_guid="t", cell_id=cell_id, **fields)


async def start(server: Server, cell_id: str = "c1") -> pb.StartTaskResponse:
    request = pb.StartTaskRequest(task_guid="t", cell_id=cell_id)
    return await server.ask("/v1/tasks/start", request, pb.StartTaskResponse)


async def by_guid(server: Server, task_guid: str = "t", revision: str = "r3") -> pb.TaskResponse:
    request = pb.TaskByGuidRequest(task_guid=task_guid)
    return await server.ask(f"/v1/tasks/get_by_task_guid.{revision}", request, pb.TaskResponse)


async def listed(server: Server, revision: str = "r3", **filters: str) -> pb.TasksResponse:
    return await server.ask(f"/v1/tasks/list.{revision}", pb.TasksRequest(**filters), pb.TasksResponse)


async def store(server: Server, *tasks: Task) -> None:
    for each in tasks:
        await server.store.commit(Outcome(rows=(put(each),)), about=each.task_guid)


async def test_a_task_is_desired_started_completed_resolved_and_deleted(server: Server) -> None:
    assert not await desire(server, completion_callback_url=URL, annotation="note")
    pending = (await by_guid(server)).task
    assert (pending.task_guid, pending.domain, pending.state) == ("t", "d", STATES.Pending)
    assert (pending.created_at, pending.updated_at, pending.first_completed_at) == (NOW_NS, NOW_NS, 0)
    assert pending.task_definition == task_definition(completion_callback_url=URL, annotation="note")
    [auction] = server.peers.requests
    assert isinstance(auction, TaskAuctionRequested)
    assert ([each.task_guid for each in auction.tasks], auction.trace_id) == (["t"], "")

    server.now_ns += 1
    assert (await start(server)).should_start
    assert not (await start(server)).should_start, "it runs there already"
    assert (await start(server, "c2")).error.message == "Cannot transition from Running to Running"
    assert await change(server, "complete", complete("c2")) == "Running on cell c1 not c2"
    assert [each.task_guid for each in (await listed(server, cell_id="c1")).tasks] == ["t"]

    server.now_ns += 1
    assert not await change(server, "complete", complete(failed=True, failure_reason="f", result="r"))
    [_, callback] = server.peers.requests
    assert isinstance(callback, CallbackRequested)
    assert (callback.task.failure_reason, callback.task.result) == ("f", "r")
    completed = (await by_guid(server)).task
    assert (completed.state, completed.failed, completed.failure_reason, completed.result) == (
        STATES.Completed,
        True,
        "f",
        "r",
    )
    assert (completed.first_completed_at, completed.cell_id) == (NOW_NS + 2, "")

    assert await change(server, "delete", guid()) == "Cannot transition from Completed to Resolving"
    assert not await change(server, "resolving", guid())
    assert not await change(server, "delete", guid())
    assert (await by_guid(server)).error.type == pb.Error.ResourceNotFound
    assert len(server.peers.requests) == 2


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        pytest.param(
            "/v1/tasks/get_by_task_guid.r3",
            b"",
            bytes.fromhex("0a1c08041218") + b"Invalid field: task_guid",
            id="no guid",
        ),
        pytest.param(
            "/v1/tasks/get_by_task_guid.r2",
            guid("x").SerializeToString(),
            bytes.fromhex("0a2d080d1229") + b"the requested resource could not be found",
            id="unknown",
        ),
        pytest.param(
            "/v1/tasks/reject",
            pb.RejectTaskRequest(task_guid="t").SerializeToString(),
            bytes.fromhex("0a210804121d") + b"Invalid field: failure_reason",
            id="H23: a reject without a reason",
        ),
        pytest.param("/v1/tasks/list.r3", b"", b"", id="no tasks"),
        pytest.param(
            "/v1/tasks/cancel",
            b"abc",
            bytes.fromhex("0a230804121f") + b"the request received is invalid",
            id="undecodable",
        ),
    ],
)
async def test_answers_to_the_byte(server: Server, path: str, body: bytes, answer: bytes) -> None:
    assert (await server.post(path, body)).body == answer


async def test_a_start_answers_in_two_bytes(server: Server) -> None:
    await desire(server)
    request = pb.StartTaskRequest(task_guid="t", cell_id="c1")

    assert (await server.post("/v1/tasks/start", request)).body == bytes.fromhex("1001")
    assert (await server.post("/v1/tasks/start", request)).body == b""


async def test_lists_are_filtered(server: Server) -> None:
    await store(
        server,
        task("t1", domain="d", cell_id="c1"),
        task("t2", domain="e", cell_id="c1"),
        task("t3", domain="d", cell_id="c2"),
        task("t4", domain="d"),
    )

    async def found(**filters: str) -> list[str]:
        return sorted(each.task_guid for each in (await listed(server, **filters)).tasks)

    assert await found() == ["t1", "t2", "t3", "t4"]
    assert await found(domain="d") == ["t1", "t3", "t4"]
    assert await found(cell_id="c1") == ["t1", "t2"]
    assert await found(domain="d", cell_id="c1") == ["t1"]
    assert await found(domain="x") == []


async def test_older_clients_see_no_image_layers(server: Server) -> None:
    layer = pb.ImageLayer(
        name="l",
        url="http://layer",
        destination_path="/l",
        layer_type=pb.ImageLayer.Type.SHARED,
        media_type=pb.ImageLayer.MediaType.TGZ,
    )
    await store(server, task(definition=encode(task_definition(image_layers=[layer]))))

    new = (await by_guid(server, revision="r3")).task
    old = (await by_guid(server, revision="r2")).task
    assert len(new.task_definition.image_layers) == 1
    assert not old.task_definition.image_layers
    assert [each.name for each in old.task_definition.cached_dependencies] == ["l"]
    assert list((await listed(server, "r3")).tasks) == [new]
    assert list((await listed(server, "r2")).tasks) == [old]


async def test_what_cannot_be_read_is_refused_and_breaks_its_lists(server: Server) -> None:
    await store(
        server, task("good", domain="d"), replace(task("bad", domain="e"), definition=b"", unreadable="02x")
    )

    text = "could not deserialize record"
    assert (await by_guid(server, "bad")).error.message == text
    assert await change(server, "cancel", guid("bad")) == text
    assert (await listed(server)).error.type == pb.Error.Deserialize
    assert (await listed(server, domain="e")).error.message == text
    assert [each.task_guid for each in (await listed(server, domain="d")).tasks] == ["good"]
    assert await desire(server, "bad") == "the requested resource already exists"


@pytest.mark.parametrize(
    ("rep_url", "error", "calls"),
    [
        pytest.param(None, "", 0, id="H12: the cell is unknown"),
        pytest.param("https://c1.cell:1801", "", 1, id="H11: the cell is told"),
        pytest.param("http://c1.cell:1800", NO_HTTPS, 0, id="H13: the cell can't be called"),
    ],
)
async def test_a_cancel_tells_the_cell(server: Server, rep_url: str | None, error: str, calls: int) -> None:
    await store(server, task(state=TaskState.Running, cell_id="c1"))
    if rep_url is not None:
        server.peers.cells["c1"] = Cell(cell_id="c1", rep_url=rep_url)

    reply = await server.post("/v1/tasks/cancel", guid(), headers={"X-Vcap-Request-Id": "tr"})

    assert pb.TaskLifecycleResponse.FromString(reply.body).error.message == error
    cancelled = (await by_guid(server)).task
    assert (cancelled.state, cancelled.failure_reason) == (STATES.Completed, "task was cancelled")
    assert [
        (each.cell.cell_id, each.task_guid, each.trace_id)
        for each in server.peers.requests
        if isinstance(each, TaskCancelRequested)
    ] == [("c1", "t", "tr")] * calls


async def test_peers_that_say_no_change_no_answer(server: Server) -> None:
    refuses = partial(PeerUnavailable, "500")
    server.peers.cells["c1"] = Cell(cell_id="c1", rep_url="https://c1.cell:1801")
    server.peers.faults = [
        PeerFault(call="request_task_auctions", error=refuses),
        PeerFault(call="cancel_task", cell_id="c1", error=refuses),
    ]

    assert not await desire(server)
    assert (await start(server)).should_start
    assert not await change(server, "cancel", guid())  # H14
    assert [each.call for each in server.peers.called] == [
        "request_task_auctions",
        "cell_by_id",
        "cancel_task",
    ]


async def test_rejects_up_to_the_limit(server: Server) -> None:
    await desire(server, completion_callback_url=URL)
    for count in (1, 2, 3):
        assert not await change(server, "reject", pb.RejectTaskRequest(task_guid="t", rejection_reason="no"))
        rejected = (await by_guid(server)).task
        assert (rejected.state, rejected.rejection_count) == (STATES.Pending, count)

    last = pb.RejectTaskRequest(task_guid="t", rejection_reason="still no")
    assert not await change(server, "reject", last)
    failed = (await by_guid(server)).task
    assert (failed.state, failed.rejection_count, failed.failure_reason) == (STATES.Completed, 4, "still no")
    assert (await change(server, "reject", last)) == "Cannot transition from Completed to Completed"
    assert [type(each) for each in server.peers.requests] == [TaskAuctionRequested, CallbackRequested]


@pytest.mark.parametrize("path", ["/v1/events/tasks.r1", "/v1/events/tasks"])
async def test_the_stream_tells_of_every_change(server: Server, path: str) -> None:
    with trio.fail_after(10):
        async with await server.connect() as stream:
            await stream.send_all(f"POST {path} HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n".encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            await desire(server)
            await start(server)
            await start(server)
            await change(server, "complete", complete())
            refused = pb.RejectTaskRequest(task_guid="t", rejection_reason="no")
            assert await change(server, "reject", refused) == "the request received is invalid"
            await change(server, "resolving", guid())
            await change(server, "delete", guid())
            told = await read_events(stream, 6)

    assert [name for name, _ in told] == ["task_created", *["task_changed"] * 4, "task_removed"]
    moves = [pb.TaskChangedEvent.FromString(payload) for name, payload in told if name == "task_changed"]
    assert [(each.before.state, each.after.state) for each in moves] == [
        (STATES.Pending, STATES.Running),
        (STATES.Running, STATES.Completed),
        (STATES.Invalid, STATES.Completed),  # H21: the refused reject
        (STATES.Completed, STATES.Resolving),
    ]
    assert moves[2].before == pb.Task(task_definition=pb.TaskDefinition())
    assert pb.TaskRemovedEvent.FromString(told[-1][1]).task.state == STATES.Resolving
