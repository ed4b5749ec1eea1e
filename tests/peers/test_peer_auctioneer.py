"""spec: peers.md §2; tasks.md §4.5. The bodies are compared to the byte."""

import ssl
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bbs.http.endpoints import Answer, Call, Route, RouteTable, Unary
from bbs.http.limits import Limits
from bbs.http.listener import Hooks, HTTPServer
from bbs.http.sockets import open_listeners
from bbs.log import LagerSink, Level, Logger, root_logger
from bbs.models import pb
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.peers.auctioneer import HTTPAuctioneer
from bbs.peers.bodies import ENCODED_IN_A_TURN
from bbs.peers.http import BadStatus, HTTPClient, NoResponse
from bbs.peers.interfaces import LRPStart, PeerUnavailable
from tests.log_lines import Lines, said
from tests.peers.peer_server import WAIT_S, Do, PeerServer, Step, answer, closed_port
from tests.peers.scripted_network import Scripted, scripted


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
    auctioneer = HTTPAuctioneer(server.address, http=http)
    await auctioneer.request_lrp_auctions([start, start], trace_id="", log=log)

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
    await HTTPAuctioneer(server.address, http=http).request_task_auctions([wanted], trace_id="", log=log)

    [sent] = server.sent
    assert sent.line == "POST /v1/tasks HTTP/1.1"
    assert sent.body.decode() == f'[{{"Task":{{{body},{body}]'
    assert sent.header("Content-Type") == "application/json"
    assert sent.header("X-Vcap-Request-Id") == ""


@pytest.mark.parametrize("trace_id", ["", "abc", "\u00e9"])
async def test_the_request_id_is_always_there(
    http: HTTPClient, server: PeerServer, log: Logger, trace_id: str
) -> None:
    auctioneer = HTTPAuctioneer(server.address, http=http)
    await auctioneer.request_lrp_auctions([lrp_start()], trace_id=trace_id, log=log)

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
        await HTTPAuctioneer(server.address, http=http).request_task_auctions(tasks, trace_id="", log=log)

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
    auctioneer = HTTPAuctioneer(server.address, http=http, plain=http)

    with pytest.raises(BadStatus) as raised:
        await auctioneer.request_lrp_auctions([lrp_start()], trace_id="", log=log)
    assert str(raised.value) == text
    assert len(server.sent) == 1
    assert not lines.lines


async def test_over_tls_our_certificate_is_shown(
    http: HTTPClient, tls_server: PeerServer, log: Logger
) -> None:
    auctioneer = HTTPAuctioneer(tls_server.address, http=http)
    await auctioneer.request_lrp_auctions([lrp_start()], trace_id="", log=log)

    assert len(tls_server.sent) == 1


@pytest.fixture
async def plain(client_tls: ssl.SSLContext) -> AsyncIterator[HTTPClient]:
    client = HTTPClient(tls=client_tls, timeout_s=WAIT_S)
    yield client
    await client.aclose()


@pytest.fixture
def loopback_clock() -> MockClock:
    """Time passes as soon as nothing has happened for a while. Over loopback something always happens at once."""
    return MockClock(autojump_threshold=0.1)


@pytest.mark.parametrize(
    ("script", "attempts", "refused"),
    [
        pytest.param([], 1, False, id="accepted at once"),
        pytest.param([Do.HANG_UP], 2, False, id="accepted the second time"),
        pytest.param([Do.HANG_UP, Do.HANG], 3, False, id="accepted the third time"),
        pytest.param([Do.HANG_UP, answer("500 Oh")], 2, True, id="refused the second time"),
        pytest.param([answer("503 Oh")], 1, True, id="refused at once"),
    ],
)
async def test_a_call_without_a_response_is_made_again(
    loopback_clock: MockClock,
    http: HTTPClient,
    plain: HTTPClient,
    server: PeerServer,
    lines: Lines,
    script: list[Step],
    attempts: int,
    refused: bool,
) -> None:
    """Any response is the last, and there is no fallback after it."""
    server.plays(*script)
    log = root_logger("bbs", LagerSink(lines, min_level=Level.DEBUG)).session("request")
    auctioneer = HTTPAuctioneer(f"{server.address}/base", http=http, plain=plain)
    began = trio.current_time()

    with pytest.raises(BadStatus) if refused else nullcontext():
        await auctioneer.request_lrp_auctions([lrp_start()], trace_id="x", log=log)

    assert [sent.line for sent in server.sent] == ["POST /base/v1/lrps HTTP/1.1"] * attempts
    assert {sent.header("X-Vcap-Request-Id") for sent in server.sent} == {"x"}
    hung_s = WAIT_S * script.count(Do.HANG)
    assert trio.current_time() - began == pytest.approx(hung_s + 0.5 * (attempts - 1))
    session = "request.request-lrp-auctions.do-request"
    expected = []
    for attempt in range(1, attempts + 1):
        expected += [
            said(
                f"debug {session}.creating-request",
                "1.1.1",
                attempt=attempt,
                request_name="CreateLRPAuctions",
            ),
            said(f"debug {session}.doing-request", "1.1.1", attempt=attempt, request_path="/base/v1/lrps"),
            said(f"error {session}.failed-doing-request", "1.1.1", attempt=attempt),
        ]
    expected[-1] = said(f"debug {session}.complete", "1.1.1", request_path="/base/v1/lrps")
    assert lines.said() == expected


