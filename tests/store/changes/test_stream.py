"""What is committed comes, whole and in order, once, whoever wrote it; and nothing is left when its follower is gone."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import delete, put
from bbs.models.task import Task
from bbs.store.backend import BackendUnavailable
from bbs.store.changes import (
    UNCHANGED,
    Clear,
    Delete,
    Put,
    StreamLost,
    decode_changes,
    follow_changes,
)
from bbs.store.changes.transactions import PIECE_BYTES, PIECE_ROWS
from bbs.store.codecs import CODECS
from bbs.store.dsn import DSN
from bbs.store.postgres import PostgresBackend
from bbs.store.tables import Tables
from tests.cancelling import at_every_step, cancelled_at
from tests.records import desired_lrp
from tests.store.changes.follower import (
    WITHIN_S,
    Copy,
    all_records,
    all_rows,
    decoded_all,
    end_for_a_copy,
    end_of_log,
    loaded,
    no_slot_is_left,
    session,
    slots,
)
from tests.store.worlds import KEYRING, RECORDS, RUNNING, PostgresWorld, by_key, write_until_done
from tests.waiting import wait_until

pytestmark = pytest.mark.postgres


async def next_of(stream: Any) -> Any:
    with trio.fail_after(WITHIN_S):
        return await anext(stream)


async def test_what_the_store_writes_comes_as_its_codecs_values(dsn: DSN, writer: PostgresBackend) -> None:
    async with follow_changes(dsn) as stream:
        before_ns = time.time_ns()
        await writer.write([put(record) for record in RECORDS])
        written = await next_of(stream)
        await writer.write([delete(RUNNING)])
        deleted = await next_of(stream)

    records = [CODECS[change.record_class].decode(change.values, KEYRING) for change in written.changes]
    assert by_key(records) == by_key(RECORDS)
    assert len(written.changes) == len(RECORDS)
    assert deleted.changes == [Delete(ActualLRP, RUNNING.key)]
    assert not written.goes_on
    assert stream.start.position < written.position < deleted.position == stream.position
    assert abs(written.committed_at_ns - before_ns) < 60e9


Execute = Callable[[str], Awaitable[Any]]


@pytest.fixture
async def execute(database_url: str, postgres: PostgresWorld) -> AsyncIterator[Execute]:
    """For whoever changes rows by hand, in asyncio's loop of ``postgres``. It gives way in a deadlock before the store does."""
    del postgres
    async with session(database_url) as connection:
        execute = aio_as_trio(connection.execute)
        await execute("SET deadlock_timeout = '10ms'")
        yield execute


@pytest.mark.parametrize("seed", range(3))
async def test_a_follower_has_what_the_database_has(
    dsn: DSN, database_url: str, postgres: PostgresWorld, writer: PostgresBackend, execute: Execute, seed: int
) -> None:
    """It begins while others write: the store, somebody who repairs rows by hand, and somebody who thinks better of it."""
    chance = random.Random(seed)
    has_begun, hands_are_free = trio.Event(), trio.Event()

    def some_lrp() -> ActualLRP:
        return replace(RUNNING, index=chance.randrange(6), since_ns=chance.randrange(1000))

    async def by_the_store() -> None:
        for number in range(100):
            rows = {}
            for _ in range(chance.randrange(1, 8)):
                kind = chance.randrange(3)
                record = (
                    some_lrp()
                    if kind == 0
                    else desired_lrp(f"p{chance.randrange(5)}", annotation=chance.choice(["", "é" * 30_000]))
                    if kind == 1
                    else Domain(name=f"d{chance.randrange(3)}", expire_time_ns=chance.randrange(99))
                )
                row = put(record) if chance.random() < 0.7 else delete(record)
                rows[row.key] = row
            # Again, if it was the one to give way in a deadlock.
            await write_until_done(writer, list(rows.values()))
            if number == 20:
                has_begun.set()
        await hands_are_free.wait()
        await by_hand()  # whose last words are not overwritten

    async def by_hand() -> None:
        for _ in range(40):
            try:
                await change_something()
            except asyncpg.DeadlockDetectedError:
                await execute("ROLLBACK")
        hands_are_free.set()

    async def change_something() -> None:
        match chance.randrange(6):
            case 0:
                await execute(f"UPDATE actual_lrps SET since = {chance.randrange(1000)}")
            case 1:
                await execute(f"UPDATE desired_lrps SET instances = instances + {chance.randrange(2)}")
            case 2:
                guid = f"q{chance.randrange(10**9)}"
                await execute(
                    f"UPDATE desired_lrps SET process_guid = '{guid}' WHERE process_guid = 'p{chance.randrange(5)}'"
                )
            case 3:
                await execute("BEGIN; DELETE FROM desired_lrps; TRUNCATE domains; ROLLBACK")
            case 4:
                await execute(
                    "BEGIN; SAVEPOINT s; DELETE FROM actual_lrps; ROLLBACK TO s; UPDATE domains SET expire_time = 5; COMMIT"
                )
            case 5 if chance.random() < 0.3:
                await execute("TRUNCATE actual_lrps")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(by_the_store)
        nursery.start_soon(by_hand)
        await has_begun.wait()
        async with follow_changes(dsn) as stream:
            before = await loaded(database_url, stream.start.snapshot)
            copy = Copy(before.copy())
            while nursery.child_tasks:
                await copy.follow(stream, until=await end_for_a_copy(postgres))
            await copy.follow(stream, until=await end_for_a_copy(postgres))

    rows = await all_rows(postgres.fetch)
    assert copy.rows == rows
    tables = Tables()
    tables.apply(map(put, decoded_all(before)))
    for transaction in copy.transactions:
        tables.apply((await decode_changes(transaction.changes, tables, KEYRING)).rows)
    assert by_key(all_records(tables)) == by_key(decoded_all(rows))
    positions = [transaction.position for transaction in copy.transactions]
    assert positions == sorted(set(positions))
    assert len(positions) > 50


