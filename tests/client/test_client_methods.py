"""Every method asks the right endpoint for the right thing and returns what comes (spec: client.md §4, api.md §6)."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf.message import Message
from trio.testing import MockClock

import bbs.client
from bbs.client import (
    ActualLRPState,
    BBSClient,
    EvacuationFailed,
    InternalBBSClient,
    PreferredAddress,
    Presence,
    RowsOf,
    RunningReport,
    TaskState,
    UpdateStrategy,
)
from bbs.models import pb
from bbs.models.errors import BY_WIRE_TYPE, BBSError, ResourceNotFound, UnknownError
from bbs.models.wire import encode
from tests.client.scripted_server import ScriptedServer, answer

KEY = pb.ActualLRPKey(process_guid="process", index=2, domain="domain")
INSTANCE = pb.ActualLRPInstanceKey(instance_guid="instance", cell_id="cell")
NET_INFO = pb.ActualLRPNetInfo(address="10.0.0.1")
REPORT = RunningReport(
    net_info=NET_INFO,
    internal_routes=["a.internal"],
    metric_tags={"k": "v"},
    routable=False,
    availability_zone="z1",
)
KEYS: dict[str, Any] = {"actual_lrp_key": KEY, "actual_lrp_instance_key": INSTANCE}
FULL_REPORT: dict[str, Any] = {
    **KEYS,
    "actual_lrp_net_info": NET_INFO,
    "actual_lrp_internal_routes": [pb.ActualLRPInternalRoute(hostname="a.internal")],
    "metric_tags": {"k": "v"},
    "Routable": False,
    "availability_zone": "z1",
}
LRP = pb.DesiredLRP(process_guid="process", domain="domain")
UPDATE = pb.DesiredLRPUpdate(instances=3)
DEFINITION = pb.TaskDefinition(root_fs="preloaded:x")
FILTERED: dict[str, Any] = {"domain": "domain", "process_guids": ["p1", "p2"], "app_guids": ["a"]}
ACTUAL = pb.ActualLRP(state="RUNNING")
KEYED = pb.ActualLRP(actual_lrp_key=KEY, state="CLAIMED", metric_tags={"k": "v"})
GROUP = pb.ActualLRPGroup(instance=ACTUAL)
TASK = pb.Task(task_guid="task")
INFO = pb.DesiredLRPSchedulingInfo(instances=1)
CELL = pb.CellPresence(cell_id="cell")

Call = Callable[[InternalBBSClient], Awaitable[object]]


class Case(NamedTuple):
    method: str
    call: Call
    path: str
    request: Message | None = None
    response: Message = pb.TaskLifecycleResponse()
    result: object = None


CASES = [
    Case("ping", lambda c: c.ping(), "/v1/ping", None, pb.PingResponse(available=True), True),
    Case("cells", lambda c: c.cells(), "/v1/cells/list.r1", None, pb.CellsResponse(cells=[CELL]), [CELL]),
    Case(
        "domains", lambda c: c.domains(), "/v1/domains/list", None, pb.DomainsResponse(domains=["d"]), ["d"]
    ),
    Case(
        "upsert_domain",
        lambda c: c.upsert_domain("d", ttl_s=1.9),
        "/v1/domains/upsert",
        pb.UpsertDomainRequest(domain="d", ttl=1),
    ),
    Case(
        "upsert_domain",
        lambda c: c.upsert_domain("d", ttl_s=0),
        "/v1/domains/upsert",
        pb.UpsertDomainRequest(domain="d", ttl=0),
    ),
    *(
        Case(
            "encoded_rows",
            lambda c, which=which: c.encoded_rows(which),  # type: ignore[misc]
            path,
            None,
            response,
            rows,
        )
        for which, path, response, rows in (
            (
                RowsOf.ACTUAL_LRPS,
                "/v1/actual_lrps/list",
                pb.ActualLRPsResponse(actual_lrps=[ACTUAL, KEYED]),
                [ACTUAL.SerializeToString(deterministic=True), KEYED.SerializeToString(deterministic=True)],
            ),
            (
                RowsOf.ACTUAL_LRP_GROUPS,
                "/v1/actual_lrp_groups/list",
                pb.ActualLRPGroupsResponse(actual_lrp_groups=[GROUP]),
                [GROUP.SerializeToString(deterministic=True)],
            ),
            (
                RowsOf.DESIRED_LRPS,
                "/v1/desired_lrps/list.r3",
                pb.DesiredLRPsResponse(desired_lrps=[LRP]),
                [LRP.SerializeToString(deterministic=True)],
            ),
            (
                RowsOf.DESIRED_LRP_SCHEDULING_INFOS,
                "/v1/desired_lrp_scheduling_infos/list",
                pb.DesiredLRPSchedulingInfosResponse(desired_lrp_scheduling_infos=[INFO]),
                [INFO.SerializeToString(deterministic=True)],
            ),
            (
                RowsOf.DESIRED_LRP_ROUTING_INFOS,
                "/v1/desired_lrp_routing_infos/list",
                pb.DesiredLRPsResponse(desired_lrps=[LRP]),
                [LRP.SerializeToString(deterministic=True)],
            ),
            (
                RowsOf.TASKS,
                "/v1/tasks/list.r3",
                pb.TasksResponse(tasks=[TASK]),
                [TASK.SerializeToString(deterministic=True)],
            ),
            (
                RowsOf.DOMAINS,
                "/v1/domains/list",
                pb.DomainsResponse(domains=["d", "é"]),
                [b"d", "é".encode()],
            ),
            (RowsOf.CELLS, "/v1/cells/list.r1", pb.CellsResponse(cells=[]), []),
        )
    ),
    Case(
        "actual_lrps",
        lambda c: c.actual_lrps(),
        "/v1/actual_lrps/list",
        pb.ActualLRPsRequest(),
        pb.ActualLRPsResponse(actual_lrps=[ACTUAL]),
        [ACTUAL],
    ),
    Case(
        "actual_lrps",
        lambda c: c.actual_lrps(domain="d", cell_id="c", process_guid="p", index=0),
        "/v1/actual_lrps/list",
        pb.ActualLRPsRequest(domain="d", cell_id="c", process_guid="p", index=0),
        pb.ActualLRPsResponse(),
        [],
    ),
    Case(
        "actual_lrps_by_process_guids",
        lambda c: c.actual_lrps_by_process_guids(["p1", "p2"]),
        "/v1/actual_lrps/list_by_process_guids",
        pb.ActualLRPsByProcessGuidsRequest(process_guids=["p1", "p2"]),
        pb.ActualLRPsByProcessGuidsResponse(actual_lrps=[ACTUAL]),
        [ACTUAL],
    ),
    Case(
        "actual_lrp_groups",
        lambda c: c.actual_lrp_groups(domain="d", cell_id="c"),
        "/v1/actual_lrp_groups/list",
        pb.ActualLRPGroupsRequest(domain="d", cell_id="c"),
        pb.ActualLRPGroupsResponse(actual_lrp_groups=[GROUP]),
        [GROUP],
    ),
    Case(
        "actual_lrp_groups_by_process_guid",
        lambda c: c.actual_lrp_groups_by_process_guid("p"),
        "/v1/actual_lrp_groups/list_by_process_guid",
        pb.ActualLRPGroupsByProcessGuidRequest(process_guid="p"),
        pb.ActualLRPGroupsResponse(actual_lrp_groups=[GROUP]),
        [GROUP],
    ),
    Case(
        "actual_lrp_group_by_process_guid_and_index",
        lambda c: c.actual_lrp_group_by_process_guid_and_index("p", 3),
        "/v1/actual_lrp_groups/get_by_process_guid_and_index",
        pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid="p", index=3),
        pb.ActualLRPGroupResponse(actual_lrp_group=GROUP),
        GROUP,
    ),
    Case(
        "retire_actual_lrp",
        lambda c: c.retire_actual_lrp(KEY),
        "/v1/actual_lrps/retire",
        pb.RetireActualLRPRequest(actual_lrp_key=KEY),
    ),
    Case(
        "desired_lrps",
        lambda c: c.desired_lrps(**FILTERED),
        "/v1/desired_lrps/list.r3",
        pb.DesiredLRPsRequest(**FILTERED),
        pb.DesiredLRPsResponse(desired_lrps=[LRP]),
        [LRP],
    ),
    Case(
        "desired_lrp_by_process_guid",
        lambda c: c.desired_lrp_by_process_guid("p"),
        "/v1/desired_lrps/get_by_process_guid.r3",
        pb.DesiredLRPByProcessGuidRequest(process_guid="p"),
        pb.DesiredLRPResponse(desired_lrp=LRP),
        LRP,
    ),
    Case(
        "desired_lrp_scheduling_infos",
        lambda c: c.desired_lrp_scheduling_infos(domain="d", process_guids=("p1", "p2")),
        "/v1/desired_lrp_scheduling_infos/list",
        pb.DesiredLRPsRequest(domain="d", process_guids=["p1", "p2"]),
        pb.DesiredLRPSchedulingInfosResponse(desired_lrp_scheduling_infos=[INFO]),
        [INFO],
    ),
    Case(
        "desired_lrp_scheduling_info_by_process_guid",
        lambda c: c.desired_lrp_scheduling_info_by_process_guid("p"),
        "/v1/desired_lrp_scheduling_infos/get_by_process_guid",
        pb.DesiredLRPByProcessGuidRequest(process_guid="p"),
        pb.DesiredLRPSchedulingInfoByProcessGuidResponse(desired_lrp_scheduling_info=INFO),
        INFO,
    ),
    Case(
        "desired_lrp_routing_infos",
        lambda c: c.desired_lrp_routing_infos(process_guids={"p"}),
        "/v1/desired_lrp_routing_infos/list",
        pb.DesiredLRPsRequest(process_guids=["p"]),
        pb.DesiredLRPsResponse(desired_lrps=[LRP]),
        [LRP],
    ),
    Case(
        "desire_lrp",
        lambda c: c.desire_lrp(LRP),
        "/v1/desired_lrp/desire.r2",
        pb.DesireLRPRequest(desired_lrp=LRP),
    ),
    Case(
        "update_desired_lrp",
        lambda c: c.update_desired_lrp("p", UPDATE),
        "/v1/desired_lrp/update",
        pb.UpdateDesiredLRPRequest(process_guid="p", update=UPDATE),
    ),
    Case(
        "remove_desired_lrp",
        lambda c: c.remove_desired_lrp("p"),
        "/v1/desired_lrp/remove",
        pb.RemoveDesiredLRPRequest(process_guid="p"),
    ),
    Case(
        "desire_task",
        lambda c: c.desire_task(task_guid="t", domain="d", definition=DEFINITION),
        "/v1/tasks/desire.r2",
        pb.DesireTaskRequest(task_guid="t", domain="d", task_definition=DEFINITION),
    ),
    Case(
        "tasks",
        lambda c: c.tasks(domain="d", cell_id="c"),
        "/v1/tasks/list.r3",
        pb.TasksRequest(domain="d", cell_id="c"),
        pb.TasksResponse(tasks=[TASK]),
        [TASK],
    ),
    Case("tasks", lambda c: c.tasks(), "/v1/tasks/list.r3", pb.TasksRequest(), pb.TasksResponse(), []),
    Case(
        "desired_lrps",
        lambda c: c.desired_lrps(),
        "/v1/desired_lrps/list.r3",
        pb.DesiredLRPsRequest(),
        pb.DesiredLRPsResponse(),
        [],
    ),
    Case(
        "task_by_guid",
        lambda c: c.task_by_guid("t"),
        "/v1/tasks/get_by_task_guid.r3",
        pb.TaskByGuidRequest(task_guid="t"),
        pb.TaskResponse(task=TASK),
        TASK,
    ),
    Case("cancel_task", lambda c: c.cancel_task("t"), "/v1/tasks/cancel", pb.TaskGuidRequest(task_guid="t")),
    Case(
        "resolving_task",
        lambda c: c.resolving_task("t"),
        "/v1/tasks/resolving",
        pb.TaskGuidRequest(task_guid="t"),
    ),
    Case("delete_task", lambda c: c.delete_task("t"), "/v1/tasks/delete", pb.TaskGuidRequest(task_guid="t")),
    Case(
        "claim_actual_lrp",
        lambda c: c.claim_actual_lrp(KEY, INSTANCE),
        "/v1/actual_lrps/claim",
        pb.ClaimActualLRPRequest(process_guid="process", index=2, actual_lrp_instance_key=INSTANCE),
    ),
    Case(
        "start_actual_lrp",
        lambda c: c.start_actual_lrp(KEY, INSTANCE, REPORT),
        "/v1/actual_lrps/start.r1",
        pb.StartActualLRPRequest(**FULL_REPORT),
    ),
    Case(
        "crash_actual_lrp",
        lambda c: c.crash_actual_lrp(KEY, INSTANCE, error_message="oom"),
        "/v1/actual_lrps/crash",
        pb.CrashActualLRPRequest(**KEYS, error_message="oom"),
    ),
    Case(
        "fail_actual_lrp",
        lambda c: c.fail_actual_lrp(KEY, error_message="no room"),
        "/v1/actual_lrps/fail",
        pb.FailActualLRPRequest(actual_lrp_key=KEY, error_message="no room"),
    ),
    Case(
        "remove_actual_lrp",
        lambda c: c.remove_actual_lrp(KEY, INSTANCE),
        "/v1/actual_lrps/remove",
        pb.RemoveActualLRPRequest(process_guid="process", index=2, actual_lrp_instance_key=INSTANCE),
    ),
    Case(
        "remove_actual_lrp",
        lambda c: c.remove_actual_lrp(KEY),
        "/v1/actual_lrps/remove",
        pb.RemoveActualLRPRequest(process_guid="process", index=2),
    ),
    Case(
        "evacuate_claimed_actual_lrp",
        lambda c: c.evacuate_claimed_actual_lrp(KEY, INSTANCE),
        "/v1/actual_lrps/evacuate_claimed",
        pb.EvacuateClaimedActualLRPRequest(**KEYS),
        pb.EvacuationResponse(keep_container=True),
        True,
    ),
    Case(
        "evacuate_running_actual_lrp",
        lambda c: c.evacuate_running_actual_lrp(KEY, INSTANCE, REPORT),
        "/v1/actual_lrps/evacuate_running.r1",
        pb.EvacuateRunningActualLRPRequest(**FULL_REPORT),
        pb.EvacuationResponse(keep_container=True),
        True,
    ),
    Case(
        "evacuate_stopped_actual_lrp",
        lambda c: c.evacuate_stopped_actual_lrp(KEY, INSTANCE),
        "/v1/actual_lrps/evacuate_stopped",
        pb.EvacuateStoppedActualLRPRequest(**KEYS),
        pb.EvacuationResponse(),
        False,
    ),
    Case(
        "evacuate_crashed_actual_lrp",
        lambda c: c.evacuate_crashed_actual_lrp(KEY, INSTANCE, error_message="oom"),
        "/v1/actual_lrps/evacuate_crashed",
        pb.EvacuateCrashedActualLRPRequest(**KEYS, error_message="oom"),
        pb.EvacuationResponse(keep_container=True),
        True,
    ),
    Case(
        "remove_evacuating_actual_lrp",
        lambda c: c.remove_evacuating_actual_lrp(KEY, INSTANCE),
        "/v1/actual_lrps/remove_evacuating",
        pb.RemoveEvacuatingActualLRPRequest(**KEYS),
    ),
    Case(
        "start_task",
        lambda c: c.start_task(task_guid="t", cell_id="c"),
        "/v1/tasks/start",
        pb.StartTaskRequest(task_guid="t", cell_id="c"),
        pb.StartTaskResponse(should_start=True),
        True,
    ),
    Case(
        "fail_task",
        lambda c: c.fail_task("t", failure_reason="why"),
        "/v1/tasks/fail",
        pb.FailTaskRequest(task_guid="t", failure_reason="why"),
    ),
    Case(
        "reject_task",
        lambda c: c.reject_task("t", rejection_reason="why"),
        "/v1/tasks/reject",
        pb.RejectTaskRequest(task_guid="t", rejection_reason="why"),
    ),
    Case(
        "complete_task",
        lambda c: c.complete_task(task_guid="t", cell_id="c", failed=True, failure_reason="why", result="r"),
        "/v1/tasks/complete",
        pb.CompleteTaskRequest(task_guid="t", cell_id="c", failed=True, failure_reason="why", result="r"),
    ),
]
IDS = [f"{case.method}-{number}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_call_asks_its_endpoint_and_returns_what_comes(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock, case: Case
) -> None:
    server.plays(answer(case.response))

    result = await case.call(client)

    [asked] = server.asked
    assert (asked.method, asked.target) == ("POST", case.path)
    assert asked.body == (b"" if case.request is None else encode(case.request))
    assert result == case.result


def test_every_call_has_a_case() -> None:
    calls = {name for name in dir(InternalBBSClient) if not name.startswith("_")}

    streams = {name for name in calls if name.startswith("subscribe_")}

    assert calls - streams - {"connect", "watch"} == {case.method for case in CASES}
    assert {name for name in dir(BBSClient) if not name.startswith("_")} < calls


REFUSABLE = [case for case in CASES if case.method != "ping" and not case.method.startswith("evacuate_")]


@pytest.mark.parametrize("case", REFUSABLE, ids=lambda case: case.method)
async def test_a_refusal_is_raised_and_not_tried_again(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock, case: Case
) -> None:
    server.plays(
        answer(pb.TaskLifecycleResponse(error=pb.Error(type=pb.Error.ResourceNotFound, message="no such")))
    )

    with pytest.raises(ResourceNotFound, match=r"^no such$"):
        await case.call(client)

    assert server.times == [0.0]


async def test_an_error_without_content_is_an_error(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(answer(b"\x0a\x00"))

    with pytest.raises(UnknownError, match=r"^$"):
        await client.delete_task("t")


async def test_an_error_of_a_type_to_come_is_an_error(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(answer(b"\x0a\x02\x08\x63"))

    with pytest.raises(BBSError) as refused:
        await client.delete_task("t")

    assert refused.value.wire_type == 99


# Older servers

FALLBACKS: list[tuple[str, Call, Message]] = [
    (
        "/v1/actual_lrps/start",
        lambda c: c.start_actual_lrp(KEY, INSTANCE, REPORT),
        pb.StartActualLRPRequest(**KEYS, actual_lrp_net_info=NET_INFO),
    ),
    (
        "/v1/actual_lrps/evacuate_running",
        lambda c: c.evacuate_running_actual_lrp(KEY, INSTANCE, REPORT),
        pb.EvacuateRunningActualLRPRequest(**KEYS, actual_lrp_net_info=NET_INFO),
    ),
]
NOT_FOUND = answer(b"404 page not found\n", status="404 Not Found", content_type="text/plain; charset=utf-8")


@pytest.mark.parametrize(("path", "call", "older"), FALLBACKS, ids=["start", "evacuate running"])
async def test_a_server_without_the_revision_is_asked_the_older_way(
    client: InternalBBSClient,
    server: ScriptedServer,
    autojump_clock: MockClock,
    path: str,
    call: Call,
    older: Message,
) -> None:
    server.plays(NOT_FOUND, NOT_FOUND, NOT_FOUND, answer())

    await call(client)

    assert [asked.target for asked in server.asked] == [f"{path}.r1"] * 3 + [path]
    assert server.asked[-1].body == encode(older)
    assert server.times == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(("path", "call", "older"), FALLBACKS, ids=["start", "evacuate running"])
async def test_other_failures_are_no_reason_to_ask_the_older_way(
    client: InternalBBSClient,
    server: ScriptedServer,
    autojump_clock: MockClock,
    path: str,
    call: Call,
    older: Message,
) -> None:
    server.plays(*[answer(status="403 Forbidden", content_type="text/plain")] * 3)

    with pytest.raises((BBSError, EvacuationFailed), match=r"^Invalid Response with status code: 403$"):
        await call(client)

    assert {asked.target for asked in server.asked} == {f"{path}.r1"}


# Evacuation

EVACUATIONS: dict[str, tuple[Call, bool]] = {
    "claimed": (lambda c: c.evacuate_claimed_actual_lrp(KEY, INSTANCE), True),
    "running": (lambda c: c.evacuate_running_actual_lrp(KEY, INSTANCE, REPORT), True),
    "stopped": (lambda c: c.evacuate_stopped_actual_lrp(KEY, INSTANCE), False),
    "crashed": (lambda c: c.evacuate_crashed_actual_lrp(KEY, INSTANCE, error_message="oom"), False),
}


@pytest.mark.parametrize(("call", "keep"), EVACUATIONS.values(), ids=EVACUATIONS)
async def test_without_an_answer_the_kind_of_evacuation_decides_on_the_container(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock, call: Call, keep: bool
) -> None:
    server.plays(*["refuse connection"] * 3)

    with pytest.raises(EvacuationFailed) as failed:
        await call(client)

    assert failed.value.keep_container is keep


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("call", [call for call, _ in EVACUATIONS.values()], ids=EVACUATIONS)
async def test_an_answer_decides_on_the_container_even_beside_an_error(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock, call: Call, keep: bool
) -> None:
    refusal = pb.EvacuationResponse(
        keep_container=keep, error=pb.Error(type=pb.Error.ResourceNotFound, message="no such")
    )
    server.plays(answer(refusal))

    with pytest.raises(EvacuationFailed, match=r"^no such$") as failed:
        await call(client)

    assert failed.value.keep_container is keep
    assert isinstance(failed.value.error, ResourceNotFound)


@pytest.mark.parametrize("ttl_s", [-1, -0.5, 0.9, 2**32, math.inf, math.nan])
async def test_a_time_to_live_that_does_not_fit_is_never_sent(
    client: InternalBBSClient, server: ScriptedServer, autojump_clock: MockClock, ttl_s: float
) -> None:
    with pytest.raises(
        ValueError, match=rf"ttl_s is {ttl_s}: give 0, for ever, or seconds from 1 to 4294967295"
    ):
        await client.upsert_domain("d", ttl_s=ttl_s)

    assert server.dialled == []


# Filters, and what comes back


async def test_no_guids_fit_nothing(client: BBSClient, server: ScriptedServer) -> None:
    """On the wire an empty list of guids fits everything, so nobody is asked."""
    assert await client.desired_lrps(process_guids=[]) == []
    assert await client.desired_lrps(process_guids=["p"], app_guids=()) == []
    assert await client.desired_lrp_scheduling_infos(process_guids=[]) == []
    assert await client.desired_lrp_routing_infos(process_guids=set()) == []
    assert await client.actual_lrps_by_process_guids(()) == []

    assert server.asked == []


async def test_one_guid_is_no_collection_of_guids(client: BBSClient, server: ScriptedServer) -> None:
    """A text would be taken for as many guids as it has letters."""
    for call in (
        client.desired_lrps(process_guids="app"),
        client.desired_lrps(app_guids="app"),
        client.desired_lrp_scheduling_infos(process_guids="app"),
        client.desired_lrp_routing_infos(process_guids="app"),
        client.actual_lrps_by_process_guids("app"),
    ):
        with pytest.raises(
            TypeError, match=r"'app' is one guid; give a collection of them, such as \['app'\]"
        ):
            await call

    assert server.asked == []


def test_the_enums_are_those_of_the_wire() -> None:
    for ours, of_wire in (
        (TaskState, pb.Task.State),
        (Presence, pb.ActualLRP.Presence),
        (UpdateStrategy, pb.DesiredLRP.UpdateStrategy),
        (PreferredAddress, pb.ActualLRPNetInfo.PreferredAddress),
    ):
        assert {one.name: one.value for one in ours} == dict(of_wire.items())
    lrp = pb.ActualLRP.FromString(encode(pb.ActualLRP(state="RUNNING", presence=Presence.SUSPECT)))
    assert lrp.state == ActualLRPState.RUNNING
    assert lrp.presence == Presence.SUSPECT
    task = pb.Task.FromString(encode(pb.Task(state=TaskState.Completed)))
    assert task.state == TaskState.Completed


def test_each_refusal_can_be_imported_from_the_client() -> None:
    assert {error.__name__ for error in BY_WIRE_TYPE.values()} <= set(bbs.client.__all__)
