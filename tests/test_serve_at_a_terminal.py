"""What `bbs serve` tells of itself: to a person at a terminal, and to a pipe."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bbs.commands.cli import _parser
from bbs.commands.terminal import wants_colour, wants_text
from bbs.commands.terminal_log import TerminalLog
from bbs.log import LagerSink, Level, Logger, root_logger
from tests.processes import START_MAX_S

COLOUR_BEGINS = "\x1b["


class Terminal:
    """The text that a process has shown on a pseudo-terminal of its own, as it reads both its standard streams."""

    def __init__(self, descriptor: int, process: trio.Process) -> None:
        self.process = process
        self.text = ""
        self._descriptor = descriptor

    async def until(self, shown: str) -> str:
        """All text so far, once it has ``shown`` in it."""
        with trio.fail_after(START_MAX_S):
            while shown not in self.text:
                assert await self._read(), self.text
        return self.text

    async def until_it_ends(self) -> str:
        with trio.fail_after(START_MAX_S):
            while await self._read():
                pass
            await self.process.wait()
        return self.text

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self._descriptor)
        try:
            piece = os.read(self._descriptor, 65_536)
        except OSError:  # as Linux tells that nobody has the other end open any more
            return False
        self.text += piece.decode().replace("\r\n", "\n")
        return bool(piece)


@asynccontextmanager
async def at_a_terminal(
    tmp_path: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    ours, its = pty.openpty()
    command = [
        *(sys.executable, "-m", "bbs", "serve", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0"),
        *("--data-dir", str(tmp_path / "data"), *arguments),
    ]
    without = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
        env={**without, "TERM": "xterm", **(environment or {})},
    )
    os.close(its)
    try:
        yield Terminal(ours, process)
    finally:
        with trio.CancelScope(shield=True):  # a killed process ends at once
            process.kill()
            await process.wait()
        os.close(ours)


async def test_a_person_reads_one_line_for_each_thing_that_matters(tmp_path: Path) -> None:
    async with at_a_terminal(tmp_path) as terminal:
        await terminal.until("listening on http://127.0.0.1:")
        terminal.process.send_signal(signal.SIGINT)
        text = await terminal.until_it_ends()

    assert terminal.process.returncode == 0
    assert COLOUR_BEGINS in text
    lines = text.splitlines()
    for once in (
        "made for an empty database: version",
        "0 rows in",
        "PostgreSQL 18.",
        f"(embedded, in {tmp_path / 'data'})",
        "register with Locket at 127.0.0.1:",
        "none, so nothing is placed",
        "listening on http://127.0.0.1:",
        "SIGINT: requests in flight are answered",
        "all is written",
    ):
        assert sum(once in line for line in lines) == 1, (once, text)
    assert "127.0.0.1:0" not in text
    assert "migration" not in text
    assert len(lines) < 15
    assert text.index("none, so nothing is placed") < text.index("listening on")


async def test_no_color_is_respected(tmp_path: Path) -> None:
    async with at_a_terminal(tmp_path, environment={"NO_COLOR": "1"}) as terminal:
        text = await terminal.until("listening on http://")

    assert "rows in" in text
    assert COLOUR_BEGINS not in text


async def test_quiet_leaves_nothing_but_the_address(tmp_path: Path) -> None:
    async with at_a_terminal(tmp_path, "--quiet") as terminal:
        await terminal.until("listening on http://")
        terminal.process.send_signal(signal.SIGINT)
        text = await terminal.until_it_ends()

    assert [line.partition(" http")[0] for line in text.splitlines()] == ["listening on"]


async def test_json_may_be_asked_for_at_a_terminal(tmp_path: Path) -> None:
    async with at_a_terminal(tmp_path, "--log-format", "json") as terminal:
        text = await terminal.until("listening on http://")

    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert sum(line["message"] == "bbs.migration-manager.completed-migration" for line in lines) > 10
    assert COLOUR_BEGINS not in text


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
