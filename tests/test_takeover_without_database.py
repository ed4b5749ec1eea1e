"""Whoever waits to become master outlives a database that is away, as one is while a cluster fails over."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemons import Surroundings, daemon
from tests.databases import ON_BOTH, SomeDatabase
from tests.processes import first_line, running_bbs, spawn
from tests.test_daemon import domains, upsert
from tests.waiting import wait_until

START_MAX_S = 60.0


@pytest.mark.slow
@ON_BOTH
async def test_a_new_master_waits_for_the_database(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        await upsert(first, "from-first")
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")
            async with around.database.away():
                first.process.kill()
                await second.logs("migration-manager.waiting-for-database")
                assert not second.api_is_open()
            await second.logs("started")

            assert await domains(second) == ["from-first"]
            assert await second.stop() == 0


@pytest.mark.slow
@ON_BOTH
async def test_a_server_that_waits_for_the_writer_lock_waits_for_the_database(
    tmp_path: Path, some_database: SomeDatabase
) -> None:
    log = tmp_path / "second.log"
    async with running_bbs(tmp_path, "--database-url", some_database.url) as first:
        second = await spawn(
            "serve", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"),
            "--database-url", some_database.url, stderr=log,
        )  # fmt: skip
        try:
            await wait_until(
                lambda: "waiting-for-writer-lock" in log.read_text(),
                within_s=START_MAX_S,
                what="a second server",
            )
            await second_session(some_database)
            async with some_database.away():
                await wait_until(
                    lambda: "failed-to-acquire-writer-lock" in log.read_text(),
                    within_s=START_MAX_S,
                    what="a second server that has found the database away",
                )
                first.process.kill()
                await first.process.wait()
            with trio.fail_after(START_MAX_S):
                assert (await first_line(second)).startswith("listening on ")
            second.terminate()
            with trio.fail_after(START_MAX_S):
                assert await second.wait() == 0
        finally:
            with trio.CancelScope(shield=True):
                second.kill()
                await second.wait()


OTHERS_LAST_STATEMENT = {
    "postgres": "SELECT query, 0 FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'",
    # It does not say which statement that was. But who does not have the lock is the only one who says something every time.
    "mysql": "SELECT id, query_id FROM information_schema.processlist WHERE db = DATABASE() AND command = 'Sleep'"
    " AND id <> IS_USED_LOCK(CONCAT('bbs_writer ', MD5(DATABASE())))",
}
STATEMENTS_OF_A_START = 5
"""At most so many times MySQL is asked something before the lock is."""


async def second_session(database: SomeDatabase) -> None:
    """Wait until the second server has asked for the lock."""
    seen: defaultdict[Any, set[int]] = defaultdict(set)

    async def is_there() -> bool:
        for session, statement in await database.execute(OTHERS_LAST_STATEMENT[database.driver]):
            seen[session].add(statement)
        enough = 0 if database.on_postgres else STATEMENTS_OF_A_START
        return any(len(statements) > enough for statements in seen.values())

    await wait_until(
        is_there, within_s=START_MAX_S, what="a session that has asked for the lock", every_s=0.1
    )
