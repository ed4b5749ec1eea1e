"""Attempts, their outcomes, and what goes over the wire (spec: client.md §2, §3)."""

import gzip

import pytest
import trio
from trio.testing import MockClock

from bbs.client import (
    BBSClient,
    ClientConfig,
    ConnectionRefused,
    EndpointNotFound,
    InternalBBSClient,
    TransportError,
    UnexpectedStatus,
    new_trace_id,
)
from bbs.log import Level
from bbs.models import pb
from bbs.models.errors import InvalidProtobufMessage, InvalidResponse, RequestTimeout, RouterError
from tests.client.scripted_server import (
    IGNORE_CONNECTION,
    REFUSE_CONNECTION,
    Say,
    ScriptedServer,
    Step,
    Then,
    answer,
)
from tests.log_lines import Lines, said

DOMAINS = pb.DomainsResponse(domains=["d"])
TEXT = "text/plain; charset=utf-8"
CUT_SHORT = answer(DOMAINS).text[:-1]


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        pytest.param(
            REFUSE_CONNECTION,
            ConnectionRefused,
            'Post "http://bbs.test:8889/v1/domains/list": dial tcp bbs.test:8889: connect: connection refused',
            id="refused",
        ),
        pytest.param(
            Say(b"", Then.CLOSE),
            TransportError,
            'Post "http://bbs.test:8889/v1/domains/list": EOF',
            id="closed at once",
        ),
        pytest.param(Say(b"SMTP ready\r\n\r\n", Then.CLOSE), TransportError, None, id="not HTTP"),
        pytest.param(
            answer(DOMAINS, headers="X-Cf-RouterError: unknown_route\r\n", status="404 Not Found"),
            RouterError,
            "unknown_route",
            id="router error, in spite of a protobuf body",
        ),
        pytest.param(
            Say(CUT_SHORT, Then.CLOSE), InvalidResponse, "failed to read body: ", id="body cut short"
        ),
        pytest.param(
            answer(b"\xff"), InvalidProtobufMessage, "failed to unmarshal proto: ", id="not protobuf"
        ),
        pytest.param(
            answer(b"\xff", status="404 Not Found"),
            InvalidProtobufMessage,
            "failed to unmarshal proto: ",
            id="said to be protobuf, whatever the status",
        ),
        pytest.param(
            answer(b"404 page not found\n", status="404 Not Found", content_type=TEXT),
            EndpointNotFound,
            "Invalid Response with status code: 404",
            id="404",
        ),
        pytest.param(
            answer(status="503 Service Unavailable", content_type=TEXT),
            UnexpectedStatus,
            "Invalid Response with status code: 503",
            id="503",
        ),
        pytest.param(
            answer(status="304 Not Modified", content_type=TEXT),
            UnexpectedStatus,
            "Invalid Response with status code: 304",
            id="300 and up",
        ),
    ],
)
async def test_a_failed_exchange_is_tried_again_and_the_last_error_raised(
    client: BBSClient,
    server: ScriptedServer,
    autojump_clock: MockClock,
    step: Step,
    error: type[Exception],
    text: str | None,
) -> None:
    server.plays(step, step, step)

    with pytest.raises(error) as raised:
        await client.domains()

    assert type(raised.value) is error
    assert str(raised.value).startswith(text or "")
    assert not server.script
    # Half a second after each attempt, the last one too.
    assert trio.current_time() == 1.5


@pytest.mark.parametrize(
    ("step", "domains"),
    [
        pytest.param(answer(DOMAINS), ["d"], id="200"),
        pytest.param(
            answer(DOMAINS, status="500 Internal Server Error"), ["d"], id="protobuf, whatever the status"
        ),
        pytest.param(
            answer(DOMAINS, content_type="Application/X-Protobuf; charset=utf-8"),
            ["d"],
            id="parameters do not count",
        ),
        pytest.param(
            answer(b"<html>", content_type="text/html"), [], id="not protobuf, yet no error: all empty"
        ),
        pytest.param(
            answer(gzip.compress(DOMAINS.SerializeToString()), headers="Content-Encoding: gzip\r\n"),
            ["d"],
            id="gzip",
        ),
        pytest.param(Say(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(DOMAINS).text), ["d"], id="after a 100"),
        pytest.param(
            Say(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\n\x12\x01d\r\n0\r\n\r\n"
            ),
            ["d"],
            id="chunked",
        ),
        pytest.param(
            Say(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n\x12\x01d", Then.CLOSE),
            ["d"],
            id="ended by closing",
        ),
    ],
)
async def test_what_counts_as_success(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock, step: Step, domains: list[str]
) -> None:
    server.plays(step)

    assert await client.domains() == domains
    assert server.times == [0.0]


async def test_one_good_attempt_is_enough(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(REFUSE_CONNECTION, answer(status="502 Bad Gateway", content_type=TEXT), answer(DOMAINS))

    assert await client.domains() == ["d"]
    assert server.dialled[:2] == [0.0, 0.5]
    assert server.times == [0.5, 1.0]


@pytest.mark.parametrize("step", [REFUSE_CONNECTION, answer(b"\xff"), answer(content_type=TEXT)], ids=str)
async def test_ping_says_no_instead_of_failing(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock, step: Step
) -> None:
    server.plays(step, step, step)

    assert await client.ping() is False


# Timeouts


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        pytest.param(
            Say(b"", Then.HANG),
            RequestTimeout,
            'Post "http://bbs.test:8889/v1/domains/list": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)",
            id="before the head",
        ),
        pytest.param(Say(CUT_SHORT, Then.HANG), InvalidResponse, "failed to read body: ", id="in the body"),
        pytest.param(
            IGNORE_CONNECTION,
            RequestTimeout,
            'Post "http://bbs.test:8889/v1/domains/list": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)",
            id="while connecting",
        ),
    ],
)
async def test_the_request_timeout_bounds_each_attempt(
    server: ScriptedServer, autojump_clock: MockClock, step: Step, error: type[Exception], text: str
) -> None:
    server.plays(step, step)
    config = ClientConfig(url="http://bbs.test:8889", attempts=2, request_timeout_s=3.0)
    async with BBSClient.connect(config, connector=server.connect) as client:
        with pytest.raises(error) as raised:
            await client.domains()

    assert str(raised.value).startswith(text)
    assert trio.current_time() == 2 * (3.0 + 0.5)


