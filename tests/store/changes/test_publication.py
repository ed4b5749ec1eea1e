"""Where changes can't be followed it is said why, and what to do; and nothing is changed for it that is not ours."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.models.domain import Domain
from bbs.store.backend import BackendUnavailable
from bbs.store.changes import CannotFollow, Change, Put, StreamLost, follow_changes
from bbs.store.changes.connecting import connect
from bbs.store.changes.publication import must_be_followable, survey
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.postgres import PostgresBackend
from tests.store.changes.conftest import OwnServer
from tests.store.changes.follower import WITHIN_S, no_slot_is_left
from tests.store.worlds import KEYRING, PostgresWorld

pytestmark = pytest.mark.postgres

ALL = "domains, desired_lrps, actual_lrps, tasks"


async def why_not(dsn: DSN) -> str:
    """Why changes can't be followed there."""
    with trio.fail_after(WITHIN_S), pytest.raises(CannotFollow) as caught:
        async with follow_changes(dsn):
            pass
    return str(caught.value)


@asynccontextmanager
async def execute_at(url: str) -> AsyncIterator[Callable[..., Awaitable[object]]]:
    connection = await aio_as_trio(asyncpg.connect)(url)
    try:
        yield aio_as_trio(connection.execute)
    finally:
        await aio_as_trio(connection.close)()


