"""The database's health check, and when it ends the process (spec: metrics-and-logs.md §6)."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import time_ns
from typing import Any

import pytest
import trio
import trio.testing

from bbs.concurrency.causes import root_cause
from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.health_check import (
    AttemptFailed,
    HealthCheck,
    HealthCheckFailed,
    HealthCheckSettings,
    Probe,
)
from tests.databases import ON_BOTH, SomeDatabase
from tests.log_lines import Lines
from tests.store.worlds import KEYRING


class Database:
    """One answer per attempt, the last for ever: well, ill, or none at all. ``asked_at_s`` are the times of attempts."""

    def __init__(self, answers: Iterable[str]) -> None:
        self.answers = list(answers)
        self.asked_at_s: list[float] = []

    async def attempt(self) -> None:
        self.asked_at_s.append(trio.current_time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "ill":
            raise AttemptFailed("failed upserting health check time: no")
        if answer == "hangs":
            await trio.sleep_forever()


async def check(
    database: Database,
    lines: Lines,
    *,
    for_s: float,
    failure_threshold: int = 3,
    timeout_s: float = 5,
) -> None:
    settings = HealthCheckSettings(timeout_s=timeout_s, failure_threshold=failure_threshold, interval_s=10)
    may_begin = trio.Event()
    may_begin.set()
    with trio.move_on_after(for_s):
        await HealthCheck(database.attempt, settings, log=lines.logger()).run(may_begin)


async def test_nothing_is_asked_before_the_migrations_are_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    database, lines = Database(["well"]), Lines()

    with trio.move_on_after(100):
        await HealthCheck(database.attempt, HealthCheckSettings(), log=lines.logger()).run(trio.Event())

    assert database.asked_at_s == []
    assert lines.messages == ["bbs.db-health-check-runner.waiting-for-db-migrations"]


async def test_a_database_that_is_well_is_asked_once_per_interval(
    autojump_clock: trio.testing.MockClock,
) -> None:
    database = Database(["well"])

    await check(database, Lines(), for_s=35)

    assert database.asked_at_s == pytest.approx([10, 20, 30])


async def test_one_success_makes_up_for_the_failures_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    database, lines = Database(["ill", "hangs", "well"]), Lines()

    await check(database, lines, for_s=25)

    assert database.asked_at_s == pytest.approx([10, 10, 15, 20])
    assert lines.messages[2:] == [
        "bbs.db-health-check-runner.failed-health-check",
        "bbs.db-health-check-runner.health-check-timed-out",
        "bbs.db-health-check-runner.exiting",
    ]
    assert lines.lines[3]["data"]["error"] == "timed out after 5s while executing DB health check"


async def test_a_round_without_a_success_ends_the_process(autojump_clock: trio.testing.MockClock) -> None:
    database, lines = Database(["ill", "hangs", "ill"]), Lines()

    with pytest.raises(HealthCheckFailed) as failed:
        await check(database, lines, for_s=100)

    assert str(failed.value).splitlines() == [
        "failed upserting health check time: no",
        "timed out after 5s while executing DB health check",
        "failed upserting health check time: no",
    ]
    assert trio.current_time() == pytest.approx(15)
    assert lines.messages[-3:] == [
        "bbs.db-health-check-runner.health-check-attempts-exceeded",
        "bbs.db-health-check-runner.database-failure-detected-restarting-bbs",
        "bbs.db-health-check-runner.exiting",
    ]
    assert lines.lines[-3]["data"]["max-attempts"] == 3


async def test_a_negative_threshold_is_a_round_without_attempts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    database = Database(["ill"])

    await check(database, Lines(), for_s=100, failure_threshold=-1)

    assert database.asked_at_s == []


async def test_ticks_during_a_long_round_are_left_out(autojump_clock: trio.testing.MockClock) -> None:
    database = Database(["hangs", "hangs", "well", "well"])

    await check(database, Lines(), for_s=35, timeout_s=7)

    assert database.asked_at_s == pytest.approx([10, 17, 24, 30])


@asynccontextmanager
async def ready(database: SomeDatabase) -> AsyncIterator[Probe[Any]]:
    """A probe of a database with all tables, and an asyncio loop for it."""
    async with open_asyncio_loop(null_logger()):
        backend = database.backend(KEYRING)
        await backend.acquire_writer_lock()
        probe = database.database.probe(connect_s=5)
        yield probe
        await probe.aclose()
        await backend.aclose()


@ON_BOTH
async def test_a_real_database_is_noted_and_read(some_database: SomeDatabase) -> None:
    no_such_table = {
        "postgres": 'ERROR: relation "bbs_health_check" does not exist (SQLSTATE 42P01)',
        "mysql": f"Error 1146 (42S02): Table '{some_database.name}.bbs_health_check' doesn't exist",
    }
    async with ready(some_database) as probe:
        for _ in range(2):
            began_ns = time_ns()
            await probe.attempt()
            [(number, noted_ns)] = await some_database.execute("SELECT id, time FROM bbs_health_check")
            assert number == 1
            assert began_ns <= noted_ns <= time_ns()

        await some_database.execute("ALTER TABLE bbs_health_check RENAME TO gone")
        with pytest.raises(AttemptFailed) as failed:
            await probe.attempt()
        assert (
            str(failed.value) == f"failed upserting health check time: {no_such_table[some_database.driver]}"
        )
        await some_database.execute("ALTER TABLE gone RENAME TO bbs_health_check")
        await probe.attempt()


@ON_BOTH
async def test_a_statement_that_hangs_is_broken_off(some_database: SomeDatabase) -> None:
    settings = HealthCheckSettings(timeout_s=0.1, failure_threshold=2, interval_s=0.1)
    may_begin = trio.Event()
    may_begin.set()
    async with ready(some_database) as probe:
        await probe.attempt()
        async with some_database.session() as execute:
            await execute("BEGIN")
            await execute("UPDATE bbs_health_check SET time = 1")
            with trio.fail_after(10), pytest.raises((HealthCheckFailed, BaseExceptionGroup)) as failed:
                await HealthCheck(probe.attempt, settings, log=Lines().logger()).run(may_begin)

        assert str(root_cause(failed.value)).count("timed out after 0.1s") == 2
        await probe.attempt()
