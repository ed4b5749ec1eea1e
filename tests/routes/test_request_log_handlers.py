"""What is said of requests while they are handled. spec: metrics-and-logs.md §3.1, §3.2"""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import trio
from google.protobuf.message import Message

from bbs.http.endpoints import CannotOpenStream
from bbs.http.listener import Hooks, HTTPServer
from bbs.http.sockets import open_listeners
from bbs.log import Level
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, InstanceKey, Presence
from bbs.models.go_json import to_json
from bbs.models.outcome import Record
from bbs.models.task import TaskState
from bbs.peers.interfaces import Cell
from bbs.routes.handler_log import trace_data
from bbs.routes.operations import SUBSCRIPTIONS, operations_by_route
from bbs.routes.request_log import RequestLog
from bbs.routes.stories import data as story_data
from bbs.routes.stories.desired_lrps import INSTANCES_TOLD_MAX
from tests.records import actual_lrp, desired_lrp, desired_message, task, task_definition
from tests.routes.log_bench import BBS, open_bbs

KEY = pb.ActualLRPKey(process_guid="p", index=0, domain="d")
A = pb.ActualLRPInstanceKey(instance_guid="a", cell_id="c1")
B = pb.ActualLRPInstanceKey(instance_guid="b", cell_id="c2")
AT_C1 = InstanceKey(instance_guid="a", cell_id="c1")
NET_INFO = pb.ActualLRPNetInfo(address="10.0.0.1")
CLAIM = pb.ClaimActualLRPRequest(process_guid="p", index=0, actual_lrp_instance_key=A)
START = pb.StartActualLRPRequest(
    actual_lrp_key=KEY, actual_lrp_instance_key=A, actual_lrp_net_info=NET_INFO, availability_zone="z1"
)

UNCLAIMED = actual_lrp()
CLAIMED = actual_lrp(state=ActualLRPState.CLAIMED, instance=AT_C1)
RUNNING = actual_lrp(state=ActualLRPState.RUNNING, instance=AT_C1)
SUSPECT = replace(RUNNING, presence=Presence.SUSPECT)

CLAIM_DATA = {"process_guid": "p", "index": 0, "instance_key": {"instance_guid": "a", "cell_id": "c1"}}


@pytest.fixture
async def bbs(nursery: trio.Nursery) -> BBS:
    return await open_bbs(nursery)


async def test_a_claim_to_the_byte(bbs: BBS) -> None:
    await bbs.there_is(UNCLAIMED)

    await bbs.ask("ClaimActualLRP", CLAIM)

    head = '{"timestamp":"1795466755.702186515","source":"bbs","message":"bbs.request.claim-actual-lrp.db-claim-actual-lrp'
    data = (
        '"data":{"index":0,"instance_key":{"cell_id":"c1","instance_guid":"a"},"process_guid":"p",'
        '"session":"1.1.2"}}\n'
    )
    assert bbs.out.writes == [
        f'{head}.starting","log_level":1,{data}',
        f'{head}.complete","log_level":1,{data}',
    ]


