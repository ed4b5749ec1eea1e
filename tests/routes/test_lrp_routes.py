"""The RPCs over a real socket, through both lanes, down to the bytes where the specification gives them."""

import base64

import pytest
import trio

from bbs.models import pb
from bbs.peers.interfaces import Cell
from bbs.peers.stub import AuctionRequested, StopRequested, UpdateRequested
from tests.records import desired_message
from tests.routes.conftest import NOW_NS, Server

CLAIM = "/v1/actual_lrps/claim"
START = "/v1/actual_lrps/start.r1"
CRASH = "/v1/actual_lrps/crash"


def key(index: int = 0, process_guid: str = "p") -> pb.ActualLRPKey:
    return pb.ActualLRPKey(process_guid=process_guid, index=index, domain="d")


def instance(guid: str = "a", cell: str = "c1") -> pb.ActualLRPInstanceKey:
    return pb.ActualLRPInstanceKey(instance_guid=guid, cell_id=cell)


def start_request(index: int = 0) -> pb.StartActualLRPRequest:
    return pb.StartActualLRPRequest(
        actual_lrp_key=key(index),
        actual_lrp_instance_key=instance(),
        actual_lrp_net_info=pb.ActualLRPNetInfo(address="10.0.0.1"),
        availability_zone="z1",
    )


async def desire(
    server: Server, process_guid: str = "p", *, trace_id: str = "", **fields: object
) -> pb.Error:
    request = pb.DesireLRPRequest(desired_lrp=desired_message(process_guid, **fields))
    reply = await server.post("/v1/desired_lrp/desire.r2", request, headers={"X-Vcap-Request-Id": trace_id})
    return pb.DesiredLRPLifecycleResponse.FromString(reply.body).error


async def actual_lrps(server: Server, **filters: object) -> list[pb.ActualLRP]:
    request = pb.ActualLRPsRequest(**filters)  # type: ignore[arg-type]  # a case's filters
    return list((await server.ask("/v1/actual_lrps/list", request, pb.ActualLRPsResponse)).actual_lrps)


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        pytest.param("/v1/ping", b"", bytes.fromhex("0801"), id="ping"),
        pytest.param("/v1/ping", b"garbage", bytes.fromhex("0801"), id="ping does not read its body"),
        pytest.param(
            CLAIM,
            b"abc",
            bytes.fromhex("0a230804121f") + b"the request received is invalid",
            id="an undecodable body",
        ),
        pytest.param(
            "/v1/desired_lrps/get_by_process_guid.r3",
            b"",
            bytes.fromhex("0a1f0804121b") + b"Invalid field: process_guid",
            id="an invalid request",
        ),
        pytest.param(
            "/v1/desired_lrps/get_by_process_guid.r3",
            pb.DesiredLRPByProcessGuidRequest(process_guid="x").SerializeToString(),
            bytes.fromhex("0a2d080d1229") + b"the requested resource could not be found",
            id="something unknown",
        ),
        pytest.param("/v1/cells/list.r1", b"garbage", b"", id="no cells"),
    ],
)
async def test_answers_to_the_byte(server: Server, path: str, body: bytes, answer: bytes) -> None:
    reply = await server.post(path, body)

    assert reply.status == 200
    assert reply.body == answer
    assert sorted(reply.headers) == ["Content-Length", "Content-Type", "Date"]
    assert reply.headers["Content-Type"] == "application/x-protobuf"


@pytest.mark.parametrize(
    "path", ["/v1/ping/", "//v1/ping", "/v1/%70ing", "/v1/desired_lrps/list", "/v1/tasks/desire.r1"]
)
async def test_unknown_paths(server: Server, path: str) -> None:
    reply = await server.post(path)

    assert (reply.status, reply.body) == (404, b"404 page not found\n")


async def test_a_wrong_method(server: Server) -> None:
    reply = await server.post("/v1/ping", method="GET")

    assert (reply.status, reply.body, reply.headers["Allow"]) == (405, b"Method Not Allowed\n", "POST")


async def test_domains_are_listed_while_fresh(server: Server) -> None:
    for name, ttl in (("a", 0), ("b", 5)):
        assert not await server.change("/v1/domains/upsert", pb.UpsertDomainRequest(domain=name, ttl=ttl))
    assert (await server.post("/v1/domains/list")).body == bytes.fromhex("120161120162")

    server.now_ns += 6_000_000_000

    assert (await server.post("/v1/domains/list", b"not read")).body == bytes.fromhex("120161")
    assert await server.change("/v1/domains/upsert", pb.UpsertDomainRequest()) == "Invalid field: domain"


