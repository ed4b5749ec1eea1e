"""Numbers on command lines."""

import argparse
from collections.abc import Callable
from typing import Final

NUMBER_MAX: Final = 10**9
"""The largest number that a flag takes, be it seconds (31 years), bytes (a gigabyte) or a count. More is never meant, and
might overflow where it is used.
"""


def number(
    kind: type[int] | type[float], *, may_be_zero: bool, most: int = NUMBER_MAX
) -> Callable[[str], int | float]:
    """A parser of finite numbers for argparse, up to ``most``."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if not 0 <= value < float("inf") or (value == 0 and not may_be_zero):
            raise ValueError
        if value > most:
            raise argparse.ArgumentTypeError(f"{text:.40} is too much: at most {most}")
        return value

    # What argparse calls it in its complaint.
    parse.__name__ = f"{'non-negative' if may_be_zero else 'positive'} {kind.__name__}"
    return parse