MUTATIONS: list[Any] = [
    pytest.param([UNCLAIMED], "ClaimActualLRP", CLAIM, "claim-actual-lrp.db-claim-actual-lrp", CLAIM_DATA, id="claim"),
    pytest.param(
        [], "StartActualLRP", START, "start-actual-lrp.db-start-actual-lrp",
        {
            "actual_lrp_key": {"process_guid": "p", "index": 0, "domain": "d"},
            "actual_lrp_instance_key": {"instance_guid": "a", "cell_id": "c1"},
            "net_info": {"address": "10.0.0.1", "ports": None, "preferred_address": "UNKNOWN"},
            "routable": True,
        }, id="start",
    ),
    pytest.param(
        [RUNNING, desired_lrp()], "CrashActualLRP",
        pb.CrashActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A, error_message="oops"),
        "crash-actual-lrp.db-crash-actual-lrp",
        {
            "key": {"process_guid": "p", "index": 0, "domain": "d"},
            "instance_key": {"instance_guid": "a", "cell_id": "c1"},
            "crash_reason": "oops",
        }, id="crash",
    ),
    pytest.param(
        [UNCLAIMED], "FailActualLRP", pb.FailActualLRPRequest(actual_lrp_key=KEY, error_message="full"),
        "fail-actual-lrp.db-fail-actual-lrp",
        {"actual_lrp_key": {"process_guid": "p", "index": 0, "domain": "d"}, "placement_error": "full"}, id="fail",
    ),
    pytest.param(
        [RUNNING], "RemoveActualLRP", pb.RemoveActualLRPRequest(process_guid="p", index=0),
        "remove-actual-lrp.db-remove-actual-lrp", {"process_guid": "p", "index": 0}, id="remove",
    ),
    pytest.param(
        [UNCLAIMED], "RetireActualLRP", pb.RetireActualLRPRequest(actual_lrp_key=KEY),
        "retire-actual-lrp.retire-actual-lrp.db-remove-actual-lrp", {"process_guid": "p", "index": 0}, id="retire",
    ),
    pytest.param(
        [], "DesireDesiredLRP", pb.DesireLRPRequest(desired_lrp=desired_message(instances=0)),
        "desire-lrp.db-desire-lrp", {"process_guid": "p"}, id="desire",
    ),
    pytest.param(
        [desired_lrp()], "UpdateDesireLRP",
        pb.UpdateDesiredLRPRequest(process_guid="p", update=pb.DesiredLRPUpdate(annotation="x")),
        "update-desired-lrp.db-update-desired-lrp", {"guid": "p", "process_guid": "p"}, id="update",
    ),
    pytest.param(
        [desired_lrp()], "RemoveDesiredLRP", pb.RemoveDesiredLRPRequest(process_guid="p"),
        "remove-desired-lrp.remove-desired.db-remove-desired-lrp", {"process_guid": "p"}, id="remove desired",
    ),
    pytest.param(
        [], "DesireTask", pb.DesireTaskRequest(task_guid="t", domain="d", task_definition=task_definition()),
        "desire-task.desire-task.db-desire-task", {"task_guid": "t"}, id="desire task",
    ),
    pytest.param(
        [task()], "StartTask", pb.StartTaskRequest(task_guid="t", cell_id="c1"),
        "start-task.start-task.db-start-task", {"task_guid": "t", "cell_id": "c1"}, id="start task",
    ),
    pytest.param(
        [task()], "FailTask", pb.FailTaskRequest(task_guid="t", failure_reason="full"),
        "fail-task.db-fail-task", {"task_guid": "t"}, id="fail task",
    ),
    pytest.param(
        [task()], "RejectTask", pb.RejectTaskRequest(task_guid="t", rejection_reason="full"),
        "reject-task.reject-task.db-reject-task", {"guid": "t", "task_guid": "t"}, id="reject task",
    ),
    pytest.param(
        [task(state=TaskState.Running, cell_id="c1")], "CompleteTask",
        pb.CompleteTaskRequest(task_guid="t", cell_id="c1"),
        "complete-task.complete-task.db-complete-task", {"task_guid": "t", "cell_id": "c1"}, id="complete task",
    ),
    pytest.param(
        [task(state=TaskState.Completed)], "ResolvingTask", pb.TaskGuidRequest(task_guid="t"),
        "resolving-task.resolving-task.db-resolving-task", {"task_guid": "t"}, id="resolving task",
    ),
    pytest.param(
        [task(state=TaskState.Resolving)], "DeleteTask", pb.TaskGuidRequest(task_guid="t"),
        "delete-task.delete-task.db-delete-task", {"task_guid": "t"}, id="delete task",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "route", "request_message", "session", "data"), MUTATIONS)
async def test_a_change_is_told_at_info(
    bbs: BBS, rows: list[Record], route: str, request_message: Message, session: str, data: dict[str, object]
) -> None:
    await bbs.there_is(*rows)

    answer = await bbs.ask(route, request_message)

    assert pb.ActualLRPLifecycleResponse.FromString(bytes(answer)).error == pb.Error()  # type: ignore[arg-type]
    expected = [f"info bbs.request.{session}.{what}" for what in ("starting", "complete")]
    said = [each for each in zip(bbs.out.shown(), bbs.out.data, strict=True) if each[0] in expected]
    assert [line for line, _ in said] == expected
    for _, given in said:
        del given["session"]
        assert given == data


