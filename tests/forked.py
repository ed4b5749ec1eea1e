"""Processes that run one of our modules, each forked from one process that has imported everything already.

What it takes to start a Python with our modules goes nearly all into imports, more than a second of CPU, and the suite starts
hundreds. For whoever looks at what such a process does, at its signals and its exit code, a fork makes no difference to
``python -m MODULE``. Where it might make one (its memory, its command line, environment variables that count for imports), tests
start a Python of their own.

``python -m tests.forked`` is the process that is forked; each process of the suite has one, from its first use on. It reads requests
from the socket that is its standard input, each with the file descriptors that the new process is to have.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, Protocol

import trio

PRELOADED: Final = (
    "bbs.cfdot.bbs_calls",
    "bbs.cfdot.locket_calls",
    "bbs.cfdot.rendering",
    "bbs.commands.cli",
    "bbs.commands.daemon",
    "bbs.sync.locket.server",
)
REQUEST_BYTES_MAX: Final = 65_536
START_MAX_S: Final = 60
DESCRIPTORS: Final = 3
"""Of a request: standard output, standard error, and where the keeper reports."""


class Process(Protocol):
    """What tests use of a `trio.Process`. A forked one has it, too."""

    pid: int
    stdout: trio.abc.ReceiveStream | None

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: signal.Signals) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


@dataclass
class _Report:
    """What the keeper of a process says of it: first its number, then, when it has ended, its exit code."""

    descriptor: int
    _said: bytes = b""

    def is_complete(self, numbers: int) -> bool:
        return self._said.count(b"\n") >= numbers

    def read(self) -> None:
        """Take what has been said by now. Waits for it, if that is nothing."""
        piece = os.read(self.descriptor, 100)
        assert piece, "the process that keeps another one is gone"
        self._said += piece
        if self.is_complete(2):
            os.close(self.descriptor)

    def number(self, at: int) -> int:
        return int(self._said.split(b"\n")[at])


class ForkedProcess:
    """As a `trio.Process`. Its standard output is a pipe."""

    def __init__(self, report: _Report, stdout: trio.abc.ReceiveStream) -> None:
        self.pid = report.number(0)
        self.stdout: trio.abc.ReceiveStream | None = stdout
        self._report = report
        self._waiting = trio.Lock()

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        report = self._report
        if not report.is_complete(2) and _is_readable(report.descriptor):
            report.read()
        return report.number(1) if report.is_complete(2) else None

    def send_signal(self, sig: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        async with self._waiting:
            while self.poll() is None:
                await trio.lowlevel.wait_readable(self._report.descriptor)
        return self._report.number(1)


async def start_forked(module: str, *arguments: str, stderr: IO[bytes] | int | None = None) -> ForkedProcess:
    """As ``python -m module arguments``. Its standard error is ours, or ``stderr``, which may be `subprocess.STDOUT`.

    Cancellation:
      Waits until the process has begun, and leaves it running, as a failure to start would: tests end what they started.
    """
    stdout, its_stdout = os.pipe()
    try:
        its_stderr = its_stdout if stderr == subprocess.STDOUT else 2 if stderr is None else stderr
        report = _request({"module": module, "arguments": arguments}, (its_stdout, its_stderr))
    finally:
        os.close(its_stdout)
    with trio.CancelScope(shield=True), trio.fail_after(START_MAX_S):
        while not report.is_complete(1):
            await trio.lowlevel.wait_readable(report.descriptor)
            report.read()
    return ForkedProcess(report, trio.lowlevel.FdStream(stdout))


def run_forked(
    module: str,
    *arguments: str,
    cwd: Path,
    stdout: Path,
    stderr: Path,
    ends_within_s: int,
    terminal: Path | None = None,
    at_terminal: Sequence[int] = (),
    environment: Mapping[str, str | None] | None = None,
) -> int:
    """As ``python -m module arguments`` until it has ended, by SIGALRM if not before; its exit code.

    With a ``terminal`` it begins a session of its own there, and the descriptors ``at_terminal`` are the terminal, not the files.
    ``environment`` is added to ours; what is None there is taken out.
    """
    variables = {**os.environ, **(environment or {})}
    request = {
        "module": module,
        "arguments": arguments,
        "cwd": str(cwd),
        "alarm_s": ends_within_s,
        "environment": {name: value for name, value in variables.items() if value is not None},
        "terminal": None if terminal is None else str(terminal),
        "at_terminal": at_terminal,
    }
    with stdout.open("wb") as out, stderr.open("wb") as error:
        report = _request(request, (out, error))
    while not report.is_complete(2):
        report.read()
    return report.number(1)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _request(request: dict[str, Any], outputs: Sequence[IO[bytes] | int]) -> _Report:
    """Have a process forked that has these for its standard output and error."""
    read, write = os.pipe()
    request = {"environment": dict(os.environ), "cwd": os.getcwd(), **request}
    descriptors = [each if isinstance(each, int) else each.fileno() for each in outputs]
    try:
        socket.send_fds(_the_one_that_is_forked(), [json.dumps(request).encode()], [*descriptors, write])
    finally:
        os.close(write)
    return _Report(read)


@cache
def _the_one_that_is_forked() -> socket.socket:
    """Where to ask it. It ends when this process does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen([sys.executable, "-m", "tests.forked"], stdin=its.fileno())

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the suite, and for those that are forked
    requests = socket.socket(fileno=os.dup(0))
    gc.disable()
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES_MAX, DESCRIPTORS)
        if not message:
            return
        if not os.fork():
            request = json.loads(message)
            _keep(*descriptors)
            _become(request, descriptors)
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
            sys.exit()
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _keep(*descriptors: int) -> None:
    """Fork again, return in the new process, and stay here to report what becomes of it."""
    child = os.fork()
    if child:
        *outputs, report = descriptors
        for descriptor in outputs:
            os.close(descriptor)
        os.write(report, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, descriptor in enumerate(descriptors[:2], start=1):
        os.dup2(descriptor, number)
    if request.get("terminal") is not None:
        os.setsid()  # so that the first terminal it opens is its own, with Ctrl-C
        for number in request["at_terminal"]:
            # Read and write, since a terminal that is only written to becomes nobody's own.
            os.dup2(os.open(request["terminal"], os.O_RDWR), number)
    os.closerange(3, 65_536)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(request.get("alarm_s", 0))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["-m", *request["arguments"]]
    sys.orig_argv = [sys.executable, "-m", request["module"], *request["arguments"]]
    # Trio's order of tasks is to be another one in each process, and it was chosen when Trio was imported.
    trio._core._run._r.seed()


def _reap() -> None:
    """Let go of keepers that have ended."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            return


if __name__ == "__main__":
    _main()
