"""What only a real MySQL can do to us, on MariaDB."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.models.domain import Domain
from bbs.models.errors import InvalidRequest, ResourceExists, UnknownError, Unrecoverable
from bbs.models.outcome import Record, Row, RowKey, delete, put
from bbs.store.backend import BackendUnavailable, Seen, StatementRejected, WriterLockLost
from bbs.store.crypto import Keyring
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.mysql.chunks import chunks
from bbs.store.mysql.dsn import parse_mysql_dsn
from bbs.store.mysql.session import Session
from bbs.store.mysql.statements import WRITER_TOKEN_ID
from bbs.store.schema import SchemaError
from perf.mariadb import MariaDB
from tests.records import actual_lrp, desired_lrp, task
from tests.store.worlds import KEYRING, RUNNING, MySQLWorld, load, write_until_done
from tests.waiting import wait_until

TOKEN = f"SELECT value FROM configurations WHERE id = '{WRITER_TOKEN_ID}'"


async def other_session(dsn: str) -> Session:
    session: Session = await aio_as_trio(Session.open)(parse_mysql_dsn(dsn), connect_s=5, statement_s=30)
    return session


async def test_a_batch_that_is_refused_writes_nothing(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()

    with pytest.raises(StatementRejected) as refused:
        await writer.write(
            [put(desired_lrp()), put(actual_lrp()), put(actual_lrp("x" * 256)), delete(actual_lrp("y"))]
        )

    assert isinstance(refused.value.error, InvalidRequest)
    assert await load(writer) == []
    assert writer.connects == 1


async def test_a_missing_table_cannot_be_recovered_from(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    await mysql.execute("DROP TABLE actual_lrps")

    with pytest.raises(StatementRejected) as refused:
        await writer.write([put(actual_lrp())])

    assert isinstance(refused.value.error, Unrecoverable)
    assert re.fullmatch(
        r"Unrecoverable Error: Error 1146 \(42S02\): Table '\w+\.actual_lrps' doesn't exist",
        str(refused.value.error),
    )


async def test_a_statement_that_hangs_is_given_up_and_nothing_is_written_twice(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer(statement_s=0.3)
    await mysql.execute("LOCK TABLES actual_lrps WRITE")

    with trio.fail_after(20), pytest.raises(BackendUnavailable):
        await writer.write([put(actual_lrp())])

    await mysql.execute("UNLOCK TABLES")
    await write_until_done(writer, [put(actual_lrp())])
    assert await load(writer) == [actual_lrp()]


async def test_a_cancelled_write_leaves_a_backend_that_works(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    await mysql.execute("LOCK TABLES actual_lrps WRITE")
    with trio.move_on_after(0.1) as patience:
        await writer.write([put(actual_lrp("cancelled"))])
    assert patience.cancelled_caught
    await mysql.execute("UNLOCK TABLES")

    await write_until_done(writer, [delete(actual_lrp("cancelled")), put(actual_lrp("later"))])

    assert await load(writer) == [actual_lrp("later")]


async def test_a_writer_ends_its_own_former_session_that_the_server_still_believes_in(
    mysql: MySQLWorld,
) -> None:
    writer = await mysql.open_writer()
    # As after a network that swallows packets: we know it is dead, the server does not.
    undead, writer._session = writer._session, None

    with trio.fail_after(20):
        await writer.write([put(actual_lrp())])

    there = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {undead.id}"
    assert await mysql.fetchval(there) == 0
    undead.terminate()


async def test_a_new_master_does_not_wait_for_the_former_one(mysql: MySQLWorld) -> None:
    former, new = await mysql.open_writer(), mysql.open()
    await former.write([put(actual_lrp())])

    with trio.fail_after(20):
        await new.take_writer_lock()

    assert await load(new) == [actual_lrp()]
    with pytest.raises(WriterLockLost):
        await write_until_done(former, [put(actual_lrp("late"))])
    assert await load(new) == [actual_lrp()]


async def test_a_transaction_of_the_former_master_is_over_before_the_new_one_loads(
    mysql: MySQLWorld, mysql_dsn: str
) -> None:
    """It has locked the token's row, and its process is stopped: its session is ended by the new master."""
    former = await mysql.open_writer()
    await aio_as_trio(former._session.run)(
        [
            "START TRANSACTION",
            f"UPDATE configurations SET value = CONCAT(value, '1') WHERE id = '{WRITER_TOKEN_ID}'",
            "INSERT INTO domains (domain, expire_time) VALUES ('half', 1)",
        ]
    )
    new = mysql.open()

    with trio.fail_after(60):
        await new.take_writer_lock()

    assert await load(new) == []
    with pytest.raises(WriterLockLost):
        await write_until_done(former, [put(actual_lrp("late"))])


