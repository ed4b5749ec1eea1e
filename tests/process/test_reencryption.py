"""Rotation of keys, and keys that do not fit (spec: storage.md §4)."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import trio

from bbs.models.actual_lrp import ActualLRPState, InstanceKey
from bbs.models.outcome import Outcome, put
from bbs.process.reencryption import PAGE_ROWS, ReencryptionFailed, seal_anew
from bbs.store.backend import BackendUnavailable, Seen, WriterLockLost
from bbs.store.codecs import CODECS
from bbs.store.crypto import CannotDecrypt, Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.key_check import SAMPLE_ROWS, KeysDoNotFit
from bbs.store.postgres import PostgresBackend
from bbs.store.store import Store
from tests.records import AnyScope, actual_lrp, desired_lrp, net_info, task
from tests.store.worlds import RECORDS, PostgresWorld, SQLWorld, by_key, load

OLD = Keyring({"old": "one"}, "old")
BOTH = Keyring({"old": "one", "new": "two"}, "new")
NEW = Keyring({"new": "two"}, "new")


async def open_store(sql: SQLWorld, keyring: Keyring, nursery: trio.Nursery) -> tuple[Any, Store]:
    backend = await sql.open_writer(keyring)
    store = Store(backend, publish=lambda announcements: None)
    await store.load()
    await nursery.start(store.run)
    return backend, store


async def sealed_values(sql: SQLWorld) -> list[str]:
    values: list[str] = []
    for codec in CODECS.values():
        for column in codec.columns:
            if column.sealed:
                rows = await sql.fetch(f"SELECT {column.name} FROM {codec.table}")
                values += [text for (text,) in rows if text]
    return values


def opens(values: Iterable[str], keyring: Keyring) -> int:
    count = 0
    for value in values:
        try:
            keyring.open(value)
        except CannotDecrypt:
            continue
        count += 1
    return count


async def test_every_value_is_sealed_with_the_active_key_and_says_what_it_said(
    sql: SQLWorld, nursery: trio.Nursery
) -> None:
    former = await sql.open_writer(OLD)
    many = [actual_lrp("many", index) for index in range(3 * PAGE_ROWS)]
    await former.write([put(record) for record in (*RECORDS, *many)])
    await former.aclose()
    backend, store = await open_store(sql, BOTH, nursery)
    assert await backend.stored_key_label() == ""

    await seal_anew(store)
    await backend.record_key_label()

    values = await sealed_values(sql)
    assert opens(values, NEW) == len(values) - 1  # all but the task that nobody can read
    assert opens(values, OLD) == 0
    assert await backend.stored_key_label() == "new"
    nursery.cancel_scope.cancel()
    await backend.aclose()
    assert by_key(await load(await sql.open_writer(NEW))) == by_key([*RECORDS, *many])


async def test_requests_go_on_meanwhile_and_nothing_of_theirs_is_undone(
    sql: SQLWorld, nursery: trio.Nursery
) -> None:
    former = await sql.open_writer(OLD)
    waiting = [actual_lrp("p", index) for index in range(4 * PAGE_ROWS)]
    await former.write([put(lrp) for lrp in waiting])
    await former.aclose()
    _, store = await open_store(sql, BOTH, nursery)
    running = [
        actual_lrp(
            "p",
            lrp.index,
            state=ActualLRPState.RUNNING,
            instance=InstanceKey(instance_guid="a", cell_id="c"),
            net_info=net_info(),
        )
        for lrp in waiting
    ]

    async with trio.open_nursery() as requests:
        requests.start_soon(seal_anew, store)
        for lrp in running:
            requests.start_soon(partial(store.commit, Outcome(rows=(put(lrp),)), AnyScope(store, "p")))

    assert by_key(store.committed.actual_lrps.rows.values()) == by_key(running)
    values = await sealed_values(sql)
    assert opens(values, NEW) == len(values) == 3 * len(running)


async def test_rows_with_an_empty_column_are_sealed_anew_too(sql: SQLWorld, nursery: trio.Nursery) -> None:
    """Upstream leaves them under the old key, and deletes them once that is gone."""
    former = await sql.open_writer(OLD)
    await former.write([put(actual_lrp())])
    await sql.execute("UPDATE actual_lrps SET metric_tags = NULL")
    await former.aclose()
    _, store = await open_store(sql, BOTH, nursery)

    await seal_anew(store)

    values = await sealed_values(sql)
    assert opens(values, NEW) == len(values) == 3


async def test_a_database_that_is_away_fails_it_and_the_label_stays(
    sql: SQLWorld, nursery: trio.Nursery
) -> None:
    former = await sql.open_writer(OLD)
    await former.write([put(actual_lrp())])
    await former.aclose()
    backend = await sql.open_writer(BOTH, statement_s=0.1)
    store = Store(backend, publish=lambda announcements: None, write_retry_s=0.3)
    await store.load()
    await nursery.start(store.run)
    await sql.execute("BEGIN")
    await sql.execute("SELECT * FROM actual_lrps FOR UPDATE")

    with pytest.raises(ReencryptionFailed, match="the database is unavailable"):
        await seal_anew(store)

    await sql.execute("ROLLBACK")
    assert await sql.fetchval("SELECT value FROM configurations WHERE id = 'encryption_key_label'") is None


async def test_the_label_is_written_by_the_writer_only(sql: SQLWorld) -> None:
    former = await sql.open_writer(OLD)
    await sql.break_connection(former)
    await sql.open_writer(BOTH)

    with pytest.raises(WriterLockLost):
        await former.record_key_label()

    assert await sql.fetchval("SELECT value FROM configurations WHERE id = 'encryption_key_label'") is None


@pytest.mark.parametrize(
    ("keyring", "label"),
    [
        pytest.param(Keyring({"new": "two"}, "new"), '"old"', id="a key is missing"),
        pytest.param(Keyring({"old": "mistyped"}, "old"), '"old"', id="another passphrase"),
    ],
)
async def test_keys_that_do_not_fit_are_refused_and_nothing_is_deleted(
    sql: SQLWorld, keyring: Keyring, label: str
) -> None:
    former = await sql.open_writer(OLD)
    await former.write([put(record) for record in (actual_lrp(), desired_lrp(), task())])
    await former.aclose()
    backend = await sql.open_writer(keyring)

    with pytest.raises(KeysDoNotFit) as refused:
        async for _ in backend.load(Seen()):
            pass

    assert label in str(refused.value)
    assert "one" not in str(refused.value).split()
    assert "mistyped" not in str(refused.value)
    assert await sql.fetchval("SELECT count(*) FROM actual_lrps") == 1
    assert await sql.fetchval("SELECT count(*) FROM desired_lrps") == 1


async def test_a_few_values_under_a_lost_key_are_upstreams_business(sql: SQLWorld) -> None:
    former = await sql.open_writer(OLD)
    await former.write([put(actual_lrp("lost"))])
    await former.aclose()
    backend = await sql.open_writer(NEW)
    await backend.write([put(actual_lrp("kept", index)) for index in range(SAMPLE_ROWS // 2)])

    assert len(await load(backend)) == SAMPLE_ROWS // 2
    assert [(row.key[0], row.deleted) for row in sql.dropped] == [("lost", True)]


@pytest.mark.postgres
async def test_an_unreachable_database_is_told_when_it_is_prepared(postgres: PostgresWorld) -> None:
    backend = PostgresBackend(parse_dsn("host=127.0.0.1 port=1"), OLD, on_dropped=lambda row: None)

    with pytest.raises(BackendUnavailable):
        await backend.prepare()

    await postgres.open().prepare()
    assert await postgres.fetchval("SELECT count(*) FROM configurations") == 0
