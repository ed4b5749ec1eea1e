"""Whoever has come to a write's token has the write, and comes to it soon; where nobody can follow there is none."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from httpx import AsyncClient

from bbs.models import pb
from bbs.models.domain import Domain
from bbs.models.outcome import put
from bbs.store.changes import Put, follow_changes
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.postgres import PostgresBackend
from bbs.store.tokens import Token
from tests.processes import RunningBBS, running_bbs
from tests.store.changes.follower import WITHIN_S, loaded, no_slot_is_left
from tests.store.worlds import KEYRING, MySQLWorld, PostgresWorld
from tests.waiting import wait_until

pytestmark = pytest.mark.postgres

WRITERS = 20
WRITES = 10
FOLLOWERS = 5


@asynccontextmanager
async def others_write(postgres: PostgresWorld) -> AsyncIterator[None]:
    """Somebody else fills the log between our commits, with what is committed and what is not."""
    await postgres.execute("CREATE TABLE others (text text)")

    async def write() -> None:
        draw = random.Random(7)
        while True:
            end = draw.choice(("COMMIT", "ROLLBACK"))
            size = draw.choice((1, 100, 20_000))
            await postgres.execute(
                f"BEGIN; INSERT INTO others SELECT repeat('x', {size}) FROM generate_series(1, 5); {end}"
            )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        yield
        nursery.cancel_scope.cancel()


async def in_force(postgres: PostgresWorld, setting: str) -> None:
    """For the sessions that begin from now on."""
    database = await postgres.fetchval("SELECT quote_ident(current_database())")
    await postgres.execute(f"ALTER DATABASE {database} SET synchronous_commit = {setting}")


@pytest.mark.parametrize("synchronous_commit", ["on", "off"])
async def test_a_follower_that_has_come_to_a_writes_token_has_the_write(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend, synchronous_commit: str
) -> None:
    await writer.aclose()
    await in_force(postgres, synchronous_commit)
    master: PostgresBackend = await postgres.open_writer()
    told: dict[str, Token] = {}

    async def write(number: int) -> None:
        for attempt in range(WRITES):
            name = f"{number}-{attempt}"
            await master.write([put(Domain(name=name, expire_time_ns=attempt))])
            assert master.token is not None
            told[name] = master.token

    came: dict[str, int] = {}
    async with follow_changes(dsn) as stream:
        async with others_write(postgres), trio.open_nursery() as nursery:
            for number in range(WRITERS):
                nursery.start_soon(write, number)

        async def follow() -> None:
            async for transaction in stream:
                for change in transaction.changes:
                    assert isinstance(change, Put)
                    came[change.values[0]] = transaction.position

        last = max(told.values(), key=lambda token: token.position)
        timeline = stream.start.timeline
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await wait_until(
                lambda: last.is_reached_by(timeline, stream.position),
                within_s=WITHIN_S,
                what="the follower has come to the last token",
            )
            nursery.cancel_scope.cancel()

    assert came.keys() == told.keys()
    assert {token.timeline for token in told.values()} == {timeline}
    # To a place before the end of the write's transaction a follower comes without the write.
    too_early = {name for name, position in came.items() if told[name].position < position}
    assert not too_early


async def test_a_new_master_has_a_token_of_what_it_found(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follow_changes(dsn):
        await writer.write([put(Domain(name="found", expire_time_ns=1))])
        before = writer.token
        await writer.aclose()

        master: PostgresBackend = await postgres.open_writer()

        assert before is not None
        assert master.token is not None
        assert before.is_reached_by(master.token.timeline, master.token.position)


async def test_what_was_written_while_nobody_followed_is_in_what_a_follower_begins_with(
    dsn: DSN, database_url: str, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    """Writes go on while one begins to follow. Those that had no token need none."""
    told: dict[str, Token | None] = {}

    async def write() -> None:
        number = 0
        while True:
            name = f"{number}"
            await writer.write([put(Domain(name=name, expire_time_ns=1))])
            told[name] = writer.token
            number += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        for _ in range(FOLLOWERS):
            await wait_until(
                lambda: bool(told) and next(reversed(told.values())) is None,
                within_s=WITHIN_S,
                what="a write without a token",
            )
            async with follow_changes(dsn) as stream:
                await wait_until(
                    lambda: next(reversed(told.values())) is not None, within_s=WITHIN_S, what="a token"
                )
                rows = await loaded(database_url, stream.start.snapshot)

                missing = {name for name, token in told.items() if token is None} - {
                    key[0] for _, key in rows
                }
                assert not missing
            await no_slot_is_left(postgres)
        nursery.cancel_scope.cancel()


async def test_where_nobody_can_follow_there_is_no_token(
    physical_server: str, postgres: PostgresWorld
) -> None:
    """``postgres`` is here for its asyncio loop only."""
    master = PostgresBackend(parse_dsn(physical_server, {}), KEYRING, on_dropped=print)
    try:
        await master.acquire_writer_lock()
        await master.write([put(Domain(name="a", expire_time_ns=1))])

        assert master.token is None
    finally:
        await master.aclose()


@pytest.mark.mariadb
async def test_on_mysql_there_is_no_token(mysql: MySQLWorld) -> None:
    master: MySQLBackend = await mysql.open_writer()
    await master.write([put(Domain(name="a", expire_time_ns=1))])

    assert master.token is None


async def upsert_domain(client: AsyncClient, bbs: RunningBBS, name: str) -> str | None:
    """What the answer says of the log."""
    body = pb.UpsertDomainRequest(domain=name).SerializeToString()
    answer = await client.post(f"{bbs.url}/v1/domains/upsert", content=body)
    assert answer.status_code == 200
    said: str | None = answer.headers.get("X-Bbs-At-Least")
    return said


async def test_answers_say_what_a_follower_must_have_come_to(
    tmp_path: Path, database_url: str, dsn: DSN, postgres: PostgresWorld
) -> None:
    async with running_bbs(tmp_path, "--database-url", database_url) as bbs, AsyncClient() as client:
        async with follow_changes(dsn) as stream:
            first, second = [await upsert_domain(client, bbs, name) for name in ("first", "second")]
            read = await client.post(f"{bbs.url}/v1/ping")
            with trio.fail_after(WITHIN_S):
                of_first, of_second = await anext(stream), await anext(stream)

            async with client.stream("GET", f"{bbs.url}/v1/events") as events:
                in_stream = events.headers["X-Bbs-At-Least"]

        await no_slot_is_left(postgres)
        assert await upsert_domain(client, bbs, "third") is None

    assert first is not None
    assert second is not None
    assert of_first.position <= Token.parse(first).position < of_second.position
    assert of_second.position <= Token.parse(second).position
    assert read.headers["X-Bbs-At-Least"] == second
    assert in_stream == second