async def test_a_publication_is_made_and_taken_again(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    for _ in range(2):
        async with follow_changes(dsn):
            published = await postgres.fetch(
                "SELECT tablename FROM pg_publication_tables WHERE pubname = 'bbs'"
            )
            assert sorted(name for (name,) in published) == sorted(ALL.split(", "))


async def test_two_followers_may_begin_at_once(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    changes: list[Change] = []
    are_there = [trio.Event() for _ in range(3)]

    async def follow(is_there: trio.Event) -> None:
        async with follow_changes(dsn) as stream:
            is_there.set()
            with trio.fail_after(WITHIN_S):
                changes.extend((await anext(stream)).changes)

    async with trio.open_nursery() as nursery:
        for is_there in are_there:
            nursery.start_soon(follow, is_there)
        for is_there in are_there:
            await is_there.wait()
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")

    assert changes == [Put(Domain, ("a", 1))] * 3


async def test_a_table_that_left_our_publication_is_put_back(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    """As after upstream's first migration, which makes all tables anew."""
    async with follow_changes(dsn):
        pass
    await postgres.execute("CREATE TABLE new (LIKE domains INCLUDING ALL)")
    await postgres.execute("DROP TABLE domains")
    await postgres.execute("ALTER TABLE new RENAME TO domains")

    async with follow_changes(dsn) as stream:
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        with trio.fail_after(WITHIN_S):
            assert (await anext(stream)).changes == [Put(Domain, ("a", 1))]


@pytest.mark.parametrize(
    "publication",
    [f"FOR TABLE {ALL}", "FOR ALL TABLES", "FOR TABLES IN SCHEMA public", f"FOR TABLE {ALL}, configurations"],
)
async def test_an_operators_publication_is_taken_as_it_is(
    dsn: DSN, postgres: PostgresWorld, publication: str, writer: PostgresBackend
) -> None:
    await postgres.execute(f"CREATE PUBLICATION bbs {publication}")
    version = await postgres.fetchval("SELECT xmin::text FROM pg_publication")

    async with follow_changes(dsn) as stream:
        await postgres.execute("INSERT INTO configurations VALUES ('a', 'b')")
        await postgres.execute("CREATE SCHEMA other CREATE TABLE domains (domain text PRIMARY KEY, x int)")
        await postgres.execute("INSERT INTO other.domains VALUES ('not ours')")
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        with trio.fail_after(WITHIN_S):
            assert (await anext(stream)).changes == [Put(Domain, ("a", 1))]

    assert await postgres.fetchval("SELECT xmin::text FROM pg_publication") == version


REFUSALS = {
    "leaves out deletes": (
        [f"CREATE PUBLICATION bbs FOR TABLE {ALL} WITH (publish = 'insert, update, truncate')"],
        "ALTER PUBLICATION bbs SET (publish = 'insert, update, delete, truncate')",
    ),
    "leaves out truncates": (
        [f"CREATE PUBLICATION bbs FOR TABLE {ALL} WITH (publish = 'insert, update, delete')"],
        "ALTER PUBLICATION bbs SET (publish",
    ),
    "leaves out rows": (
        [f"CREATE PUBLICATION bbs FOR TABLE {ALL} WHERE (guid > 'a')"],
        "leaves out rows of table tasks: take its WHERE away",
    ),
    "leaves out columns": (
        ["CREATE PUBLICATION bbs FOR TABLE domains (domain), desired_lrps, actual_lrps, tasks"],
        "leaves out expire_time of table domains",
    ),
    "no tables": (["DROP TABLE tasks"], "there is no table tasks: a master makes them"),
    "an older schema": (
        ["ALTER TABLE desired_lrps DROP COLUMN update_strategy"],
        "table desired_lrps has no column update_strategy: its schema is not of our version",
    ),
    "no primary key": (
        ["ALTER TABLE domains DROP CONSTRAINT domains_pkey"],
        "ALTER TABLE domains ADD PRIMARY KEY (domain), if it has none, and ALTER TABLE domains REPLICA IDENTITY DEFAULT",
    ),
    "no replica identity": (
        ["ALTER TABLE actual_lrps REPLICA IDENTITY NOTHING"],
        "table actual_lrps has a replica identity without its key",
    ),
    "another key": (
        [
            "ALTER TABLE domains ALTER expire_time SET NOT NULL, ADD UNIQUE (expire_time)",
            "ALTER TABLE domains REPLICA IDENTITY USING INDEX domains_expire_time_key",
        ],
        "table domains has a replica identity without its key",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_what_is_missing_is_said(
    dsn: DSN, postgres: PostgresWorld, what: str, writer: PostgresBackend
) -> None:
    statements, todo = REFUSALS[what]
    for statement in statements:
        await postgres.execute(statement)

    assert todo in await why_not(dsn)
    assert await postgres.fetchval("SELECT count(*) FROM pg_publication") == ("PUBLICATION" in statements[0])


async def test_who_may_not_is_told_what_to_ask_for(
    database_url: str, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    name = f"reader_{await postgres.fetchval('SELECT current_database()')}"
    await postgres.execute(f"CREATE ROLE {name} LOGIN")
    try:
        dsn = parse_dsn(database_url.replace("postgres@", f"{name}@"), {})

        assert f"CREATE PUBLICATION bbs FOR TABLE {ALL}, as the tables' owner" in await why_not(dsn)

        await postgres.execute(f"CREATE PUBLICATION bbs FOR TABLE {ALL}")

        assert "ALTER ROLE … REPLICATION" in await why_not(dsn)

        await postgres.execute(f"ALTER ROLE {name} REPLICATION")

        async with follow_changes(dsn) as stream:
            await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
            with trio.fail_after(WITHIN_S):
                assert (await anext(stream)).changes == [Put(Domain, ("a", 1))]

        await postgres.execute("ALTER PUBLICATION bbs DROP TABLE tasks")

        assert 'ALTER PUBLICATION "bbs" ADD TABLE tasks, as the tables\' owner' in await why_not(dsn)
    finally:
        await no_slot_is_left(postgres)
        await postgres.execute(f"DROP ROLE {name}")


async def test_a_log_that_is_not_logical(physical_server: str, postgres: PostgresWorld) -> None:
    said = await why_not(parse_dsn(physical_server, {}))

    assert said.startswith("wal_level is 'replica': set wal_level = logical")


async def test_a_server_that_is_full(small_server: OwnServer, postgres: PostgresWorld) -> None:
    """``postgres`` is here for its asyncio loop only."""
    dsn = parse_dsn(small_server.url, {})
    writer = PostgresBackend(dsn, KEYRING, on_dropped=print)
    await writer.acquire_writer_lock()
    await writer.aclose()

    async with follow_changes(dsn):
        assert "all 1 of max_wal_senders are in use" in await why_not(dsn)

    async with execute_at(small_server.url) as execute:
        await execute("SELECT pg_create_logical_replication_slot('somebodys', 'pgoutput')")
        try:
            assert "raise max_replication_slots" in await why_not(dsn)
        finally:
            await execute("SELECT pg_drop_replication_slot('somebodys')")


async def test_a_follower_never_counts_as_a_copy_of_the_data(dsn: DSN, writer: PostgresBackend) -> None:
    side, _ = await connect(dsn, replication=False, attempt_s=WITHIN_S)
    found = await survey(side)
    side.close()

    must_be_followable(replace(found, synchronous_standbys='FIRST 1 (node_a, "node-b")'))
    for standbys in ("*", "FIRST 1 (*)", 'ANY 2 (a, "*")', "bbs-changes", '1 ("BBS-changes")'):
        with pytest.raises(
            CannotFollow, match="would take a follower, which keeps nothing, for a copy of the data"
        ):
            must_be_followable(replace(found, synchronous_standbys=standbys))


async def test_a_dropped_publication_is_noticed_at_once(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    """Long before the next look at it: with the next change the server says that there is none."""
    async with follow_changes(dsn, survey_s=3600) as stream:
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        await postgres.execute("DROP PUBLICATION bbs")
        await postgres.execute("INSERT INTO domains VALUES ('b', 1)")
        with trio.fail_after(WITHIN_S):
            assert (await anext(stream)).changes == [Put(Domain, ("a", 1))]
            with pytest.raises(StreamLost, match="publication"):
                await anext(stream)


async def test_a_slot_that_the_server_has_given_up_ends_the_stream(
    small_server: OwnServer, postgres: PostgresWorld
) -> None:
    """``max_slot_wal_keep_size`` bounds what a server keeps for followers."""
    dsn = parse_dsn(small_server.url, {})
    writer = PostgresBackend(dsn, KEYRING, on_dropped=print)
    await writer.acquire_writer_lock()
    await writer.aclose()
    async with execute_at(small_server.url) as execute:
        await execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        await execute("SELECT pg_reload_conf()")
        try:
            async with follow_changes(dsn) as stream:
                for number in range(3):
                    await execute(f"INSERT INTO domains VALUES ('d{number}', 1)")
                    await execute("SELECT pg_switch_wal()")
                await execute("CHECKPOINT")
                with trio.fail_after(WITHIN_S), pytest.raises((StreamLost, BackendUnavailable)):
                    await anext(stream)
        finally:
            await execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            await execute("SELECT pg_reload_conf()")
            await execute("TRUNCATE domains")
