"""What both lanes must do alike, with and without TLS, down to the bytes."""

import re
import ssl

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.http.serving import PATIENCE_S, Served, Wire, World, post, serving
from tests.waiting import wait_until

DATE = r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
TEXT = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Content-Length": "19",
}
NOTHING = {"Content-Length": "0"}


async def test_an_answer_carries_exactly_upstreams_headers(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"\x08\x01"))

    raw = (await wire.read_until(b"\x08\x01")).decode()

    assert re.fullmatch(
        r"HTTP/1\.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/x-protobuf\r\n"
        rf"Date: {DATE}\r\n\r\n\x08\x01",
        raw,
    )


REFUSALS = {
    "unknown path": (post("/v1/nope", b"x"), "404 Not Found", TEXT, b"404 page not found\n"),
    "trailing slash": (post("/v1/echo/"), "404 Not Found", TEXT, b"404 page not found\n"),
    "double slash": (post("//v1/echo"), "404 Not Found", TEXT, b"404 page not found\n"),
    "percent-encoded": (post("/v1/%65cho"), "404 Not Found", TEXT, b"404 page not found\n"),
    "root": (post("/"), "404 Not Found", TEXT, b"404 page not found\n"),
    "wrong method": (
        b"GET /v1/echo?q=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "405 Method Not Allowed",
        TEXT | {"Allow": "POST"},
        b"Method Not Allowed\n",
    ),
    "method of no standard": (
        b"FROB /v1/events HTTP/1.1\r\nHost: a\r\n\r\n",
        "405 Method Not Allowed",
        TEXT | {"Allow": "GET"},
        b"Method Not Allowed\n",
    ),
    "undecodable stream request": (
        b"GET /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nundecodable",
        "500 Internal Server Error",
        NOTHING,
        b"",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusals_are_exact_and_keep_the_connection(served: Served, case: str) -> None:
    request, status, headers, body = REFUSALS[case]
    wire = await served.connect()
    for _ in range(2):
        await wire.send(request)

        response = await wire.read_response()

        assert response.status_line == f"HTTP/1.1 {status}"
        assert re.fullmatch(DATE, response.headers.pop("Date"))
        assert response.headers == headers
        assert response.body == body


@pytest.mark.parametrize(("path", "status"), [("/v1/events", 405), ("/v1/echo", 405), ("/v1/nope", 404)])
async def test_head_is_refused_without_a_body(served: Served, path: str, status: int) -> None:
    wire = await served.connect()
    await wire.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())

    response = await wire.read_response(head_only=True)

    assert response.status == status
    assert response.headers["Content-Length"] == "19"
    assert await wire.read_to_end() == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        post("/v1/echo", b"x"),
        post("/v1/nope"),
        b"GET /v1/echo HTTP/1.1\r\nHost: a\r\n\r\n",
        post("/v1/events.r1"),
    ],
    ids=["known", "unknown", "wrong method", "stream"],
)
async def test_until_the_gate_opens_every_request_gets_a_bare_503(
    served: Served, request_bytes: bytes
) -> None:
    served.world.ready = False
    wire = await served.connect()
    await wire.send(request_bytes)

    response = await wire.read_response()

    assert response.status_line == "HTTP/1.1 503 Service Unavailable"
    assert response.headers.keys() == {"Content-Length", "Date"}
    assert response.headers["Content-Length"] == "0"

    served.world.ready = True
    await wire.send(post("/v1/echo", b"now"))

    assert (await wire.read_response()).body == b"now"


async def test_an_answer_that_was_worked_out_while_the_gate_shut_is_not_given(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/slow"))
    await served.world.handler_entered.wait()

    served.world.ready = False
    served.world.handler_may_go_on.set()
    response = await wire.read_response()

    assert response.status_line == "HTTP/1.1 503 Service Unavailable"
    assert response.headers["Connection"] == "close"
    assert response.body == b""


async def test_a_handler_sees_body_trace_id_target_and_peer(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"one", "x-vcap-REQUEST-id:  8d7a-3b7e \t"))
    await wire.read_response()
    await wire.send(post("/v1/echo?q=%20", b"two"))
    await wire.read_response()

    first, second = served.world.calls
    assert (first.body, first.trace_id, first.target) == (b"one", "8d7a-3b7e", "/v1/echo")
    assert (second.body, second.trace_id, second.target) == (b"two", "", "/v1/echo?q=%20")
    transport = wire.stream.transport_stream if isinstance(wire.stream, trio.SSLStream) else wire.stream
    assert isinstance(transport, trio.SocketStream)
    assert first.remote_addr == f"127.0.0.1:{transport.socket.getsockname()[1]}"
    if served.client_tls is None:
        assert first.client_certificate_der is None
    else:
        assert ssl.DER_cert_to_PEM_cert(first.client_certificate_der or b"").startswith("-----BEGIN CERT")


