"""``bbs cells`` and ``bbs cell ID``: what is known of cells, and of those that do not answer."""

import json
import re
import ssl
from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock

from bbs.cfdot.cell_load import Amount, CellLoad
from bbs.console import reps
from bbs.console.cell import COLUMNS, NOT_ANNOUNCED, Cell, cells_of, lines_of, of_total
from bbs.console.failed_calls import ask_failed_calls, read_failed_calls
from bbs.console.reps import Call, ask_reps
from bbs.models import pb
from tests.cfdot.conftest import Server, StartServer
from tests.cfdot.rep_server import rep
from tests.cfdot.running import cfdot
from tests.cfdot.terminals import at_terminal
from tests.cfdot.test_cell_load import STATE
from tests.console.apps import EVACUATING, NOW_NS, SUSPECT, row
from tests.console.fleet import RUNNING, announce, as_cells_and_auctioneer, desire, key, on, presence
from tests.daemons import free_port

LOAD = CellLoad(
    memory=Amount(400, 1000), disk=Amount(0, 2000), containers=Amount(3, 50), lrps=2, tasks=1, starting=0
)
ANSWERED = Call(load=LOAD, took_s=0.0123)
GONE = Call(trouble="failed: connection refused")


def shown(cell: Cell) -> Mapping[str, str]:
    return {column.title: column.cell(cell, NOW_NS) for column in COLUMNS}


def test_each_cell_has_its_load_and_its_rows_by_state() -> None:
    rows = [
        *(row(0), row(1), row(2, "CLAIMED"), row(3, presence=EVACUATING), row(4, presence=SUSPECT)),
        *(row(5, "UNCLAIMED"), row(6, cell="lost"), row(7, cell="cell-2")),
    ]
    calls = {"cell-1": ANSWERED, "cell-2": GONE}
    cells = cells_of([presence("cell-2"), presence("cell-1")], calls, rows)

    assert [cell.cell_id for cell in cells] == ["cell-1", "cell-2", "lost"]
    one, gone, lost = map(shown, cells)
    assert [one[title] for title in ("RUNNING", "CLAIMED", "SUSPECT", "EVACUATING", "TASKS")] == list("21111")
    assert (one["ZONE"], one["MEMORY"], one["DISK"], one["CONTAINERS"]) == (
        "z1",
        "400/1000M",
        "0/2000M",
        "3/50",
    )
    assert (one["REP"], one["PLACEMENT TAGS"]) == ("answered in 12 ms", "isolated, gpu (optional)")
    assert (gone["MEMORY"], gone["CONTAINERS"], gone["TASKS"]) == ("?/1000M", "?/50", "")
    assert (gone["REP"], gone["RUNNING"]) == ("failed: connection refused", "1")
    assert (lost["REP"], lost["MEMORY"], lost["ZONE"], lost["RUNNING"]) == (NOT_ANNOUNCED, "", "", "1")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", "none since the server began"),
        (
            b'{"c": {"call": "stop-lrp", "at_ns": %d, "reason": "timed out", "failures": 3}}' % (NOW_NS - 90 * 10**9),
            "stop-lrp 1m30s ago: timed out (3 failed so far)",
        ),
        (b'{"c": {}}', "not known: the debug port answers something else"),
        (b"[]", "not known: the debug port answers something else"),
        (b"<html>", "not known: the debug port answers something else"),
    ],
)  # fmt: skip
def test_the_last_failed_call_of_the_bbs_is_told(body: bytes, told: str) -> None:
    failed = read_failed_calls(body, NOW_NS)
    [cell] = cells_of([presence("c")], {"c": ANSWERED}, [], failed)

    assert dict(lines_of(cell))["last failed call of the BBS"] == told


async def test_without_a_debug_port_it_is_said_how_to_know() -> None:
    assert "BBS_DEBUG" in (await ask_failed_calls("", NOW_NS)).of("c")
    nobody = (await ask_failed_calls(f"127.0.0.1:{free_port()}", NOW_NS)).of("c")
    assert nobody.startswith("not known: ")
    assert "refused" in nobody


