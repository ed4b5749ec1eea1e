"""What is asked for by guids comes in the order of the primary key, whatever the order of writes and of the request."""

import pytest

from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, Presence
from bbs.models.outcome import Outcome, put
from tests.records import AnyScope, actual_lrp, desired_lrp
from tests.routes.conftest import Server

RUNNING = ActualLRPState.RUNNING


def running(process_guid: str, index: int, presence: Presence) -> ActualLRP:
    instance = InstanceKey(instance_guid=f"{index}-{presence.name}", cell_id="c1")
    return actual_lrp(process_guid, index, presence, state=RUNNING, instance=instance)


IN_ORDER = [
    running("a", 0, Presence.ORDINARY),
    running("a", 0, Presence.EVACUATING),
    running("a", 0, Presence.SUSPECT),
    running("a", 2, Presence.ORDINARY),
    running("a", 10, Presence.ORDINARY),
    running("b", 0, Presence.ORDINARY),
    running("b", 0, Presence.EVACUATING),
]


@pytest.fixture
async def filled(server: Server) -> Server:
    """The rows are written one by one, the last one first, and one of them again."""
    for lrp in (*reversed(IN_ORDER), IN_ORDER[1]):
        await server.store.commit(Outcome(rows=(put(lrp),)), AnyScope(server.store, "a test"))
    for process_guid in ("b", "app-2", "a", "app-1", "app-10"):
        await server.store.commit(
            Outcome(rows=(put(desired_lrp(process_guid)),)), AnyScope(server.store, "a test")
        )
    return server


def messages(*process_guids: str) -> list[pb.ActualLRP]:
    return [lrp.message() for lrp in IN_ORDER if lrp.process_guid in process_guids]


async def test_actual_lrps_of_a_process(filled: Server) -> None:
    for filters, expected in (
        ({}, messages("a")),
        ({"cell_id": "c1", "domain": "d"}, messages("a")),
        ({"index": 0}, messages("a")[:3]),
    ):
        request = pb.ActualLRPsRequest(process_guid="a", **filters)
        answer = await filled.ask("/v1/actual_lrps/list", request, pb.ActualLRPsResponse)
        assert list(answer.actual_lrps) == expected


@pytest.mark.parametrize("asked", [["a", "b"], ["b", "nobody", "a", "b"]])
async def test_actual_lrps_of_processes(filled: Server, asked: list[str]) -> None:
    answer = await filled.ask(
        "/v1/actual_lrps/list_by_process_guids",
        pb.ActualLRPsByProcessGuidsRequest(process_guids=asked),
        pb.ActualLRPsByProcessGuidsResponse,
    )

    assert list(answer.actual_lrps) == messages("a", "b")


async def test_groups_of_a_process(filled: Server) -> None:
    answer = await filled.ask(
        "/v1/actual_lrp_groups/list_by_process_guid",
        pb.ActualLRPGroupsByProcessGuidRequest(process_guid="a"),
        pb.ActualLRPGroupsResponse,
    )

    shown = [
        (group.instance.actual_lrp_key.index, group.evacuating.actual_lrp_instance_key.instance_guid)
        for group in answer.actual_lrp_groups
    ]
    assert shown == [(0, "0-EVACUATING"), (2, ""), (10, "")]


@pytest.mark.parametrize(
    ("path", "response_class"),
    [
        ("/v1/desired_lrps/list.r3", pb.DesiredLRPsResponse),
        ("/v1/desired_lrps/list.r2", pb.DesiredLRPsResponse),
        ("/v1/desired_lrp_scheduling_infos/list", pb.DesiredLRPSchedulingInfosResponse),
        ("/v1/desired_lrp_routing_infos/list", pb.DesiredLRPsResponse),
    ],
)
async def test_desired_lrps_by_process_guids(
    filled: Server, path: str, response_class: type[pb.DesiredLRPsResponse]
) -> None:
    request = pb.DesiredLRPsRequest(process_guids=["b", "app-2", "nobody", "a", "app-10", "b"])

    assert _guids(await filled.ask(path, request, response_class)) == ["a", "app-10", "app-2", "b"]


async def test_desired_lrps_by_app_guids(filled: Server) -> None:
    """Two apps of which one is the other's prefix, and a wildcard."""
    for app_guids, expected in (
        (["app-2", "app-1"], ["app-1", "app-10", "app-2"]),
        (["b", "%1"], ["app-1", "app-10", "b"]),
    ):
        request = pb.DesiredLRPsRequest(app_guids=app_guids)
        answer = await filled.ask("/v1/desired_lrps/list.r3", request, pb.DesiredLRPsResponse)
        assert _guids(answer) == expected


def _guids(answer: pb.DesiredLRPsResponse | pb.DesiredLRPSchedulingInfosResponse) -> list[str]:
    if isinstance(answer, pb.DesiredLRPSchedulingInfosResponse):
        return [info.desired_lrp_key.process_guid for info in answer.desired_lrp_scheduling_infos]
    return [lrp.process_guid for lrp in answer.desired_lrps]


async def test_a_given_up_row_is_younger_than_the_one_that_evacuates_it(server: Server) -> None:
    """Cloud Controller shows the youngest row of an index, and the first of two as old as each other."""
    instance = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c1")
    request = pb.EvacuateRunningActualLRPRequest(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", domain="d"),
        actual_lrp_instance_key=instance,
        actual_lrp_net_info=pb.ActualLRPNetInfo(address="10.0.0.1"),
    )
    lrp = actual_lrp(state=RUNNING, instance=InstanceKey(instance_guid="i", cell_id="c1"))
    await server.store.commit(Outcome(rows=(put(lrp), put(desired_lrp()))), AnyScope(server.store, "a test"))

    answer = await server.ask("/v1/actual_lrps/evacuate_running.r1", request, pb.EvacuationResponse)
    assert answer.keep_container

    listed = await server.ask(
        "/v1/actual_lrps/list", pb.ActualLRPsRequest(process_guid="p"), pb.ActualLRPsResponse
    )
    ordinary, evacuating = listed.actual_lrps
    assert [int(row.presence) for row in listed.actual_lrps] == [Presence.ORDINARY, Presence.EVACUATING]
    assert ordinary.since > evacuating.since == server.now_ns
