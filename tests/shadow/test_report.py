"""What is remembered of all rounds, and what is told in the end."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bbs.models import pb
from bbs.shadow import findings as findings_module
from bbs.shadow.comparing import Compared, Difference
from bbs.shadow.events import EventCounts, EventDifference, Side
from bbs.shadow.fields import Shower
from bbs.shadow.findings import BUSY_ROUNDS, EXAMPLES_MAX, Findings
from bbs.shadow.report import KindReport, Report, StreamReport
from bbs.shadow.samples import SAMPLES_MAX, Samples, Summary

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
KIND = "actual LRPs"


def at(minutes: int) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def difference(key: str = "p/0", *, crash_count: int = 1) -> Difference:
    return Difference(
        key=key,
        master=pb.ActualLRP(crash_count=crash_count),
        follower=pb.ActualLRP(crash_count=crash_count + 1),
    )


def with_differences(*keys: str, busy: tuple[str, ...] = ()) -> Compared:
    return Compared(rows=5, differences=[difference(key) for key in keys], busy=set(busy))


def test_a_difference_that_stays_is_one() -> None:
    findings = Findings(Shower())

    assert len(findings.compared(KIND, with_differences("a"), at(0))) == 1
    assert findings.compared(KIND, with_differences("a"), at(1)) == []
    assert findings.compared(KIND, with_differences(busy=("a",)), at(2)) == []

    [finding] = findings.of(KIND)
    assert (finding.first_seen, finding.last_seen, finding.rounds, finding.gone_at) == (at(0), at(1), 2, None)


def test_a_difference_that_is_gone_is_kept_and_one_that_comes_back_is_told_again() -> None:
    findings = Findings(Shower())
    findings.compared(KIND, with_differences("a"), at(0))
    findings.compared(KIND, with_differences(), at(1))
    assert findings.of(KIND)[0].gone_at == at(1)
    assert findings.any()

    assert len(findings.compared(KIND, with_differences("a"), at(2))) == 1
    assert findings.of(KIND)[0].gone_at is None


def test_all_are_counted_and_some_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "KEPT_MAX", 50)
    findings = Findings(Shower())
    for minute in range(3):
        findings.compared(KIND, with_differences(*map(str, range(60))), at(minute))

    assert len(findings.examples(KIND)) == EXAMPLES_MAX
    assert len(findings.of(KIND)) + findings.uncounted[KIND] == 60


def test_a_row_that_never_comes_to_rest_is_told_of() -> None:
    findings = Findings(Shower())
    for minute in range(BUSY_ROUNDS):
        assert findings.always_busy(KIND) == []
        findings.compared(KIND, with_differences(busy=("a", f"b{minute}")), at(minute))
    assert findings.always_busy(KIND) == ["a"]

    findings.compared(KIND, with_differences(), at(9))
    assert findings.always_busy(KIND) == []


def report(findings: Findings, *, complete_rounds: int = 3, **kind: object) -> Report:
    summary = Summary(3, 0.25, 0.5, 12.0)
    kinds = {
        "name": KIND,
        "rounds": 3,
        "rows": 3_000,
        "rows_lately": 1_000,
        "busy": 7,
        "always_busy": [],
        "not_compared": {},
        "latencies": {Side.MASTER: summary, Side.FOLLOWER: None},
        **kind,
    }
    return Report(
        master="https://bbs:8889",
        began_at=at(0),
        ended_at=at(61),
        duration_s=3_660,
        rounds=3,
        complete_rounds=complete_rounds,
        kinds=[KindReport(**kinds)],  # type: ignore[arg-type]  # fields of several types
        streams=[
            StreamReport(
                name="task events",
                watched_s=60,
                counts=EventCounts(matched=1_234),
                voids={},
                unreadable=dict.fromkeys(Side, 0),
            )
        ],
        findings=findings,
        lateness=summary,
        unreadable_rows=0,
    )


def test_no_difference_is_said_plainly() -> None:
    page = report(Findings(Shower()))

    assert page.exit_code == 0
    text = page.as_markdown()
    assert "**Nothing differs.** 3,000 rows and 1,234 events of the two servers were compared" in text
    assert "## Differences\n\nNone.\n" in text
    assert "Everything could." in text
    assert "median 250 ms, 99 % of the time at most 500 ms, never more than 12.0 s" in text
    assert "1 h 1 min" in text
    assert json.loads(page.as_json())["exit_code"] == 0


def test_without_a_complete_round_nothing_is_said() -> None:
    page = report(Findings(Shower()), complete_rounds=0, not_compared={"the master: EOF": 3})

    assert page.exit_code == 2
    assert "**Nothing could be said:**" in page.as_markdown()
    assert "- actual LRPs: not in 3 rounds, since `the master: EOF`" in page.as_markdown()


def test_a_shadow_that_was_stopped_before_it_began_says_so() -> None:
    page = replace(report(Findings(Shower()), complete_rounds=0), rounds=0)

    assert page.exit_code == 2
    assert "- No round was made." in page.as_markdown()


def test_differences_are_shown_with_their_fields() -> None:
    findings = Findings(Shower())
    findings.compared(KIND, with_differences("p/0"), at(0))
    findings.compared(KIND, with_differences(), at(1))
    lost = EventDifference(
        name="task_created", subject="task t", master=pb.Task(task_guid="t"), follower=None
    )
    findings.events("task events", [lost, lost], at(2))
    page = report(findings, complete_rounds=0)

    assert page.exit_code == 1
    text = page.as_markdown()
    assert "**Something differs:** 1 in actual LRPs, 2 in task events." in text
    assert (
        "- `p/0`: they tell it differently (first seen 2026-03-01 12:00:00 UTC, gone 2026-03-01 12:01:00 UTC)"
        in text
    )
    assert "  | `crash_count` | `1` | `2` |" in text
    assert "- `task_created of task t`: only the master has it" in text
    assert "1 gone in a later round." in text
    [kind], [stream] = json.loads(page.as_json())["lists"], json.loads(page.as_json())["streams"]
    assert (kind["different"], kind["gone"], stream["different"]) == (1, 1, 2)


def test_what_stands_in_a_row_cannot_spoil_the_page() -> None:
    findings = Findings(Shower())
    findings.compared(KIND, with_differences("`x` | y\n# z\x1b[2J"), at(0))

    text = report(findings).as_markdown()

    assert r"- `'x' \| y\n# z\x1b[2J`: they tell it differently" in text


def test_samples_take_bounded_memory() -> None:
    samples = Samples()
    assert samples.summary() is None
    for number in range(10 * SAMPLES_MAX):
        samples.add(float(number))
    samples.add(10.0**9)

    summary = samples.summary()
    assert summary is not None
    assert (summary.count, summary.max) == (10 * SAMPLES_MAX + 1, 10.0**9)
    assert summary.median == pytest.approx(5 * SAMPLES_MAX, rel=0.01)
    assert summary.p99 == pytest.approx(9.9 * SAMPLES_MAX, rel=0.01)
    assert len(samples._kept) <= SAMPLES_MAX
