"""Every schema that upstream's server has ever left becomes the present one, with its data (spec: storage.md §2)."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.store import schema
from bbs.store.backend import StatementRejected
from bbs.store.codecs.envelope import ENVELOPE
from bbs.store.dsn import parse_dsn
from bbs.store.migrations import MIGRATIONS, SCHEMA_VERSION, Migration
from bbs.store.postgres import PostgresBackend
from bbs.store.store import Store
from tests.store.test_schema import VERSION, Database, database, expect_final_schema
from tests.store.upstream_rows import expect_rows_of, rows_of_version
from tests.store.worlds import KEYRING

__all__ = ["database"]

pytestmark = pytest.mark.postgres

VERSIONS = [migration.version for migration in MIGRATIONS]


async def insert(database: Database, table: str, **values: object) -> None:
    places = ", ".join(f"${i + 1}" for i in range(len(values)))
    await database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())


async def fill(database: Database, version: int) -> None:
    for table, values in rows_of_version(version):
        await insert(database, table, **values)


@pytest.mark.parametrize("version", VERSIONS)
async def test_data_of_any_version_is_there_afterwards(
    database: Database, database_url: str, version: int
) -> None:
    await database.migrate(up_to=version)
    await fill(database, version)

    told = await database.migrate()

    assert len(told) == 2 * sum(known > version for known in VERSIONS)
    await expect_final_schema(database)
    assert (await database.configurations())["version"] == VERSION
    tables = (await loaded(database_url)).committed
    expect_rows_of(version, tables)


async def loaded(database_url: str) -> Store:
    def fail(row: object) -> None:
        raise AssertionError(f"could not be read: {row}")

    backend = PostgresBackend(parse_dsn(database_url), KEYRING, on_dropped=fail)
    store = Store(backend, publish=lambda announcements: None)
    await backend.acquire_writer_lock()
    await store.load()
    await backend.aclose()
    return store


async def test_run_info_that_cannot_be_read_leaves_the_metric_tags_unset(database: Database) -> None:
    await database.migrate(up_to=1698182853)
    await fill(database, 1698182853)
    await database.execute("UPDATE desired_lrps SET run_info = '02AAAA'")

    await database.migrate()

    assert await database.fetch("SELECT metric_tags FROM desired_lrps") == [(None,)]


async def test_no_tags_in_the_run_info_are_an_empty_object(database: Database) -> None:
    await database.migrate(up_to=1698182853)
    await fill(database, 1698182853)
    await database.execute("UPDATE desired_lrps SET run_info = $1", KEYRING.seal(ENVELOPE))

    await database.migrate()

    ((tags,),) = await database.fetch("SELECT metric_tags FROM desired_lrps")
    assert KEYRING.open(tags) == b"{}"


async def test_only_greater_versions_run_on_a_version_that_nobody_knows(database: Database) -> None:
    await database.migrate(up_to=1481761088)
    await fill(database, 1481761088)
    await database.configure("version", '{"CurrentVersion":1500000000}')

    told = await database.migrate()

    assert told[0] == "running-migration [('current_version', 1500000000), ('migration_version', 1502289152)]"
    await expect_final_schema(database)


async def broken(connection: "asyncpg.Connection[Any]", keyring: object) -> None:
    await connection.execute("DELETE FROM domains")
    await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("position", range(len(MIGRATIONS)))
async def test_what_was_interrupted_is_finished_by_the_next_start(
    database: Database, database_url: str, position: int
) -> None:
    """The connection dies in the middle of a step, after it has done harm; and that step is undone as a whole."""
    start = VERSIONS[0]
    await database.migrate(up_to=start)
    await fill(database, start)
    steps = [*MIGRATIONS[:position], Migration(MIGRATIONS[position].version, broken)]
    if position:
        victim = await aio_as_trio(asyncpg.connect)(database_url)
        migrate: Callable[..., Awaitable[None]] = aio_as_trio(schema.migrate)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await migrate(victim, KEYRING, migrations=steps)
        assert await database.domains() == ["cf-apps"]

    await database.migrate()

    await expect_final_schema(database)
    assert len((await loaded(database_url)).committed.actual_lrps.rows) == 3


async def test_a_step_that_the_database_refuses_is_told_in_its_words(
    database: Database, database_url: str
) -> None:
    await database.migrate(up_to=1643660541)
    await database.execute("DROP TABLE actual_lrps")
    backend = PostgresBackend(parse_dsn(database_url), KEYRING, on_dropped=lambda row: None)

    with trio.fail_after(10), pytest.raises(StatementRejected, match='relation "actual_lrps" does not exist'):
        await backend.acquire_writer_lock()

    await backend.aclose()
    assert json.loads((await database.configurations())["version"])["CurrentVersion"] < SCHEMA_VERSION
