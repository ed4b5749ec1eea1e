"""What only a real Postgres can do to us."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bbs.models.actual_lrp import (
    ModificationTag,
)
from bbs.models.errors import InvalidRequest, UnknownError, Unrecoverable
from bbs.models.outcome import delete, put
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.crypto import Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.postgres import WRITER_TOKEN_ID, PostgresBackend
from bbs.store.schema import SchemaError
from tests.records import actual_lrp, desired_lrp
from tests.store.worlds import KEYRING, RUNNING, PostgresWorld, load, write_until_done
from tests.waiting import wait_until


async def test_a_batch_that_is_refused_writes_nothing(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()

    with pytest.raises(StatementRejected) as refused:
        await writer.write(
            [put(desired_lrp()), put(actual_lrp()), put(actual_lrp("x" * 256)), delete(actual_lrp("y"))]
        )

    assert isinstance(refused.value.error, InvalidRequest)
    assert await load(writer) == []
    assert writer.statistics().connects == 1


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (actual_lrp(domain="a\0"), 'ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)'),
        (actual_lrp(tag=ModificationTag(epoch="e", index=2**31)), None),
    ],
    ids=["NUL", "integer"],
)
async def test_values_that_postgres_can_not_hold_are_refused_in_its_words(
    postgres: PostgresWorld, record: Any, text: str
) -> None:
    writer = await postgres.open_writer()

    with pytest.raises(StatementRejected) as refused:
        await writer.write([put(record)])

    assert isinstance(refused.value.error, UnknownError)
    assert text is None or str(refused.value.error) == text
    await writer.write([put(actual_lrp())])
    assert writer.statistics().connects == 1


async def test_a_missing_table_cannot_be_recovered_from(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await postgres.execute("DROP TABLE actual_lrps")

    with pytest.raises(StatementRejected) as refused:
        await writer.write([put(actual_lrp())])

    assert isinstance(refused.value.error, Unrecoverable)
    assert str(refused.value.error) == (
        'Unrecoverable Error: ERROR: relation "actual_lrps" does not exist (SQLSTATE 42P01)'
    )
    with pytest.raises(StatementRejected, match="42P01"):
        await load(writer)


async def test_a_statement_that_hangs_is_given_up_and_nothing_is_written_twice(
    postgres: PostgresWorld,
) -> None:
    writer = await postgres.open_writer(statement_s=0.2)
    await postgres.execute("BEGIN")
    await postgres.execute("LOCK TABLE actual_lrps IN EXCLUSIVE MODE")

    with trio.fail_after(5), pytest.raises(BackendUnavailable):
        await writer.write([put(actual_lrp())])

    await postgres.execute("ROLLBACK")
    await write_until_done(writer, [put(actual_lrp())])
    assert await load(writer) == [actual_lrp()]


async def test_a_cancelled_write_leaves_a_backend_that_works(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await postgres.execute("BEGIN")
    await postgres.execute("LOCK TABLE actual_lrps IN EXCLUSIVE MODE")
    with trio.move_on_after(0.1) as patience:
        await writer.write([put(actual_lrp("cancelled"))])
    assert patience.cancelled_caught
    await postgres.execute("ROLLBACK")

    await write_until_done(writer, [delete(actual_lrp("cancelled")), put(actual_lrp("later"))])

    assert await load(writer) == [actual_lrp("later")]


async def test_a_writer_ends_its_own_former_session_that_the_server_still_believes_in(
    postgres: PostgresWorld,
) -> None:
    writer = await postgres.open_writer()
    pid = writer._connection.get_server_pid()
    # As after a network that swallows packets: we know it is dead, the server does not.
    undead, writer._connection = writer._connection, None

    with trio.fail_after(5):
        await writer.write([put(actual_lrp())])

    assert await postgres.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0
    undead.terminate()


async def test_the_holder_of_the_lock_can_be_ended_by_a_new_master(postgres: PostgresWorld) -> None:
    former, new = await postgres.open_writer(), postgres.open()
    await former.write([put(actual_lrp())])

    with trio.fail_after(5):
        await new.take_writer_lock()

    assert not await new.end_writer_session()
    assert await load(new) == [actual_lrp()]
    with pytest.raises(WriterLockLost):
        await write_until_done(former, [put(actual_lrp("late"))])


async def test_a_fenced_backend_writes_nothing_any_more(postgres: PostgresWorld) -> None:
    former = await postgres.open_writer()
    await postgres.execute("BEGIN")
    await postgres.execute("LOCK TABLE actual_lrps IN EXCLUSIVE MODE")

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(WriterLockLost, match="not master"):
                await write_until_done(former, [put(actual_lrp())])

        await wait_until(
            lambda: postgres.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"),
            within_s=10,
            what="the write waits for the table",
        )
        former.fence("this process is not master")

    with pytest.raises(WriterLockLost, match="not master"):
        await former.write([put(actual_lrp("late"))])
    await postgres.execute("ROLLBACK")


@pytest.mark.parametrize("statement", ["DELETE FROM configurations", "UPDATE configurations SET value = 'x'"])
async def test_a_token_that_is_not_ours_any_more_means_that_the_lock_was_lost(
    postgres: PostgresWorld, statement: str
) -> None:
    writer = await postgres.open_writer()
    await postgres.execute(f"{statement} WHERE id = '{WRITER_TOKEN_ID}'")
    await writer.write([put(actual_lrp("the session still holds the lock"))])
    await postgres.break_connection(writer)

    with pytest.raises(WriterLockLost):
        await write_until_done(writer, [put(actual_lrp())])


async def test_a_database_that_cannot_be_reached_is_unavailable(
    postgres: PostgresWorld, tmp_path: Path
) -> None:
    backend = PostgresBackend(
        parse_dsn(f"host={tmp_path} user=u"), KEYRING, on_dropped=postgres.dropped.append
    )

    with pytest.raises(BackendUnavailable):
        await backend.acquire_writer_lock()

    await backend.aclose()


async def test_a_refused_log_in_is_unavailable_in_the_servers_words(
    postgres: PostgresWorld, database_url: str
) -> None:
    dsn = parse_dsn(database_url)
    backend = PostgresBackend(replace(dsn, database="nowhere"), KEYRING, on_dropped=postgres.dropped.append)

    with pytest.raises(
        BackendUnavailable, match=r'^FATAL: database "nowhere" does not exist \(SQLSTATE 3D000\)$'
    ):
        await backend.acquire_writer_lock()

    await backend.aclose()


async def test_a_schema_that_is_too_new_is_no_reason_to_try_again(postgres: PostgresWorld) -> None:
    await (await postgres.open_writer()).aclose()
    await postgres.execute(
        "UPDATE configurations SET value = '{\"CurrentVersion\":2000000000}' WHERE id = 'version'"
    )

    backend = postgres.open()
    with pytest.raises(SchemaError, match="exceeds bbs version"):
        await backend.acquire_writer_lock()
    await backend.aclose()

    await postgres.execute(
        "UPDATE configurations SET value = '{\"CurrentVersion\":1772581987}' WHERE id = 'version'"
    )
    await postgres.open_writer()


async def test_rows_of_a_key_that_is_gone_are_dropped(postgres: PostgresWorld) -> None:
    both = Keyring({"old": "1", "new": "2"}, "old")
    await (writer := await postgres.open_writer(both)).write([put(actual_lrp()), put(desired_lrp())])
    await writer.aclose()
    await postgres.execute("UPDATE configurations SET value = 'new' WHERE id = 'encryption_key_label'")

    writer = await postgres.open_writer(Keyring({"new": "2"}, "new"))
    kept = [actual_lrp("kept", index) for index in range(3)]  # most values; else nobody starts
    await writer.write([put(lrp) for lrp in kept])

    assert await load(writer) == kept

    assert [(dropped.table, dropped.deleted) for dropped in postgres.dropped] == [
        ("desired_lrps", False),
        ("actual_lrps", True),
    ]
    assert 'Key with label "old" was not found' in postgres.dropped[0].reason


async def test_dead_columns_keep_their_defaults(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await writer.write([put(RUNNING)])

    assert not await postgres.fetchval("SELECT evacuating FROM actual_lrps")
    assert await postgres.fetchval("SELECT expire_time FROM actual_lrps") == 0


async def test_a_holder_that_is_ended_for_a_new_master_does_not_take_the_lock_again(
    postgres: PostgresWorld,
) -> None:
    former, new = await postgres.open_writer(), postgres.open()
    lost = trio.Event()
    former.watch_session(lost.set)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(new.take_writer_lock)
            await lost.wait()
            # At once, and so before the new one asks for the lock again.
            with pytest.raises(WriterLockLost):
                await former.hold()

    await new.write([put(actual_lrp())])
