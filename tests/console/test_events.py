"""``bbs events`` towards a server over TLS, as a process: in a pipe, at a terminal, and through the end of the server."""

import json
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Timer
from typing import Any

import pytest

from bbs.models import pb
from bbs.models.go_json import to_json
from tests.cfdot.conftest import Server, StartServer
from tests.cfdot.terminals import BBS, WAIT_MAX_S, opened_at_terminal
from tests.console.fleet import RUNNING, announce, as_cells_and_auctioneer, desire, key, on, presence
from tests.console.test_lrp import bbs
from tests.daemons import free_port
from tests.records import task_definition

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

Process = subprocess.Popen[str]


def events(server: Server, *words: str) -> AbstractContextManager[Process]:
    return running(server, "events", *words)


@contextmanager
def running(server: Server, *words: str) -> "Iterator[Process]":
    with subprocess.Popen(
        [*BBS, *words],
        env=dict(server.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = Timer(WAIT_MAX_S, process.kill)
        deadline.start()
        try:
            yield process
        finally:
            deadline.cancel()
            process.kill()


def next_event(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    event: dict[str, Any] = json.loads(line)
    return event


def next_word(process: Process) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def create_task(server: Server, guid: str) -> None:
    server.tell(
        "create-task", to_json(pb.Task(task_guid=guid, domain="d", task_definition=task_definition()))
    )


def test_both_streams_are_one_and_end_after_a_time(server: Server) -> None:
    announce(server, presence("e-cell"))
    with events(server, "--follow") as process:
        assert "following" in next_word(process)
        desire(server, "e-1")
        create_task(server, "e-task")
        types = {next_event(process)["type"] for _ in range(3)}
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_MAX_S)

    assert types == {"desired_lrp_created", "actual_lrp_instance_created", "task_created"}
    assert (process.returncode, err) == (-signal.SIGINT, "")
    with events(server, "--for", "1ms") as process:
        out, _ = process.communicate(timeout=WAIT_MAX_S)
    assert (process.returncode, out) == (0, "")


def test_only_what_was_chosen(server: Server) -> None:
    announce(server, presence("chosen-cell"))
    desire(server, "chosen")
    with events(
        server, "-f", "-p", "chosen", "--cell", "chosen-cell", "--type", "actual_lrp_instance_changed"
    ) as process:
        assert "following" in next_word(process)
        desire(server, "not-chosen")
        as_cells_and_auctioneer(
            server,
            lambda client: client.start_actual_lrp(key("chosen", 0), on("chosen-cell"), RUNNING),
        )
        event = next_event(process)

    assert event["type"] == "actual_lrp_instance_changed"
    assert event["data"]["process_guid"] == "chosen"


def test_without_follow_it_is_what_is_there_now(server: Server) -> None:
    announce(server, presence("now-cell"))
    desire(server, "now")
    create_task(server, "now-task")
    as_cells_and_auctioneer(
        server, lambda client: client.start_actual_lrp(key("now", 0), on("now-cell"), RUNNING)
    )
    ended = bbs(server, "events", "--process-guid", "now")
    assert (ended.code, ended.err) == (0, "")
    (only,) = map(json.loads, ended.lines)
    assert (only["type"], only["data"]["state"]) == ("actual_lrp", "RUNNING")
    words = bbs(server, "events", "-o", "table")
    assert [line.split("  ", 1)[1] for line in words.lines if "now" in line] == [
        "task now-task pending",
        "now/0 running on now-cell (z7)",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--follow", "--type", "actual_lrp_exploded"), "There is no event type 'actual_lrp_exploded'. Please"),
        (("--type", "task_changed"), "it needs --follow"),
        (("--for", "0s"), "--for should be greater than zero"),
        (("an-argument",), "Too many arguments"),
    ],
)  # fmt: skip
def test_what_is_refused(server: Server, words: tuple[str, ...], told: str) -> None:
    ended = bbs(server, "events", *words)
    assert (ended.code, told in ended.err) == (3, True), ended.err


def test_a_server_that_cannot_be_reached_in_the_beginning(server: Server) -> None:
    ended = bbs(server, "events", "--follow", "--bbsURL", f"https://127.0.0.1:{free_port()}")
    assert ended.code == 5
    assert "connection refused" in ended.err


def test_a_server_that_is_killed_and_started_again(start_server: StartServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    server = start_server(listen)
    announce(server, presence("cell"))
    desire(server, "stays")
    with events(server, "--follow") as process:
        assert "following" in next_word(process)
        desire(server, "before")
        assert {next_event(process)["type"] for _ in range(2)} == {
            "desired_lrp_created",
            "actual_lrp_instance_created",
        }
        server.process.kill()
        assert "no events from now on" in next_word(process)
        process.send_signal(signal.SIGSTOP)  # so that it misses what happens next
        server.process.wait(WAIT_MAX_S)
        server = start_server(listen)
        server.tell("delete-desired-lrp", "before")
        process.send_signal(signal.SIGCONT)
        word = next_word(process)
        while "connecting again" in word:
            word = next_word(process)
        assert "connected again. Events from " in word
        assert "there are 2 differences" in word
        found = [next_event(process) for _ in range(2)]
        assert {event["type"] for event in found} == {"desired_lrp_removed", "actual_lrp_instance_removed"}
        assert {event["found_by"] for event in found} == {"list"}
        desire(server, "after")
        assert "found_by" not in next_event(process)


def test_a_reader_that_leaves_ends_it(server: Server) -> None:
    with events(server, "--follow") as process:
        assert "following" in next_word(process)
        assert process.stdout is not None
        process.stdout.close()
        desire(server, "unread")
        process.wait(WAIT_MAX_S)
    assert process.returncode == -signal.SIGPIPE


@pytest.mark.parametrize("words", [("events", "-f"), ("lrp-events", "-x")])
def test_words_and_colours_at_a_terminal(server: Server, words: tuple[str, ...]) -> None:
    guid = f"at-terminal-{len(words[0])}"
    announce(server, presence("t-cell"))
    desire(server, f"{guid}-first")
    with opened_at_terminal(server, *words) as terminal:
        if words[0] == "events":
            terminal.until("following")
        else:
            desire_until_told(server, terminal, guid)
        desire(server, guid)
        as_cells_and_auctioneer(
            server, lambda client: client.start_actual_lrp(key(guid, 0), on("t-cell"), RUNNING)
        )
        assert terminal.until(f"\x1b[32m{guid}/0 unclaimed -> running on t-cell (z7)\x1b[0m\n")
        as_cells_and_auctioneer(
            server,
            lambda client: client.crash_actual_lrp(key(guid, 0), on("t-cell"), error_message="\x1b[31mboo"),
        )
        assert terminal.until("crash 1 on t-cell: \ufffd[31mboo")
        terminal.press(b"\x03")
        terminal.until_it_ends()
        assert terminal.process.returncode == -signal.SIGINT


def desire_until_told(server: Server, terminal: Any, guid: str) -> None:
    """`lrp-events` does not say when it has subscribed, as upstream's does not."""
    for number in range(100):
        desire(server, f"{guid}-sign-{number}")
        if terminal.has_more():
            return
    raise AssertionError("no event was told")


def test_streams_in_a_pipe_are_upstreams(server: Server) -> None:
    with running(server, "task-events") as process:
        assert process.stdout is not None
        signs = 0
        while not select.select([process.stdout], [], [], 0.2)[0]:
            create_task(server, f"piped-{signs}")
            signs += 1
            assert signs < 100, "no event was told"
        assert list(next_event(process)) == ["type", "data"]
    assert "--output" not in "".join(server.run("task-events", "--help").lines)
    assert "--output" in "".join(bbs(server, "task-events", "--help").lines)
