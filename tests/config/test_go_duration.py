"""Durations as Go reads and writes them (spec: config.md §1)."""

import pytest

from bbs.config.go_duration import BadDuration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0), ("30s", 30_000_000_000), ("1.5s", 1_500_000_000), (".5s", 500_000_000), ("1.s", 1_000_000_000),
        ("1h1h", 7_200_000_000_000), ("-1m", -60_000_000_000), ("+2ms", 2_000_000), ("3us", 3_000), ("3µs", 3_000),
        ("3μs", 3_000), ("7ns", 7), ("1m30s", 90_000_000_000),
    ],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid duration"), ("5", "missing unit in duration"), ("1d", "unknown unit"), ("1 s", "unknown unit"),
        ("S", "invalid duration"), ("1S", "unknown unit"), ("-", "invalid duration"), ("9223372036854775808ns", "invalid duration"),
        (".s", "invalid duration"),
    ],
)  # fmt: skip
def test_what_is_no_duration(text: str, error: str) -> None:
    with pytest.raises(BadDuration, match=error):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"), (15_000_000_000, "15s"), (90_000_000_000, "1m30s"), (3_600_000_000_000, "1h0m0s"),
        (1_500_000_000, "1.5s"), (1_500, "1.5µs"), (1, "1ns"), (-60_000_000_000, "-1m0s"),
    ],
)  # fmt: skip
def test_canonical_form(ns: int, text: str) -> None:
    assert format_duration(ns) == text
    assert parse_duration(text) == ns
