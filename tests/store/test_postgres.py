"""The contract of backends, on the real one and on the fake, and what only a real Postgres can do to us."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trio
import trio.testing
import trio_asyncio
from trio_asyncio import aio_as_trio

from bbs.models.actual_lrp import (
    ActualLRP,
    ActualLRPKey,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.domain import Domain
from bbs.models.errors import InvalidRequest, UnknownError, Unrecoverable
from bbs.models.outcome import Record, Row, RowKey, delete, put
from bbs.models.task import Task, TaskState
from bbs.store.backend import Backend, BackendUnavailable, BatchRefused, DroppedRow, WriterLockLost
from bbs.store.codec import TABLES
from bbs.store.crypto import Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.memory_backend import Disk, Fault, Faults, MemoryBackend, Outage
from bbs.store.postgres import PAGE_ROWS, SLICE_ROWS, WRITER_TOKEN_ID, PostgresBackend
from bbs.store.schema import SchemaError
from tests.records import actual_lrp, desired_lrp, task

KEYRING = Keyring({"label": "key"}, "label")
RUNNING = actual_lrp(
    "running",
    7,
    Presence.SUSPECT,
    state=ActualLRPState.RUNNING,
    instance=InstanceKey(instance_guid="i", cell_id="c"),
    net_info=b"\x0a\x01a",
    internal_routes=("é.apps.internal",),
    metric_tags=(("k", "v"),),
    routable=True,
    availability_zone="z1",
    crash_count=3,
    crash_reason="oom",
    placement_error="none",
    since_ns=2**62,
    tag=ModificationTag(epoch="epoch", index=9),
)
RECORDS: list[Record] = [
    actual_lrp(),
    actual_lrp("null", internal_routes=None, metric_tags=None),
    RUNNING,
    desired_lrp(annotation="two\nlines", PlacementTags=["a", 'b"c'], ports=[1, 2]),
    Domain(name="cf-apps", expire_time_ns=2**63 - 1),
    task(state=TaskState.Completed, result="r\n" * 2000, failed=True, failure_reason="é", cell_id="c"),
    task("unreadable", definition=b"", unreadable="02!", rejection_count=2, rejection_reason="no"),
]


class World:
    """What backends share, and how to break it. ``open`` gives another process' backend."""

    def __init__(self, open_backend: Callable[..., Any]) -> None:
        self._open = open_backend
        self._opened: list[Backend] = []
        self.dropped: list[DroppedRow] = []

    def open(self, keyring: Keyring = KEYRING, **settings: Any) -> Any:
        backend = self._open(keyring, on_dropped=self.dropped.append, lock_poll_s=0.02, **settings)
        self._opened.append(backend)
        return backend

    async def open_writer(self, keyring: Keyring = KEYRING, **settings: Any) -> Any:
        backend = self.open(keyring, **settings)
        await backend.acquire_writer_lock()
        return backend

    async def close(self) -> None:
        for backend in self._opened:
            await backend.aclose()

    async def break_connection(self, backend: Any) -> None:
        raise NotImplementedError

    async def spoil(self, record: Record, **columns: Any) -> None:
        raise NotImplementedError

    async def count(self, record_class: type[Record]) -> int:
        raise NotImplementedError


class PostgresWorld(World):
    def __init__(self, database_url: str, connection: "asyncpg.Connection[Any]") -> None:
        dsn = parse_dsn(database_url)
        super().__init__(lambda keyring, **settings: PostgresBackend(dsn, keyring, **settings))
        self.execute: Callable[..., Awaitable[str]] = aio_as_trio(connection.execute)
        self.fetchval: Callable[..., Awaitable[Any]] = aio_as_trio(connection.fetchval)

    async def break_connection(self, backend: Any) -> None:
        pid = backend._connection.get_server_pid()
        await self.execute("SELECT pg_terminate_backend($1)", pid)
        # Postgres has no event for it.
        while await self.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):  # noqa: ASYNC110
            await trio.sleep(0.005)

    async def spoil(self, record: Record, **columns: Any) -> None:
        table = TABLES[type(record)]
        for name, value in columns.items():
            values = table.key_values(record.key)
            matches = " AND ".join(f"{key.name} = ${i}" for i, key in enumerate(table.key, 2))
            await self.execute(f"UPDATE {table.name} SET {name} = $1 WHERE {matches}", value, *values)

    async def count(self, record_class: type[Record]) -> int:
        count: int = await self.fetchval(f"SELECT count(*) FROM {TABLES[record_class].name}")
        return count


