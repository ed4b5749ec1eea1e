"""``bbs migrate-database``: from Postgres to MariaDB and back, with a server before and after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from bbs.commands.cli import main
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.outcome import put
from bbs.store import copying
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import Seen
from bbs.store.database import database_at
from bbs.store.schema import SchemaError
from perf.mariadb import MariaDB
from tests.databases import SomeDatabase
from tests.processes import running_bbs
from tests.records import actual_lrp, desired_lrp, desired_message, task
from tests.store.worlds import KEYRING, RECORDS

pytestmark = [pytest.mark.postgres, pytest.mark.mariadb]

WAYS = pytest.mark.parametrize(
    "way", [("postgres", "mysql"), ("mysql", "postgres")], ids=["to MariaDB", "back"]
)


@pytest.fixture
def databases(database_url: str, mysql_dsn: str, mariadb_server: MariaDB) -> dict[str, SomeDatabase]:
    name = mysql_dsn.rpartition("/")[2]
    return {
        "postgres": SomeDatabase("postgres", database_url, database_url),
        "mysql": SomeDatabase("mysql", mysql_dsn, mariadb_server.url_of(name)),
    }


@pytest.fixture
def two(databases: dict[str, SomeDatabase], way: tuple[str, str]) -> tuple[SomeDatabase, SomeDatabase]:
    source, target = way
    return databases[source], databases[target]


def fill(database: SomeDatabase, records: Any = RECORDS) -> None:
    async def write() -> None:
        async with open_asyncio_loop(null_logger()):
            backend = database.database.backend(KEYRING)
            await backend.acquire_writer_lock()
            await backend.write([put(record) for record in records])
            await backend.record_key_label()
            await backend.aclose()

    trio.run(write)


def stored(database: SomeDatabase) -> list[str]:
    """All records that a server would load, as text."""

    async def load() -> list[str]:
        async with open_asyncio_loop(null_logger()):
            backend = database.database.backend(KEYRING)
            await backend.acquire_writer_lock()
            found = [repr(row.record) async for rows in backend.load(Seen()) for row in rows]
            await backend.aclose()
            return sorted(found)

    return trio.run(load)


def execute(database: SomeDatabase, statement: str) -> list[Any]:
    return trio.run(database.execute, statement)


def migrate(source: SomeDatabase, target: SomeDatabase) -> int:
    return main(["migrate-database", "--from", source.url, "--to", target.url])


@WAYS
def test_all_rows_are_there_afterwards(
    two: tuple[SomeDatabase, SomeDatabase], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = two
    fill(source)
    execute(source, "UPDATE tasks SET task_definition = 'damaged' WHERE guid = 'unreadable'")

    assert migrate(source, target) == 0

    assert "has all 7 rows" in capsys.readouterr().out
    [(label,)] = execute(target, "SELECT value FROM configurations WHERE id = 'encryption_key_label'")
    assert label == "label"
    assert stored(target) == stored(source)


@WAYS
def test_many_rows_are_copied_in_pages(
    two: tuple[SomeDatabase, SomeDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("postgres_tables", "mysql.tables"):
        monkeypatch.setattr(f"bbs.store.{module}.PAGE_ROWS", 7)
    source, target = two
    fill(source, [actual_lrp(guid, number) for guid in ("a", "B", "c-d") for number in range(20)])

    assert migrate(source, target) == 0
    assert len(stored(target)) == 60


@WAYS
def test_nothing_to_copy_is_a_copy_of_nothing(two: tuple[SomeDatabase, SomeDatabase]) -> None:
    source, target = two
    fill(source, [])

    assert migrate(source, target) == 0
    assert stored(target) == []


@pytest.mark.slow
@WAYS
async def test_a_server_goes_on_where_the_other_one_stopped(
    two: tuple[SomeDatabase, SomeDatabase], tmp_path: Path
) -> None:
    source, target = two
    async with running_bbs(tmp_path, "--database-url", source.url) as bbs, bbs.client() as client:
        await client.desire_lrp(desired_message("p", instances=3))
        before = sorted(map(str, await client.actual_lrps()))

        assert await trio.to_thread.run_sync(migrate, source, target) == 1  # somebody serves

        assert await bbs.stop() == 0
    assert await trio.to_thread.run_sync(migrate, source, target) == 0

    async with running_bbs(tmp_path, "--database-url", target.url) as bbs, bbs.client() as client:
        assert sorted(map(str, await client.actual_lrps())) == before
        await client.update_desired_lrp("p", pb.DesiredLRPUpdate(instances=4))
        assert len(await client.actual_lrps()) == 4
        assert await bbs.stop() == 0


@WAYS
def test_a_live_master_is_told_of(
    two: tuple[SomeDatabase, SomeDatabase], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = two
    fill(source)

    async def beside_a_master() -> int:
        async with open_asyncio_loop(null_logger()):
            master = source.database.backend(KEYRING)
            await master.acquire_writer_lock()
            code = await trio.to_thread.run_sync(migrate, source, target)
            await master.aclose()
            return code

    assert trio.run(beside_a_master) == 1
    assert "is in use by" in capsys.readouterr().err
    assert migrate(source, target) == 0


@WAYS
def test_rows_in_the_target_are_neither_mixed_nor_lost(
    two: tuple[SomeDatabase, SomeDatabase], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = two
    fill(source)
    fill(target, [task("theirs")])

    assert migrate(source, target) == 1

    assert "has 1 rows in tasks: give an empty database" in capsys.readouterr().err
    assert len(stored(target)) == 1


@WAYS
def test_a_copy_that_broke_off_can_be_served_by_nobody_and_is_begun_again(
    two: tuple[SomeDatabase, SomeDatabase],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, target = two
    fill(source)
    broken = BreaksAfter(2)
    monkeypatch.setattr(copying, "_copy_table", broken.copy_table)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="the power is gone"), flatten_subgroups=True):
        migrate(source, target)
    monkeypatch.undo()
    versions = [
        execute(database, "SELECT value FROM configurations WHERE id = 'version'") for database in two
    ]
    assert versions == [[('{"CurrentVersion":1772581987}',)], [('{"CurrentVersion":9001772581987}',)]]
    refused = pytest.RaisesExc(SchemaError, match="exceeds bbs version")
    with pytest.RaisesGroup(refused, flatten_subgroups=True):
        stored(target)
    execute(source, "DELETE FROM domains")  # a server went on with the source meanwhile

    assert migrate(source, target) == 0
    assert stored(target) == stored(source)
    assert not [text for text in stored(target) if text.startswith("Domain")]


class BreaksAfter:
    def __init__(self, tables: int) -> None:
        self._tables = tables
        self._copy: Callable[..., Any] = copying._copy_table

    async def copy_table(self, *arguments: Any) -> None:
        if self._tables == 0:
            raise OSError("the power is gone")
        self._tables -= 1
        await self._copy(*arguments)


@WAYS
def test_a_source_that_was_left_marked_is_taken_on(two: tuple[SomeDatabase, SomeDatabase]) -> None:
    """As after a kill -9 of the copy."""
    source, target = two
    fill(source)
    marked = '{"CurrentVersion":9001772581987}'
    execute(source, f"UPDATE configurations SET value = '{marked}' WHERE id = 'version'")

    assert migrate(source, target) == 0
    assert stored(target) == stored(source)


@pytest.mark.parametrize(
    ("way", "statement", "why"),
    [
        (("postgres", "mysql"), f"UPDATE desired_lrps SET placement_tags = '{'x' * 65_536}'", "placement_tags has more than"),
        (("mysql", "postgres"), "UPDATE desired_lrps SET annotation = 'a\\0b'", "annotation has a NUL character"),
    ],
)  # fmt: skip
def test_rows_that_the_target_cannot_hold_are_named_before_anything_is_copied(
    two: tuple[SomeDatabase, SomeDatabase], capsys: pytest.CaptureFixture[str], statement: str, why: str
) -> None:
    source, target = two
    fill(source, [desired_lrp("large"), task("t")])
    execute(source, statement)

    assert migrate(source, target) == 1

    printed = capsys.readouterr().err
    assert "nothing was copied" in printed
    assert f"desired_lrps ['large']: {why}" in printed
    assert stored(target) == []


def test_keys_that_are_one_to_a_foreign_table_are_missed(
    databases: dict[str, SomeDatabase], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = databases["postgres"], databases["mysql"]
    fill(source, [task("a"), task("A")])
    fill(target, [])
    execute(target, "ALTER TABLE tasks CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")

    assert migrate(source, target) == 1
    assert "does it take two keys for the same?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        ("DROP TABLE configurations", "has no version"),
        ("UPDATE configurations SET value = '{\"CurrentVersion\":5}' WHERE id = 'version'", "has version 5"),
        ("UPDATE configurations SET value = 'x' WHERE id = 'version'", "could not deserialize record"),
    ],
)
@WAYS
def test_a_source_of_another_version_is_refused(
    two: tuple[SomeDatabase, SomeDatabase], capsys: pytest.CaptureFixture[str], prepare: str, why: str
) -> None:
    source, target = two
    fill(source)
    execute(source, prepare)

    assert migrate(source, target) == 1
    assert why in capsys.readouterr().err


def test_one_database_is_not_two(
    databases: dict[str, SomeDatabase], capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrate(databases["mysql"], databases["mysql"]) == 1
    assert "is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["mysql://u:hush@h:hush/d", "postgres://u:hush@h:hush/d"])
def test_a_bad_url_is_told_without_its_password(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate-database", "--from", url, "--to", url]) == 2
    assert "hush" not in capsys.readouterr().err


def test_a_database_that_is_not_there_is_told(
    databases: dict[str, SomeDatabase], capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "mysql://u:hush@127.0.0.1:1/d"
    assert main(["migrate-database", "--from", databases["postgres"].url, "--to", nowhere]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("bbs migrate-database: ")
    assert "hush" not in printed


def test_tables_of_both_kinds_name_no_password() -> None:
    for url in ("mysql://u:hush@h/d", "postgres://u:hush@h/d"):
        assert "hush" not in database_at(url).tables().name
