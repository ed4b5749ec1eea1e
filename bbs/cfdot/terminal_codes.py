"""What is written to a terminal to draw on it. Each is understood by every terminal that people use."""

from typing import Final

ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The other screen, without a cursor; what is too long for a line is cut off, not wrapped."""
LEAVE: Final = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"

LINES_DEFAULT: Final = 24
"""Of a terminal that does not say how high it is."""