class MemoryWorld(World):
    def __init__(self) -> None:
        self.disk = Disk()
        super().__init__(lambda keyring, **settings: MemoryBackend(self.disk, keyring, **settings))

    async def break_connection(self, backend: Any) -> None:
        backend.lose_session()

    async def spoil(self, record: Record, **columns: Any) -> None:
        table = TABLES[type(record)]
        rows, key = self.disk.rows[table.name], table.key_values(record.key)
        names = [column.name for column in table.columns]
        rows[key] = tuple((dict(zip(names, rows[key], strict=True)) | columns).values())

    async def count(self, record_class: type[Record]) -> int:
        return len(self.disk.rows[TABLES[record_class].name])


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[PostgresWorld]:
    async with trio_asyncio.open_loop():
        connection = await aio_as_trio(asyncpg.connect)(database_url)
        world = PostgresWorld(database_url, connection)
        yield world
        await world.close()
        await aio_as_trio(connection.close)()


@pytest.fixture
async def memory() -> AsyncIterator[MemoryWorld]:
    world = MemoryWorld()
    yield world
    await world.close()


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


async def load(backend: Backend) -> list[Record]:
    records = []
    async for rows in backend.load():
        for row in rows:
            assert row.record is not None
            assert row == put(row.record)
            records.append(row.record)
    return records


def by_key(records: Iterable[Record]) -> dict[RowKey, Record]:
    return {put(record).key: record for record in records}


# The contract.


async def test_a_fresh_database_is_empty(world: Any) -> None:
    assert await load(await world.open_writer()) == []


async def test_what_is_written_is_loaded_by_the_next_process(world: Any) -> None:
    writer = await world.open_writer()
    await writer.write([put(record) for record in RECORDS])
    await writer.aclose()

    loaded = await load(await world.open_writer())

    assert by_key(loaded) == by_key(RECORDS)
    assert len(loaded) == len(RECORDS)
    assert world.dropped == []


async def test_a_batch_puts_replaces_and_deletes_at_once(world: Any) -> None:
    writer = await world.open_writer()
    stays, changes, goes = actual_lrp("a"), actual_lrp("b"), actual_lrp("c")
    await writer.write(
        [put(stays), put(changes), put(goes), put(desired_lrp("d")), put(Domain(name="d", expire_time_ns=1))]
    )
    changed = replace(RUNNING, process_guid="b", index=0, presence=Presence.ORDINARY)

    await writer.write(
        [
            put(changed),
            delete(goes),
            put(actual_lrp("e")),
            delete(desired_lrp("d")),
            delete(Domain(name="d", expire_time_ns=9)),
        ]
    )

    assert by_key(await load(writer)) == by_key([stays, changed, actual_lrp("e")])


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
async def test_every_column_is_replaced(world: Any, record: Any) -> None:
    others: dict[type[Record], Record] = {
        ActualLRP: replace(RUNNING, process_guid="x", index=0, presence=Presence.ORDINARY),
        Domain: Domain(name="x", expire_time_ns=5),
        Task: task("x", TaskState.Running, domain="e", updated_at_ns=7, rejection_count=9),
    }
    other = others.get(type(record), desired_lrp("x"))
    names = {Domain: "name", Task: "task_guid"}
    key: dict[str, Any] = {names.get(type(record), "process_guid"): "x"}
    if isinstance(record, ActualLRP):
        key |= {"index": 0, "presence": Presence.ORDINARY}
    after = replace(record, **key)
    writer = await world.open_writer()

    await writer.write([put(other)])
    await writer.write([put(after)])

    assert await load(writer) == [after]


async def test_the_presences_of_one_instance_are_rows_of_their_own(world: Any) -> None:
    writer = await world.open_writer()
    rows = [actual_lrp(presence=presence) for presence in Presence]
    await writer.write([put(row) for row in rows])

    await writer.write([delete(rows[Presence.EVACUATING])])

    assert by_key(await load(writer)) == by_key([rows[Presence.ORDINARY], rows[Presence.SUSPECT]])