async def test_an_instance_is_desired_claimed_started_crashed_and_removed(server: Server) -> None:
    assert not (await desire(server, instances=2, trace_id="tr")).message
    [auction] = server.peers.requests
    assert isinstance(auction, AuctionRequested)
    assert auction.trace_id == "tr"
    assert (auction.starts[0].indices, auction.starts[0].volume_drivers) == ((0, 1), ())

    assert not await server.change(
        CLAIM, pb.ClaimActualLRPRequest(process_guid="p", actual_lrp_instance_key=instance())
    )
    assert not await server.change(START, start_request())
    [running] = await actual_lrps(server, cell_id="c1")
    assert (running.state, running.routable, running.since) == ("RUNNING", True, NOW_NS)
    assert [lrp.state for lrp in await actual_lrps(server, process_guid="p", index=1)] == ["UNCLAIMED"]

    crash = pb.CrashActualLRPRequest(
        actual_lrp_key=key(), actual_lrp_instance_key=instance(), error_message="boom"
    )
    assert not await server.change(CRASH, crash)
    assert await server.change(CRASH, crash) == "cannot crash actual LRP"
    assert [lrp.crash_count for lrp in await actual_lrps(server, index=0)] == [1]
    auction = server.peers.requests[-1]
    assert isinstance(auction, AuctionRequested)
    assert (auction.trace_id, auction.starts[0].indices, auction.starts[0].volume_drivers) == ("", (0,), None)

    assert not await server.change(
        "/v1/actual_lrps/remove", pb.RemoveActualLRPRequest(process_guid="p", index=0)
    )
    assert await server.change(
        "/v1/actual_lrps/remove", pb.RemoveActualLRPRequest(process_guid="p", index=0)
    ) == ("the requested resource could not be found")
    assert len(await actual_lrps(server)) == 1


async def test_a_crash_of_what_nobody_desires_stands_and_is_refused(server: Server) -> None:
    assert not await server.change(START, start_request())
    crash = pb.CrashActualLRPRequest(actual_lrp_key=key(), actual_lrp_instance_key=instance())

    assert await server.change(CRASH, crash) == "the requested resource could not be found"

    assert [(lrp.state, lrp.crash_count) for lrp in await actual_lrps(server)] == [("UNCLAIMED", 1)]
    assert not server.peers.requests


async def test_desired_lrps_are_read_in_every_form(server: Server) -> None:
    layers = [pb.ImageLayer(url="u", destination_path="/", layer_type=1, media_type=1)]
    await desire(server, "app-1", image_layers=layers, domain="d")
    await desire(server, "other", domain="d")
    assert (await desire(server, "other")).message == "the requested resource already exists"

    async def listed(path: str, **filters: object) -> list[pb.DesiredLRP]:
        request = pb.DesiredLRPsRequest(**filters)  # type: ignore[arg-type]  # a case's filters
        return list((await server.ask(path, request, pb.DesiredLRPsResponse)).desired_lrps)

    r3 = await listed("/v1/desired_lrps/list.r3")
    assert sorted(lrp.process_guid for lrp in r3) == ["app-1", "other"]
    assert {lrp.metrics_guid for lrp in r3} == {"app"}, "filled in from the tag source_id"
    [r2] = await listed("/v1/desired_lrps/list.r2", app_guids=["app"])
    assert (len(r2.image_layers), len(r2.cached_dependencies)) == (0, 1)
    assert len(await listed("/v1/desired_lrps/list.r3", app_guids=["a_p"])) == 1, "LIKE wildcards work"
    assert not await listed("/v1/desired_lrps/list.r3", app_guids=["app"], domain="x")
    assert len(await listed("/v1/desired_lrp_routing_infos/list", domain="x")) == 2, "the domain is ignored"
    infos = await server.ask(
        "/v1/desired_lrp_scheduling_infos/list",
        pb.DesiredLRPsRequest(app_guids=["zzz"], process_guids=["app-1"]),
        pb.DesiredLRPSchedulingInfosResponse,
    )
    [info] = infos.desired_lrp_scheduling_infos
    assert info.desired_lrp_key.process_guid == "app-1"
    assert info.HasField("volume_placement")


async def test_an_update_scales_and_tells_running_instances(server: Server) -> None:
    await desire(server, instances=3)
    await server.change(START, start_request())
    server.peers.cells["c1"] = Cell(cell_id="c1", rep_url="https://c1")
    update = pb.DesiredLRPUpdate(instances=1)
    update.routes.routes["internal-router"] = b'[ {"hostname": "h"} ]'

    assert not await server.change(
        "/v1/desired_lrp/update", pb.UpdateDesiredLRPRequest(process_guid="p", update=update)
    )
    await trio.testing.wait_all_tasks_blocked(0.01)

    assert [lrp.actual_lrp_key.index for lrp in await actual_lrps(server)] == [0]
    [told] = [request for request in server.peers.requests if isinstance(request, UpdateRequested)]
    assert (told.internal_routes, told.metric_tags) == (("h",), None)
    assert await server.change("/v1/desired_lrp/update", pb.UpdateDesiredLRPRequest(process_guid="p"))

    assert not await server.change("/v1/desired_lrp/remove", pb.RemoveDesiredLRPRequest(process_guid="p"))
    await trio.testing.wait_all_tasks_blocked(0.01)

    assert [type(request) for request in server.peers.requests].count(StopRequested) == 1
    assert len(await actual_lrps(server)) == 1, "the cell removes it"


