"""What is written to a terminal to draw on it. Each is understood by every terminal that people use."""

import os
from collections.abc import Sequence
from typing import BinaryIO, Final

ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The other screen, without a cursor; what is too long for a line is cut off, not wrapped."""
LEAVE: Final = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"

LINES_DEFAULT: Final = 24
"""Of a terminal that does not say how high it is."""


def height_of(terminal: BinaryIO) -> int:
    """In lines, now: it may be made larger or smaller at any time."""
    try:
        return os.get_terminal_size(terminal.fileno()).lines or LINES_DEFAULT
    except OSError:
        return LINES_DEFAULT


def frame(lines: Sequence[str]) -> str:
    """What draws ``lines`` from the top, and wipes out what was there."""
    return HOME + f"{REST_OF_LINE}\r\n".join(lines) + REST_OF_LINE + REST_OF_SCREEN