async def test_deleting_what_is_not_there_and_writing_twice_are_fine(world: Any) -> None:
    writer = await world.open_writer()
    batch = [put(actual_lrp("a")), delete(actual_lrp("b")), delete(desired_lrp("c"))]

    await writer.write(batch)
    await writer.write(batch)
    await writer.write([])

    assert await load(writer) == [actual_lrp("a")]


async def test_many_rows_are_loaded_in_slices(world: Any) -> None:
    writer = await world.open_writer()
    records = [actual_lrp(f"p{i % 3}", i) for i in range(PAGE_ROWS + 2 * SLICE_ROWS + 1)]
    await writer.write([put(record) for record in records])

    slices = [rows async for rows in writer.load()]

    assert by_key(row.record for rows in slices for row in rows) == by_key(records)
    assert max(map(len, slices)) <= SLICE_ROWS


@pytest.mark.parametrize(
    ("record", "columns", "deleted"),
    [
        pytest.param(actual_lrp(), {"net_info": "02!"}, True, id="actual row"),
        pytest.param(desired_lrp(), {"run_info": "02!"}, True, id="run info"),
        pytest.param(desired_lrp(), {"routes": ""}, False, id="routes"),
        pytest.param(desired_lrp(), {"placement_tags": "["}, False, id="placement tags"),
    ],
)
async def test_rows_that_cannot_be_read_are_dropped_and_reported(
    world: Any, record: Any, columns: dict[str, Any], deleted: bool
) -> None:
    writer = await world.open_writer()
    good = replace(record, process_guid="good")
    await writer.write([put(record), put(good)])
    await world.spoil(record, **columns)

    assert await load(writer) == [good]
    assert await world.count(type(record)) == (1 if deleted else 2)
    table = TABLES[type(record)]
    (dropped,) = world.dropped
    assert (dropped.table, dropped.key, dropped.deleted) == (
        table.name,
        table.key_values(record.key),
        deleted,
    )
    assert dropped.reason.startswith(f"{next(iter(columns))}: ")


async def test_a_second_process_waits_for_the_lock(world: Any) -> None:
    writer = await world.open_writer()
    async with trio.open_nursery() as nursery:
        standby, took_over = world.open(), trio.Event()

        async def take_over() -> None:
            await standby.acquire_writer_lock()
            took_over.set()

        nursery.start_soon(take_over)
        with trio.move_on_after(0.1):
            await took_over.wait()
        assert not took_over.is_set()

        await writer.write([put(actual_lrp())])
        await writer.aclose()
        await took_over.wait()

    assert await load(standby) == [actual_lrp()]


async def test_waiting_for_the_lock_can_be_cancelled_and_begun_again(world: Any) -> None:
    writer, standby = await world.open_writer(), world.open()
    with trio.move_on_after(0.05) as patience:
        await standby.acquire_writer_lock()
    assert patience.cancelled_caught

    await writer.aclose()
    await standby.acquire_writer_lock()

    await standby.write([put(actual_lrp())])


async def test_a_writer_that_lost_its_connection_takes_the_lock_again(world: Any) -> None:
    writer = await world.open_writer()
    await writer.write([put(actual_lrp("a"))])
    await world.break_connection(writer)

    with trio.fail_after(5):
        await write_until_done(writer, [put(actual_lrp("b"))])

    assert by_key(await load(writer)) == by_key([actual_lrp("a"), actual_lrp("b")])


async def test_a_writer_without_its_lock_cannot_write_while_another_has_it(world: Any) -> None:
    former = await world.open_writer(**({"lock_wait_s": 0.05} if isinstance(world, PostgresWorld) else {}))
    await world.break_connection(former)
    await world.open_writer()

    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await former.write([put(actual_lrp())])

    assert await world.count(ActualLRP) == 0


async def test_a_writer_learns_that_another_was_master_meanwhile(world: Any) -> None:
    former = await world.open_writer()
    await world.break_connection(former)
    other = await world.open_writer()
    await other.write([put(actual_lrp("other"))])
    await other.aclose()

    with pytest.raises(WriterLockLost):
        await write_until_done(former, [put(actual_lrp("former"))])
    with pytest.raises(WriterLockLost):
        await former.write([put(actual_lrp("former"))])
    with pytest.raises(WriterLockLost):
        await load(former)

    assert await load(await world.open_writer()) == [actual_lrp("other")]


