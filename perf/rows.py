"""Counts the rows of a list's answer without decoding them: a quarter of a million take a fraction of a second."""

from typing import Final

ROWS_FIELD: Final = 2
"""In every list response the rows are field 2, and field 1 is the error (spec: api.md §3.1)."""

_LENGTH_DELIMITED: Final = 2


class NotAList(ValueError):
    """The bytes are no answer of a list."""


def count_rows(body: bytes, *, holding: bytes = b"") -> int:
    """The number of rows; with ``holding``, of those in which these bytes stand.

    Raises:
      NotAList: something else than rows is in it, or it ends too early.
    """
    rows = at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        if tag & 7 != _LENGTH_DELIMITED:
            raise NotAList(f"wire type {tag & 7} at the top")
        length, at = _varint(body, at)
        if at + length > len(body):
            raise NotAList("cut short")
        if tag >> 3 != ROWS_FIELD:
            raise NotAList(f"field {tag >> 3} at the top")
        if not holding or body.find(holding, at, at + length) >= 0:
            rows += 1
        at += length
    return rows


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotAList("cut short")