async def test_an_auctioneer_without_tls_is_asked_again_without(
    loopback_clock: MockClock, http: HTTPClient, plain: HTTPClient, server: PeerServer, lines: Lines
) -> None:
    """It waits for the end of what is no request to it; the attempts over TLS time out."""
    https = server.address.replace("http:", "https:")
    log = root_logger("bbs", LagerSink(lines))
    began = trio.current_time()

    auctioneer = HTTPAuctioneer(https, http=http, plain=plain)
    await auctioneer.request_lrp_auctions([lrp_start()], trace_id="x", log=log)

    assert trio.current_time() - began == pytest.approx(3 * (WAIT_S + 0.5))
    [sent] = server.sent
    assert sent.line == "POST /v1/lrps HTTP/1.1"
    assert sent.header("X-Vcap-Request-Id") == "x"
    session = "request-lrp-auctions"
    assert lines.said() == [
        *(said(f"error {session}.do-request.failed-doing-request", "1.1", attempt=n) for n in (1, 2, 3)),
        said(f"error {session}.retrying-on-http", "1"),
    ]


async def test_the_fallback_has_attempts_of_its_own(
    loopback_clock: MockClock, http: HTTPClient, plain: HTTPClient, log: Logger, lines: Lines
) -> None:
    address = f"https://127.0.0.1:{await closed_port()}"
    auctioneer = HTTPAuctioneer(address, http=http, plain=plain)
    began = trio.current_time()

    with pytest.raises(NoResponse, match='Post "http://'):
        await auctioneer.request_task_auctions([], trace_id="", log=log)

    assert trio.current_time() - began == pytest.approx(3.0), "the last attempt has its pause too"
    session = "request-task-auctions"
    assert lines.said() == [
        *(said(f"error {session}.do-request.failed-doing-request", "1.1", attempt=n) for n in (1, 2, 3)),
        said(f"error {session}.retrying-on-http", "1"),
        *(said(f"error {session}.do-request.failed-doing-request", "1.2", attempt=n) for n in (1, 2, 3)),
    ]
    assert "refused" in lines.lines[0]["data"]["error"]
    assert 'Post "https://' in lines.lines[3]["data"]["error"]


async def test_without_a_fallback_there_are_three_attempts(
    loopback_clock: MockClock, http: HTTPClient, log: Logger, lines: Lines
) -> None:
    address = f"https://127.0.0.1:{await closed_port()}"
    began = trio.current_time()

    with pytest.raises(PeerUnavailable, match=r'Post "https://.*refused'):
        await HTTPAuctioneer(address, http=http).request_lrp_auctions([lrp_start()], trace_id="", log=log)

    assert trio.current_time() - began == pytest.approx(1.5)
    assert lines.messages == ["bbs.request-lrp-auctions.do-request.failed-doing-request"] * 3


@pytest.mark.parametrize(
    ("network", "each_s"),
    [
        pytest.param(Scripted(answer_s=3600), 10, id="communication_timeout"),
        pytest.param(Scripted(dial_s=3600), 5, id="dial timeout"),
    ],
)
async def test_each_attempt_has_its_own_time(
    autojump_clock: MockClock, client_tls: ssl.SSLContext, log: Logger, network: Scripted, each_s: float
) -> None:
    auctioneer = HTTPAuctioneer("http://h", http=scripted(client_tls, network, timeout_s=10))

    with pytest.raises(NoResponse):
        await auctioneer.request_lrp_auctions([], trace_id="", log=log)

    assert trio.current_time() == pytest.approx(3 * (each_s + 0.5))


@pytest.mark.parametrize("after_s", [5.0, 10.2, 15.0, 20.7, 31.2])
async def test_a_call_can_be_cancelled_at_any_time(
    autojump_clock: MockClock, client_tls: ssl.SSLContext, log: Logger, lines: Lines, after_s: float
) -> None:
    """In an attempt, and in a pause: the second one begins at 10.5 s and ends at 20.5 s."""
    network = Scripted(answer_s=3600)
    auctioneer = HTTPAuctioneer("http://h", http=scripted(client_tls, network, timeout_s=10))

    with trio.move_on_after(after_s) as scope:
        await auctioneer.request_lrp_auctions([], trace_id="", log=log)

    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(after_s)
    assert network.opened == network.closed == int(after_s // 10.5) + 1
    assert len(lines.lines) == (after_s + 0.5) // 10.5


async def test_a_pause_holds_up_a_stop_no_longer_than_its_grace(
    nursery: trio.Nursery, http: HTTPClient, log: Logger, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bbs.peers.auctioneer.PAUSE_S", 3600)
    auctioneer = HTTPAuctioneer(f"http://127.0.0.1:{await closed_port()}", http=http)
    bugs: list[BaseException] = []

    async def desire(call: Call) -> Answer:
        await auctioneer.request_lrp_auctions([lrp_start()], trace_id="", log=log)
        return b""

    server = HTTPServer(
        RouteTable([Route("Desire", "POST", "/v1/desire", Unary(desire))]),
        tls=None,
        gate=lambda: True,
        hooks=Hooks(
            on_bug=lambda bug, call: bugs.append(bug),
            on_connection_failed=lambda failure, peer: bugs.append(failure),
            on_accept_failed=bugs.append,
        ),
        limits=Limits(stop_grace_s=0.2),
    )
    listeners = await open_listeners("127.0.0.1:0")
    until_stopped, has_ended = trio.CancelScope(), trio.Event()

    async def serve() -> None:
        with until_stopped:
            await server.serve(listeners)
        has_ended.set()

    nursery.start_soon(serve)
    with trio.fail_after(WAIT_S):
        async with await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2]) as client:
            await client.send_all(b"POST /v1/desire HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n")
            while not lines.lines:
                await trio.testing.wait_all_tasks_blocked(0.001)
            until_stopped.cancel()
            await has_ended.wait()

    assert not bugs
    assert lines.messages == ["bbs.request-lrp-auctions.do-request.failed-doing-request"]