@pytest.mark.parametrize("level", [Level.ERROR, Level.FATAL, Level.SILENT])
async def test_above_info_nothing_is_said_of_what_goes_well(bbs: BBS, level: Level) -> None:
    bbs.sink.min_level = level
    await bbs.there_is(UNCLAIMED)

    await bbs.ask("ClaimActualLRP", CLAIM)

    assert bbs.out.writes == []


REFUSALS: list[Any] = [
    pytest.param([], "ClaimActualLRP", CLAIM, "claim-actual-lrp.db-claim-actual-lrp.failed-fetching-actual-lrp-for-share", id="claim nothing"),
    pytest.param(
        [RUNNING], "ClaimActualLRP",
        pb.ClaimActualLRPRequest(process_guid="p", index=0, actual_lrp_instance_key=B),
        "claim-actual-lrp.db-claim-actual-lrp.cannot-transition-to-claimed", id="claim another's",
    ),
    pytest.param(
        [RUNNING], "StartActualLRP",
        pb.StartActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=B, actual_lrp_net_info=NET_INFO, availability_zone="z1"),
        "start-actual-lrp.db-start-actual-lrp.failed-to-transition-actual-lrp-to-started", id="start another's",
    ),
    pytest.param([desired_lrp()], "DesireDesiredLRP", pb.DesireLRPRequest(desired_lrp=desired_message()), "desire-lrp.db-desire-lrp.failed-inserting-desired", id="desire twice"),
    pytest.param([task()], "ResolvingTask", pb.TaskGuidRequest(task_guid="t"), "resolving-task.resolving-task.db-resolving-task.invalid-state-transition", id="resolve too early"),
    pytest.param(
        [task(state=TaskState.Running, cell_id="c1")], "CompleteTask", pb.CompleteTaskRequest(task_guid="t", cell_id="c2"),
        "complete-task.complete-task.db-complete-task.failed-task-already-running-on-different-cell", id="complete another's",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "route", "request_message", "message"), REFUSALS)
@pytest.mark.parametrize("level", [Level.INFO, Level.ERROR])
async def test_a_refusal_is_an_error_between_beginning_and_end(
    bbs: BBS, level: Level, rows: list[Record], route: str, request_message: Message, message: str
) -> None:
    bbs.sink.min_level = level
    await bbs.there_is(*rows)

    answer = await bbs.ask(route, request_message)

    session, _, _ = message.rpartition(".")
    around = [f"info bbs.request.{session}.{what}" for what in ("starting", "complete")]
    error = f"error bbs.request.{message}"
    assert bbs.out.shown() == ([around[0], error, around[1]] if level is Level.INFO else [error])
    [data] = [data for data in bbs.out.data if "error" in data]
    assert isinstance(answer, bytes)
    assert data["error"] == pb.ActualLRPLifecycleResponse.FromString(answer).error.message


@pytest.mark.parametrize(
    ("body", "action"),
    [
        (b"abc", "failed-to-parse-request-body"),
        (pb.ClaimActualLRPRequest().SerializeToString(), "invalid-request"),
    ],
)
async def test_a_request_that_cannot_be_read_is_an_error_of_the_handler(
    bbs: BBS, body: bytes, action: str
) -> None:
    await bbs.ask("ClaimActualLRP", body)

    assert bbs.out.shown() == [f"error bbs.request.claim-actual-lrp.{action}"]
    assert bbs.out.data[0]["session"] == "1.1"


