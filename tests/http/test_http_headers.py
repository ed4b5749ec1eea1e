"""What endpoints say besides a body, and hear besides one: headers of their own and refusals, in both lanes down to the bytes."""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from bbs.http.endpoints import Refusal
from bbs.http.header_lines import checked_lines, pairs
from tests.http.serving import PATIENCE_S, Contexts, Served, World, post, serving_lane
from tests.waiting import wait_until

DATE = r"Date: [^\r]*\r\n"
LINES = b"X-Bbs-At-Least: 1:0/16B3748\r\nX-Other: a: b  c\r\n"


@pytest.fixture
def lines() -> list[bytes]:
    """What answers carry: the last of these."""
    return [LINES]


@pytest.fixture
async def saying(lane: str, contexts: Contexts, lines: list[bytes]) -> AsyncIterator[Served]:
    async with serving_lane(World(answer_head=lambda: lines[-1]), lane, contexts) as served:
        yield served


async def test_answers_carry_the_lines_that_are_true_when_their_head_is_sent(
    saying: Served, lines: list[bytes]
) -> None:
    wire = await saying.connect()
    await wire.send(post("/v1/slow"))
    await saying.world.handler_entered.wait()
    lines.append(b"X-Bbs-At-Least: 2:1/0\r\n")
    saying.world.handler_may_go_on.set()

    raw = (await wire.read_until(b"at last")).decode()

    assert re.fullmatch(
        r"HTTP/1\.1 200 OK\r\nContent-Length: 7\r\nContent-Type: application/x-protobuf\r\n"
        rf"X-Bbs-At-Least: 2:1/0\r\n{DATE}\r\nat last",
        raw,
    )


async def test_a_last_answer_carries_them_too(saying: Served) -> None:
    wire = await saying.connect()
    await wire.send(post("/v1/echo", b"x", "Connection: close"))

    raw = (await wire.read_to_end()).decode()

    # h11 has its own order and spelling of this one.
    assert re.fullmatch(
        r"HTTP/1\.1 200 OK\r\nContent-Length: 1\r\nContent-Type: application/x-protobuf\r\n"
        rf"X-Bbs-At-Least: 1:0/16B3748\r\nX-Other: a: b  c\r\n(?i:(?:Connection: close\r\n|{DATE}){{2}})\r\nx",
        raw,
    )


async def test_answers_in_pieces_and_streams_carry_them(saying: Served) -> None:
    saying.world.pieces = [b"a" * 700_000, b"b"]
    wire = await saying.connect()
    await wire.send(post("/v1/pieces"))

    answer = await wire.read_response()

    assert (answer.headers["X-Bbs-At-Least"], answer.headers["X-Other"]) == ("1:0/16B3748", "a: b  c")
    assert answer.body == b"a" * 700_000 + b"b"

    await wire.send(post("/v1/events.r1"))

    assert re.fullmatch(
        r"HTTP/1\.1 200 OK\r\nCache-Control: no-cache, no-store, must-revalidate\r\nConnection: keep-alive\r\n"
        r"Content-Type: text/event-stream; charset=utf-8\r\n"
        rf"X-Bbs-At-Least: 1:0/16B3748\r\nX-Other: a: b  c\r\n{DATE}Transfer-Encoding: chunked\r\n\r\n",
        (await wire.read_until(b"\r\n\r\n")).decode(),
    )


async def test_there_may_be_nothing_to_say(saying: Served, lines: list[bytes]) -> None:
    lines.append(b"")
    wire = await saying.connect()
    await wire.send(post("/v1/echo"))

    assert (await wire.read_response()).headers.keys() == {"Content-Length", "Content-Type", "Date"}


