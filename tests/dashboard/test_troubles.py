"""What the dashboard says is wrong: one case for each kind, and that a fleet that is as desired has none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bbs.dashboard import counts
from bbs.dashboard.cell_use import CellUses
from bbs.dashboard.commands import COMMANDS
from bbs.dashboard.sources import Part, Role
from bbs.dashboard.troubles import Severity, Trouble, troubles
from bbs.models.actual_lrp import ActualLRPState, InstanceKey, Presence
from bbs.models.domain import Domain
from bbs.models.task import TaskState
from tests.dashboard.watched import AT_REST, NOW_NS, Watched, presence
from tests.records import actual_lrp, desired_lrp, task

S = 10**9
C1 = InstanceKey(instance_guid="i", cell_id="c1")
RUNNING = actual_lrp(state=ActualLRPState.RUNNING, instance=C1)
CRASHED: dict[str, Any] = {"state": ActualLRPState.CRASHED, "since_ns": NOW_NS}


def fresh(watched: Watched) -> None:
    watched.put(Domain(name="d", expire_time_ns=NOW_NS + 100 * S))
    watched.announce([presence("c1")])


async def told(watched: Watched) -> list[Trouble]:
    uses = CellUses(watched.tables, watched.registry)
    await uses.ask()
    await uses.look()
    sources = watched.sources
    return list(troubles(sources, uses, await counts.instances(watched.tables), sources.role()))


def as_desired(watched: Watched) -> None:
    watched.put(desired_lrp(), RUNNING, task(state=TaskState.Running, cell_id="c1"))


async def test_a_fleet_as_desired_has_no_trouble() -> None:
    watched = Watched()
    fresh(watched)
    as_desired(watched)

    assert await told(watched) == []


async def test_an_empty_server_has_no_trouble() -> None:
    assert await told(Watched()) == []


def missing(watched: Watched) -> None:
    watched.put(desired_lrp(instances=3), RUNNING)


def waiting(watched: Watched) -> None:
    watched.put(desired_lrp(instances=2))
    refused: dict[str, Any] = {
        "placement_error": "insufficient resources: memory",
        "since_ns": NOW_NS - 31 * S,
    }
    watched.put(actual_lrp(index=0, **refused), actual_lrp(index=1, since_ns=NOW_NS))


def just_waiting(watched: Watched) -> None:
    watched.put(desired_lrp(), actual_lrp(since_ns=NOW_NS))


def crashed(watched: Watched) -> None:
    watched.put(desired_lrp(instances=2))
    watched.put(
        actual_lrp(index=0, crash_count=3, **CRASHED), actual_lrp(index=1, crash_count=200, **CRASHED)
    )


def suspect(watched: Watched) -> None:
    as_desired(watched)
    watched.put(actual_lrp(presence=Presence.SUSPECT, state=ActualLRPState.RUNNING, instance=C1))


def extra(watched: Watched) -> None:
    as_desired(watched)
    watched.put(replace(RUNNING, index=5))


def not_desired(watched: Watched) -> None:
    watched.put(RUNNING)


def cell_missing(watched: Watched) -> None:
    as_desired(watched)
    watched.announce([])


def rep_fails(watched: Watched) -> None:
    watched.rep_failures.note("c1", call="stop-lrp", reason="connection refused")


def pending(watched: Watched) -> None:
    watched.put(task(created_at_ns=NOW_NS - 40 * S, rejection_reason="no cell", rejection_count=1))


def nowhere(watched: Watched) -> None:
    watched.put(task(state=TaskState.Running, cell_id=""))


def unreadable(watched: Watched) -> None:
    watched.put(task(state=TaskState.Completed, unreadable="x"))


def stale_domain(watched: Watched) -> None:
    as_desired(watched)
    watched.put(Domain(name="d", expire_time_ns=NOW_NS - S))


def database_away(watched: Watched) -> None:
    watched.store = replace(AT_REST, staged_rows=7, waiting_s=3.2)


def not_ready(watched: Watched) -> None:
    watched.role = Role(part=Part.MASTER, not_ready="it has not read all rows yet")


CASES: list[tuple[Callable[[Watched], None], Severity, int, str, str]] = [
    (missing, Severity.BAD, 2, "instances are desired and have no row", "makes them"),
    (waiting, Severity.BAD, 2, "wait for a cell; 1 refused: insufficient resources: memory", "30s: 1 now"),
    (just_waiting, Severity.CAUTION, 1, "instance waits for a cell", "0 now"),
    (crashed, Severity.BAD, 2, "have crashed", "1 crashed 200 times and stay down"),
    (suspect, Severity.CAUTION, 1, "suspect instance: its cell is missing", "until its replacement runs"),
    (extra, Severity.CAUTION, 1, "instance is beyond what is desired", "if their domain is fresh"),
    (not_desired, Severity.CAUTION, 1, "instance is of what nobody desires", "if their domain is fresh"),
    (
        cell_missing,
        Severity.BAD,
        1,
        "cell is not announced and has instances or tasks: c1",
        "asks the auctioneer",
    ),
    (rep_fails, Severity.CAUTION, 1, "failed a call in the last minute: c1", "asked again"),
    (pending, Severity.CAUTION, 1, "the first for 40s; it was refused: no cell", "asks the auctioneer again"),
    (nowhere, Severity.BAD, 1, "running task names no cell", "fails them"),
    (unreadable, Severity.CAUTION, 1, "a definition that can't be read", "the log names them"),
    (stale_domain, Severity.CAUTION, 1, "is not fresh: d", "extra ones are not stopped"),
    (database_away, Severity.BAD, 7, "wait for the database, the first for 3 s", "tried again"),
    (not_ready, Severity.BAD, 1, "answers nobody: it has not read all rows yet", "503"),
]


@pytest.mark.parametrize(
    ("arrange", "severity", "count", "what", "doing"), CASES, ids=lambda case: getattr(case, "__name__", "")
)
async def test_each_trouble_is_told_with_what_happens_about_it(
    arrange: Callable[[Watched], None], severity: Severity, count: int, what: str, doing: str
) -> None:
    watched = Watched()
    fresh(watched)
    arrange(watched)

    [trouble] = await told(watched)

    assert (trouble.severity, trouble.count) == (severity, count)
    assert what in trouble.what
    assert doing in trouble.doing
    assert trouble.command in COMMANDS


async def test_a_locket_that_is_away_takes_no_cell_away() -> None:
    watched = Watched()
    fresh(watched)
    as_desired(watched)
    uses = CellUses(watched.tables, watched.registry)
    await uses.ask()
    await uses.look()
    watched.registry.away = True

    await uses.ask()
    await uses.look()
    [trouble] = troubles(watched.sources, uses, await counts.instances(watched.tables), watched.role)

    assert (uses.missing(), set(uses.announced)) == ([], {"c1"})
    assert "can't be asked (locket is away)" in trouble.what