async def test_a_batch_is_refused_by_the_token_alone(mysql: MySQLWorld) -> None:
    """No session is ended, and the named lock is still held: so it is behind a proxy to several servers."""
    former = await mysql.open_writer()
    await mysql.execute(f"UPDATE configurations SET value = 'other 5' WHERE id = '{WRITER_TOKEN_ID}'")

    with pytest.raises(WriterLockLost):
        await former.write([put(actual_lrp("late"))])

    assert await mysql.fetchval("SELECT COUNT(*) FROM actual_lrps") == 0
    assert await mysql.fetchval(TOKEN) == "other 5"


async def test_a_token_that_somebody_deleted_is_not_ours(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    await mysql.execute("DELETE FROM configurations")

    with pytest.raises(WriterLockLost):
        await writer.write([put(actual_lrp("late"))])

    assert await mysql.fetchval("SELECT COUNT(*) FROM actual_lrps") == 0


async def test_who_holds_the_row_decides_the_order(mysql: MySQLWorld, mysql_dsn: str) -> None:
    """A batch that begins while a new token is being written waits for it, and then finds it."""
    writer = await mysql.open_writer()
    await mysql.execute("START TRANSACTION")
    await mysql.execute(f"UPDATE configurations SET value = 'other 0' WHERE id = '{WRITER_TOKEN_ID}'")

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(WriterLockLost):
                await writer.write([put(actual_lrp("late"))])

        waits = (
            "SELECT COUNT(*) FROM information_schema.processlist"
            " WHERE info LIKE 'UPDATE configurations%' AND state = 'Updating'"
        )
        await wait_until(lambda: mysql.fetchval(waits), within_s=10, what="the batch waits for the row")
        await mysql.execute("COMMIT")

    assert await mysql.fetchval("SELECT COUNT(*) FROM actual_lrps") == 0


async def test_without_named_locks_nobody_can_wait_for_his_turn(
    mysql: MySQLWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(session: Session) -> None:
        return None

    monkeypatch.setattr("bbs.store.mysql.backend._try_lock", none)

    with pytest.raises(SchemaError, match="no GET_LOCK"):
        await mysql.open().acquire_writer_lock()

    new = mysql.open()
    await new.take_writer_lock()
    await new.write([put(actual_lrp())])
    assert await load(new) == [actual_lrp()]


async def test_the_label_is_stored_by_the_writer_only(mysql: MySQLWorld) -> None:
    former = await mysql.open_writer()
    assert await former.stored_key_label() == ""
    await former.record_key_label()
    assert await former.stored_key_label() == "label"

    await mysql.open().take_writer_lock()
    await mysql.execute("DELETE FROM configurations WHERE id = 'encryption_key_label'")

    with pytest.raises(WriterLockLost):
        await former.record_key_label()
    assert await mysql.fetchval("SELECT COUNT(*) FROM configurations WHERE id LIKE 'enc%'") == 0


async def test_a_database_that_cannot_be_reached_is_unavailable(mysql: MySQLWorld, tmp_path: Path) -> None:
    backend = MySQLBackend(
        parse_mysql_dsn(f"u@unix({tmp_path}/none)/d"), KEYRING, on_dropped=mysql.dropped.append
    )

    with pytest.raises(BackendUnavailable):
        await backend.acquire_writer_lock()

    await backend.aclose()


@pytest.mark.parametrize(
    ("database", "user", "words"),
    [
        ("nowhere", "root", r"Error 1049 \(42000\): Unknown database 'nowhere'"),
        ("", "nobody", r"Error (1045|1698) \(28000\): Access denied for user 'nobody'@.*"),
    ],
)  # fmt: skip
async def test_a_refused_log_in_is_unavailable_in_the_servers_words(
    mysql: MySQLWorld, mysql_dsn: str, database: str, user: str, words: str
) -> None:
    password = "" if user == "root" else "hush"
    dsn = replace(parse_mysql_dsn(mysql_dsn), database=database, user=user, password=password)
    backend = MySQLBackend(dsn, KEYRING, on_dropped=mysql.dropped.append)

    with pytest.raises(BackendUnavailable, match=f"^{words}$"):
        await backend.prepare()

    await backend.aclose()


async def test_a_schema_that_is_too_new_is_no_reason_to_try_again(mysql: MySQLWorld) -> None:
    await (await mysql.open_writer()).aclose()
    await mysql.execute(
        "UPDATE configurations SET value = '{\"CurrentVersion\":2000000000}' WHERE id = 'version'"
    )

    with pytest.raises(SchemaError, match=r"2000000000.*exceeds"):
        await mysql.open().acquire_writer_lock()


async def test_rows_of_a_key_that_is_gone_are_dropped(mysql: MySQLWorld) -> None:
    both = Keyring({"old": "a", "label": "key"}, "old")
    writer = await mysql.open_writer(both)
    await writer.write([put(RUNNING)])
    await writer.aclose()
    writer = await mysql.open_writer(Keyring({"old": "a", "label": "key"}, "label"))
    await writer.write([put(actual_lrp(f"{number}")) for number in range(3)])
    await writer.aclose()

    await load(await mysql.open_writer())

    (dropped,) = mysql.dropped
    assert dropped.deleted


async def test_a_text_of_any_kind_comes_back_as_it_was(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    texts = [
        "'",
        "\\",
        "\\'",
        "a'; DROP TABLE tasks; --",
        "é",
        "日",
        "😀",
        "\n\t\r",
        "%_",
        '"',
        "\x1a",
        " a ",
    ]
    records = [task(f"t{number}", failure_reason=text, domain=text) for number, text in enumerate(texts)]
    domains = [Domain(name=text, expire_time_ns=1) for text in texts]

    written: list[Record] = [*records, *domains]
    await writer.write([put(each) for each in written])

    found = await load(writer)
    assert sorted(map(repr, found)) == sorted(map(repr, written))
    await writer.write([delete(each) for each in domains])
    assert sorted(map(repr, await load(writer))) == sorted(map(repr, records))


@pytest.mark.parametrize(
    ("one", "other", "collations"),
    [
        ("Guid", "guid", ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb3_general_ci", "latin1_swedish_ci"]),
        ("guid", "guid ", ["utf8mb4_general_ci", "utf8mb4_bin", "latin1_swedish_ci"]),
        ("é", "e", ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "latin1_swedish_ci"]),
        ("😀", "🚀", ["utf8mb4_general_ci", "utf8mb4_unicode_ci"]),
    ],
)  # fmt: skip
async def test_two_keys_that_are_one_to_the_database_are_never_two_rows_in_memory(
    mysql: MySQLWorld, one: str, other: str, collations: list[str]
) -> None:
    for collation in collations:
        writer = await mysql.open_writer()
        charset = collation.partition("_")[0]
        await writer.aclose()
        for table in ("domains", "tasks", "desired_lrps", "actual_lrps"):
            await mysql.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET {charset} COLLATE {collation}")
        writer = await mysql.open_writer()
        first, second = Domain(name=one, expire_time_ns=1), Domain(name=other, expire_time_ns=2)
        await writer.write([put(first)])

        # The second is refused, whether the first is there already or comes with it.
        for together in ([put(second)], [put(replace(first, expire_time_ns=3)), put(second)]):
            with pytest.raises(StatementRejected) as refused:
                await writer.write(together)
            assert isinstance(refused.value.error, ResourceExists)
            assert await load(writer) == [first], collation

        # Nor does the removal of one, or a look at it, hit the other.
        await writer.write([delete(second)])
        back = await writer.read([RowKey(Domain, one), RowKey(Domain, other)])
        assert {row.key.key: row.record for row in back.rows} == {one: first, other: None}
        await writer.write([put(replace(first, expire_time_ns=5))])
        assert await load(writer) == [replace(first, expire_time_ns=5)]
        await writer.write([delete(first)])
        assert await load(writer) == []
        await writer.aclose()


async def test_new_tables_keep_apart_what_differs_in_a_byte(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    names = ["a", "A", "a ", "á", "e", "é", "😀", "🚀"]
    domains = [Domain(name=name, expire_time_ns=1) for name in names]

    await writer.write([put(domain) for domain in domains])

    assert sorted(domain.name for domain in await load(writer) if isinstance(domain, Domain)) == sorted(names)


async def test_a_character_that_a_foreign_table_cannot_hold_is_refused(mysql: MySQLWorld) -> None:
    await (await mysql.open_writer()).aclose()
    await mysql.execute("ALTER TABLE tasks CONVERT TO CHARACTER SET latin1")
    writer = await mysql.open_writer()

    with pytest.raises(StatementRejected) as refused:
        await writer.write([put(task(failure_reason="😀"))])

    assert isinstance(refused.value.error, UnknownError)
    assert str(refused.value.error).startswith("Error 1366 (22007): Incorrect string value")
    assert await load(writer) == []


async def test_a_batch_beyond_the_packet_limit_goes_over_in_parts_of_one_transaction(
    mysql: MySQLWorld, mariadb_server: MariaDB, mysql_dsn: str
) -> None:
    mariadb_server.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        writer = await mysql.open_writer()
        records = [task(f"t{number}", result="x" * 10_000) for number in range(300)]

        await writer.write([put(record) for record in records])

        assert len(await load(writer)) == 300
        with pytest.raises(StatementRejected) as refused:
            await writer.write([*(delete(record) for record in records), put(task("wide", domain="x" * 256))])
        assert isinstance(refused.value.error, InvalidRequest)
        assert len(await load(writer)) == 300

        with pytest.raises(StatementRejected, match="max_allowed_packet would have to be"):
            await writer.write([put(task("large", result="x" * 1_100_000))])
        assert len(await load(writer)) == 300
    finally:
        mariadb_server.execute("SET GLOBAL max_allowed_packet = 16777216")


@pytest.mark.parametrize(
    ("lengths", "bytes_max", "groups"),
    [
        ([], 10, [[]]),
        ([3, 3, 3], 100, [[3, 3, 3]]),
        ([3, 3, 3], 10, [[3, 3], [3]]),
        ([20], 10, [[20]]),
        ([3, 20, 3], 10, [[3], [20], [3]]),
    ],
)
def test_texts_are_sent_in_groups_that_fit(
    lengths: list[int], bytes_max: int, groups: list[list[int]]
) -> None:
    found = chunks(["x" * length for length in lengths], bytes_max)

    assert [[len(text) for text in some] for some in found] == groups


async def test_pages_go_through_a_process_of_many_instances_once(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    rows = [actual_lrp("p", number) for number in range(2_500)]
    for begin in range(0, len(rows), 500):
        await writer.write([put(row) for row in rows[begin : begin + 500]])

    assert await load(writer) == rows


async def test_a_load_whose_session_ends_goes_on_in_another(mysql: MySQLWorld) -> None:
    writer = await mysql.open_writer()
    rows = [actual_lrp("p", number) for number in range(1_500)]
    for begin in range(0, len(rows), 500):
        await writer.write([put(row) for row in rows[begin : begin + 500]])
    seen = Seen()
    found: list[Row] = []

    async def read() -> None:
        async for some in writer.load(seen):
            if not found:
                await mysql.break_connection(writer)
            found.extend(some)

    try:
        await read()
    except BackendUnavailable:
        await read()

    assert found == [put(row) for row in rows]


async def test_a_standby_reads_nothing_ahead(mysql: MySQLWorld) -> None:
    await (await mysql.open_writer()).write([put(actual_lrp())])

    assert [rows async for rows in mysql.open().follow(Seen())] == []


async def test_values_are_cut_by_nobody_on_a_server_that_would(
    mysql: MySQLWorld, mariadb_server: MariaDB
) -> None:
    before = mariadb_server.execute("SELECT @@GLOBAL.sql_mode").strip()
    mariadb_server.execute("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
    try:
        writer = await mysql.open_writer()
        with pytest.raises(StatementRejected) as refused:
            await writer.write([put(task("x" * 300))])
        assert isinstance(refused.value.error, InvalidRequest)
        await writer.write([put(task("t", domain="\\'"))])
        assert [record.domain for record in await load(writer) if not isinstance(record, Domain)] == ["\\'"]
    finally:
        mariadb_server.execute(f"SET GLOBAL sql_mode = '{before}'")


@pytest.mark.parametrize("connect_s", [0.9, 9_223_372_036.9])
async def test_connecting_may_take_as_long_as_the_configuration_says(
    mysql: MySQLWorld, connect_s: float
) -> None:
    """Upstream takes a db_connection_timeout of 292 years."""
    await mysql.open(connect_s=connect_s).prepare()