@pytest.mark.parametrize(
    ("rep_url", "error", "stops", "left"),
    [
        pytest.param("https://c1", "", 1, 1, id="D14"),
        pytest.param(None, "", 0, 0, id="D17"),
        pytest.param(
            "http://c1", "https scheme is required but none of the addresses support it", 0, 1, id="D19"
        ),
    ],
)
async def test_retire(server: Server, rep_url: str | None, error: str, stops: int, left: int) -> None:
    await server.change(START, start_request())
    if rep_url is not None:
        server.peers.cells["c1"] = Cell(cell_id="c1", rep_url=rep_url)

    assert (
        await server.change("/v1/actual_lrps/retire", pb.RetireActualLRPRequest(actual_lrp_key=key()))
        == error
    )

    assert len(server.peers.requests) == stops
    assert len(await actual_lrps(server)) == left


async def test_groups(server: Server) -> None:
    await desire(server, instances=2)
    by_guid = pb.ActualLRPGroupsByProcessGuidRequest(process_guid="p")
    groups = await server.ask(
        "/v1/actual_lrp_groups/list_by_process_guid", by_guid, pb.ActualLRPGroupsResponse
    )
    assert len(groups.actual_lrp_groups) == 2

    path = "/v1/actual_lrp_groups/get_by_process_guid_and_index"
    one = await server.ask(
        path,
        pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid="p", index=1),
        pb.ActualLRPGroupResponse,
    )
    assert one.actual_lrp_group.instance.actual_lrp_key.index == 1
    none = await server.ask(
        path,
        pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid="p", index=9),
        pb.ActualLRPGroupResponse,
    )
    assert none.error.type == pb.Error.ResourceNotFound


async def read_events(stream: trio.SocketStream, count: int) -> list[tuple[str, bytes]]:
    """The names and payloads of the next ``count`` events, whatever the chunks."""
    text = b""
    while text.count(b"\n\n") < count:
        piece = await stream.receive_some()
        assert piece, text
        text += piece
    lines = [
        line for line in text.replace(b"\r\n", b"\n").split(b"\n") if line.startswith((b"event: ", b"data"))
    ]
    names, payloads = lines[0::2], lines[1::2]
    return [
        (name.removeprefix(b"event: ").decode(), base64.b64decode(data.removeprefix(b"data: ")))
        for name, data in zip(names, payloads, strict=True)
    ]


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        ("POST", "/v1/events/lrp_instances.r1", ["desired_lrp_created", "actual_lrp_instance_created"]),
        ("POST", "/v1/events/lrp_instances", ["desired_lrp_created", "actual_lrp_instance_created"]),
        ("GET", "/v1/events.r1", ["desired_lrp_created", "actual_lrp_created"]),
        ("GET", "/v1/events", ["desired_lrp_created", "actual_lrp_created"]),
    ],
)
async def test_streams_tell_what_happens(server: Server, method: str, path: str, names: list[str]) -> None:
    with trio.fail_after(10):
        async with await server.connect() as stream:
            await stream.send_all(
                f"{method} {path} HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n".encode()
            )
            head = await stream.receive_some()
            assert head.startswith(b"HTTP/1.1 200")
            assert b"text/event-stream; charset=utf-8" in head
            assert head.endswith(b"\r\n\r\n"), "the head comes at once and alone"
            await desire(server)

            assert [name for name, _ in await read_events(stream, 2)] == names


async def test_a_stream_for_one_cell_tells_of_that_cell_only(server: Server) -> None:
    await desire(server, instances=2)
    body = pb.EventsByCellId(cell_id="c1").SerializeToString()
    with trio.fail_after(10):
        async with await server.connect() as stream:
            head = f"POST /v1/events/lrp_instances.r1 HTTP/1.1\r\nHost: bbs\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send_all(head.encode() + body)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            for index, cell in ((1, "c2"), (0, "c1")):
                claim = pb.ClaimActualLRPRequest(
                    process_guid="p", index=index, actual_lrp_instance_key=instance(cell=cell)
                )
                assert not await server.change(CLAIM, claim)

            [(name, payload)] = await read_events(stream, 1)

    assert name == "actual_lrp_instance_changed"
    event = pb.ActualLRPInstanceChangedEvent.FromString(payload)
    assert (event.actual_lrp_key.index, event.actual_lrp_instance_key.cell_id, event.trace_id) == (
        0,
        "c1",
        "",
    )


async def test_a_stream_that_cannot_open(server: Server) -> None:
    reply = await server.post("/v1/events/lrp_instances.r1", b"\xff\xff")
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (500, b"", "0")

    server.hubs.close()

    reply = await server.post("/v1/events/tasks.r1")
    assert (reply.status, reply.body) == (500, b"")