@pytest.mark.parametrize(
    ("route", "request_message", "verb"),
    [("ClaimActualLRP", CLAIM, "claim"), ("StartActualLRP", START, "start")],
)
async def test_a_suspect_is_ignored_in_one_line(
    bbs: BBS, route: str, request_message: Message, verb: str
) -> None:
    await bbs.there_is(SUSPECT)

    await bbs.ask(route, request_message)

    assert bbs.out.shown() == [f"info bbs.request.{verb}-actual-lrp.ignored-{verb}-request-from-suspect"]
    assert bbs.out.data == [
        {
            "process_guid": "p",
            "index": 0,
            "instance_guid": {"instance_guid": "a", "cell_id": "c1"},
            "state": "RUNNING",
            "session": "1.1",
        }
    ]


@pytest.mark.parametrize(
    ("heartbeats", "rows", "level", "lines"),
    [
        (False, [RUNNING], Level.DEBUG, ["info starting", "info complete"]),
        (True, [CLAIMED], Level.DEBUG, ["info starting", "info complete"]),
        (True, [], Level.DEBUG, ["info starting", "info complete"]),
        (True, [RUNNING], Level.DEBUG, ["debug heartbeating-lrp", "debug heartbeat-complete"]),
        (True, [RUNNING], Level.INFO, []),
    ],
)
async def test_starts_of_what_runs_may_be_told_apart(
    bbs: BBS, heartbeats: bool, rows: list[Record], level: Level, lines: list[str]
) -> None:
    bbs.sink.min_level = level
    await bbs.there_is(*rows)

    await bbs.ask("StartActualLRP", START, heartbeats=heartbeats)

    prefix = "bbs.request.start-actual-lrp.db-start-actual-lrp."
    assert [line.replace(prefix, "") for line in bbs.out.shown() if prefix in line] == lines


CLAIMED_AWAY = pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)
CRASHED_AWAY = pb.EvacuateCrashedActualLRPRequest(
    actual_lrp_key=KEY, actual_lrp_instance_key=A, error_message="oops"
)
STOPPED_AWAY = pb.EvacuateStoppedActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)
RUNNING_AWAY = pb.EvacuateRunningActualLRPRequest(
    actual_lrp_key=KEY, actual_lrp_instance_key=A, actual_lrp_net_info=NET_INFO, availability_zone="z1"
)
GONE = pb.RemoveEvacuatingActualLRPRequest(actual_lrp_key=KEY, actual_lrp_instance_key=A)


@pytest.mark.parametrize(
    ("route", "request_message", "session", "said"),
    [
        ("EvacuateClaimedActualLRP", CLAIMED_AWAY, "evacuate-claimed-actual-lrp", ["started", "completed"]),
        ("EvacuateCrashedActualLRP", CRASHED_AWAY, "evacuate-crashed-actual-lrp", ["started", "completed"]),
        ("EvacuateStoppedActualLRP", STOPPED_AWAY, "evacuate-stopped-actual-lrp", []),
        ("EvacuateRunningActualLRP", RUNNING_AWAY, "evacuate-running-actual-lrp", ["starting", "completed"]),
        ("RemoveEvacuatingActualLRP", GONE, "remove-evacuating-actual-lrp", ["started", "completed"]),
    ],
)
async def test_evacuations_begin_and_end_in_the_handlers_session(
    bbs: BBS, route: str, request_message: Message, session: str, said: list[str]
) -> None:
    await bbs.ask(route, request_message)

    assert bbs.out.shown() == [f"info bbs.request.{session}.{what}" for what in said]
    assert [data["session"] for data in bbs.out.data] == ["1.1" for _ in said]