NO_ANSWERS = {
    "not found": (post("/v1/nope"), 404),
    "wrong method": (b"GET /v1/echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "no stream": (post("/v1/events.r1", b"undecodable"), 500),
}


@pytest.mark.parametrize("case", NO_ANSWERS)
async def test_refusals_do_not_carry_them(saying: Served, case: str) -> None:
    request, status = NO_ANSWERS[case]
    wire = await saying.connect()
    await wire.send(request)

    answer = await wire.read_response()

    assert answer.status == status
    assert "X-Bbs-At-Least" not in answer.headers


@pytest.mark.parametrize(
    "bad",
    [
        b"X-A: b\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"X-A: b",
        b"X-A: b\n",
        b"X-A: b\rX-C: d\r\n",
        b"X-A:b\r\n",
        b"X-A: \r\n",
        b"X-A: b \r\n",
        b"X-A: \x00\r\n",
        b"X-A: \xe4\r\n",
        b"x-a: b\r\n",
        b"X-AB: c\r\n",
        b": b\r\n",
        b"Content-Length: 1\r\n",
        b"X-A: b\r\nTransfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
    ],
)
def test_only_lines_of_our_own_are_let_through(bad: bytes) -> None:
    with pytest.raises(ValueError, match="no header lines of ours"):
        checked_lines(lambda: bad)()


def test_lines_come_apart_into_names_and_values() -> None:
    assert pairs(checked_lines(lambda: LINES)()) == (
        ("X-Bbs-At-Least", "1:0/16B3748"),
        ("X-Other", "a: b  c"),
    )
    assert pairs(checked_lines(lambda: b"")()) == ()


async def test_lines_that_are_none_end_the_connection_without_an_answer(
    lane: str, contexts: Contexts
) -> None:
    world = World(answer_head=lambda: b"X-A: b\r\n\r\n")
    async with serving_lane(world, lane, contexts) as served:
        for path in ("/v1/echo", "/v1/events.r1"):
            wire = await served.connect()
            await wire.send(post(path))

            assert await wire.read_to_end() == b""
        await wait_until(
            lambda: len(world.bugs) + len(world.failures) == 2, within_s=PATIENCE_S, what="both are told of"
        )
        world.failures.clear()

    assert all(source.closed for source in world.sources)


# -- what a request says

AT_LEAST = {
    "absent": ((), ""),
    "present": (("X-Bbs-At-Least: 1:0/16B3748",), "1:0/16B3748"),
    "in any spelling, between blanks": (("x-bbs-AT-least:\t 1:0/1 \t",), "1:0/1"),
    "empty": (("X-Bbs-At-Least:",), ""),
    "outside ASCII": (("X-Bbs-At-Least: \xe4",), "\xe4"),
    "with a trace id": (("X-Vcap-Request-Id: t", "X-Bbs-At-Least: 1:0/1"), "1:0/1"),
    "with an underscore it is another": (("X_Bbs_At_Least: 1:0/1",), ""),
}
TWICE = {
    "two": (("X-Bbs-At-Least: 1:0/1", "X-Bbs-At-Least: 1:0/2"), "1:0/1, 1:0/2"),
    "the same twice": (("X-Bbs-At-Least: 1:0/1",) * 2, "1:0/1, 1:0/1"),
    "folded": (("X-Bbs-At-Least: 1:0/1\r\n x",), "1:0/1 x"),
}


@pytest.mark.parametrize("case", AT_LEAST | TWICE)
@pytest.mark.parametrize("path", ["/v1/echo", "/v1/events.r1"])
async def test_a_handler_sees_what_the_answer_is_to_know_of(
    served: Served, lane: str, case: str, path: str
) -> None:
    fields, seen = (AT_LEAST | TWICE)[case]
    wire = await served.connect()
    await wire.send(post(path, b"x", *fields))
    await wire.read_until(b"\r\n\r\n")

    [call] = served.world.calls
    assert call.at_least == seen
    # Only what leaves room for two opinions is for the slow lane.
    assert served.server.statistics().handed_over == (lane.startswith("fast") and case in TWICE)


# -- refusals

TEXT = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
REFUSALS = {
    "a plain one": (
        Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too old"),
        rf"HTTP/1\.1 503 Service Unavailable\r\nContent-Length: 8\r\n{TEXT}{DATE}\r\ntoo old\n",
    ),
    "with headers": (
        Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "ask the master",
            ("X-Bbs-Master", "https://bbs:8889"),
            ("Retry-After", "1"),
        ),
        r"HTTP/1\.1 421 Misdirected Request\r\nContent-Length: 15\r\nX-Bbs-Master: https://bbs:8889\r\nRetry-After: 1\r\n"
        rf"{TEXT}{DATE}\r\nask the master\n",
    ),
    "with a line break in a value": (
        Refusal(HTTPStatus.MISDIRECTED_REQUEST, "x", ("X-Bbs-Master", "a\r\n\r\nHTTP/1.1 200 OK\n\u010d ")),
        r"HTTP/1\.1 421 Misdirected Request\r\nContent-Length: 2\r\nX-Bbs-Master: a\?\?\?\?HTTP/1\.1 200 OK\?\?\r\n"
        rf"{TEXT}{DATE}\r\nx\n",
    ),
    "with an empty value": (
        Refusal(HTTPStatus.MISDIRECTED_REQUEST, "", ("X-Bbs-Master", "")),
        r"HTTP/1\.1 421 Misdirected Request\r\nContent-Length: 1\r\nX-Bbs-Master: \r\n"
        rf"{TEXT}{DATE}\r\n\n",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("path", ["/v1/echo", "/v1/events.r1"])
async def test_an_endpoint_may_refuse(saying: Served, case: str, path: str) -> None:
    saying.world.refusal, wanted = REFUSALS[case]
    wire = await saying.connect()
    for _ in range(2):
        await wire.send(post(path, b"x"))

        head = await wire.read_until(b"\r\n\r\n")
        body = await wire.read_until(b"\n")

        assert re.fullmatch(wanted, (head + body).decode())

    saying.world.refusal = None
    await wire.send(post("/v1/echo", b"and the next"))

    assert (await wire.read_response()).body == b"and the next"
    assert saying.server.statistics().requests == 3
    assert saying.server.statistics().streams == 0
    assert saying.world.begun == saying.world.ended
    assert len(saying.world.ended) == 3
    assert not saying.world.bugs


async def test_a_refusal_may_be_a_connections_last_answer(served: Served) -> None:
    served.world.refusal = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too old")
    wire = await served.connect()
    await wire.send(post("/v1/echo", b"x", "Connection: close"))

    raw = await wire.read_to_end()

    assert raw.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nconnection: close\r\n" in raw.lower()
    assert raw.endswith(b"\r\n\r\ntoo old\n")


@pytest.mark.parametrize("status", [HTTPStatus.CONTINUE, HTTPStatus.OK, HTTPStatus.NOT_MODIFIED])
def test_a_refusal_says_no(status: HTTPStatus) -> None:
    with pytest.raises(ValueError, match="no refusal"):
        Refusal(status, "x")


@pytest.mark.parametrize(
    "name", ["Content-Length", "Transfer-Encoding", "Connection", "x-a", "X-A\r\nX-B", "X A", "", "X-A: b"]
)
def test_a_refusal_has_no_header_of_https_own_or_oddly_spelt(name: str) -> None:
    with pytest.raises(ValueError, match="no header of ours"):
        Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "x", (name, "y"))
