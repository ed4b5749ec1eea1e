"""The evacuation RPCs over a real socket, through both lanes (spec: evacuation.md §2, §9)."""

from typing import Any

import pytest
import trio
from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.errors import UnknownError
from bbs.models.events import Hub
from bbs.models.versions import Version
from bbs.peers.stub import AuctionRequested
from bbs.store.memory_backend import Fault, MemoryBackend
from tests.routes.conftest import Server
from tests.routes.test_lrp_routes import actual_lrps, desire, instance, key, start_request

CLAIMED = "/v1/actual_lrps/evacuate_claimed"
CRASHED = "/v1/actual_lrps/evacuate_crashed"
STOPPED = "/v1/actual_lrps/evacuate_stopped"
RUNNING = "/v1/actual_lrps/evacuate_running.r1"
RUNNING_R0 = "/v1/actual_lrps/evacuate_running"
REMOVE = "/v1/actual_lrps/remove_evacuating"

NET = pb.ActualLRPNetInfo(address="10.0.0.1")


def running_request(
    who: pb.ActualLRPInstanceKey | None = None, index: int = 0
) -> pb.EvacuateRunningActualLRPRequest:
    return pb.EvacuateRunningActualLRPRequest(
        actual_lrp_key=key(index),
        actual_lrp_instance_key=who or instance(),
        actual_lrp_net_info=NET,
        actual_lrp_internal_routes=[pb.ActualLRPInternalRoute(hostname="rq")],
        metric_tags={"tq": "1"},
    )


async def evacuate(server: Server, path: str, request: Message | bytes) -> tuple[bool, str]:
    answer = await server.ask(path, request, pb.EvacuationResponse)
    return answer.keep_container, answer.error.message


async def start(server: Server, index: int = 0, who: pb.ActualLRPInstanceKey | None = None) -> None:
    request = start_request(index)
    if who is not None:
        request.actual_lrp_instance_key.CopyFrom(who)
    assert await server.change("/v1/actual_lrps/start.r1", request) == ""


async def rows(server: Server) -> list[tuple[int, str, str]]:
    return sorted(
        (lrp.presence, lrp.state, lrp.actual_lrp_instance_key.instance_guid)
        for lrp in await actual_lrps(server)
    )


async def test_a_rolling_evacuation_keeps_the_container_until_its_replacement_runs(server: Server) -> None:
    await desire(server)
    await start(server)
    server.peers.requests.clear()

    assert await evacuate(server, RUNNING, running_request()) == (True, "")
    (auction,) = server.peers.requests
    assert isinstance(auction, AuctionRequested)
    assert (auction.starts[0].indices, auction.starts[0].volume_drivers, auction.trace_id) == ((0,), None, "")
    assert await rows(server) == [(0, "UNCLAIMED", ""), (1, "RUNNING", "a")]

    assert await evacuate(server, RUNNING, running_request()) == (True, "")
    await start(server, who=instance("b", "c2"))
    assert await rows(server) == [(0, "RUNNING", "b")]

    assert await evacuate(server, RUNNING, running_request()) == (False, "")


async def test_recreate_gives_one_instance_up_at_a_time(server: Server) -> None:
    await desire(server, instances=2, update_strategy=pb.DesiredLRP.RECREATE)
    for index in range(2):
        await start(server, index)

    assert await evacuate(server, RUNNING, running_request()) == (False, "")
    assert await evacuate(server, RUNNING, running_request(index=1)) == (True, "")
    await start(server, 0, instance("b", "c2"))
    assert await evacuate(server, RUNNING, running_request(index=1)) == (False, "")


async def test_revision_0_says_nothing_of_routes_and_tags(server: Server) -> None:
    await desire(server)

    assert await evacuate(server, RUNNING_R0, running_request()) == (True, "")

    (evacuating,) = [lrp for lrp in await actual_lrps(server) if lrp.presence == 1]
    assert not evacuating.actual_lrp_internal_routes
    assert not evacuating.metric_tags
    assert evacuating.routable
    assert server.store.committed.actual_lrps.rows_at("p", 0).evacuating.internal_routes is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "keep"),
    [(CLAIMED, True), (CRASHED, False), (STOPPED, False), (RUNNING, True), (RUNNING_R0, True)],
)
@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"\xff", "the request received is invalid", id="undecodable"),
        pytest.param(
            pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=key()),
            "actual_lrp_instance_key",
            id="no instance key",
        ),
    ],
)
async def test_a_request_that_is_not_valid_keeps_a_container_that_may_run(
    server: Server, path: str, keep: bool, body: Message | bytes, error: str
) -> None:
    kept, message = await evacuate(server, path, body)

    assert kept is keep
    assert error in message


