"""spec: peers.md §2; tasks.md §4.5. The bodies are compared to the byte."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from bbs.log import Logger
from bbs.models import pb
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.peers.auctioneer import HTTPAuctioneer
from bbs.peers.bodies import ENCODED_IN_A_TURN
from bbs.peers.http import HTTPClient, NoResponse, StatusRefused
from bbs.peers.interfaces import LRPStart, PeerUnavailable
from tests.peers.conftest import Lines
from tests.peers.peer_server import WAIT_S, Do, PeerServer, answer, closed_port


def lrp_start(**fields: Any) -> LRPStart:
    given: dict[str, Any] = {
        "process_guid": "pg-1",
        "domain": "cf-apps",
        "indices": (0, 1),
        "placement_tags": ("iso",),
        "volume_drivers": ("nfs",),
        "rootfs": "preloaded:cflinuxfs4",
        "memory_mb": 256,
        "disk_mb": 1024,
        "max_pids": 100,
    }
    return LRPStart(**(given | fields))


def task(task_guid: str = "t-1", **fields: Any) -> Task:
    given: dict[str, Any] = {
        "root_fs": "preloaded:cflinuxfs4",
        "memory_mb": 256,
        "disk_mb": 512,
        "max_pids": 5,
    }
    return Task(
        task_guid=task_guid,
        domain="cf-tasks",
        created_at_ns=1,
        updated_at_ns=1,
        state=TaskState.Pending,
        definition=encode(pb.TaskDefinition(**(given | fields))),
    )


@pytest.mark.parametrize(
    ("start", "body"),
    [
        pytest.param(
            lrp_start(),
            '{"process_guid":"pg-1","domain":"cf-apps","indices":[0,1],"PlacementTags":["iso"],'
            '"VolumeDrivers":["nfs"],"RootFs":"preloaded:cflinuxfs4","MemoryMB":256,"DiskMB":1024,"MaxPids":100}',
            id="all there",
        ),
        pytest.param(
            lrp_start(indices=(), placement_tags=None, volume_drivers=()),
            '{"process_guid":"pg-1","domain":"cf-apps","indices":[],"PlacementTags":null,'
            '"VolumeDrivers":[],"RootFs":"preloaded:cflinuxfs4","MemoryMB":256,"DiskMB":1024,"MaxPids":100}',
            id="desired without drivers",
        ),
        pytest.param(
            lrp_start(process_guid="ü<&>\u2028", volume_drivers=None),
            '{"process_guid":"ü\\u003c\\u0026\\u003e\\u2028","domain":"cf-apps","indices":[0,1],'
            '"PlacementTags":["iso"],"VolumeDrivers":null,"RootFs":"preloaded:cflinuxfs4","MemoryMB":256,'
            '"DiskMB":1024,"MaxPids":100}',
            id="crashed, odd characters",
        ),
    ],
)
async def test_lrp_starts_are_sent_as_go_does(
    http: HTTPClient, server: PeerServer, log: Logger, start: LRPStart, body: str
) -> None:
    auctioneer = HTTPAuctioneer(server.address, http=http, log=log)
    await auctioneer.request_lrp_auctions([start, start], trace_id="")

    [sent] = server.sent
    assert sent.line == "POST /v1/lrps HTTP/1.1"
    assert sent.body.decode() == f"[{body},{body}]"


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        pytest.param(
            task(placement_tags=["iso"], volume_mounts=[pb.VolumeMount(driver="nfs")]),
            '"TaskGuid":"t-1","Domain":"cf-tasks","PlacementTags":["iso"],"VolumeDrivers":["nfs"],'
            '"RootFs":"preloaded:cflinuxfs4","MemoryMB":256,"DiskMB":512,"MaxPids":5,"state":"Invalid","failed":false}',
            id="all there",
        ),
        pytest.param(
            task(),
            '"TaskGuid":"t-1","Domain":"cf-tasks","PlacementTags":null,"VolumeDrivers":[],'
            '"RootFs":"preloaded:cflinuxfs4","MemoryMB":256,"DiskMB":512,"MaxPids":5,"state":"Invalid","failed":false}',
            id="no tags, no drivers",
        ),
    ],
)
async def test_task_starts_are_sent_as_go_does_to_auctioneers_of_both_generations(
    http: HTTPClient, server: PeerServer, log: Logger, wanted: Task, body: str
) -> None:
    """Auctioneers since summer 2026 read what is in ``Task``, older ones what is beside it."""
    await HTTPAuctioneer(server.address, http=http, log=log).request_task_auctions([wanted], trace_id="")

    [sent] = server.sent
    assert sent.line == "POST /v1/tasks HTTP/1.1"
    assert sent.body.decode() == f'[{{"Task":{{{body},{body}]'
    assert sent.header("Content-Type") == "application/json"
    assert sent.header("X-Vcap-Request-Id") == ""


@pytest.mark.parametrize("trace_id", ["", "abc", "\u00e9"])
async def test_the_request_id_is_always_there(
    http: HTTPClient, server: PeerServer, log: Logger, trace_id: str
) -> None:
    auctioneer = HTTPAuctioneer(server.address, http=http, log=log)
    await auctioneer.request_lrp_auctions([lrp_start()], trace_id=trace_id)

    assert server.sent[0].header("X-Vcap-Request-Id") == trace_id


async def test_many_starts_make_one_request_and_others_get_their_turn(
    http: HTTPClient, server: PeerServer, log: Logger
) -> None:
    tasks = [task(f"t-{n}") for n in range(3 * ENCODED_IN_A_TURN)]
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while not server.sent:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await HTTPAuctioneer(server.address, http=http, log=log).request_task_auctions(tasks, trace_id="")

    assert len(server.sent) == 1
    assert server.sent[0].body.count(b'{"Task":{"TaskGuid":') == len(tasks)
    assert turns >= 3


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("200 OK", "http error: status code 200 (OK)"),
        ("400 Bad Request", "http error: status code 400 (Bad Request)"),
        ("500 Internal Server Error", "http error: status code 500 (Internal Server Error)"),
        ("503 Nobody Home", "http error: status code 503 (Service Unavailable)"),
    ],
)
async def test_any_answer_but_202_is_an_error_and_final(
    http: HTTPClient, server: PeerServer, log: Logger, lines: Lines, status: str, text: str
) -> None:
    server.plays(answer(status))
    auctioneer = HTTPAuctioneer(server.address, http=http, plain=http, log=log)

    with pytest.raises(StatusRefused) as raised:
        await auctioneer.request_lrp_auctions([lrp_start()], trace_id="")
    assert str(raised.value) == text
    assert len(server.sent) == 1
    assert not lines.lines


async def test_over_tls_our_certificate_is_shown(
    http: HTTPClient, tls_server: PeerServer, log: Logger
) -> None:
    auctioneer = HTTPAuctioneer(tls_server.address, http=http, log=log)
    await auctioneer.request_lrp_auctions([lrp_start()], trace_id="")

    assert len(tls_server.sent) == 1


@pytest.fixture
async def plain(client_tls: ssl.SSLContext) -> AsyncIterator[HTTPClient]:
    client = HTTPClient(tls=client_tls, timeout_s=WAIT_S)
    yield client
    await client.aclose()


async def test_an_auctioneer_without_tls_is_asked_again_without(
    impatient: HTTPClient, plain: HTTPClient, server: PeerServer, log: Logger, lines: Lines
) -> None:
    """It waits for the end of what is no request to it; the first attempt times out."""
    https = server.address.replace("http:", "https:")

    auctioneer = HTTPAuctioneer(https, http=impatient, plain=plain, log=log)
    await auctioneer.request_lrp_auctions([lrp_start()], trace_id="x")

    [sent] = server.sent
    assert sent.line == "POST /v1/lrps HTTP/1.1"
    assert sent.header("X-Vcap-Request-Id") == "x"
    assert lines.messages == ["bbs.retrying-on-http"]


async def test_the_second_attempt_is_the_last(
    http: HTTPClient, plain: HTTPClient, log: Logger, lines: Lines
) -> None:
    address = f"https://127.0.0.1:{await closed_port()}"

    with pytest.raises(NoResponse, match='Post "http://'):
        await HTTPAuctioneer(address, http=http, plain=plain, log=log).request_task_auctions([], trace_id="")
    assert lines.messages == ["bbs.retrying-on-http"]


async def test_without_a_fallback_there_is_one_attempt(http: HTTPClient, log: Logger, lines: Lines) -> None:
    address = f"https://127.0.0.1:{await closed_port()}"

    with pytest.raises(PeerUnavailable, match=r'Post "https://.*refused'):
        await HTTPAuctioneer(address, http=http, log=log).request_lrp_auctions([lrp_start()], trace_id="")
    assert not lines.lines


async def test_an_auctioneer_that_hangs_is_given_up(
    impatient: HTTPClient, server: PeerServer, log: Logger
) -> None:
    server.plays(Do.HANG)

    with pytest.raises(PeerUnavailable, match=r"Client\.Timeout"):
        await HTTPAuctioneer(server.address, http=impatient, log=log).request_lrp_auctions([], trace_id="")