@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast lane", "quart"])
async def test_a_request_and_its_handler_are_one_family(bbs: BBS, fast_lane: bool) -> None:
    bbs.sink.min_level = Level.DEBUG
    requests = RequestLog(bbs.context.log)
    listeners = await open_listeners("127.0.0.1:0")
    server = HTTPServer(
        bbs.table(False),
        tls=None,
        gate=lambda: True,
        hooks=Hooks(
            on_bug=lambda bug, call: None,
            on_connection_failed=lambda failure, peer: None,
            on_accept_failed=lambda failure: None,
            on_request_begin=requests.begin,
            on_request_end=requests.end,
        ),
        fast_lane=fast_lane,
    )
    body = pb.UpsertDomainRequest(domain="d").SerializeToString()
    head = "POST /v1/domains/upsert HTTP/1.1\r\nHost: bbs\r\nX-Vcap-Request-Id: 1\r\nConnection: close\r\n"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listeners)
            port = listeners[0].socket.getsockname()[1]
            for _ in range(2):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                    assert b"".join([data async for data in stream]).startswith(b"HTTP/1.1 200 OK\r\n")
            nursery.cancel_scope.cancel()

    seen = [
        (line.removeprefix("debug bbs.request."), data["session"], "trace-id" in data)
        for line, data in zip(bbs.out.shown(), bbs.out.data, strict=True)
        if "added-domain" not in line
    ]
    assert seen == [
        (what, number + below, traced)
        for number in ("1", "2")
        for what, below, traced in (
            ("serving", "", False),
            ("upsert.db-upsert-domain.starting", ".1.1", True),
            ("upsert.db-upsert-domain.complete", ".1.1", True),
            ("done", "", False),
        )
    ]


async def test_what_a_cell_is_asked_to_stop_is_not_told_as_removed(bbs: BBS) -> None:
    cell_id = RUNNING.instance.cell_id
    bbs.peers.cells[cell_id] = Cell(cell_id=cell_id, rep_url="https://rep")
    await bbs.there_is(RUNNING)

    await bbs.ask("RetireActualLRP", pb.RetireActualLRPRequest(actual_lrp_key=KEY))

    assert not [line for line in bbs.out.shown() if "db-remove-actual-lrp" in line]


UPSERT = "bbs.request.upsert.db-upsert-domain"


@pytest.mark.parametrize(
    ("level", "first", "second"),
    [
        (Level.INFO, [f"info {UPSERT}.added-domain"], []),
        (
            Level.DEBUG,
            [f"debug {UPSERT}.starting", f"info {UPSERT}.added-domain", f"debug {UPSERT}.complete"],
            [f"debug {UPSERT}.starting", f"debug {UPSERT}.complete"],
        ),
        (Level.ERROR, [], []),
    ],
)
async def test_only_a_new_domain_is_news(bbs: BBS, level: Level, first: list[str], second: list[str]) -> None:
    bbs.sink.min_level = level
    request = pb.UpsertDomainRequest(domain="d", ttl=9)

    await bbs.ask("UpsertDomain", request)
    assert bbs.out.shown() == first
    await bbs.ask("UpsertDomain", request)

    assert bbs.out.shown() == first + second
    assert all(data["domain"] == "d" and data["ttl"] == 9 for data in bbs.out.data)


async def test_every_route_but_ping_has_something_to_say(bbs: BBS) -> None:
    routes = {route.name for route in bbs.table(False).routes}

    assert {*operations_by_route(bbs.context.store.head), *SUBSCRIPTIONS} == routes - {"Ping"}


@pytest.mark.parametrize(
    ("given_id", "shown"),
    [
        ("", None),
        ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        ("01234567-89AB-cdef-0123-456789abcdef", "0123456789abcdef0123456789abcdef"),
        ("1", "0000000000000001"),
        ("00000000000000000000000000000001", "0000000000000001"),
        ("10000000000000000", "00000000000000010000000000000000"),
        ("0" * 33, None),
        ("not-hex", None),
        ("-", None),
    ],
)
def test_trace_ids(given_id: str, shown: str | None) -> None:
    data = trace_data(given_id)

    assert data.get("trace-id") == shown
    assert (shown is None) == (data == {})
    assert shown is None or re.fullmatch("[0-9a-f]{16}", str(data["span-id"]))


async def test_the_lines_of_a_request_share_its_trace(bbs: BBS) -> None:
    await bbs.ask("ClaimActualLRP", CLAIM, "0123456789abcdef0123456789abcdef")

    first, *others = bbs.out.data
    assert first["trace-id"] == "0123456789abcdef0123456789abcdef"
    assert [data["span-id"] for data in others] == [first["span-id"]] * 2