@pytest.mark.parametrize("framing", ["Content-Length", "chunked", "chunked with trailers"])
async def test_bodies_of_any_framing_arrive_whole(served: Served, framing: str) -> None:
    body = bytes(range(256)) * 2000
    wire = await served.connect()
    if framing == "Content-Length":
        await wire.send(post("/v1/echo", body))
    else:
        chunks = b"".join(
            b"%X;note=1\r\n%b\r\n" % (len(part), part)
            for part in (body[start : start + 70_000] for start in range(0, len(body), 70_000))
        )
        trailers = b"X-Checksum: 1\r\n" if "trailers" in framing else b""
        head = b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
        await wire.send(head + chunks + b"0\r\n" + trailers + b"\r\n")

    assert (await wire.read_response()).body == body

    await wire.send(post("/v1/echo", b"and the next"))

    assert (await wire.read_response()).body == b"and the next"


async def test_expect_100_continue_is_answered_once_before_the_body(served: Served) -> None:
    wire = await served.connect()
    await wire.send(b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")

    assert (await wire.read_response(head_only=True)).status_line == "HTTP/1.1 100 Continue"

    await wire.send(b"body")
    response = await wire.read_response()

    assert (response.status, response.body) == (200, b"body")


async def test_expect_100_continue_is_not_answered_if_the_body_is_there(world: World) -> None:
    # Hypercorn answers it all the same, which does no harm.
    async with serving(world, fast_lane=True) as served:
        wire = await served.connect()
        await wire.send(post("/v1/echo", b"body", "Expect: 100-continue"))

        assert (await wire.read_response()).status == 200


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    bodies = [b"%d" % number for number in range(200)]
    wire = await served.connect()
    await wire.send(b"".join(post("/v1/echo", body) for body in bodies))

    assert [(await wire.read_response()).body for _ in bodies] == bodies


async def test_others_have_a_turn_between_pipelined_requests(served: Served) -> None:
    wire = await served.connect()
    await wire.send(b"".join(post("/v1/echo", b"%d" % number) for number in range(200)))

    with trio.fail_after(PATIENCE_S):
        while (seen := len(served.world.calls)) < 200:
            await trio.lowlevel.checkpoint()
            # Two, since whose turn is first in a round of the event loop is drawn by lot.
            assert len(served.world.calls) - seen <= 2, "some were answered in one go"


async def test_a_pipelined_request_may_be_one_for_the_slow_lane(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"1") + post("/v1/nope", b"2") + post("/v1/echo", b"3"))

    assert [(await wire.read_response()).status for _ in range(3)] == [200, 404, 200]


async def test_connection_close_is_honoured(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"bye", "Connection: close"))

    response = await wire.read_response()

    assert response.body == b"bye"
    assert {name.lower(): value for name, value in response.headers.items()}["connection"] == "close"
    assert await wire.read_to_end() == b""


async def test_an_answer_in_pieces_arrives_whole(served: Served) -> None:
    served.world.pieces = [b"a" * 10, b"", b"b" * 700_000, b"c" * 5, b"d" * 300_000]
    wire = await served.connect()
    for _ in range(2):
        await wire.send(post("/v1/pieces"))

        assert (await wire.read_response()).body == b"".join(served.world.pieces)


async def test_a_failing_handler_ends_its_connection_without_an_answer_and_nothing_else(
    served: Served,
) -> None:
    unharmed = await served.connect()
    wire = await served.connect()
    await wire.send(post("/v1/failing", b"boom"))

    assert await wire.read_to_end() == b""
    assert [repr(bug) for bug in served.world.bugs] == ["ValueError(b'boom')"]

    await unharmed.send(post("/v1/echo", b"fine"))

    assert (await unharmed.read_response()).body == b"fine"


# -- event streams

