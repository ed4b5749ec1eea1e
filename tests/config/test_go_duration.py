"""Durations as Go reads and writes them (spec: config.md §1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.config.go_duration import NS_MAX, BadDuration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0), ("30s", 30_000_000_000), ("1.5s", 1_500_000_000), (".5s", 500_000_000), ("1.s", 1_000_000_000),
        ("1h1h", 7_200_000_000_000), ("-1m", -60_000_000_000), ("+2ms", 2_000_000), ("3us", 3_000), ("3µs", 3_000),
        ("3μs", 3_000), ("7ns", 7), ("1m30s", 90_000_000_000), ("-0", 0), ("5s1h", 3_605_000_000_000), ("0.1ns", 0),
        ("9223372036854775807ns", NS_MAX), ("-9223372036854775808ns", -NS_MAX - 1),
        ("2562047h47m16.854775807s", NS_MAX), ("0000000000000000000000000000001s", 1_000_000_000),
        # In floating point, and without the digits that 63 bits cannot hold, as Go.
        ("0.9223372036854775807h", 3_320_413_933_267), ("0.100000000000000000000000000001h", 360_000_000_000),
    ],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid duration"), ("5", "missing unit in duration"), ("1d", "unknown unit"), ("1 s", "unknown unit"),
        ("S", "invalid duration"), ("1S", "unknown unit"), ("-", "invalid duration"), ("9223372036854775808ns", "invalid duration"),
        (".s", "invalid duration"), (" 1s", "invalid duration"), ("--1s", "invalid duration"),
        ("1s-1s", "unknown unit"), ("1s5", "missing unit"), ("00", "missing unit"), ("1e3s", "unknown unit"),
        ("１s", "invalid duration"), ("-9223372036854775809ns", "invalid duration"),
        ("2562047h2562047h", "invalid duration"), ("9" * 5000 + "s", "invalid duration"),
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


@given(st.integers(-NS_MAX - 1, NS_MAX))
def test_the_canonical_form_reads_as_what_it_was_made_of(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns
