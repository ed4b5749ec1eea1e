"""Whoever waits to become master outlives a database that is away, as one is while a cluster fails over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bbs.embedded_postgres import EmbeddedPostgres
from bbs.store.dsn import parse_dsn
from tests.daemons import Surroundings, daemon
from tests.processes import first_line, running_bbs, spawn
from tests.test_daemon import domains, upsert
from tests.test_processes import in_database
from tests.waiting import wait_until

START_MAX_S = 60.0


@asynccontextmanager
async def away(server: EmbeddedPostgres, database_url: str) -> AsyncIterator[None]:
    """Nobody is let into the database, and everybody who was in is out."""
    name = parse_dsn(database_url, {}).database
    await in_database(server.dsn, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await in_database(
        server.dsn, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    try:
        yield
    finally:
        await in_database(server.dsn, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@pytest.mark.slow
async def test_a_new_master_waits_for_the_database(
    around: Surroundings, postgres_server: EmbeddedPostgres
) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        await upsert(first, "from-first")
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")
            async with away(postgres_server, around.database_url):
                first.process.kill()
                await second.logs("migration-manager.waiting-for-database")
                assert not second.api_is_open()
            await second.logs("started")

            assert await domains(second) == ["from-first"]
            assert await second.stop() == 0


@pytest.mark.slow
async def test_a_server_that_waits_for_the_writer_lock_waits_for_the_database(
    tmp_path: Path, database_url: str, postgres_server: EmbeddedPostgres
) -> None:
    log = tmp_path / "second.log"
    async with running_bbs(tmp_path, "--database-url", database_url) as first:
        second = await spawn(
            "serve", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"),
            "--database-url", database_url, stderr=log,
        )  # fmt: skip
        try:
            await wait_until(
                lambda: "waiting-for-writer-lock" in log.read_text(),
                within_s=START_MAX_S,
                what="a second server",
            )
            await second_session(database_url)
            async with away(postgres_server, database_url):
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


async def second_session(database_url: str) -> None:
    """Wait until the second server has asked for the lock."""

    async def is_there() -> bool:
        [row] = await in_database(
            database_url,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'",
        )
        return bool(row[0])

    await wait_until(
        is_there, within_s=START_MAX_S, what="a session that has asked for the lock", every_s=0.1
    )
