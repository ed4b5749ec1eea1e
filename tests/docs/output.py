"""Whether a command has said what its page says, and what the page has to say if not."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Final

from tests.docs.pages import ELLIPSIS

VARYING: Final[Mapping[str, str]] = {
    "uuids": r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    "addresses": r"\b(?:\d{1,3}\.){3}\d{1,3}:\d{2,5}\b",
    "times": r"\b\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?\b|\b\d\d:\d\d:\d\d\b|\b\d{19}\b",
    "durations": r"\b(?:\d+(?:\.\d+)? ?(?:ms|[dhms]))+\b",
    "cells": r"\bcell-\d+\b|\bz[1-9]\b",
}
"""What a page may say that it varies, and how one knows it: each run may show another one than the page. They are looked
for in this order, since a part of a uuid may look like a duration.
"""

_ANY: Final = "\0"
"""Stands for what varies, once it does not count any more which it is."""


def fits(expected: Sequence[str], got: Sequence[str], varying: Collection[str] = ()) -> bool:
    """Whether the lines are as expected. A line ``...`` stands for any lines, or none, and ``...`` in a line for anything. Blanks at
    the ends of lines do not count, nor how many there are where there are two or more: columns are as wide as what is in them.
    """
    reached = {0}  # how many lines of `got` the lines so far may have taken
    for line in expected:
        if line.strip() == ELLIPSIS:
            reached = set(range(min(reached, default=0), len(got) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(got) and line_fits(line, got[at], varying)}
    return len(got) in reached


def line_fits(expected: str, got: str, varying: Collection[str] = ()) -> bool:
    return _pattern(_plain(expected, varying)).fullmatch(_plain(got, varying)) is not None


def rewritten(expected: Iterable[str], got: Iterable[str], varying: Collection[str] = ()) -> list[str]:
    """``got`` as a page may say it: lines that it says well enough already stay as they are."""
    old = [line for line in expected if line.strip() != ELLIPSIS]
    return [next((line for line in old if line_fits(line, each, varying)), each.rstrip()) for each in got]


def _plain(line: str, varying: Collection[str]) -> str:
    for name, pattern in VARYING.items():
        if name in varying:
            line = re.sub(pattern, _ANY, line)
    return re.sub(r" {2,}", "  ", line.rstrip())


@cache
def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, line.split(ELLIPSIS))))
