"""Positions in Postgres' write-ahead log, and its clock.

A position is the number of a byte in the log, 64 bits. Postgres writes it as two hexadecimal numbers, ``16/B374D848``.
"""

from typing import Final

EPOCH_S: Final = 946_684_800
"""Postgres counts microseconds from the beginning of 2000, in UTC; this is that moment in Unix time."""


def position_of(text: str) -> int:
    """The position that Postgres writes as ``text``.

    Raises:
      ValueError: it is none.
    """
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r:.40} is no position in a log")
    return int(high, 16) << 32 | int(low, 16)


def position_text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFF_FFFF:X}"


def unix_ns(postgres_us: int) -> int:
    """Nanoseconds of Unix time for a time of Postgres'."""
    return (postgres_us + EPOCH_S * 1_000_000) * 1_000


def postgres_us(unix_time_ns: int) -> int:
    return unix_time_ns // 1_000 - EPOCH_S * 1_000_000