async def test_a_transaction_of_any_size_comes_in_pieces(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follow_changes(dsn) as stream:
        await postgres.execute("INSERT INTO domains SELECT 'd' || n, n FROM generate_series(1, 100000) AS n")
        await postgres.execute("UPDATE domains SET expire_time = 0 WHERE domain = 'd7'")
        end = await end_of_log(postgres)
        pieces = [await next_of(stream)]
        while pieces[-1].goes_on:
            assert stream.position == stream.start.position or pieces[-1].position == stream.position
            pieces.append(await next_of(stream))
        after = await next_of(stream)

    changes = [change.values for piece in pieces for change in piece.changes]
    assert max(len(piece.changes) for piece in pieces) == PIECE_ROWS
    assert changes == [(f"d{n}", n) for n in range(1, 100_001)]
    assert {piece.position for piece in pieces[:-1]} == {pieces[0].position}
    assert pieces[0].position < pieces[-1].position < after.position <= end
    assert after.changes == [Put(Domain, ("d7", 0))]
    assert not after.goes_on


async def test_large_rows_come_in_pieces_by_their_bytes(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    size = PIECE_BYTES // 3 + 1
    async with follow_changes(dsn) as stream:
        await writer.write([put(desired_lrp(f"p{number}", annotation="a" * size)) for number in range(5)])
        first, second = await next_of(stream), await next_of(stream)

    assert (len(first.changes), first.goes_on) == (3, True)
    assert (len(second.changes), second.goes_on) == (2, False)


LARGE = "".join(random.Random(1).choices("0123456789abcdef", k=20_000))  # not to be compressed away


async def test_columns_stored_apart_are_not_sent_when_they_stay(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    await writer.write([put(desired_lrp(annotation=LARGE))])
    columns = [column.name for column in CODECS[DesiredLRP].columns]

    async with follow_changes(dsn) as stream:
        await postgres.execute("UPDATE desired_lrps SET instances = 7")
        [change] = (await next_of(stream)).changes
        sent = dict(zip(columns, change.values, strict=True))
        assert sent["annotation"] is UNCHANGED
        assert (sent["instances"], sent["process_guid"], change.moved_from) == (7, "p", None)

        await postgres.execute("UPDATE desired_lrps SET process_guid = 'q'")
        moved, gone = (await next_of(stream)).changes
        assert (moved.values[0], moved.moved_from) == ("q", ("p",))
        assert UNCHANGED in moved.values
        assert gone == Delete(DesiredLRP, ("p",))

        await postgres.execute("UPDATE desired_lrps SET annotation = NULL")
        [change] = (await next_of(stream)).changes
        assert dict(zip(columns, change.values, strict=True))["annotation"] is None


async def test_with_whole_old_rows_nothing_is_left_out(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    await writer.write([put(desired_lrp(annotation=LARGE))])
    await postgres.execute("ALTER TABLE desired_lrps REPLICA IDENTITY FULL")

    async with follow_changes(dsn) as stream:
        await postgres.execute("UPDATE desired_lrps SET instances = 7")
        [change] = (await next_of(stream)).changes
        await postgres.execute("DELETE FROM desired_lrps")
        deleted = await next_of(stream)

    assert UNCHANGED not in change.values
    assert LARGE in change.values
    assert deleted.changes == [Delete(DesiredLRP, ("p",))]


async def test_a_truncated_table_is_cleared(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    await writer.write([put(record) for record in RECORDS])

    async with follow_changes(dsn) as stream:
        await postgres.execute("TRUNCATE tasks, domains, configurations")
        transaction = await next_of(stream)

    assert set(transaction.changes) == {Clear(Task), Clear(Domain)}


async def test_a_column_of_a_later_version_is_left_out(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follow_changes(dsn) as stream:
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        await next_of(stream)
        await postgres.execute("ALTER TABLE domains ADD COLUMN novel text DEFAULT 'x'")
        await postgres.execute("ALTER TABLE domains ALTER COLUMN expire_time TYPE integer")
        await postgres.execute("INSERT INTO domains VALUES ('b', 2, 'y')")
        transaction = await next_of(stream)

    assert transaction.changes == [Put(Domain, ("b", 2))]


LOSSES = {
    "column dropped": (["ALTER TABLE domains DROP COLUMN expire_time"], "domains"),
    "column renamed": (["ALTER TABLE domains RENAME expire_time TO e"], "domains"),
    "column of another type": (["ALTER TABLE domains ALTER expire_time TYPE text"], "expire_time"),
    "table renamed": (["ALTER TABLE domains RENAME TO others"], "domains"),
    "table made anew": (
        [
            "CREATE TABLE new (LIKE domains INCLUDING ALL)",
            "DROP TABLE domains",
            "ALTER TABLE new RENAME TO domains",
            "ALTER PUBLICATION bbs ADD TABLE domains",
        ],
        "made anew|not those that they were",
    ),
    "replica identity gone": (
        ["ALTER TABLE domains REPLICA IDENTITY NOTHING"],
        "replica identity",
    ),
    "publication dropped": (["DROP PUBLICATION bbs"], "publication"),
    "publication without the table": (["ALTER PUBLICATION bbs DROP TABLE domains"], "publication"),
    "publication of less": (["ALTER PUBLICATION bbs SET (publish = 'insert')"], "publication"),
    "sender ended": (["SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"], "terminat"),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_a_stream_cannot_go_on_after_ends_it(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend, loss: str
) -> None:
    statements, says = LOSSES[loss]

    with pytest.raises((StreamLost, BackendUnavailable), match=says):  # noqa: PT012 - wherever it is noticed
        async with follow_changes(dsn, survey_s=0.2) as stream:
            await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
            await next_of(stream)
            for statement in statements:
                await postgres.execute(statement)
            await postgres.execute("INSERT INTO tasks (guid, domain, task_definition) VALUES ('t', 'd', '')")
            if "renamed" not in loss and "dropped" not in loss:
                await postgres.execute("INSERT INTO domains (domain) VALUES ('b')")
            with trio.fail_after(WITHIN_S):
                async for _ in stream:
                    pass

    await no_slot_is_left(postgres)


async def test_after_its_end_a_stream_says_so_again(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follow_changes(dsn) as stream:
        with trio.move_on_after(0.05) as scope:
            await anext(stream)
        assert scope.cancelled_caught
        await no_slot_is_left(postgres)

        for _ in range(2):
            with pytest.raises(StreamLost, match="broken off"):
                await anext(stream)


async def test_a_busy_consumer_does_not_lose_its_session(
    database_url: str, dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    name = await postgres.fetchval("SELECT current_database()")
    await postgres.execute(f"ALTER DATABASE {name} SET wal_sender_timeout = '400ms'")
    large = (
        "INSERT INTO tasks (guid, domain, result, task_definition)"
        " SELECT 't' || n, 'd', repeat('x', 1900), '' FROM generate_series(1, 3000) AS n"
    )

    async with follow_changes(dsn) as stream:
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        await next_of(stream)
        began = await postgres.fetchval("SELECT now()")
        # More than the socket holds, so that the server has to wait for us to read.
        await postgres.execute(large)

        async def has_outlived_it() -> bool:
            replies = "SELECT reply_time - $1::timestamptz > interval '1.5 s' FROM pg_stat_replication"
            return bool(await postgres.fetchval(replies, began))

        await wait_until(has_outlived_it, within_s=WITHIN_S, what="several timeouts have passed")
        rows = 0
        while rows < 3_000:
            rows += len((await next_of(stream)).changes)


async def test_a_quiet_stream_is_kept_alive(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    name = await postgres.fetchval("SELECT current_database()")
    await postgres.execute(f"ALTER DATABASE {name} SET wal_sender_timeout = '400ms'")

    async with follow_changes(dsn) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(next_of, stream)
        began = await postgres.fetchval("SELECT now()")

        async def has_outlived_it() -> bool:
            replies = "SELECT reply_time - $1::timestamptz > interval '1.5 s' FROM pg_stat_replication"
            return bool(await postgres.fetchval(replies, began))

        await wait_until(has_outlived_it, within_s=WITHIN_S, what="several timeouts have passed")
        assert await slots(postgres) == 1
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")


async def test_a_consumer_that_does_not_come_back_lets_the_log_go(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follow_changes(dsn, busy_max_s=0.2) as stream:
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        await next_of(stream)
        await no_slot_is_left(postgres)

        with pytest.raises(StreamLost, match=r"nobody has asked for the next transaction for 0\.2 s"):
            await anext(stream)

    async with follow_changes(dsn, load_max_s=0.2) as stream:
        await no_slot_is_left(postgres)
        with pytest.raises(StreamLost, match="nobody"):
            await anext(stream)


async def test_what_has_come_is_confirmed(dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend) -> None:
    """Also what other tables wrote, so that a quiet follower does not keep the log."""
    name = await postgres.fetchval("SELECT current_database()")
    await postgres.execute(f"ALTER DATABASE {name} SET wal_sender_timeout = '400ms'")

    async with follow_changes(dsn) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(next_of, stream)
        await postgres.execute("CREATE TABLE other AS SELECT * FROM generate_series(1, 1000)")
        end = await end_of_log(postgres)

        async def is_confirmed() -> bool:
            confirmed = "SELECT confirmed_flush_lsn - '0/0' >= $1 FROM pg_replication_slots"
            return bool(await postgres.fetchval(confirmed, end))

        await wait_until(is_confirmed, within_s=WITHIN_S, what="the slot has moved on")
        assert stream.position >= end
        assert stream.progress().decoded >= end
        nursery.cancel_scope.cancel()


async def test_how_far_behind_it_is(dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend) -> None:
    async with follow_changes(dsn, look_s=0.1) as stream:
        await postgres.execute("INSERT INTO domains SELECT 'd' || n, n FROM generate_series(1, 5000) AS n")
        end = await end_for_a_copy(postgres)
        await wait_until(
            lambda: stream.progress().written >= end, within_s=WITHIN_S, what="it was looked at again"
        )
        behind = stream.progress().behind_bytes
        await Copy({}).follow(stream, until=end)

        assert behind > 5000
        assert stream.progress().behind_bytes < behind


async def test_cancelled_at_any_step_it_leaves_nothing_behind(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async def follow_for_a_moment() -> None:
        async with follow_changes(dsn) as stream:
            with trio.move_on_after(0.02):
                await anext(stream)

    steps = await at_every_step(lambda step: cancelled_at(step, follow_for_a_moment))
    assert steps > 30

    async def are_gone() -> bool:
        sessions = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'bbs-changes'"
        return bool(await postgres.fetchval(sessions))

    await wait_until(are_gone, within_s=WITHIN_S, what="all sessions have ended")
    await no_slot_is_left(postgres)
    async with follow_changes(dsn) as stream:
        await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
        assert (await next_of(stream)).changes == [Put(Domain, ("a", 1))]


FOLLOWER = """
import sys, trio
from bbs.store.changes import follow_changes
from bbs.store.dsn import parse_dsn

async def main():
    async with follow_changes(parse_dsn(sys.argv[1], {})) as stream:
        print("following", flush=True)
        async for transaction in stream:
            print(len(transaction.changes), flush=True)

trio.run(main)
"""


async def test_a_killed_follower_leaves_nothing_behind(
    database_url: str, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", FOLLOWER, database_url], stdout=subprocess.PIPE
    )
    stdout, so_far = process.stdout, bytearray()
    assert stdout is not None

    async def said(expected: bytes) -> None:
        while len(so_far) < len(expected):
            so_far.extend(await stdout.receive_some() or b"(the end)")
        assert so_far == expected

    try:
        with trio.fail_after(WITHIN_S):
            await said(b"following\n")
            await postgres.execute("INSERT INTO domains VALUES ('a', 1)")
            await said(b"following\n1\n")
        assert await slots(postgres) == 1
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()

    await no_slot_is_left(postgres)
