"""``--watch``: what a screen shows, how a round that fails is told, and that the terminal is left as it was."""

import io
import pty
import re
import signal
import socket
from collections.abc import Callable
from typing import BinaryIO

import pytest
import trio

from bbs.cfdot.errors import CommandFailed, Refused
from bbs.cfdot.flags import Flags
from bbs.cfdot.given import Given
from bbs.cfdot.locket_calls import call_locket
from bbs.cfdot.main import WATCH_TIMEOUT_S, More, Surroundings, carry_out
from bbs.cfdot.rendering import JSONLines
from bbs.cfdot.target import Target
from bbs.cfdot.terminal_codes import ENTER, HOME, LEAVE, REST_OF_LINE, REST_OF_SCREEN
from bbs.cfdot.watching import (
    Round,
    Shown,
    can_redraw,
    picture,
    take_turn,
    watch,
)
from bbs.tls.development import DevelopmentCerts
from bbs.words.times import NS
from tests.cfdot.conftest import Server
from tests.cfdot.running import cfdot
from tests.cfdot.terminals import INTERRUPT, STOP, opened_at_terminal
from tests.store.tcp_proxy import Line, tcp_proxy

NOW_NS = 10**18


def screen(shown: Shown, *, lines: int = 24) -> list[str]:
    text = picture(shown, title="Every 2s: bbs domains", lines=lines, now_ns=NOW_NS)
    assert text.startswith(HOME)
    assert text.endswith(REST_OF_LINE + REST_OF_SCREEN)
    told = text.removeprefix(HOME).removesuffix(REST_OF_SCREEN).split("\r\n")
    assert all(line.endswith(REST_OF_LINE) for line in told)
    return [line.removesuffix(REST_OF_LINE) for line in told]


def writes(text: str, *, warns: str = "", fails: Callable[[], CommandFailed] | None = None) -> Round:
    def one_round(out: BinaryIO, err: BinaryIO) -> None:
        assert out.isatty()
        out.write(text.encode())
        err.write(warns.encode())
        if fails is not None:
            raise fails()

    return one_round


def after(*rounds: Round) -> Shown:
    shown = Shown()
    for number, one_round in enumerate(rounds):
        take_turn(one_round, io.BytesIO(), shown, now_ns=NOW_NS - (len(rounds) - 1 - number) * 2 * NS)
    return shown


def test_a_screen_has_a_title_and_what_was_written() -> None:
    title, *rest = screen(after(writes("old\n"), writes("a\nb\n")))
    assert re.fullmatch(r"Every 2s: bbs domains   \d\d:\d\d:\d\d", title)
    assert rest == ["", "a", "b"]


@pytest.mark.parametrize(
    ("lines", "shown"), [(7, ["", *"abcde"]), (6, ["", *"abc", "and 2 more lines"]), (1, [])]
)
def test_what_does_not_fit_is_counted(lines: int, shown: list[str]) -> None:
    told = screen(after(writes("a\nb\nc\nd\ne\n")), lines=lines)
    assert len(told) <= lines
    assert told[1:] == shown


def test_a_round_that_fails_leaves_what_was_there_with_its_age() -> None:
    def refuses() -> CommandFailed:
        return Refused("BBS error\nno\x1b[2J")

    gone = after(writes("a\n"), writes("", fails=refuses), writes("", fails=refuses))
    assert screen(gone)[1:] == ["  BBS error", "  no\ufffd[2J", "  below is how it was 4s ago", "", "a"]
    assert screen(after(writes("a\n"), writes("", fails=refuses), writes("b\n")))[1:] == ["", "b"]
    assert screen(after(writes("", fails=refuses)))[1:] == ["  BBS error", "  no\ufffd[2J", ""]


def test_advice_is_told_with_a_failure() -> None:
    def refuses() -> CommandFailed:
        failed = Refused("no")
        failed.advice = "\nAsk another one.\n"
        return failed

    assert screen(after(writes("", fails=refuses)))[1:] == ["  no", "  Ask another one.", ""]