PORTS = [pb.PortMapping(container_port=8080, host_port=60000), pb.PortMapping(container_tls_proxy_port=1)]


@pytest.mark.parametrize(
    "message",
    [
        pb.ActualLRPNetInfo(),
        NET_INFO,
        pb.ActualLRPNetInfo(address="a", ports=PORTS, instance_address="b", preferred_address=1),
        pb.ActualLRPNetInfo(preferred_address=2, instance_ipv6_address="::1"),
        pb.ActualLRPNetInfo(preferred_address=9),
    ],
)
def test_a_net_info_is_shown_as_its_json(message: pb.ActualLRPNetInfo) -> None:
    assert story_data.net_info(message) == json.loads(to_json(message))


SUBSCRIBED = [
    (
        "EventStream", pb.EventsByCellId(cell_id="c1").SerializeToString(),
        "subscribe-r0.subscribed-to-event-stream", {"cell_id": "c1"},
    ),
    ("EventStream_r0", b"", "subscribe-r0.subscribed-to-event-stream", {"cell_id": ""}),
    ("LRPInstanceEventStream", b"", "subscribe-r0.subscribed-to-instance-event-stream", {"cell_id": ""}),
    ("LrpInstanceEventStream_r0", b"", "subscribe-r0.subscribed-to-instance-event-stream", {"cell_id": ""}),
    ("TaskEventStream", b"", "tasks-subscribe-r0.subscribed-to-tasks-event-stream", {}),
    ("TaskEventStream_r0", b"", "tasks-subscribe-r0.subscribed-to-tasks-event-stream", {}),
]  # fmt: skip


@pytest.mark.parametrize(("route", "body", "session", "data"), SUBSCRIBED)
async def test_a_subscription_is_told(
    bbs: BBS, route: str, body: bytes, session: str, data: dict[str, object]
) -> None:
    source = await bbs.stream(route).open(bbs.call(body))

    assert bbs.out.shown() == [f"info bbs.request.{session}"]
    assert bbs.out.data == [{**data, "session": "1.1"}]
    source.close()


def test_every_stream_has_a_case() -> None:
    assert {route for route, *_ in SUBSCRIBED} == set(SUBSCRIPTIONS)


async def test_a_stream_that_the_server_ends_is_an_error(bbs: BBS) -> None:
    source = await bbs.stream("TaskEventStream").open(bbs.call(b""))
    bbs.context.hubs.close()

    with pytest.raises(trio.EndOfChannel):
        await source.receive()

    assert bbs.out.shown()[1:] == ["error bbs.request.tasks-subscribe-r0.failed-to-get-next-event"]
    assert bbs.out.data[1] == {"error": "read from closed source", "session": "1.1"}


async def test_a_stream_that_the_client_ends_is_none(bbs: BBS) -> None:
    source = await bbs.stream("TaskEventStream").open(bbs.call(b""))
    source.close()

    with pytest.raises(trio.EndOfChannel):
        await source.receive()

    assert len(bbs.out.writes) == 1


async def test_a_subscription_that_cannot_be_read_is_an_error(bbs: BBS) -> None:
    with pytest.raises(CannotOpenStream):
        await bbs.stream("EventStream").open(bbs.call(b"abc"))

    assert bbs.out.shown() == ["error bbs.request.subscribe-r0.failed-parsing-request"]


@pytest.mark.parametrize(
    ("instances", "told"), [(INSTANCES_TOLD_MAX, INSTANCES_TOLD_MAX), (INSTANCES_TOLD_MAX + 1, 0)]
)
async def test_only_a_few_new_instances_are_told_one_by_one(bbs: BBS, instances: int, told: int) -> None:
    message = desired_message()
    message.instances = instances

    await bbs.ask("DesireDesiredLRP", pb.DesireLRPRequest(desired_lrp=message))

    lines = bbs.out.shown()
    assert sum("create-unclaimed-actual-lrp.starting" in line for line in lines) == told
    assert sum("start-instance-range.starting" in line for line in lines) == 1
    assert lines[-1] == "info bbs.request.desire-lrp.start-instance-range.complete"
