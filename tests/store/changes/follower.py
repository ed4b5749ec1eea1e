"""A follower for tests: a copy of the four tables as raw column values, kept by a stream, and what it must be equal to."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import trio
from trio_asyncio import aio_as_trio

from bbs.models.outcome import Record
from bbs.store.changes import UNCHANGED, ChangeStream, Clear, Delete, Put, Transaction
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.crypto import Keyring
from bbs.store.tables import Tables
from tests.store.worlds import KEYRING, PostgresWorld
from tests.waiting import wait_until

Rows = dict[tuple[type[Record], Values], Values]

WITHIN_S = 30.0


class Copy:
    """``rows`` by table and key, as codecs' column values."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.transactions: list[Transaction] = []

    def apply(self, transaction: Transaction) -> None:
        self.transactions.append(transaction)
        for change in transaction.changes:
            match change:
                case Put(record_class, values, moved_from):
                    key = values[: CODECS[record_class].key_columns]
                    if UNCHANGED in values:
                        before = self.rows[record_class, key if moved_from is None else moved_from]
                        values = tuple(
                            old if new is UNCHANGED else new for old, new in zip(before, values, strict=True)
                        )
                    self.rows[record_class, key] = values
                case Delete(record_class, key):
                    del self.rows[record_class, key]
                case Clear(record_class):
                    self.rows = {name: row for name, row in self.rows.items() if name[0] is not record_class}

    async def follow(self, stream: ChangeStream, *, until: int) -> None:
        """Apply what comes, until all that was committed before a position has, which is an `end_for_a_copy`."""
        with trio.fail_after(WITHIN_S):
            while stream.position < until:
                self.apply(await anext(stream))


async def all_rows(fetch: Callable[[str], Awaitable[Any]]) -> Rows:
    rows: Rows = {}
    for record_class, codec in CODECS.items():
        names = ", ".join(column.name for column in codec.columns)
        for row in await fetch(f"SELECT {names} FROM {codec.table}"):
            rows[record_class, tuple(row)[: codec.key_columns]] = tuple(row)
    return rows


def decoded_all(rows: Rows, keyring: Keyring = KEYRING) -> list[Record]:
    return [CODECS[record_class].decode(row, keyring) for (record_class, _), row in rows.items()]


def all_records(tables: Tables) -> list[Record]:
    filed = (tables.actual_lrps, tables.desired_lrps, tables.domains, tables.tasks)
    return [record for table in filed for record in table.rows.values()]


@asynccontextmanager
async def session(database_url: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A session of one's own, by asyncio."""
    connection = await aio_as_trio(asyncpg.connect)(database_url)
    try:
        yield connection
    finally:
        with trio.move_on_after(WITHIN_S, shield=True):
            await aio_as_trio(connection.close)()


async def loaded(database_url: str, snapshot: str) -> Rows:
    """All rows as a snapshot shows them."""
    async with session(database_url) as connection:
        fetch = aio_as_trio(connection.fetch)
        await fetch("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await fetch(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        return await all_rows(fetch)


async def end_of_log(postgres: PostgresWorld) -> int:
    """A position behind all that has been committed. No stream may come to it before somebody commits the next time."""
    return int(await postgres.fetchval("SELECT pg_current_wal_flush_lsn() - '0/0'"))


async def end_for_a_copy(postgres: PostgresWorld) -> int:
    """A position behind all that has been committed, and before a transaction on our tables which changes nothing in the end: so
    a stream hands something out when it comes to that position. It does not when it passes what others have written, and it may
    never come to the end of the log, which may be in the middle of a record.
    """
    end = await postgres.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'")
    await postgres.execute("INSERT INTO domains VALUES ('end', 0); DELETE FROM domains WHERE domain = 'end'")
    return int(end)


async def slots(postgres: PostgresWorld) -> int:
    count: int = await postgres.fetchval("SELECT count(*) FROM pg_replication_slots")
    return count


async def no_slot_is_left(postgres: PostgresWorld) -> None:
    async def is_gone() -> bool:
        return await slots(postgres) == 0

    await wait_until(is_gone, within_s=WITHIN_S, what="the server has dropped the slot")
