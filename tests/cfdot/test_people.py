"""What ``bbs`` shows a person: tables at a terminal, the same lines of JSON as ``cfdot`` everywhere else."""

import io
import os
import subprocess
import sys
from typing import Any

import pytest

from bbs.cfdot.columns import TABLES, columns_for, harmless
from bbs.cfdot.people import Tables
from bbs.cfdot.rendering import Result
from bbs.models import pb
from bbs.models.go_json import to_json
from bbs.models.pb import locket_pb2
from bbs.words.times import DAY_S, HOUR_S, MINUTE_S, NS, age
from tests.cfdot.conftest import Server
from tests.cfdot.running import cfdot
from tests.cfdot.terminals import BBS, at_terminal
from tests.records import desired_message

NOW_NS = 10**18


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0s"),
        (59, "59s"),
        (MINUTE_S, "1m00s"),
        (HOUR_S - 1, "59m59s"),
        (HOUR_S + 5 * MINUTE_S, "1h05m"),
        (DAY_S - 1, "23h59m"),
        (9 * DAY_S + 4 * HOUR_S, "9d4h"),
    ],
)
def test_ages(seconds: int, told: str) -> None:
    assert age(NOW_NS - seconds * NS, NOW_NS) == told


def test_what_never_was_has_no_age() -> None:
    assert age(0, NOW_NS) == "-"


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("a terminal that knows nothing of its size")


def lrp(index: int, **fields: Any) -> pb.ActualLRP:
    message = pb.ActualLRP(actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=index, domain="d"))
    message.MergeFrom(pb.ActualLRP(**fields))
    return message


def drawn(*results: Result, out: io.BytesIO, wide: bool = False, **environment: str) -> str:
    tables = Tables(out, io.BytesIO(), environment, wide=wide, now_ns=lambda: NOW_NS)
    for result in results:
        tables.show(result)
    tables.flush()
    return out.getvalue().decode()


def test_a_table_has_ages_and_its_rows_in_order_of_numbers() -> None:
    first = lrp(2, state="CRASHED", since=NOW_NS - 40 * NS, crash_count=3, crash_reason="out of memory")
    text = drawn(lrp(10, state="RUNNING"), first, out=io.BytesIO())

    head, *rows = (line.split() for line in text.splitlines())
    assert head[-1] == "WHY"
    assert [row[:3] for row in rows] == [["p", "2", "CRASHED"], ["p", "10", "RUNNING"]]
    assert rows[0][5:] == ["40s", "3", "out", "of", "memory"]
    assert "ZONE" in drawn(first, out=io.BytesIO(), wide=True).splitlines()[0]


