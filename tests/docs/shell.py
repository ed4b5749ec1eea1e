"""One bash for a page, as a reader has it in front of them: commands are given to it one by one, and what each shows is read."""

import os
import pty
import select
import shlex
import signal
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.waiting import wait_until_blocking

COMMAND_MAX_S: Final = 60.0
END_MAX_S: Final = 60.0
OUTPUT_BYTES_MAX: Final = 1 << 20
_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command has shown, and its exit code."""

    lines: list[str]
    exit_code: int


class ShellGone(Exception):
    """The command has ended the shell, or did not end in time. The text says which, and what was shown by then."""


class Shell:
    """Made by `shell`. Commands have no standard input; what they write, and their errors, is shown at one terminal."""

    def __init__(self, script: int, terminal: int) -> None:
        self._script = script
        self._terminal = terminal
        # Nobody writes this by accident.
        self._mark = f"--end-{os.urandom(8).hex()}--"

    def run(self, command: str, *, within_s: float = COMMAND_MAX_S) -> Shown:
        """Have ``command`` run, with what earlier ones have left: variables, the directory, jobs in the background.

        Raises:
          ShellGone: it did not end ``within_s``, or it ended the shell.
        """
        # Given to eval, a command with a mistake in its syntax does not end the shell. The mark begins a line of its own.
        asked = f"eval {shlex.quote(command)}\nprintf '\\n%s %d\\n' {self._mark} $?\n"
        os.write(self._script, asked.encode())
        text = self._read_until_marked(time.monotonic() + within_s)
        shown, _, exit_code = text.rpartition(f"\n{self._mark} ")
        lines = shown.removesuffix("\n").split("\n") if shown else []
        return Shown(lines, int(exit_code))

    def _read_until_marked(self, deadline_s: float) -> str:
        shown = b""
        mark = f"\n{self._mark} ".encode()
        while mark not in shown or not shown.endswith(b"\n"):
            if len(shown) > OUTPUT_BYTES_MAX:
                raise ShellGone(
                    f"it shows more than {OUTPUT_BYTES_MAX} bytes, beginning with\n{_text(shown[:2000])}"
                )
            if not select.select([self._terminal], [], [], max(0, deadline_s - time.monotonic()))[0]:
                raise ShellGone(f"it has not ended in time. By then it had shown:\n{_text(shown)}")
            piece = b""
            with suppress(OSError):  # as Linux tells that nobody has the other end open any more
                piece = os.read(self._terminal, _READ_BYTES)
            if not piece:
                raise ShellGone(f"it has ended the shell. By then it had shown:\n{_text(shown)}")
            shown += piece
        return _text(shown).removesuffix("\n")


@contextmanager
def shell(directory: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """A shell in ``directory`` with just that environment. In the end whatever it has left running is ended, too."""
    ours, its = pty.openpty()
    _leave_output_alone(its)
    read, script = os.pipe()
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc", f"/dev/fd/{read}"],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
        pass_fds=[read],
        start_new_session=True,
    )
    os.close(read)
    os.close(its)
    # Bash outlives its children, since only it hears of their end. They do not inherit this.
    os.write(script, b"trap : TERM\n")
    try:
        yield Shell(script, ours)
    finally:
        _end(process, script, ours)


def _end(process: "subprocess.Popen[bytes]", script: int, terminal: int) -> None:
    """End the shell's process group: first as asked, so that servers stop their databases, then for good."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
        os.write(script, b"wait; exit\n")
    os.close(script)
    try:
        wait_until_blocking(
            lambda: _drained(terminal) and process.poll() is not None,
            within_s=END_MAX_S,
            what="the shell ends",
        )
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(terminal)


def _drained(terminal: int) -> bool:
    """Take what is written there, so that nobody waits for it to be read. Always true."""
    while select.select([terminal], [], [], 0)[0]:
        try:
            if not os.read(terminal, _READ_BYTES):
                break
        except OSError:
            break
    return True


def _leave_output_alone(terminal: int) -> None:
    """Lines end as they do in files."""
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _text(shown: bytes) -> str:
    return shown.decode(errors="replace").replace("\r\n", "\n")
