"""What a stream brings makes the same rows in memory as a load would, also where only a part of a row came."""

import random
from dataclasses import replace

import pytest
import trio

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record, Row, RowKey, delete, put
from bbs.models.task import Task, TaskState
from bbs.store.changes import UNCHANGED, Change, Clear, Decoded, Delete, Put, decode_changes, follow_changes
from bbs.store.codecs import CODECS
from bbs.store.crypto import Keyring
from bbs.store.dsn import DSN
from bbs.store.postgres import PostgresBackend
from bbs.store.tables import Tables
from tests.records import actual_lrp, desired_lrp, task
from tests.store.changes.follower import WITHIN_S, all_records, all_rows, decoded_all, end_of_log, loaded
from tests.store.worlds import KEYRING, RUNNING, PostgresWorld, by_key

LARGE = "".join(random.Random(1).choices("0123456789abcdef", k=20_000))  # not to be compressed away


def holding(*records: Record) -> Tables:
    tables = Tables()
    tables.apply(map(put, records))
    return tables


def sent(record: Record, **changed: object) -> Put:
    """All columns of it, but for those said otherwise."""
    codec = CODECS[type(record)]
    values = dict(zip([column.name for column in codec.columns], codec.encode(record, KEYRING), strict=True))
    assert changed.keys() <= values.keys()
    return Put(type(record), tuple((values | changed).values()))


async def rows_of(tables: Tables, *changes: Change) -> list[Row]:
    decoded = await decode_changes(changes, tables, KEYRING)
    assert (decoded.undecodable, decoded.to_read) == ([], [])
    return decoded.rows


async def test_puts_and_deletes_become_rows() -> None:
    lrp = desired_lrp()

    assert await rows_of(
        Tables(), sent(RUNNING), sent(lrp), Delete(DesiredLRP, ("p",)), Delete(Task, ("t",))
    ) == [
        put(RUNNING),
        put(lrp),
        delete(lrp),
    ]


@pytest.mark.parametrize(
    "record",
    [
        RUNNING,
        actual_lrp(internal_routes=None, metric_tags=None),
        desired_lrp(annotation="two\nlines", PlacementTags=["a"], ports=[1, 2]),
        Domain(name="d", expire_time_ns=5),
        task(state=TaskState.Completed, result="r", failed=True),
        task("unreadable", definition=b"", unreadable="02!"),
    ],
)
async def test_each_column_may_be_one_that_was_not_sent(record: Record) -> None:
    codec = CODECS[type(record)]
    for column in codec.columns[codec.key_columns :]:
        change = sent(record, **{column.name: UNCHANGED})

        assert await rows_of(holding(record), change) == [put(record)], column.name


async def test_what_was_not_sent_is_taken_from_the_row_as_the_changes_before_left_it() -> None:
    before = desired_lrp(annotation="old")
    after = replace(before, annotation="new", instances=3)

    assert await rows_of(
        holding(before),
        sent(replace(before, annotation="new")),
        sent(before, annotation=UNCHANGED, instances=3),
        sent(before, annotation=UNCHANGED, instances=3, process_guid="q")._replace(moved_from=("p",)),
        Delete(DesiredLRP, ("p",)),
    ) == [
        put(replace(before, annotation="new")),
        put(after),
        put(replace(after, process_guid="q")),
        delete(before),
    ]


async def test_a_cleared_table_loses_all_its_rows_and_no_others() -> None:
    a, b, lrp = Domain(name="a", expire_time_ns=1), Domain(name="b", expire_time_ns=1), desired_lrp()
    tables = holding(a, lrp)

    tables.apply(await rows_of(tables, sent(b), Clear(Domain), sent(b)))

    assert by_key(all_records(tables)) == by_key([b, lrp])


async def test_what_cannot_be_read_goes_from_memory() -> None:
    spoilt = sent(RUNNING, net_info="02AAAA")
    strange = sent(RUNNING, presence=7)

    decoded = await decode_changes(
        [spoilt, strange, Delete(ActualLRP, ("p", 0, 7))], holding(RUNNING), KEYRING
    )

    assert decoded.rows == [delete(RUNNING)]
    assert [error.key for error in decoded.undecodable] == [RUNNING.key, ("running", 7, 7)]
    assert decoded.to_read == []


async def test_a_part_of_a_row_that_memory_does_not_have_is_to_be_read() -> None:
    change = sent(desired_lrp(), annotation=UNCHANGED)

    assert await decode_changes([change], Tables(), KEYRING) == Decoded(to_read=[RowKey(DesiredLRP, "p")])
    spoilt = sent(desired_lrp(), run_info="02AAAA")
    decoded = await decode_changes([spoilt, change], holding(desired_lrp()), KEYRING)
    assert (decoded.rows, decoded.to_read) == ([delete(desired_lrp())], [RowKey(DesiredLRP, "p")])


async def test_others_get_turns() -> None:
    changes = [sent(Domain(name=f"d{number}", expire_time_ns=1)) for number in range(1000)]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await decode_changes(changes, Tables(), KEYRING)
        nursery.cancel_scope.cancel()
    assert turns > 10


@pytest.mark.postgres
async def test_a_follower_in_memory_has_what_the_database_has(
    dsn: DSN, database_url: str, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    """Large values are stored apart and sealed; what upstream's server writes in place of ours are single columns."""
    keyring = Keyring({"label": "key", "old": "older"}, "label")
    lrp = desired_lrp("large", annotation=LARGE)
    lrp = replace(lrp, routes=((("cf-router", ('[{"hostnames":["' + LARGE + '"]}]').encode()),)))
    large_net_info = replace(RUNNING, crash_reason=LARGE[:1000], placement_error=LARGE[1000:2000])
    await writer.write(
        [put(lrp), put(desired_lrp("small")), put(large_net_info), put(task("t", result=LARGE))]
    )

    async with follow_changes(dsn) as stream:
        tables = Tables()
        stored = await loaded(database_url, stream.start.snapshot)
        tables.apply(
            put(CODECS[record_class].decode(row, keyring)) for (record_class, _), row in stored.items()
        )
        statements = [
            "UPDATE desired_lrps SET instances = 9, modification_tag_index = 1",
            "UPDATE actual_lrps SET presence = 0, since = 5",
            "UPDATE tasks SET state = 2, cell_id = 'c'",
            "UPDATE desired_lrps SET annotation = 'short' WHERE process_guid = 'large'",
            "BEGIN; UPDATE desired_lrps SET process_guid = 'moved' WHERE process_guid = 'large';"
            " UPDATE desired_lrps SET memory_mb = 5; COMMIT",
        ]
        unchanged = 0
        for statement in statements:
            await postgres.execute(statement)
            with trio.fail_after(WITHIN_S):
                transaction = await anext(stream)
            unchanged += sum(
                UNCHANGED in change.values for change in transaction.changes if isinstance(change, Put)
            )
            decoded = await decode_changes(transaction.changes, tables, keyring)
            assert (decoded.undecodable, decoded.to_read) == ([], [])
            tables.apply(decoded.rows)

            rows = await all_rows(postgres.fetch)
            assert by_key(all_records(tables)) == by_key(decoded_all(rows, keyring)), statement
        assert stream.position <= await end_of_log(postgres)

    assert unchanged >= 6
    assert tables.desired_lrps.rows["moved"].routes == lrp.routes
    assert ActualLRPKey("running", 7, Presence.ORDINARY) in tables.actual_lrps.rows
