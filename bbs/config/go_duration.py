"""Durations as Go writes them, such as ``1m30s``. spec: config.md §1

Whoever wrote a value for upstream's file wrote it for Go's parser, so this one agrees with it to the nanosecond, also
where it rounds and where it gives up.
"""

import re
from typing import Final

NS_MAX: Final = (1 << 63) - 1

UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}

_TERM: Final = re.compile(r"(?P<whole>[0-9]*)(?:(?P<point>\.)(?P<fraction>[0-9]*))?(?P<unit>[^.0-9]*)")


class BadDuration(ValueError):
    """Not a duration. The text is Go's."""


def parse_duration(text: str) -> int:
    """The nanoseconds of, say, ``1h30m``, ``-1.5s`` or ``0``, the one number that needs no unit.

    Raises:
      BadDuration: not in the grammar, or beyond what 64 bits can hold. The text repeats the duration, as Go's.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise _invalid(text)
    total_ns, at = 0, 0
    while at < len(rest):
        match = _TERM.match(rest, at)
        assert match is not None  # every part of it may be empty
        total_ns += _term_ns(match, text)
        if total_ns > NS_MAX + 1:  # one more than fits: with a minus it does
            raise _invalid(text)
        at = match.end()
    if total_ns > NS_MAX and sign > 0:
        raise _invalid(text)
    return sign * total_ns


def _term_ns(match: re.Match[str], text: str) -> int:
    whole, fraction, unit = match["whole"], match["fraction"] or "", match["unit"]
    if not whole and not fraction:
        raise _invalid(text)
    if len(whole.lstrip("0")) > 19:  # so that nobody can make us compute with a million digits
        raise _invalid(text)
    if not unit:
        raise BadDuration(f'time: missing unit in duration "{text}"')
    unit_ns = UNITS_NS.get(unit)
    if unit_ns is None:
        raise BadDuration(f'time: unknown unit "{unit}" in duration "{text}"')
    return int(whole or "0") * unit_ns + _fraction_ns(fraction, unit_ns)


def _fraction_ns(fraction: str, unit_ns: int) -> int:
    """In floating point, and without the digits that 63 bits cannot hold: as Go, so that the last digit agrees."""
    value, scale = 0, 1.0
    for digit in fraction:
        longer = value * 10 + int(digit)
        if value > NS_MAX // 10 or longer > NS_MAX + 1:
            break
        value, scale = longer, scale * 10
    return int(float(value) * (float(unit_ns) / scale))


def _invalid(text: str) -> BadDuration:
    return BadDuration(f'time: invalid duration "{text}"')


def format_duration(duration_ns: int) -> str:
    """The canonical form: ``1h0m0s``, ``1.5s``, ``0s``; below a second in the largest unit that leaves a whole part."""
    sign = "-" if duration_ns < 0 else ""
    rest = abs(duration_ns)
    if rest == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        if rest < UNITS_NS[unit] * 1000:
            return f"{sign}{_decimal(rest, UNITS_NS[unit])}{unit}"
    hours, rest = divmod(rest, UNITS_NS["h"])
    minutes, rest = divmod(rest, UNITS_NS["m"])
    seconds = f"{_decimal(rest, UNITS_NS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{len(str(unit)) - 1}}".rstrip("0")