STREAM_HEAD = (
    r"HTTP/1\.1 200 OK\r\nCache-Control: no-cache, no-store, must-revalidate\r\nConnection: keep-alive\r\n"
    rf"Content-Type: text/event-stream; charset=utf-8\r\nDate: {DATE}\r\nTransfer-Encoding: chunked\r\n\r\n"
)
EVENT = b"id: 0\nevent: task_created\ndata: AAAA\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ncell",
        post("/v1/events.r1", b"cell"),
    ],
    ids=["GET", "GET with a body", "POST"],
)
async def test_a_stream_sends_its_head_at_once_then_events_as_they_come(
    served: Served, request_bytes: bytes
) -> None:
    wire = await served.connect()
    await wire.send(request_bytes)

    assert re.fullmatch(STREAM_HEAD, (await wire.read_until(b"\r\n\r\n")).decode())
    assert served.world.calls[0].body in (b"", b"cell")
    assert served.server.statistics().streams == 1

    [source] = served.world.sources
    for _ in range(2):
        source.push(EVENT)

        assert await wire.read_until(b"\n\n\r\n") == CHUNK

    source.close()

    assert await wire.read_to_end() == b"0\r\n\r\n"


async def open_stream(served: Served) -> Wire:
    wire = await served.connect()
    await wire.send(post("/v1/events.r1"))
    await wire.read_until(b"\r\n\r\n")
    return wire


async def test_a_client_that_half_closes_gets_the_final_chunk(world: World) -> None:
    for fast_lane in (True, False):
        async with serving(world, fast_lane=fast_lane) as served:
            wire = await open_stream(served)
            await wire.send_eof()

            assert await wire.read_to_end() == b"0\r\n\r\n"
            assert world.sources[-1].closed


@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast", "slow"])
async def test_a_client_that_half_closes_while_its_stream_is_opened_gets_the_final_chunk(
    world: World, fast_lane: bool
) -> None:
    world.stream_may_open = trio.Event()
    async with serving(world, fast_lane=fast_lane) as served:
        wire = await served.connect()
        await wire.send(post("/v1/events.r1"))
        await world.stream_asked_for.wait()
        await wire.send_eof()
        await wait_all_tasks_blocked(0.01)
        world.stream_may_open.set()

        assert (await wire.read_to_end()).endswith(b"\r\n\r\n0\r\n\r\n")
        assert world.sources[0].closed


async def test_a_client_that_goes_away_ends_its_stream(served: Served) -> None:
    wire = await open_stream(served)
    await wire.stream.aclose()

    await wait_until(lambda: served.world.sources[0].closed, within_s=PATIENCE_S, what="the source is closed")


async def test_what_a_client_says_to_a_stream_is_not_echoed(world: World) -> None:
    async with serving(world, fast_lane=True) as served:
        wire = await open_stream(served)
        await wire.send(b"x" * 300_000)
        world.sources[0].push(EVENT)

        assert await wire.read_until(b"\n\n\r\n") == CHUNK


async def test_a_source_that_fails_ends_its_stream_without_the_final_chunk(served: Served) -> None:
    wire = await open_stream(served)
    served.world.sources[0].break_down()

    assert await wire.read_to_end() == b""
    assert [str(bug) for bug in served.world.bugs] == ["the hub is broken"]
    assert served.world.sources[0].closed


async def test_a_connection_is_over_when_its_client_has_left(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/nope"))
    await wire.read_response()
    await wire.stream.aclose()

    await wait_until(
        lambda: not served.server.statistics().connections, within_s=PATIENCE_S, what="the connection is over"
    )


async def test_a_connection_is_over_when_its_client_has_left_before_pipelined_answers(served: Served) -> None:
    wire = await served.connect()
    await wire.send(post("/v1/slow") + post("/v1/echo") * 20)
    await served.world.handler_entered.wait()
    await trio.aclose_forcefully(wire.stream)
    served.world.handler_may_go_on.set()

    await wait_until(
        lambda: not served.server.statistics().connections, within_s=PATIENCE_S, what="the connection is over"
    )


async def test_a_half_closed_request_is_still_answered(world: World) -> None:
    for fast_lane in (True, False):
        async with serving(world, fast_lane=fast_lane) as served:
            wire = await served.connect()
            await wire.send(post("/v1/slow"))
            await wire.send_eof()
            await world.handler_entered.wait()
            world.handler_may_go_on.set()

            assert (await wire.read_response()).body == b"at last"
