"""A terminal that a command draws on: its other screen, keys without Enter, and all of it put back in the end."""

import os
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

import trio

from bbs.cfdot.terminal_codes import ENTER, LEAVE, frame, height_of

STDIN: Final = 0


class Screen:
    """``terminal`` is written to in whole frames."""

    def __init__(self, terminal: BinaryIO) -> None:
        self._terminal = terminal

    def draw(self, lines: Sequence[str]) -> None:
        """From the top; lines for which there is no room are left out. Raises OSError if the terminal is gone."""
        self._terminal.write(frame(lines[: max(1, height_of(self._terminal))]).encode())
        self._terminal.flush()


@contextmanager
def opened(terminal: BinaryIO) -> Iterator[Screen]:
    """Ctrl-C stays a signal; whoever opens a screen takes care that signals end the block."""
    before = termios.tcgetattr(STDIN) if os.isatty(STDIN) else None
    try:
        if before is not None:
            tty.setcbreak(STDIN)
        os.write(terminal.fileno(), ENTER)
        yield Screen(terminal)
    finally:
        with suppress(OSError):  # there may be no terminal any more
            os.write(terminal.fileno(), LEAVE)
        if before is not None:
            with suppress(termios.error):
                termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


async def wait_key(key: bytes) -> None:
    """Until it is pressed; for ever if standard input is no terminal."""
    if not os.isatty(STDIN):
        await trio.sleep_forever()
    while True:
        await trio.lowlevel.wait_readable(STDIN)
        if key in (pressed := os.read(STDIN, 64)) or not pressed:
            return
