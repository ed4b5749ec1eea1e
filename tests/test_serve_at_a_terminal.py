"""What `bbs serve` tells of itself: to a person at a terminal, and to a pipe."""

import io
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bbs.commands.cli import _parser
from bbs.commands.terminal import wants_colour, wants_text
from bbs.commands.terminal_log import TerminalLog
from bbs.log import LagerSink, Level, Logger, root_logger
from tests.forked_starts import Ended, ForkedStarts
from tests.made_once import copy_cluster
from tests.terminals import BOTH, Stream, Terminal, at_a_terminal

COLOUR_BEGINS = "\x1b["


@asynccontextmanager
async def serving(
    starts: ForkedStarts,
    data: Path,
    *arguments: str,
    columns: int = 0,
    streams: Collection[Stream] = BOTH,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """``bbs serve`` at a terminal, with a database of its own that is empty."""
    copy_cluster(data)
    addresses = "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--debug-listen", "127.0.0.1:0"
    async with at_a_terminal(
        starts,
        *("serve", *addresses, "--data-dir", str(data), *arguments),
        columns=columns,
        streams=streams,
        environment=environment,
    ) as terminal:
        yield terminal


@pytest.mark.parametrize("columns", [48, 200])
async def test_a_person_reads_one_line_for_each_thing_that_matters(
    tmp_path: Path, starts: ForkedStarts, columns: int
) -> None:
    data = tmp_path / "data"
    async with serving(starts, data, columns=columns) as terminal:
        await terminal.until("listening on http://127.0.0.1:")
        terminal.press_ctrl_c()
        ended = await terminal.until_it_ends()

    assert ended == Ended(0, "", "")
    text = terminal.text
    assert COLOUR_BEGINS in text
    # Ctrl-C is shown by the terminal, where it was pressed.
    shown = re.sub(r"\x1b\[[0-9]+m", "", text).replace("^C", "")
    lines = shown.splitlines()
    for line in lines:
        assert len(line) <= columns or str(tmp_path) in line, "nothing is broken but between words"
    whole = " ".join(shown.split())
    for once in (
        "schema made for an empty database: version",
        "loaded 0 rows in",
        "database PostgreSQL 18.",
        f"(embedded, in {data})",
        f"logs of the database: {data}/postgres.log",
        "cells register with Locket at 127.0.0.1:",
        "dashboard http://127.0.0.1:",
        "/dashboard/ (from this machine only)",
        "auctioneer none, so nothing is placed: auctions are only remembered; see --auctioneer-address",
        "listening on http://127.0.0.1:",
        "stopping SIGINT: requests in flight are answered, what was staged is written",
        "stopped all is written",
    ):
        assert whole.count(once) == 1, (once, text)
    assert "127.0.0.1:0" not in text
    assert "migration" not in text
    assert len(lines) == 10 or columns < 200
    assert whole.index("none, so nothing is placed") < whole.index("listening on")


async def test_no_color_is_respected(tmp_path: Path, starts: ForkedStarts) -> None:
    async with serving(starts, tmp_path / "data", environment={"NO_COLOR": "1"}) as terminal:
        text = await terminal.until("listening on http://")

    assert "rows in" in text
    assert COLOUR_BEGINS not in text


async def test_quiet_leaves_nothing_but_the_address(tmp_path: Path, starts: ForkedStarts) -> None:
    async with serving(starts, tmp_path / "data", "--quiet", environment={"TERM": "dumb"}) as terminal:
        await terminal.until("listening on http://")
        terminal.press_ctrl_c()
        await terminal.until_it_ends()

    shown = terminal.text.replace("^C", "")
    assert [line.partition(" http")[0] for line in shown.splitlines() if line] == ["listening on"]


async def test_a_log_in_a_file_is_json_and_the_address_at_the_terminal(
    tmp_path: Path, starts: ForkedStarts
) -> None:
    async with serving(starts, tmp_path / "data", streams=["stdout"]) as terminal:
        await terminal.until("listening on http://")
        terminal.press_ctrl_c()
        ended = await terminal.until_it_ends()

    assert re.fullmatch(
        r"\x1b\[32mlistening on http://127.0.0.1:\d+\x1b\[0m\n", terminal.text.replace("^C", "")
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert sum(line["message"] == "bbs.migration-manager.completed-migration" for line in lines) > 10
    assert (ended.exit_code, ended.stdout) == (0, "")


async def test_the_address_goes_to_a_file_and_the_log_to_the_terminal(
    tmp_path: Path, starts: ForkedStarts
) -> None:
    """It is told at the terminal, too: whoever sits there sees nothing else of it."""
    async with serving(starts, tmp_path / "data", streams=["stderr"]) as terminal:
        await terminal.until("address")
        terminal.press_ctrl_c()
        ended = await terminal.until_it_ends()

    assert ended.exit_code == 0
    [address] = re.findall(r"address    \x1b\[0m(\S+)\n", terminal.text)
    assert ended.stdout == f"listening on {address}\n"


async def test_json_may_be_asked_for_at_a_terminal(tmp_path: Path, starts: ForkedStarts) -> None:
    async with serving(starts, tmp_path / "data", "--log-format", "json") as terminal:
        text = await terminal.until("listening on http://")

    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert sum(line["message"] == "bbs.migration-manager.completed-migration" for line in lines) > 10


class Written:
    def __init__(self) -> None:
        self.text = ""

    def write(self, line: bytes, /) -> None:
        self.text += line.decode()


def told(tell: Callable[[Logger], None], *, shows_all: bool = False) -> str:
    """What is written when ``tell`` has logged what it wants to."""
    written = Written()
    log = TerminalLog(written, in_colour=False, shows_all=shows_all)
    tell(root_logger("bbs", LagerSink(log, min_level=Level.DEBUG)))
    return written.text


def test_every_error_is_shown_with_its_reason_and_its_details() -> None:
    text = told(lambda log: log.session("request").error("failed-to-do", {"cell": "z1"}, error="no luck"))

    assert text.startswith("error ")
    assert text.endswith("request: failed to do: no luck  cell=z1\n")


def test_an_error_cannot_steer_the_terminal() -> None:
    text = told(lambda log: log.error("failed", error="\x1b]0;mine\x07\nline", guid="\x1b[2J"))

    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\x07" not in text


def test_a_bug_is_shown_with_its_trace() -> None:
    text = told(lambda log: log.error("exited-with-failure", error="oops", trace="first\nsecond"))

    assert text.splitlines()[1:] == ["    first", "    second"]


def test_words_are_not_broken_by_a_narrow_terminal() -> None:
    written = Written()
    log = TerminalLog(written, in_colour=False, columns=lambda: 40)

    log.say("label", "some words of which there are too many for one line")
    log.say("label", "/a/path/that/is/longer/than/all/of/the/line")

    assert written.text.splitlines() == [
        "label      some words of which there are",
        "           too many for one line",
        "label      /a/path/that/is/longer/than/all/of/the/line",
    ]


def test_a_person_is_told_of_what_is_less_than_wanted_and_of_a_database_that_is_back() -> None:
    fewer = {"configured": 10_000, "connections-max": 900, "descriptors": 1_024}
    text = told(lambda log: log.info("connections-max-lowered", fewer))
    assert text.startswith(
        "warning    900 connections at once, and not 10,000: this process may have no more than 1,024"
    )

    again = {"pid": 1, "attempt": 1, "away_s": 0.25}
    text = told(lambda log: log.info("embedded-postgres-started-again", again))
    assert text == "database   runs again, after 0.2 s\n"


def test_a_person_is_told_of_a_debug_port_that_had_to_move_and_of_a_dashboard_that_nobody_can_see() -> None:
    moved = {"wanted": "127.0.0.1:17017", "address": "127.0.0.1:40000"}
    text = told(lambda log: log.info("debug-port-moved", moved, error="address already in use"))
    assert text == "debug port 127.0.0.1:40000, since somebody else has 127.0.0.1:17017\n"

    text = told(lambda log: log.info("dashboard-out-of-reach", {"debug-address": "10.1.2.3:1"}))
    assert text.startswith("warning    nobody can see the dashboard at 10.1.2.3:1: it is for ")
    assert "--ca-file" in text


def test_what_has_no_words_is_left_out_unless_all_is_wanted() -> None:
    assert told(lambda log: log.info("serving-nothing", number=1)) == ""
    assert "serving-nothing  number=1" in told(
        lambda log: log.info("serving-nothing", number=1), shows_all=True
    )


@pytest.mark.parametrize(
    ("from_version", "words"), [(0, "made for an empty"), (7, "migrated from version 7")]
)
def test_a_migration_is_told_once_it_is_done(from_version: int, words: str) -> None:
    def migrate(log: Logger) -> None:
        session = log.session("migration-manager")
        for version, next_version in ((from_version, 8), (8, 9)):
            session.info("running-migration", {"current_version": version, "migration_version": next_version})
            session.info("completed-migration", {"current_version": next_version, "target_version": 9})

    text = told(migrate)

    assert text.count(words) == 1
    assert text.count("in 2 steps") == 1


@pytest.mark.parametrize(
    ("is_tty", "environment", "expected"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_who_takes_colours(is_tty: bool, environment: dict[str, str], expected: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_tty

    assert wants_colour(Stream(), environment) is expected


@pytest.mark.parametrize(
    ("log_format", "is_tty", "expected"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("text", False, True),
        ("json", True, False),
    ],
)
def test_who_gets_text(log_format: str, is_tty: bool, expected: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_tty

    assert wants_text(log_format, Stream()) is expected


def test_help_has_what_is_wanted_most_first_and_no_empty_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["serve", "--help"])
    text = capsys.readouterr().out

    titles = (
        "wanted most",
        "mutual TLS",
        "log, on",
        "cells:",
        "auctioneer (",
        "watching it",
        "limits of the HTTP",
    )
    assert sorted(titles, key=text.index) == list(titles)
    assert text.index("--listen") < text.index("--data-dir") < text.index("mutual TLS")
    assert "None)" not in text
    assert "False)" not in text
    assert "127.0.0.1:8889" in text
