"""When a crashed instance is started again, and how its crashes are counted (spec: actual-lrps.md §3, §6.4)."""

from typing import Final

from bbs.models.actual_lrp import ActualLRP, ActualLRPState

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND_NS

IMMEDIATE_RESTARTS: Final = 3
"""An app that crashes fewer times than this is placed again at once: most first crashes are bad luck."""

BACKOFF_MIN_NS: Final = 30 * _SECOND_NS
"""Pause before the first restart that is not at once. It doubles with each further crash."""

BACKOFF_MAX_NS: Final = 16 * _MINUTE_NS
"""The pause does not grow beyond this."""

BACKOFF_EXPONENT_MAX: Final = 5
"""Doublings from the shortest to the longest pause."""

RESTARTS_MAX: Final = 200
"""An app that has crashed this often is broken. It stays down until somebody desires it anew."""

CRASH_RESET_NS: Final = 5 * _MINUTE_NS
"""An instance that stayed up longer than this has recovered: its next crash counts as its first."""

assert BACKOFF_MIN_NS << BACKOFF_EXPONENT_MAX == BACKOFF_MAX_NS


def backoff_ns(crash_count: int) -> int:
    """How long an instance that has crashed ``crash_count`` times stays down, if it is started again at all."""
    if crash_count < IMMEDIATE_RESTARTS:
        return 0
    return min(BACKOFF_MIN_NS << min(crash_count - IMMEDIATE_RESTARTS, BACKOFF_EXPONENT_MAX), BACKOFF_MAX_NS)


def should_restart(*, now_ns: int, crashed_at_ns: int, crash_count: int) -> bool:
    """Whether an instance that crashed then, for the ``crash_count``-th time, is to be placed again now."""
    if crash_count < IMMEDIATE_RESTARTS:
        return True
    return crash_count < RESTARTS_MAX and crashed_at_ns + backoff_ns(crash_count) <= now_ns


def restarts_at_once(crash_count: int) -> bool:
    """Whether a crash leaves the instance UNCLAIMED, to be placed right away, instead of CRASHED.

    That is `should_restart` at the very moment of the crash, when no back-off can be over.
    """
    return should_restart(now_ns=0, crashed_at_ns=0, crash_count=crash_count)


def crash_count_after_crash(lrp: ActualLRP, *, now_ns: int) -> int:
    """The crash count of ``lrp`` once it has crashed now.

    Earlier crashes are forgotten only if it has been running for longer than `CRASH_RESET_NS`. For how long it was claimed
    does not count: the download of an image can take many minutes, and an app that crashes after each would never back off.
    """
    if lrp.state is ActualLRPState.RUNNING and now_ns - lrp.since_ns > CRASH_RESET_NS:
        return 1
    return lrp.crash_count + 1