async def test_a_closed_backend_stays_closed(world: Any) -> None:
    writer = await world.open_writer()

    await writer.aclose()
    await writer.aclose()

    with pytest.raises(trio.ClosedResourceError):
        await writer.write([put(actual_lrp())])


async def write_until_done(backend: Backend, rows: list[Row]) -> None:
    while True:
        try:
            await backend.write(rows)
        except BackendUnavailable:
            continue
        return


# Postgres alone.


async def test_a_batch_that_is_refused_writes_nothing(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()

    with pytest.raises(BatchRefused) as refused:
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

    with pytest.raises(BatchRefused) as refused:
        await writer.write([put(record)])

    assert isinstance(refused.value.error, UnknownError)
    assert text is None or str(refused.value.error) == text
    await writer.write([put(actual_lrp())])
    assert writer.statistics().connects == 1


async def test_a_missing_table_cannot_be_recovered_from(postgres: PostgresWorld) -> None:
    writer = await postgres.open_writer()
    await postgres.execute("DROP TABLE actual_lrps")

    with pytest.raises(BatchRefused) as refused:
        await writer.write([put(actual_lrp())])

    assert isinstance(refused.value.error, Unrecoverable)
    assert str(refused.value.error) == (
        'Unrecoverable Error: ERROR: relation "actual_lrps" does not exist (SQLSTATE 42P01)'
    )
    with pytest.raises(BatchRefused, match="42P01"):
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

    assert await new.end_writer_session()
    with trio.fail_after(5):
        await new.acquire_writer_lock()

    assert not await new.end_writer_session()
    assert await load(new) == [actual_lrp()]


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

    assert await load(await postgres.open_writer(Keyring({"new": "2"}, "new"))) == []

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


# The fake alone.


@pytest.mark.parametrize(("fault", "written"), [(Fault.LOST_BEFORE, False), (Fault.LOST_AFTER, True)])
async def test_a_lost_connection_hides_whether_it_wrote(
    memory: MemoryWorld, fault: Fault, written: bool
) -> None:
    writer = await memory.open_writer(faults=Faults(next_writes=deque([fault])))

    with pytest.raises(BackendUnavailable):
        await writer.write([put(actual_lrp())])

    assert await memory.count(ActualLRP) == written
    await writer.write([put(actual_lrp())])
    assert await load(writer) == [actual_lrp()]


async def test_a_fault_can_be_a_refusal_or_nothing(memory: MemoryWorld) -> None:
    faults = Faults(next_writes=deque([Fault.NONE, Fault.REFUSED]), refusal=InvalidRequest)
    writer = await memory.open_writer(faults=faults)
    await writer.write([put(actual_lrp("a"))])

    with pytest.raises(BatchRefused) as refused:
        await writer.write([put(actual_lrp("b"))])

    assert isinstance(refused.value.error, InvalidRequest)
    assert await load(writer) == [actual_lrp("a")]


async def test_writes_take_their_time_and_outages_end(
    memory: MemoryWorld, autojump_clock: trio.testing.MockClock
) -> None:
    began_s = trio.current_time()
    faults = Faults(write_s=2.0, outages=[Outage(began_s + 3, began_s + 10)])
    writer = await memory.open_writer(faults=faults)
    await writer.write([put(actual_lrp("a"))])
    assert trio.current_time() == began_s + 2

    with pytest.raises(BackendUnavailable):
        await writer.write([put(actual_lrp("b"))])
    await trio.sleep_until(began_s + 9)
    await writer.write([put(actual_lrp("c"))])

    assert by_key(await load(writer)).keys() == {
        RowKey(ActualLRP, ActualLRPKey(guid, 0, Presence.ORDINARY)) for guid in ("a", "c")
    }


async def test_rows_lie_sealed_on_the_fakes_disk(memory: MemoryWorld) -> None:
    writer = await memory.open_writer()
    await writer.write([put(RUNNING)])

    assert b"apps.internal" not in repr(memory.disk.rows).encode()
