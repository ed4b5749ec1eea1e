"""The restart policy and the crash count (spec: actual-lrps.md §3, §6.4; examples.md L1-L6)."""

import pytest

from bbs.lifecycle.restart import backoff_ns, crash_count_after_crash, restarts_at_once, should_restart

from .notation import SECOND_NS, N, read_row

MINUTE_NS = 60 * SECOND_NS


@pytest.mark.parametrize(
    ("now_ns", "crash_count", "expected"),
    [
        pytest.param(0, 2, True, id="L1"),
        pytest.param(0, 3, False, id="L2"),
        pytest.param(60 * SECOND_NS - SECOND_NS // 1000, 4, False, id="L3"),
        pytest.param(60 * SECOND_NS, 4, True, id="L4"),
        pytest.param(16 * MINUTE_NS, 199, True, id="L5"),
        pytest.param(16 * MINUTE_NS - 1, 199, False, id="L5-early"),
        pytest.param(2**62, 200, False, id="L6"),
    ],
)
def test_a_crashed_instance_restarts_after_its_backoff(now_ns: int, crash_count: int, expected: bool) -> None:
    assert should_restart(now_ns=now_ns, crashed_at_ns=0, crash_count=crash_count) is expected


@pytest.mark.parametrize(
    ("crash_count", "wait_s"),
    [(0, 0), (2, 0), (3, 30), (4, 60), (5, 120), (6, 240), (7, 480), (8, 960), (9, 960), (199, 960)],
)
def test_the_backoff_doubles_up_to_its_maximum(crash_count: int, wait_s: int) -> None:
    assert backoff_ns(crash_count) == wait_s * SECOND_NS


@pytest.mark.parametrize("crash_count", range(210))
def test_only_the_first_crashes_restart_at_once(crash_count: int) -> None:
    assert restarts_at_once(crash_count) == (crash_count < 3)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("O RUN a@c1 e#1 cc=7 since=N-5m", 8),
        ("O RUN a@c1 e#1 cc=7 since=N-5m-1ns", 1),
        ("O CLA a@c1 e#1 cc=7 since=N-1h", 8),
        ("O CLA a@c1 e#1", 1),
    ],
)
def test_only_a_long_run_resets_the_count(row: str, expected: int) -> None:
    assert crash_count_after_crash(read_row(row), now_ns=N) == expected