async def test_a_crash_needs_a_reason_and_a_running_container_an_address(server: Server) -> None:
    crash = pb.EvacuateCrashedActualLRPRequest(actual_lrp_key=key(), actual_lrp_instance_key=instance())
    running = pb.EvacuateRunningActualLRPRequest(actual_lrp_key=key(), actual_lrp_instance_key=instance())

    assert await evacuate(server, CRASHED, crash) == (False, "Invalid field: error_message")
    assert await evacuate(server, RUNNING, running) == (True, "Invalid field: actual_lrp_net_info")


async def test_what_nobody_knows_is_not_found(server: Server) -> None:
    asked: dict[str, Any] = {"actual_lrp_key": key(), "actual_lrp_instance_key": instance()}
    not_found = "the requested resource could not be found"

    claimed = pb.EvacuateClaimedActualLRPRequest(**asked)
    assert await evacuate(server, CLAIMED, claimed) == (False, not_found)
    crashed = pb.EvacuateCrashedActualLRPRequest(**asked, error_message="boom")
    assert await evacuate(server, CRASHED, crashed) == (False, not_found)
    stopped = pb.EvacuateStoppedActualLRPRequest(**asked)
    assert await evacuate(server, STOPPED, stopped) == (False, not_found)
    assert await evacuate(server, RUNNING, running_request()) == (False, "")
    removed = await server.ask(
        REMOVE, pb.RemoveEvacuatingActualLRPRequest(**asked), pb.RemoveEvacuatingActualLRPResponse
    )
    assert removed.error.message == not_found


async def test_claimed_crashed_and_stopped_containers(server: Server) -> None:
    await desire(server, instances=3)
    for index in range(3):
        await start(server, index)
    server.peers.requests.clear()

    asked: list[dict[str, Any]] = [
        {"actual_lrp_key": key(i), "actual_lrp_instance_key": instance()} for i in range(3)
    ]
    assert await evacuate(server, CLAIMED, pb.EvacuateClaimedActualLRPRequest(**asked[0])) == (False, "")
    assert len(server.peers.requests) == 1
    crashed = pb.EvacuateCrashedActualLRPRequest(**asked[1], error_message="boom")
    assert await evacuate(server, CRASHED, crashed) == (False, "")
    assert await evacuate(server, STOPPED, pb.EvacuateStoppedActualLRPRequest(**asked[2])) == (False, "")

    assert len(server.peers.requests) == 1  # the crashed one waits for convergence
    assert await rows(server) == [(0, "UNCLAIMED", ""), (0, "UNCLAIMED", "")]


async def test_a_claim_of_nobody_desired_is_given_up_without_an_auction(server: Server) -> None:
    await start(server)

    claimed = pb.EvacuateClaimedActualLRPRequest(actual_lrp_key=key(), actual_lrp_instance_key=instance())
    assert await evacuate(server, CLAIMED, claimed) == (False, "")

    assert await rows(server) == [(0, "UNCLAIMED", "")]
    assert not server.peers.requests


async def test_an_evacuating_row_is_removed_once(server: Server) -> None:
    await desire(server)
    await evacuate(server, RUNNING, running_request())
    request = pb.RemoveEvacuatingActualLRPRequest(actual_lrp_key=key(), actual_lrp_instance_key=instance())

    answers = [
        (await server.ask(REMOVE, request, pb.RemoveEvacuatingActualLRPResponse)).error.type for _ in range(2)
    ]

    assert answers == [0, pb.Error.ResourceNotFound]
    assert await rows(server) == [(0, "UNCLAIMED", "")]


async def test_a_database_that_refuses_keeps_the_container(server: Server) -> None:
    await desire(server)
    await start(server)
    backend = server.store._backend
    assert isinstance(backend, MemoryBackend)
    backend.faults.rejection = lambda: UnknownError("the disk is on fire")
    backend.faults.next_writes.append(Fault.REJECTED)

    with trio.fail_after(10):
        assert await evacuate(server, RUNNING, running_request()) == (True, "the disk is on fire")

    assert await rows(server) == [(0, "RUNNING", "a")]


async def test_a_foreign_domain_harms_nobody(server: Server) -> None:
    """Upstream's process ends here, on the events of the write."""
    await desire(server)
    request = running_request()
    request.actual_lrp_key.domain = "another"
    # With subscribers, or the events are never worked out.
    groups = server.hubs.subscribe(frozenset({Hub.GROUP}), version=Version.V3)
    instances = server.hubs.subscribe(frozenset({Hub.INSTANCE}), version=Version.V3)

    assert await evacuate(server, RUNNING, request) == (True, "")
    request.actual_lrp_net_info.address = "10.0.0.2"
    assert await evacuate(server, RUNNING, request) == (True, "")

    assert await rows(server) == [(0, "UNCLAIMED", ""), (1, "RUNNING", "a")]
    with trio.fail_after(5):
        assert (await groups.receive()).count(b"event: actual_lrp_") == 2
        assert (await instances.receive()).count(b"event: actual_lrp_instance_created") == 2
    groups.close()
    instances.close()
