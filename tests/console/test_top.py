"""``bbs top`` towards a server over TLS, as a process."""

import os
import signal
import termios

import pytest

from tests.cfdot.conftest import Server, StartServer
from tests.cfdot.terminals import opened_at_terminal
from tests.console.fleet import RUNNING, announce, as_cells_and_auctioneer, desire, key, on, presence
from tests.console.test_lrp import bbs
from tests.daemons import free_port

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


def test_one_frame_in_a_pipe(start_server: StartServer) -> None:
    debug = f"127.0.0.1:{free_port()}"
    server = start_server(debug=debug)
    announce(server, presence("cell"))
    desire(server, "app", instances=2)
    as_cells_and_auctioneer(
        server, lambda client: client.start_actual_lrp(key("app", 0), on("cell"), RUNNING)
    )
    ended = bbs(server, "top", "--once", "--debug", debug)

    assert (ended.code, ended.err) == (0, ""), ended
    assert "instances  1 running  1 unclaimed  (of 2 desired, 1 processes)" in ended.lines
    assert "cells      1 present, 0 missing" in ended.lines
    assert any(line.startswith("event loop lag") for line in ended.lines)
    assert "master                        yes" in ended.lines
    without = bbs(server, "top", "--once", "--debug", f"127.0.0.1:{free_port()}")
    assert without.code == 0
    assert "connection refused" in without.lines[-1]
    assert "give --debug HOST:PORT" in bbs(server, "top", "--once").lines[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "top draws on a terminal"),
        (("--once", "--every-s", "0"), "at least 1"),
        (("-o", "json"), "for people"),
    ],
)
def test_what_is_refused(server: Server, words: tuple[str, ...], told: str) -> None:
    ended = bbs(server, "top", *words)
    assert (ended.code, told in ended.err) == (3, True), ended.err


def test_a_target_that_is_not_there(server: Server) -> None:
    ended = bbs(server, "top", "--once", "--bbsURL", f"https://127.0.0.1:{free_port()}")
    assert (ended.code, "connection refused" in ended.err) == (5, True)


@pytest.mark.parametrize(("keys", "code"), [(b"xq", 0), (b"\x03", -signal.SIGINT), (b"", -signal.SIGTERM)])
def test_the_terminal_is_left_as_it_was(server: Server, keys: bytes, code: int) -> None:
    with opened_at_terminal(server, "top", "--every-s", "1", NO_COLOR="1", TERM="xterm") as terminal:
        before = terminal.modes()
        terminal.until("\x1b[?1049h")
        terminal.until("instances  ")
        assert not terminal.modes() & termios.ICANON
        terminal.resize(3, 12)
        terminal.until("\u2026")
        if keys:
            terminal.press(keys)
        else:
            os.kill(terminal.process.pid, signal.SIGTERM)
        rest = terminal.until_it_ends()

        assert terminal.process.returncode == code
        assert rest.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert "\x1b[3" not in rest
        assert (before & termios.ICANON, before & termios.ECHO) == (
            terminal.modes() & termios.ICANON,
            terminal.modes() & termios.ECHO,
        )


def test_a_server_that_goes_away(start_server: StartServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    server = start_server(listen)
    with opened_at_terminal(server, "top", "--every-s", "1") as terminal:
        terminal.until("0.0/s")
        server.process.kill()
        terminal.until("states are as last known: ")
        server.process.wait()
        server = start_server(listen)
        desire(server, "later")
        terminal.until("1 unclaimed")
        terminal.press(b"q")
        terminal.until_it_ends()
        assert terminal.process.returncode == 0