def test_a_call_that_failed_is_told_as_the_server_tells_it(start_server: StartServer) -> None:
    debug = f"127.0.0.1:{free_port()}"
    server = start_server(debug=debug)
    announce(server, presence("c", port=free_port()))
    desire(server, "app", instances=1)
    as_cells_and_auctioneer(server, lambda client: client.start_actual_lrp(key("app", 0), on("c"), RUNNING))
    assert "refused" in server.run("retire-actual-lrp", "app", "0").err
    shown = cfdot(
        *("cell", "c", "-o", "table"), environment={**server.environment, "BBS_DEBUG": debug}, program="bbs"
    )

    assert shown.code == 0
    assert re.search(r"last failed call of the BBS +\S+ \d+s ago: .*refused", shown.out), shown.out


def test_all_about_one() -> None:
    told = dict(lines_of(cells_of([presence("c")], {"c": ANSWERED}, [row(cell="c")])[0]))
    assert told["presence"].startswith("announced; since when is not told")
    assert (told["call"], told["instances"]) == ("asked now: answered in 12 ms", "1 running; the rep has 2")
    assert (told["memory"], told["rootfs"]) == ("400/1000M", "preloaded: cflinuxfs4")
    lost = dict(lines_of(cells_of([], {}, [row(cell="c")])[0]))
    assert lost["presence"].startswith("not announced: ")
    assert (lost["call"], lost["instances"]) == ("nobody to ask", "1 running")
    unreached = dict(lines_of(cells_of([presence("c")], {"c": GONE}, [])[0]))
    assert (unreached["call"], unreached["instances"]) == ("asked now: failed: connection refused", "none")


def test_a_cell_that_is_leaving_says_so() -> None:
    assert Call(load=CellLoad(is_evacuating=True), took_s=0.001).told == "evacuating, answered in 1 ms"


def test_nothing_is_made_up_of_a_capacity_of_zero() -> None:
    assert (of_total(Amount(), 0), of_total(Amount(), 5, "M")) == ("", "?/5M")


async def test_reps_are_asked_some_at_a_time_and_no_longer_than_agreed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Of 10 that never answer, 4 at once with 5 s each, the first 8 have failed after 10 s; there is time for one more round."""
    under_way = most = 0

    async def silent(cell: pb.CellPresence, context: object, *, trace_id: str, timeout_s: float) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await trio.sleep(timeout_s)
        finally:
            under_way -= 1
        raise ValueError("nothing")

    monkeypatch.setattr(reps, "rep_state", silent)
    cells = [presence(f"c{number}") for number in range(10)]
    began_s = trio.current_time()
    calls = await ask_reps(cells, None, trace_id="", at_once=4, rep_within_s=5, all_within_s=12)

    assert (trio.current_time() - began_s, most, under_way) == (12, 4, 0)
    assert list(calls) == [f"c{number}" for number in range(10)]
    told = [call.trouble for call in calls.values()]
    assert sorted(told) == 8 * ["failed: nothing"] + 2 * ["no answer within 12 s of all calls"]


@pytest.mark.slow
@pytest.mark.postgres
def test_cells_at_a_terminal_and_in_a_pipe(server: Server, server_tls: ssl.SSLContext) -> None:
    desire(server, "celled")
    as_cells_and_auctioneer(
        server, lambda client: client.start_actual_lrp(key("celled", 0), on("full"), RUNNING)
    )
    with rep(server_tls) as good:
        good.body = json.dumps(STATE).encode()
        announce(server, presence("full", port=good.server_port))
        announce(server, presence("silent", port=free_port()))
        table = at_terminal(server, "cells", COLUMNS="250", TERM="dumb").splitlines()
        one = at_terminal(server, "cell", "full", COLUMNS="200")
        piped = cfdot("cells", environment=server.environment, program="bbs")

    assert table[0].split()[:5] == ["CELL", "ZONE", "MEMORY", "DISK", "CONTAINERS"]
    [full] = [line.split() for line in table if line.startswith("full ")]
    assert full[1:9] == ["z1", "400/1000M", "0/2000M", "3/50", "1", "0", "0", "0"]
    assert "evacuating, answered in" in " ".join(full)
    [silent] = [line for line in table if line.startswith("silent ")]
    assert "connection refused" in silent
    for words in ("400/1000M", "1 running; the rep has 2", "evacuating, answered in ", "celled", "isolated"):
        assert words in one
    assert (piped.code, piped.lines) == (0, server.tell("cells"))
    asked = cfdot("cell", "full", "-o", "json", environment=server.environment, program="bbs")
    assert asked.lines == server.tell("cell", "full")
    nowhere = cfdot("cell", "nowhere", "-o", "table", environment=server.environment, program="bbs")
    assert (nowhere.code, nowhere.out, nowhere.err) == (5, "", "Error: Cell not found\n")
