"""Whether a command has said what its page says, and what the page has to say if not."""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from tests.docs.pages import ELLIPSIS


def fits(expected: Sequence[str], got: Sequence[str]) -> bool:
    """Whether the lines are as expected. A line ``...`` stands for any lines, or none, and ``...`` in a line for anything. Blanks at
    the ends of lines do not count.
    """
    reached = {0}  # how many lines of `got` the lines so far may have taken
    for line in expected:
        if line.strip() == ELLIPSIS:
            reached = set(range(min(reached, default=0), len(got) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(got) and line_fits(line, got[at])}
    return len(got) in reached


def line_fits(expected: str, got: str) -> bool:
    return _pattern(expected.rstrip()).fullmatch(got.rstrip()) is not None


def rewritten(expected: Iterable[str], got: Iterable[str]) -> list[str]:
    """``got`` as a page may say it: lines that it says well enough already, with ``...`` in them, stay as they are."""
    loose = [line for line in expected if ELLIPSIS in line and line.strip() != ELLIPSIS]
    return [next((line for line in loose if line_fits(line, each)), each.rstrip()) for each in got]


@cache
def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, line.split(ELLIPSIS))))
