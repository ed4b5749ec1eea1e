"""What runs beside a page's commands, by the stage that the page names: one of each for all pages of a run."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.daemons import free_port
from tests.docs.pages import IN_REPOSITORY, REPOSITORY, PageWrong
from tests.made_once import copy_cluster
from tests.scratch import scratch_directory
from tests.waiting import wait_until_blocking

START_MAX_S: Final = 60.0
END_MAX_S: Final = 60.0
ASKED_EVERY_S: Final = 1.0
COLUMNS: Final = 125
CALM: Final = "--calm"
"""The flag with which nothing goes wrong in a demo by itself."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a page's shell has: variables, beside everybody's."""

    variables: Mapping[str, str] = field(default_factory=dict)


class Stages:
    """Each is set up when a page first asks for it, and stays until all are ended. Made by `open_stages`."""

    def __init__(self, until_ended: ExitStack) -> None:
        self._until_ended = until_ended
        self._stages = {"": Stage(), IN_REPOSITORY: Stage()}

    def named(self, name: str) -> Stage:
        """``demo`` or ``serve``, either with further flags of the command; ``repository``; or '' for nothing.

        Raises:
          PageWrong: there is no such stage.
        """
        if name not in self._stages:
            command, *flags = shlex.split(name)
            if command not in _SERVERS:
                raise PageWrong(
                    f"no stage is called {command}: there are {', '.join(_SERVERS)} and repository"
                )
            self._stages[name] = self._until_ended.enter_context(_server(command, flags))
        return self._stages[name]


@contextmanager
def open_stages() -> Iterator[Stages]:
    with ExitStack() as until_ended:
        yield Stages(until_ended)


def environment_of(stage: Stage, home: Path) -> dict[str, str]:
    """All variables of a page's shell. Nothing of whoever runs the tests is among them, but where Python is."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLUMNS": str(COLUMNS),
        "PAGER": "cat",
        **stage.variables,
    }


@contextmanager
def _server(command: str, flags: list[str]) -> Iterator[Stage]:
    """``bbs demo`` or ``bbs serve`` with these flags, on ports of its own, until the block ends."""
    with scratch_directory() as directory:
        directory.chmod(0o755)  # Postgres runs as somebody else, if we are root
        arguments, variables = _SERVERS[command](directory)
        output = directory / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "bbs", command, *arguments, *flags],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_blocking(
                lambda: process.poll() is not None or _is_up(output),
                within_s=START_MAX_S,
                what=f"bbs {command} is up",
            )
            assert process.poll() is None, output.read_text()
            stage = Stage(variables(output.read_text()))
            if CALM in flags:
                wait_until_blocking(
                    lambda: _all_run(stage),
                    within_s=START_MAX_S,
                    what="all instances run",
                    every_s=ASKED_EVERY_S,
                )
            yield stage
        finally:
            process.terminate()
            try:
                process.wait(END_MAX_S)
            finally:
                process.kill()
                process.wait()


def _all_run(stage: Stage) -> bool:
    """Whether each instance of a demo runs, as a reader sees it who types slower than cells start."""
    listed = subprocess.run(
        [sys.executable, "-m", "bbs", "actual-lrps"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **stage.variables},
        capture_output=True,
        check=True,
        timeout=START_MAX_S,
    )
    states = [json.loads(line)["state"] for line in listed.stdout.splitlines()]
    return bool(states) and set(states) == {"RUNNING"}


def _is_up(output: Path) -> bool:
    text = output.read_text()
    return "listening on " in text and ("Ctrl-C ends it" in text or "another terminal" not in text)


def _demo(directory: Path) -> tuple[list[str], Callable[[str], dict[str, str]]]:
    debug = f"127.0.0.1:{free_port()}"
    copy_cluster(directory / "demo" / "data")
    arguments = ["--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--debug-listen", debug]
    return [*arguments, "--data-dir", str(directory / "demo")], _exported


def _exported(text: str) -> dict[str, str]:
    """What the demo says to export."""
    lines = re.findall(r"^ +export (.*)$", text, re.MULTILINE)
    return dict(setting.split("=", 1) for line in lines for setting in shlex.split(line))


def _serve(directory: Path) -> tuple[list[str], Callable[[str], dict[str, str]]]:
    debug = f"127.0.0.1:{free_port()}"
    health = f"127.0.0.1:{free_port()}"
    locket = f"127.0.0.1:{free_port()}"
    copy_cluster(directory / "data")
    arguments = ["--listen", "127.0.0.1:0", "--locket-listen", locket, "--debug-listen", debug]
    arguments += ["--health-listen", health, "--data-dir", str(directory / "data")]

    def variables(text: str) -> dict[str, str]:
        [url] = re.findall(r"listening on (http://\S+)", text)[:1]
        return {
            "BBS_ADDRESS": url,
            "BBS_URL": url,
            "BBS_DEBUG": debug,
            "BBS_HEALTH": health,
            "LOCKET_API_LOCATION": locket,
        }

    return arguments, variables


_SERVERS: Final = {"demo": _demo, "serve": _serve}
