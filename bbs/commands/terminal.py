"""What is at the other end of a standard stream: a person at a terminal, or a program."""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO


class Colour(StrEnum):
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


def painted(text: str, colour: Colour) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def wants_text(log_format: str, stream: TextIO | None) -> bool:
    """Whether the log is for people: as ``--log-format`` says, or whatever ``stream`` is."""
    return log_format == "text" or (log_format == "auto" and stream is not None and stream.isatty())


def wants_colour(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``stream`` takes colours, by the conventions of NO_COLOR and TERM."""
    return (
        stream is not None
        and stream.isatty()
        and not environment.get("NO_COLOR")
        and environment.get("TERM") != "dumb"
    )


def columns(stream: TextIO | None) -> int:
    """How many columns the terminal at ``stream`` has; 0 if it is none, or does not say."""
    if stream is None or not stream.isatty():
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0
