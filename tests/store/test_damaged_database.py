"""Rows with anything in their columns, in a real database: loaded, audited, sealed anew, and loaded again by the next server."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from bbs.convergence.audit import Audit
from bbs.log import null_logger
from bbs.models.outcome import Record
from bbs.process.reencryption import seal_anew
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import DroppedRow
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Policy
from bbs.store.crypto import Keyring
from bbs.store.store import Store
from bbs.store.tables import Tables
from tests.databases import ON_BOTH, SomeDatabase
from tests.routes.test_message_fuzz import ROWS
from tests.store.damage import every_odd_value

OLD = Keyring({"label": "key"}, "label")
NEW = Keyring({"label": "key", "next": "another"}, "next")


async def make_tables(database: SomeDatabase) -> None:
    backend = database.database.backend(OLD)
    await backend.acquire_writer_lock()
    await backend.aclose()


def rows_of(record_class: type[Record], refusal: Any) -> list[tuple[Any, ...]]:
    """One row for each odd value of each column, that the database can hold, each under a guid of its own."""
    codec = CODECS[record_class]
    record = next(record for record in ROWS if type(record) is record_class)
    rows: list[tuple[Any, ...]] = []
    for at, column in list(enumerate(codec.columns))[1:]:
        for odd in every_odd_value(codec.table, column, OLD):
            values = list(codec.encode(record, OLD))
            values[0], values[at] = f"row-{len(rows)}", odd
            if "\0" not in str(odd) and refusal(codec, tuple(values)) is None:
                rows.append(tuple(values))
    return rows


async def loaded(
    database: SomeDatabase, keyring: Keyring, dropped: list[DroppedRow], stack: AsyncExitStack
) -> tuple[Any, Store]:
    backend = database.database.backend(keyring, on_dropped=dropped.append)
    stack.push_async_callback(backend.aclose)
    await backend.acquire_writer_lock()
    store = Store(backend, publish=lambda announcements: None)
    await store.load()
    return backend, store


@ON_BOTH
@pytest.mark.slow
@pytest.mark.parametrize("record_class", CODECS)
async def test_every_column_of_a_real_table_may_hold_anything(
    some_database: SomeDatabase, record_class: type[Record]
) -> None:
    codec = CODECS[record_class]
    async with open_asyncio_loop(null_logger()), AsyncExitStack() as stack:
        await make_tables(some_database)
        tables, database_audit = some_database.database.tables(), some_database.database.audit()
        stack.push_async_callback(tables.aclose)
        stack.push_async_callback(database_audit.aclose)
        rows = rows_of(record_class, tables.refusal)
        await tables.put(codec, rows)
        undecodable = codec.decode_rows(rows, OLD)[1]
        dropped: list[DroppedRow] = []

        backend, store = await loaded(some_database, NEW, dropped, stack)

        assert sorted(row.key for row in dropped) == sorted(error.key for error in undecodable)
        kept = len(rows) - sum(error.policy is Policy.DELETE for error in undecodable)
        assert await tables.count(codec) == kept
        audit = Audit(store, database_audit, NEW, sessions=lambda: 0, log=null_logger(), compared_rows=10_000)
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            await audit.begin()
            for _ in range(2):
                await audit.run()
            await seal_anew(store)
            await audit.run()
            assert (audit.statistics().failed, audit.statistics().taken_over) == (0, 0)
            nursery.cancel_scope.cancel()
        await backend.aclose()

        again: list[DroppedRow] = []
        _, later = await loaded(some_database, NEW, again, stack)
        assert keys_of(later.committed) == keys_of(store.committed)
        assert {row.key for row in again} == {row.key for row in dropped if not row.deleted}


def keys_of(tables: Tables) -> list[str]:
    return sorted(str(key) for record_class in CODECS for key in tables.keys(record_class))