async def test_connecting_takes_five_seconds_at_most(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(*[IGNORE_CONNECTION] * 3)

    with pytest.raises(RequestTimeout, match=r"dial tcp bbs.test:8889: i/o timeout$"):
        await client.domains()

    assert server.dialled == [0.0, 5.5, 11.0]


async def test_unless_told_otherwise_an_attempt_takes_a_minute_at_most(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(*[Say(b"", Then.HANG)] * 3)

    with pytest.raises(RequestTimeout):
        await client.domains()

    assert trio.current_time() == 3 * (60 + 0.5)


async def test_connecting_takes_as_long_as_is_said(server: ScriptedServer, autojump_clock: MockClock) -> None:
    server.plays(IGNORE_CONNECTION)
    async with BBSClient.connect(
        "http://bbs.test", connector=server.connect, connect_timeout_s=0.25, attempts=1
    ) as client:
        with pytest.raises(RequestTimeout, match=r"i/o timeout$"):
            await client.domains()

    assert trio.current_time() == 0.25 + 0.5


async def test_without_a_timeout_a_call_waits_as_long_as_its_caller(
    server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(Say(b"", Then.HANG))

    async with BBSClient.connect(
        "http://bbs.test", connector=server.connect, request_timeout_s=None
    ) as client:
        with trio.move_on_after(3600) as scope:
            await client.domains()

    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    assert server.closed_connections == 1


# Headers


async def test_headers_of_a_call(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(answer(), answer(DOMAINS))
    await client.delete_task("t", trace_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
    await client.domains()

    with_message, without = (asked.headers for asked in server.asked)
    assert with_message == {
        "host": "bbs.test:8889",
        "user-agent": "bbs-client",
        "content-type": "application/x-protobuf",
        "x-vcap-request-id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
        "content-length": "3",
        "accept-encoding": "gzip",
    }
    assert without == with_message | {"x-vcap-request-id": "", "content-length": "0"}


def test_a_trace_id_is_two_63_bit_numbers_in_hex() -> None:
    ids = [new_trace_id() for _ in range(100)]

    assert all(len(id_) == 32 and id_ == id_.lower() for id_ in ids)
    assert all(int(half, 16) < 2**63 for id_ in ids for half in (id_[:16], id_[16:]))
    assert len(set(ids)) == 100


# Redirects


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        pytest.param("307 Temporary Redirect", "POST", b"\x0a\x01t", id="307 keeps the request"),
        pytest.param("308 Permanent Redirect", "POST", b"\x0a\x01t", id="308 keeps the request"),
        pytest.param("302 Found", "GET", b"", id="302 asks without body"),
    ],
)
async def test_redirects_are_followed(
    client: BBSClient,
    server: ScriptedServer,
    autojump_clock: MockClock,
    status: str,
    method: str,
    body: bytes,
) -> None:
    server.plays(answer(status=status, headers="Location: http://other.test/moved?x=1\r\n"), answer())

    await client.delete_task("t")

    moved = server.asked[1]
    assert (moved.method, moved.target, moved.headers["host"], moved.body) == (
        method,
        "/moved?x=1",
        "other.test",
        body,
    )


async def test_ten_redirects_are_the_limit(server: ScriptedServer, autojump_clock: MockClock) -> None:
    server.plays(*[answer(status="307 Temporary Redirect", headers="Location: /again\r\n")] * 11)
    config = ClientConfig(url="http://bbs.test", attempts=1)
    async with BBSClient.connect(config, connector=server.connect) as client:
        with pytest.raises(TransportError, match=r"stopped after 10 redirects$"):
            await client.domains()

    assert not server.script


# Connections


async def test_calls_in_a_row_share_a_connection(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(*[answer(DOMAINS)] * 3)
    for _ in range(3):
        await client.domains()

    assert len(server.dialled) == 1


@pytest.mark.parametrize(("idle_s", "dialled"), [(89, 1), (90, 2)])
async def test_a_connection_idles_for_90_s_at_most(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock, idle_s: float, dialled: int
) -> None:
    server.plays(answer(DOMAINS), answer(DOMAINS))
    await client.domains()
    await trio.sleep(idle_s)
    await client.domains()

    assert len(server.dialled) == dialled


async def test_a_server_that_closes_is_dialled_anew(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(*[answer(DOMAINS, headers="Connection: close\r\n", then=Then.CLOSE)] * 2)
    await client.domains()
    await client.domains()

    assert len(server.dialled) == 2


async def test_two_idle_connections_are_kept(
    client: BBSClient, server: ScriptedServer, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    server.plays(*[answer(DOMAINS)] * 9)

    async def call() -> None:
        await client.domains()

    for _ in range(2):
        async with trio.open_nursery() as calls:
            for _ in range(4):
                calls.start_soon(call)

    assert len(server.dialled) == 4 + 2


async def test_calls_take_idle_connections_while_others_are_closed(
    server: ScriptedServer, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """With the third call's end there is one idle connection too many. Two more calls come while it is closed."""
    server.plays(*[answer(DOMAINS)] * 5)
    ended: list[int] = []
    late = [4, 5]

    async def call(number: int) -> None:
        await client.domains()
        ended.append(number)

    class ClosedMeanwhile(trio.abc.Stream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            self._stream = stream

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self._stream.wait_send_all_might_not_block()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            return await self._stream.receive_some(max_bytes)

        async def aclose(self) -> None:
            for number in late:
                nursery.start_soon(call, number)
            late.clear()
            await trio.lowlevel.checkpoint()
            await self._stream.aclose()

    async def connect(host: str, port: int) -> trio.abc.Stream:
        return ClosedMeanwhile(await server.connect(host, port))

    async with BBSClient.connect(ClientConfig(url="http://bbs.test"), connector=connect) as client:
        async with trio.open_nursery() as calls:
            for number in (1, 2, 3):
                calls.start_soon(call, number)
        await trio.testing.wait_all_tasks_blocked()

    assert sorted(ended) == [1, 2, 3, 4, 5]


async def test_nothing_stays_open_behind_the_client(
    server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(answer(DOMAINS))
    async with BBSClient.connect(ClientConfig(url="http://bbs.test"), connector=server.connect) as client:
        await client.domains()
        assert server.closed_connections == 0
    await trio.testing.wait_all_tasks_blocked()

    assert server.closed_connections == 1


async def test_the_log_tells_each_attempt(server: ScriptedServer, autojump_clock: MockClock) -> None:
    lines = Lines()
    server.plays(answer(status="500 Oops", content_type=TEXT), answer(DOMAINS))
    config = ClientConfig(url="http://bbs.test")
    async with InternalBBSClient.connect(
        config, connector=server.connect, log=lines.logger(Level.DEBUG)
    ) as client:
        await client.domains()

    attempts = [{"attempt": number, "request_name": "Domains"} for number in (1, 2)]
    request = {"request_path": "/v1/domains/list"}
    *tries, complete = lines.said()
    assert tries == [
        said("debug do-request.creating-request", "1", attempts[0]),
        said("debug do-request.doing-request", "1", request, attempt=1),
        said("error do-request.failed-doing-request", "1"),
        said("debug do-request.creating-request", "1", attempts[1]),
        said("debug do-request.doing-request", "1", request, attempt=2),
    ]
    assert complete[0] == "debug do-request.complete"
    assert sorted(complete[2]) == ["duration_in_ns", "request_path"]
    assert [data["error"] for data in lines.data if "error" in data] == [
        "Invalid Response with status code: 500"
    ]
