"""``bbs COMMAND`` at a pseudo-terminal of its own."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.cfdot.conftest import Server

BBS: Final = (sys.executable, "-m", "bbs")
WAIT_MAX_S: Final = 60.0
INTERRUPT: Final = b"\x03"
LINES, COLUMNS = 24, 120

# The leader of a session that opens a terminal has it as its own from then on: so keys such as Ctrl-C mean what they do to a person.
AS_LEADER: Final = ("sh", "-c", 'exec <"$0" >"$0" 2>"$0"; exec "$@"')


class Terminal:
    """``text`` is all that was written to it so far, lines ended as in Unix."""

    def __init__(self, ours: int, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.text = ""
        self._ours = ours

    def until(self, shown: str) -> str:
        """What is written up to the first that ends with ``shown`` in it; the next call looks only at what comes after."""
        deadline_s = time.monotonic() + WAIT_MAX_S
        while shown not in self.text:
            assert self._read(deadline_s), f"it ended without {shown!r}: {self.text}"
        before, found, self.text = self.text.partition(shown)
        return before + found

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def until_it_ends(self) -> str:
        deadline_s = time.monotonic() + WAIT_MAX_S
        while self._read(deadline_s):
            pass
        self.process.wait(WAIT_MAX_S)
        return self.text

    def _read(self, deadline_s: float) -> bool:
        readable, _, _ = select.select([self._ours], [], [], max(0.0, deadline_s - time.monotonic()))
        assert readable, f"nothing more within {WAIT_MAX_S} s: {self.text}"
        try:
            piece = os.read(self._ours, 65_536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.text += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


@contextmanager
def opened_at_terminal(server: Server, *words: str, **environment: str) -> Iterator[Terminal]:
    """Killed in the end, if it has not ended by then."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (LINES, COLUMNS))
    without = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    with subprocess.Popen(
        [*AS_LEADER, os.ttyname(its), *BBS, *words],
        env={**without, **server.environment, "TERM": "xterm", **environment},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as process:
        os.close(its)
        try:
            yield Terminal(ours, process)
        finally:
            process.kill()
            os.close(ours)


def at_terminal(server: Server, *words: str, **environment: str) -> str:
    """What a command that succeeds writes to a terminal, its errors included."""
    with opened_at_terminal(server, *words, **environment) as terminal:
        text = terminal.until_it_ends()
        assert terminal.process.returncode == 0, text
        return text
