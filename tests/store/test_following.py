"""A standby reads what the master writes, and as the new master only what has changed since."""

import pytest

from bbs.models.domain import Domain
from bbs.models.outcome import Record, RowKey, delete, put
from bbs.store.backend import BackendUnavailable, Source
from bbs.store.store import Store
from tests.records import actual_lrp, desired_lrp, task
from tests.store.worlds import RECORDS, PostgresWorld, by_key

pytestmark = pytest.mark.postgres


def standby(postgres: PostgresWorld) -> tuple[Store, Source]:
    return Store(postgres.open(), publish=lambda announcements: None), postgres.open()


def everything(store: Store) -> dict[RowKey, Record]:
    tables = store.committed
    return by_key(
        record
        for table in (tables.actual_lrps, tables.desired_lrps, tables.domains, tables.tasks)
        for record in table.rows.values()
    )


async def test_without_a_schema_there_is_nothing_to_follow(postgres: PostgresWorld) -> None:
    store, source = standby(postgres)

    with pytest.raises(BackendUnavailable, match="not of this version"):
        await store.follow(source)
    assert await postgres.fetchval("SELECT to_regclass('configurations')") is None


async def test_each_look_costs_what_has_changed(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(record) for record in RECORDS])
    store, source = standby(postgres)

    assert await store.follow(source) == len(RECORDS)
    assert everything(store) == by_key(RECORDS)
    assert await store.follow(source) == 0

    new, changed = actual_lrp("new"), Domain(name="cf-apps", expire_time_ns=5)
    await writer.write([put(new), put(changed), delete(RECORDS[0])])

    assert await store.follow(source) == 3
    assert everything(store) == by_key([*RECORDS[1:], new, changed])


async def test_a_row_written_twice_by_its_master_is_read_as_it_is_in_the_end(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(actual_lrp(since_ns=1))])
    store, source = standby(postgres)
    await store.follow(source)

    await writer.write([delete(actual_lrp())])
    await writer.write([put(actual_lrp(since_ns=2))])
    await writer.write([put(actual_lrp(since_ns=3))])

    assert await store.follow(source) == 1
    assert [lrp.since_ns for lrp in store.committed.actual_lrps.rows.values()] == [3]


async def test_a_new_master_reads_only_what_it_has_not_seen(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(record) for record in RECORDS])
    backend, source = postgres.open(), postgres.open()
    store = Store(backend, publish=lambda announcements: None)
    await store.follow(source)
    last_words = task("last-words")
    await writer.write([put(last_words)])
    await writer.aclose()

    await backend.acquire_writer_lock()

    assert await store.load() == 1
    assert everything(store) == by_key([*RECORDS, last_words])


async def test_rows_that_cannot_be_read_are_left_to_the_master(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(desired_lrp("bad")), put(desired_lrp("good"))])
    await postgres.spoil(desired_lrp("bad"), run_info="02AAAA")
    backend, source = postgres.open(), postgres.open()
    store = Store(backend, publish=lambda announcements: None)

    assert await store.follow(source) == 1
    assert await store.follow(source) == 0
    assert postgres.dropped == []
    assert await postgres.fetchval("SELECT count(*) FROM desired_lrps") == 2

    await writer.aclose()
    await backend.acquire_writer_lock()
    await store.load()

    assert [(row.key, row.deleted) for row in postgres.dropped] == [(("bad",), True)]
    assert await postgres.fetchval("SELECT count(*) FROM desired_lrps") == 1


async def test_a_row_that_cannot_be_read_any_more_is_forgotten(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(actual_lrp())])
    backend, source = postgres.open(), postgres.open()
    store = Store(backend, publish=lambda announcements: None)
    await store.follow(source)

    await postgres.spoil(actual_lrp(), net_info="02AAAA")
    await store.follow(source)

    assert everything(store) == {}


async def test_tables_made_anew_leave_nothing_in_memory(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(record) for record in RECORDS])
    backend, source = postgres.open(), postgres.open()
    store = Store(backend, publish=lambda announcements: None)
    await store.follow(source)

    await postgres.execute("TRUNCATE configurations, domains, tasks, desired_lrps, actual_lrps")
    with pytest.raises(BackendUnavailable, match="not of this version"):
        await store.follow(source)

    assert everything(store) == {}
    await writer.aclose()
    await backend.acquire_writer_lock()
    assert await store.load() == 0


async def test_a_broken_connection_loses_nothing_of_what_was_seen(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(record) for record in RECORDS])
    store, source = standby(postgres)
    await store.follow(source)
    await postgres.break_connection(source)
    await writer.write([put(actual_lrp("new"))])

    assert await store.follow(source) == 1