def test_the_advice_is_that_of_the_round(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that refuses connections, the console knows what to do."""

    def one_round_only(one_round: Round, terminal: BinaryIO, **_: object) -> None:
        with pytest.raises(CommandFailed) as caught:
            one_round(io.BytesIO(), io.BytesIO())
        assert caught.value.advice == "do this"

    def refused(*_: object) -> None:
        raise Refused("no")

    monkeypatch.setattr("bbs.cfdot.watching.can_redraw", lambda *_: True)
    monkeypatch.setattr("bbs.cfdot.watching.watch", one_round_only)
    monkeypatch.setattr("bbs.cfdot.bbs_calls.call_bbs", refused)
    more = More({}, lambda *_: None, advice=lambda *_: "do this")
    surroundings = Surroundings(
        program="bbs",
        words=("bbs", "domains", "--watch"),
        environment=settings,
        out=io.BytesIO(),
        err=io.BytesIO(),
        more=more,
    )
    assert carry_out(surroundings) == 0


def test_what_came_before_a_failure_is_shown() -> None:
    """As of `cell-states`: each cell that answers, then those that do not."""
    some = after(writes("a\nb\n"), writes("a\n", fails=lambda: Refused("b is gone")))
    assert screen(some)[1:] == ["  b is gone", "  below is how it was 0s ago", "", "a"]


def test_an_empty_list_is_a_result_and_warnings_are_told() -> None:
    assert screen(after(writes("a\n"), writes("", warns="old\n")))[1:] == ["  old", ""]


def test_a_fault_of_ours_leaves_a_clean_terminal_and_the_signals_as_they_were() -> None:
    def breaks(out: BinaryIO, err: BinaryIO) -> None:
        raise ZeroDivisionError

    ours, its = pty.openpty()
    before = signal.getsignal(signal.SIGINT)
    with open(ours, "rb", buffering=0) as shown, open(its, "wb") as terminal:
        with pytest.raises(ZeroDivisionError):
            watch(breaks, terminal, title="t", every_s=1)
        drawn = b""
        while len(drawn) < len(ENTER + LEAVE):  # it may come in pieces
            drawn += shown.read(100)
        assert drawn == ENTER + LEAVE
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.postgres
def test_a_terminal_is_redrawn_and_left_as_it_was(server: Server) -> None:
    server.tell("set-domain", "watched-1")
    with opened_at_terminal(server, "domains", "--watch-s", "1") as terminal:
        assert ENTER.decode() in terminal.until("watched-1")
        server.tell("set-domain", "watched-2")
        again = terminal.until("watched-2")
        assert HOME in again
        assert "Every 1s: bbs domains --watch-s 1" in again
        assert LEAVE.decode() not in again

        terminal.press(STOP)  # which the leader of a session is not stopped by: it goes on at once
        terminal.until(LEAVE.decode())
        terminal.until(ENTER.decode())
        terminal.until("watched-2")

        terminal.press(INTERRUPT)
        assert terminal.until_it_ends().endswith(LEAVE.decode())
        assert terminal.process.returncode == -signal.SIGINT


@pytest.mark.slow
@pytest.mark.postgres
def test_sigterm_leaves_a_clean_terminal_too(server: Server) -> None:
    with opened_at_terminal(server, "presences", "--watch") as terminal:
        terminal.until("Every 2s: ")
        terminal.process.terminate()
        assert terminal.until_it_ends().endswith(LEAVE.decode())
        assert terminal.process.returncode == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.postgres
async def test_a_server_that_hangs_is_told_and_tried_again(server: Server) -> None:
    await trio.to_thread.run_sync(server.tell, "set-domain", "hung")
    line = Line()
    async with tcp_proxy(int(server.url.rpartition(":")[2]), line) as port:
        words = ("domains", "--watch-s", "1", "--timeout", "1", "--bbsURL", f"https://127.0.0.1:{port}")
        with opened_at_terminal(server, *words) as terminal:
            until = terminal.until
            await trio.to_thread.run_sync(until, "hung")
            line.cut()
            await trio.to_thread.run_sync(until, "below is how it was ")
            assert "hung" in await trio.to_thread.run_sync(until, "hung")
            line.mend()
            await trio.to_thread.run_sync(server.tell, "set-domain", "mended")
            assert "below" not in (await trio.to_thread.run_sync(until, "mended")).rpartition(HOME)[2]


def test_a_locket_that_hangs_is_given_up(certs: DevelopmentCerts) -> None:
    """Its commands have no timeout; only a round of ``--watch`` gives them one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Target(
            address=f"127.0.0.1:{silent.getsockname()[1]}",
            ca_file=str(certs.ca_cert),
            cert_file=str(certs.client_cert),
            key_file=str(certs.client_key),
            skip_verify=False,
            timeout_s=1,
        )
        with pytest.raises(Refused, match="has not answered within 1 s"):
            call_locket("locks", Given(Flags({}), ()), target, JSONLines(io.BytesIO(), io.BytesIO()))


@pytest.mark.parametrize(
    ("words", "timeout_s"), [("domains --watch", WATCH_TIMEOUT_S), ("domains --watch --timeout 3", 3)]
)
def test_each_round_has_a_deadline(
    words: str, timeout_s: int, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Target] = []

    def one_round_only(one_round: Round, terminal: BinaryIO, **_: object) -> None:
        one_round(io.BytesIO(), io.BytesIO())

    monkeypatch.setattr("bbs.cfdot.watching.can_redraw", lambda *_: True)
    monkeypatch.setattr("bbs.cfdot.watching.watch", one_round_only)
    monkeypatch.setattr(
        "bbs.cfdot.bbs_calls.call_bbs", lambda name, given, target, renderer: taken.append(target)
    )
    ended = cfdot(*words.split(), environment=settings, program="bbs")
    assert (ended.code, [target.timeout_s for target in taken]) == (0, [timeout_s])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("domains --watch", "--watch redraws a terminal, and there is none here that can be redrawn"),
        ("domains --watch-s=3", "--watch redraws a terminal, and there is none here that can be redrawn"),
        ("domains --watch -o json", "--watch redraws tables: JSON can't be watched."),
        ("domains --watch-s 0", "--watch-s should be at least 1"),
        ("lrp p --watch --follow", "Only one of --follow and --watch should be passed"),
        ("set-domain d --watch", "unknown flag: --watch"),
        ("lrp-events --watch", "unknown flag: --watch"),
    ],
)
def test_what_cannot_be_watched(words: str, told: str, settings: dict[str, str]) -> None:
    ended = cfdot(*words.split(), environment=settings, program="bbs")
    assert (ended.code in (3, 255), ended.out) == (True, "")
    assert ended.err.startswith(f"Error: {told}")


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "can"), [("xterm", True), ("dumb", False), ("", False)])
def test_a_terminal_that_cannot_move_its_cursor(term: str, can: bool) -> None:
    assert can_redraw(Terminal(), {"TERM": term}) is can
    assert not can_redraw(io.BytesIO(), {"TERM": term})
    assert not can_redraw(Terminal(), {})


def test_upstreams_name_has_no_flag_for_it(settings: dict[str, str]) -> None:
    ended = cfdot("domains", "--watch", environment=settings)
    assert ended.err.startswith("Error: unknown flag: --watch\n")
    assert "--watch" not in cfdot("domains", "--help", environment=settings).out
    assert "--watch-s int" in cfdot("domains", "--help", environment=settings, program="bbs").out
