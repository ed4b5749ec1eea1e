"""Rows as the codecs read them."""

from collections.abc import Sequence
from typing import Any


def with_booleans(row: tuple[Any, ...], positions: Sequence[int]) -> tuple[Any, ...]:
    """A row whose numbers at ``positions`` are booleans: a ``tinyint(1)`` may hold any, and all but 0 are true."""
    if not positions:
        return row
    values = list(row)
    for position in positions:
        if values[position] is not None:
            values[position] = values[position] != 0
    return tuple(values)
