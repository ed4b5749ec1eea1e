"""The contract of backends, on the real one and on the fake."""

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from bbs.models.actual_lrp import (
    ActualLRP,
    Presence,
)
from bbs.models.domain import Domain
from bbs.models.outcome import Record, delete, put
from bbs.models.task import Task, TaskState
from bbs.store.backend import Seen, WriterLockLost
from bbs.store.codecs import CODECS
from bbs.store.unseen import PAGE_ROWS, SLICE_ROWS
from tests.records import actual_lrp, desired_lrp, task
from tests.store.worlds import RECORDS, RUNNING, by_key, load, write_until_done


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

    slices = [rows async for rows in writer.load(Seen())]

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
    codec = CODECS[type(record)]
    (dropped,) = world.dropped
    assert (dropped.table, dropped.key, dropped.deleted) == (
        codec.table,
        codec.key_values(record.key),
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
    former = await world.open_writer()
    await world.break_connection(former)
    await world.open_writer()

    with pytest.raises(WriterLockLost):
        await write_until_done(former, [put(actual_lrp())])

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


async def test_a_session_that_somebody_ends_is_noticed_at_once(world: Any) -> None:
    writer = await world.open_writer()
    lost = trio.Event()
    writer.watch_session(lost.set)

    await world.break_connection(writer)
    with trio.fail_after(5):
        await lost.wait()

    await writer.hold()
    await writer.write([put(actual_lrp())])


async def test_holding_on_to_a_lock_that_somebody_else_has_had_fails(world: Any) -> None:
    former = await world.open_writer()
    await world.break_connection(former)
    await world.open_writer()

    with pytest.raises(WriterLockLost):
        await former.hold()


async def test_a_session_that_we_close_is_not_lost(world: Any) -> None:
    writer = await world.open_writer()
    lost = trio.Event()
    writer.watch_session(lost.set)

    await writer.aclose()
    await trio.testing.wait_all_tasks_blocked(0.05)

    assert not lost.is_set()


async def test_rows_are_read_back_by_their_keys(world: Any) -> None:
    writer = await world.open_writer()
    await writer.write([put(record) for record in RECORDS])
    absent = [delete(record).key for record in (actual_lrp("absent"), desired_lrp("absent"), task("absent"))]

    found = await writer.read([*(put(record).key for record in RECORDS), *absent])

    assert by_key([row.record for row in found.rows if row.record is not None]) == by_key(RECORDS)
    assert [row.key for row in found.rows if row.record is None] == absent
    assert found.left_out == []


async def test_transactions_are_numbered_in_their_order(world: Any) -> None:
    writer = await world.open_writer()

    numbers = [await writer.write([put(actual_lrp(crash_count=count))]) for count in range(3)]

    assert numbers == sorted(set(numbers))


async def test_a_new_master_takes_the_lock_from_whoever_holds_it(world: Any) -> None:
    former, new = await world.open_writer(), world.open()
    await former.write([put(actual_lrp())])

    with trio.fail_after(30):
        await new.take_writer_lock()

    assert await load(new) == [actual_lrp()]
    with pytest.raises(WriterLockLost):
        await write_until_done(former, [put(actual_lrp("late"))])
    await new.write([put(actual_lrp("next"))])
    assert by_key(await load(new)) == by_key([actual_lrp(), actual_lrp("next")])


async def test_who_is_fenced_writes_nothing_and_says_why(world: Any) -> None:
    former = await world.open_writer()
    former.fence("this process is not master")

    for call in (former.write([put(actual_lrp())]), former.hold(), former.acquire_writer_lock()):
        with pytest.raises(WriterLockLost, match="not master"):
            await call
    assert await load(await world.open_writer()) == []