def test_colours_are_for_terminals_that_want_them() -> None:
    crashed = lrp(0, state="CRASHED")
    assert "\x1b[1;31mCRASHED" in drawn(crashed, out=Terminal(), TERM="xterm")
    assert "\x1b[1;31m" not in drawn(crashed, out=Terminal(), TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in drawn(crashed, out=io.BytesIO(), TERM="xterm")


def test_width_is_respected_and_a_pipe_has_none() -> None:
    long = lrp(0, state="CRASHED", crash_reason="x" * 300)
    narrow = drawn(long, out=Terminal(), TERM="dumb", COLUMNS="90")
    assert max(map(len, narrow.splitlines())) <= 90
    assert narrow.count("x") == 300
    assert "x" * 300 in drawn(long, out=io.BytesIO())


def test_what_others_wrote_does_not_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\n") == "a\ufffd[2Jb\ufffd"
    assert "\x1b" not in drawn(lrp(0, crash_reason="\x1b]0;title\x07[bold]"), out=io.BytesIO())
    assert "[bold]" in drawn(lrp(0, crash_reason="[bold]"), out=io.BytesIO())


def test_a_group_is_the_rows_of_its_slots() -> None:
    group = pb.ActualLRPGroup(
        instance=lrp(0, state="UNCLAIMED"), evacuating=lrp(0, state="RUNNING", presence=1)
    )
    rows = [line.split()[2:4] for line in drawn(group, out=io.BytesIO()).splitlines()[1:]]
    assert sorted(rows) == [["RUNNING", "evacuating"], ["UNCLAIMED", "ordinary"]]


def test_a_long_value_is_whole_only_in_a_wide_table() -> None:
    presence = locket_pb2.Resource(key="c", owner="o", value="x" * 200)
    assert "x" * 60 not in drawn(presence, out=io.BytesIO())
    assert "x" * 200 in drawn(presence, out=io.BytesIO(), wide=True)


@pytest.mark.parametrize("kind", [kind for kind, _ in TABLES])
def test_every_column_can_be_drawn_of_an_empty_message(kind: type) -> None:
    columns = columns_for(kind, wide=True)
    assert columns
    for column in columns:
        assert isinstance(column.cell(kind(), NOW_NS), str)


def test_a_form_that_there_is_not_is_refused(settings: dict[str, str]) -> None:
    ended = cfdot("domains", "-o", "yaml", environment=settings, program="bbs")
    assert ended.code == 3
    assert ended.err.startswith(
        "Error: There is no output 'yaml'. Please specify one of: json, table, wide\n"
    )
    assert "-o, --output string" in ended.err


def test_upstreams_name_has_no_flag_for_it(settings: dict[str, str]) -> None:
    ended = cfdot("domains", "-o", "json", environment=settings)
    assert "unknown shorthand flag: 'o' in -o" in ended.err
    assert "--output" not in ended.err


@pytest.mark.slow
@pytest.mark.postgres
def test_a_terminal_gets_a_table_and_a_pipe_the_lines_of_cfdot(server: Server) -> None:
    server.tell("set-domain", "seen")

    table = at_terminal(server, "domains")
    assert "DOMAIN" in table
    assert '"seen"' not in table
    assert '"seen"' in at_terminal(server, "domains", "-o", "json").splitlines()
    piped = subprocess.run(
        [*BBS, "domains"],
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert piped.stdout.splitlines() == server.tell("domains")


def test_a_command_in_a_pipe_does_not_load_rich(settings: dict[str, str]) -> None:
    """Nobody answers; by then everything that the command needs has been loaded."""
    code = (
        "import sys; from bbs.cfdot.main import main; main(['domains'], program='bbs');"
        " assert 'trio' in sys.modules; sys.exit('rich' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.postgres
def test_lists_that_were_json_only_are_tables(server: Server) -> None:
    """Those of Locket, too, whose commands have no other new flag."""
    desired = desired_message("listed", domain="listed-d", PlacementTags=["tagged"])
    server.tell("create-desired-lrp", to_json(desired))
    server.tell("claim-lock", "-k", "listed-lock", "-o", "me", "-v", "here", "-t", "60")
    server.tell("claim-presence", "-k", "listed-presence", "-o", "me", "-t", "60")

    for words, shown in (
        (
            ("desired-lrp-scheduling-infos", "-d", "listed-d", "-o", "wide"),
            ("PLACEMENT TAGS", "listed", "128M", "tagged"),
        ),
        (("actual-lrp-groups", "-d", "listed-d"), ("PROCESS GUID", "listed", "UNCLAIMED", "ordinary")),
        (("locks",), ("OWNER", "listed-lock", "here")),
        (("presences",), ("OWNER", "listed-presence")),
    ):
        text = at_terminal(server, *words, COLUMNS="200")
        for each in shown:
            assert each in text
        assert not any(line.startswith("{") for line in text.splitlines())
    assert '"listed-lock"' in at_terminal(server, "locks", "-o", "json")
    assert "unknown shorthand flag: 'o'" in cfdot("locks", "-o", "json", environment=server.environment).err
    claiming = cfdot("claim-lock", "--output", "json", environment=server.environment, program="bbs")
    assert "unknown flag: --output" in claiming.err
