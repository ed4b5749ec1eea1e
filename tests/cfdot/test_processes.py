"""``cfdot`` and ``bbs COMMAND`` as scripts meet them: processes, pipes, signals, and streams that last."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count

import pytest

from bbs.cfdot.events import GROUP_EVENTS_WARNING
from bbs.models import pb
from bbs.models.go_json import to_json
from tests.cfdot.conftest import Server, StartServer
from tests.records import desired_message, task_definition
from tests.waiting import wait_until_blocking

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

WAIT_MAX_S = 60.0
CFDOT = (sys.executable, "-c", "import sys; from bbs.cfdot.main import main; sys.exit(main())")
BBS = (sys.executable, "-m", "bbs")

Process = subprocess.Popen[str]


def popen(
    server: Server, *words: str, program: tuple[str, ...] = CFDOT, stdout: int = subprocess.PIPE
) -> Process:
    return subprocess.Popen(
        [*program, *words],
        env={**os.environ, **server.environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(server: Server, *words: str, program: tuple[str, ...] = CFDOT) -> tuple[int, str, str]:
    with popen(server, *words, program=program) as process:
        out, err = process.communicate(timeout=WAIT_MAX_S)
        return process.returncode, out, err


def test_both_names_do_the_same(server: Server) -> None:
    server.tell("set-domain", "d")
    code, out, err = run(server, "domains")
    assert (code, '"d"' in out.splitlines(), err) == (0, True, "")
    # Flags may stand before the command, for `bbs` too.
    assert run(server, "--bbsURL", server.url, "domains", program=BBS) == (code, out, err)
    code, out, err = run(server, "desired-lrp", "nobody's", program=BBS)
    assert (code, out, err.splitlines()[1]) == (4, "", "Type 13: ResourceNotFound")
    code, out, err = run(server, "domains", "--nonsense", program=BBS)
    assert (code, out, err.splitlines()[:3]) == (
        255,
        "",
        ["Error: unknown flag: --nonsense", "Usage:", "  bbs domains [flags]"],
    )
    code, out, err = run(server, "no-command", program=CFDOT)
    assert (code, out, err.splitlines()[0]) == (255, "", 'Error: unknown command "no-command" for "cfdot"')


def test_a_reader_that_leaves_ends_the_command_quietly(server: Server) -> None:
    """As a Go program it ends by SIGPIPE, and says nothing."""
    server.tell("set-domain", "d")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with popen(server, "domains", stdout=writing) as process:
            err = process.communicate(timeout=WAIT_MAX_S)[1]
    finally:
        os.close(writing)

    assert (process.returncode, err) == (-signal.SIGPIPE, "")


def test_an_output_without_room_is_told(server: Server) -> None:
    server.tell("set-domain", "d")
    with open("/dev/full", "wb") as full, popen(server, "domains", stdout=full.fileno()) as process:
        err = process.communicate(timeout=WAIT_MAX_S)[1]
    with open("/dev/full", "wb") as full, popen(server, "--help", stdout=full.fileno()) as help_:
        help_err = help_.communicate(timeout=WAIT_MAX_S)[1]

    assert (process.returncode, err) == (5, "Error: write /dev/stdout: no space left on device\n")
    assert (help_.returncode, help_err) == (5, "")


@contextmanager
def stream(server: Server, *words: str) -> Iterator[Process]:
    """A command that follows events; killed in the end, if it has not ended by then."""
    with popen(server, *words) as process:
        try:
            yield process
        finally:
            process.kill()


def has_line(process: Process) -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0)[0])


def event_types(process: Process, *, until: str) -> list[str]:
    """The types of the events that are told, up to the first of that type. Each has data."""
    assert process.stdout is not None
    types = []
    while until not in types:
        event = json.loads(process.stdout.readline())
        assert list(event) == ["type", "data"]
        assert event["data"]
        types.append(event["type"])
    return types


def wait_until_it_tells(process: Process, server: Server, make_event: Callable[[str], object]) -> None:
    """Have events made until one is told: then the command has subscribed."""
    numbers = count()

    def is_told() -> bool:
        make_event(f"sign-{process.pid}-{next(numbers)}")
        return has_line(process)

    wait_until_blocking(is_told, within_s=WAIT_MAX_S, what="an event")


def desire(server: Server, guid: str) -> None:
    server.tell("create-desired-lrp", to_json(desired_message(guid, domain=f"{guid}-d")))


def create_task(server: Server, guid: str) -> None:
    task = pb.Task(task_guid=guid, domain="d", task_definition=task_definition())
    server.tell("create-task", to_json(task))


def test_streams_end_with_the_server(start_server: StartServer) -> None:
    server = start_server()
    with stream(server, "lrp-events") as lrps, stream(server, "task-events") as tasks:
        wait_until_it_tells(lrps, server, partial(desire, server))
        wait_until_it_tells(tasks, server, partial(create_task, server))
        server.tell("delete-desired-lrp", f"sign-{lrps.pid}-0")
        server.tell("cancel-task", f"sign-{tasks.pid}-0")
        server.tell("delete-task", f"sign-{tasks.pid}-0")
        seen_of_lrps = event_types(lrps, until="actual_lrp_removed")
        seen_of_tasks = event_types(tasks, until="task_removed")
        server.process.terminate()
        ended = [process.communicate(timeout=WAIT_MAX_S)[1] for process in (lrps, tasks)]

    assert [lrps.returncode, tasks.returncode] == [0, 0]
    assert ended == [f"{GROUP_EVENTS_WARNING}\n", ""]
    assert "desired_lrp_created" in seen_of_lrps
    assert "actual_lrp_created" in seen_of_lrps
    assert "actual_lrp_instance_created" in seen_of_lrps
    assert {"task_created", "task_changed", "task_removed"} == set(seen_of_tasks)


def test_streams_that_break(start_server: StartServer) -> None:
    server = start_server()
    with stream(server, "lrp-events") as lrps:
        wait_until_it_tells(lrps, server, partial(desire, server))
        server.process.kill()
        err = lrps.communicate(timeout=WAIT_MAX_S)[1]

    assert lrps.returncode == 5
    told = err.removeprefix(f"{GROUP_EVENTS_WARNING}\n").splitlines()
    assert told[0] == "Error: 2 errors occurred:"
    for line in told[1:3]:
        assert line.startswith("\t* raw event source error: ")
        assert line.endswith("connect: connection refused")
    assert told[3:] == ["", ""]
    refused = server.run("task-events")
    assert refused.code == 4
    assert refused.err.startswith("Error: BBS error\nType 0: UnknownError\nMessage: Post ")


def test_an_interrupt_ends_a_stream_by_its_signal(server: Server) -> None:
    with stream(server, "task-events") as tasks:
        wait_until_it_tells(tasks, server, partial(create_task, server))
        tasks.send_signal(signal.SIGINT)
        err = tasks.communicate(timeout=WAIT_MAX_S)[1]

    assert (tasks.returncode, err) == (-signal.SIGINT, "")
