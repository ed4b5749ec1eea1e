"""spec: peers.md §3; actual-lrps.md §5.2; examples.md D14-D16 and D19, as far as the rep is concerned."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRPState, InstanceKey
from bbs.peers.http import BadStatus, HTTPClient, NoResponse
from bbs.peers.interfaces import Cell, RepURLUnusable
from bbs.peers.reps import HTTPReps
from tests.log_lines import Lines
from tests.peers.peer_server import Do, PeerServer, answer, closed_port
from tests.records import actual_lrp

LRP = actual_lrp(
    "pg-1",
    2,
    domain="cf-apps",
    state=ActualLRPState.RUNNING,
    instance=InstanceKey(instance_guid="ig-1", cell_id="c1"),
)
BOTH: dict[str, Any] = {"internal_routes": ("a.apps.internal",), "metric_tags": (("k", "v"),)}
NOT_FOUND = answer("404 Not Found")


class Caller(NamedTuple):
    reps: HTTPReps
    log: Logger


Call = Callable[[Caller, Cell], Awaitable[None]]


async def stop(reps: Caller, cell: Cell, *, trace_id: str = "") -> None:
    await reps.reps.stop_lrp_instance(cell, LRP, trace_id=trace_id, log=reps.log)


async def update(reps: Caller, cell: Cell, *, trace_id: str = "", **parts: Any) -> None:
    given = {"internal_routes": None, "metric_tags": None} | parts
    await reps.reps.update_lrp_instance(cell, LRP, trace_id=trace_id, log=reps.log, **given)


async def cancel(reps: Caller, cell: Cell, *, trace_id: str = "") -> None:
    await reps.reps.cancel_task(cell, "t-1", trace_id=trace_id, log=reps.log)


CALLS = [stop, update, cancel]


def cell_at(server: PeerServer) -> Cell:
    return Cell(cell_id="c1", rep_url=server.address)


@pytest.fixture
def reps(http: HTTPClient, log: Logger) -> Caller:
    return Caller(HTTPReps(http=http), log)


@pytest.mark.parametrize(
    ("call", "line", "content_type"),
    [
        (stop, "POST /v1/lrps/pg-1/instances/ig-1/stop HTTP/1.1", "application/json"),
        (update, "PUT /v2/lrps/pg-1/instances/ig-1 HTTP/1.1", "application/json"),
        (cancel, "POST /v1/tasks/t-1/cancel HTTP/1.1", None),
    ],
)
async def test_each_call_has_its_path_and_headers(
    reps: Caller, tls_server: PeerServer, call: Call, line: str, content_type: str | None
) -> None:
    await call(reps, cell_at(tls_server))

    [sent] = tls_server.sent
    assert sent.line == line
    assert sent.header("Content-Type") == content_type
    assert sent.header("X-Vcap-Request-Id") is None
    if call is not update:
        assert sent.body == b""
        assert sent.header("Content-Length") == "0"


@pytest.mark.parametrize("call", CALLS)
async def test_the_request_id_is_passed_on(reps: Caller, tls_server: PeerServer, call: Any) -> None:
    await call(reps, cell_at(tls_server), trace_id="the-id")

    assert tls_server.sent[0].header("X-Vcap-Request-Id") == "the-id"


HEAD = '{"instance_guid":"ig-1","process_guid":"pg-1","index":2,"domain":"cf-apps",'


@pytest.mark.parametrize(
    ("parts", "rest"),
    [
        (
            {"internal_routes": ("a.apps.internal",)},
            '"internal_routes":[{"hostname":"a.apps.internal"}],"metric_tags":null}',
        ),
        (
            {"metric_tags": (("source_id", "x"), ("instance_id", "2"))},
            '"internal_routes":null,"metric_tags":{"instance_id":"2","source_id":"x"}}',
        ),
        ({"internal_routes": (), "metric_tags": ()}, '"internal_routes":[],"metric_tags":{}}'),
        (
            {"internal_routes": ("<a>",), "metric_tags": (("&", "ü"),)},
            '"internal_routes":[{"hostname":"\\u003ca\\u003e"}],"metric_tags":{"\\u0026":"ü"}}',
        ),
    ],
    ids=["routes", "tags, sorted", "empty is not null", "escaped"],
)
async def test_an_update_is_sent_as_go_does(
    reps: Caller, tls_server: PeerServer, parts: dict[str, Any], rest: str
) -> None:
    await update(reps, cell_at(tls_server), **parts)

    assert tls_server.sent[0].body.decode() == HEAD + rest


OLD_ROUTE = "PUT /v1/lrps/pg-1/instances/ig-1 HTTP/1.1"
NEW_ROUTE = "PUT /v2/lrps/pg-1/instances/ig-1 HTTP/1.1"
ROUTES_ONLY = HEAD + '"internal_routes":[{"hostname":"a.apps.internal"}],"metric_tags":null}'


@pytest.mark.parametrize("again", [answer("202 Accepted"), NOT_FOUND], ids=["202", "404"])
async def test_a_rep_without_the_new_route_is_updated_through_the_old_one(
    reps: Caller, tls_server: PeerServer, lines: Lines, again: bytes
) -> None:
    tls_server.plays(NOT_FOUND, again)

    await update(reps, cell_at(tls_server), trace_id="id", **BOTH)

    assert tls_server.lines == [NEW_ROUTE, OLD_ROUTE]
    assert tls_server.sent[1].body.decode() == ROUTES_ONLY
    assert tls_server.sent[1].header("X-Vcap-Request-Id") == "id"
    assert lines.data_of("bbs.update-lrp.failed-with-status")["status-code"] == 404


async def test_a_rep_without_the_new_route_has_no_use_for_tags_alone(
    reps: Caller, tls_server: PeerServer
) -> None:
    tls_server.plays(NOT_FOUND)

    await update(reps, cell_at(tls_server), metric_tags=(("k", "v"),))

    assert tls_server.lines == [NEW_ROUTE]


async def test_what_fails_on_the_old_route_fails(reps: Caller, tls_server: PeerServer) -> None:
    tls_server.plays(NOT_FOUND, answer("500 Oh"))

    with pytest.raises(BadStatus, match="status code 500"):
        await update(reps, cell_at(tls_server), **BOTH)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, "http error: status code 500 (Internal Server Error)"),
        (200, "http error: status code 200 (OK)"),
        (503, "http error: status code 503 (Service Unavailable)"),
    ],
)
async def test_any_other_answer_is_an_error(
    reps: Caller, tls_server: PeerServer, lines: Lines, call: Call, status: int, text: str
) -> None:
    tls_server.plays(answer(f"{status} Whatever"))

    with pytest.raises(BadStatus) as raised:
        await call(reps, cell_at(tls_server))
    assert str(raised.value) == text
    assert len(tls_server.sent) == 1
    assert [message.rpartition(".")[2] for message in lines.messages] == ["starting", "failed-with-status"]


@pytest.mark.parametrize("call", [stop, cancel])
async def test_404_is_an_error_except_for_updates(reps: Caller, tls_server: PeerServer, call: Call) -> None:
    tls_server.plays(NOT_FOUND)

    with pytest.raises(BadStatus, match=r"http error: status code 404 \(Not Found\)"):
        await call(reps, cell_at(tls_server))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("scheme", ["http", "ftp", ""])
async def test_a_cell_without_https_is_not_called(
    reps: Caller, server: PeerServer, lines: Lines, call: Call, scheme: str
) -> None:
    cell = Cell(cell_id="c1", rep_url=f"{scheme}://127.0.0.1:{server.port}" if scheme else "")

    with pytest.raises(RepURLUnusable) as raised:
        await call(reps, cell)
    assert str(raised.value) == "https scheme is required but none of the addresses support it"
    assert not server.connections
    assert not lines.lines


@pytest.mark.parametrize("call", CALLS)
async def test_no_response_is_an_error(reps: Caller, lines: Lines, call: Call) -> None:
    with pytest.raises(NoResponse, match="refused"):
        await call(reps, Cell(cell_id="c1", rep_url=f"https://127.0.0.1:{await closed_port()}"))
    assert [message.rpartition(".")[2] for message in lines.messages] == ["starting", "request-failed"]


async def test_calls_that_fail_are_noted_by_cell(
    http: HTTPClient, tls_server: PeerServer, log: Logger
) -> None:
    noting = HTTPReps(http=http)
    for call in CALLS:
        await call(Caller(noting, log), cell_at(tls_server))
    assert noting.failures.by_cell == {}

    gone = Cell(cell_id="gone", rep_url=f"https://127.0.0.1:{await closed_port()}")
    for call, name in zip(CALLS, ("stop-lrp", "update-lrp", "cancel-task"), strict=True):
        with pytest.raises(NoResponse):
            await call(Caller(noting, log), gone)
        assert noting.failures.by_cell["gone"].call == name
    assert "refused" in noting.failures.by_cell["gone"].reason
    assert noting.failures.by_cell["gone"].failures == len(CALLS)
    assert list(noting.failures.by_cell) == ["gone"]


async def test_a_rep_that_hangs_is_given_up(
    impatient: HTTPClient, tls_server: PeerServer, log: Logger
) -> None:
    tls_server.plays(Do.HANG)

    with pytest.raises(NoResponse, match=r"Client\.Timeout"):
        await stop(Caller(HTTPReps(http=impatient), log), cell_at(tls_server))


async def test_the_log_says_what_was_asked_of_whom(
    reps: Caller, tls_server: PeerServer, lines: Lines
) -> None:
    for call in CALLS:
        await call(reps, cell_at(tls_server))
    tls_server.plays(NOT_FOUND, NOT_FOUND)
    await update(reps, cell_at(tls_server), **BOTH)

    key = {"process-guid": "pg-1", "index": 2, "domain": "cf-apps"}
    stopped = key | {"instance-key": {"instance_guid": "ig-1", "cell_id": "c1"}, "session": "1"}
    updated = key | {"instance-guid": "ig-1"}
    gone = {"status-code": 404, "msg": "Not Found"}
    for line in lines.lines:
        if "duration" in line["data"]:
            assert line["data"].pop("duration") > 0
    assert [(line["log_level"], line["message"], line["data"]) for line in lines.lines] == [
        (1, "bbs.stop-lrp.starting", stopped),
        (1, "bbs.stop-lrp.completed", stopped),
        (1, "bbs.update-lrp.starting", updated | {"session": "2"}),
        (1, "bbs.update-lrp.completed", updated | {"session": "2"}),
        (1, "bbs.cancel-task.starting", {"task-guid": "t-1", "session": "3"}),
        (1, "bbs.cancel-task.completed", {"task-guid": "t-1", "session": "3"}),
        (1, "bbs.update-lrp.starting", updated | {"session": "4"}),
        (2, "bbs.update-lrp.failed-with-status", updated | gone | {"session": "4"}),
        (1, "bbs.update-lrp-r0.starting", updated | {"session": "5"}),
        (2, "bbs.update-lrp-r0.failed-with-status", updated | gone | {"session": "5"}),
    ]
