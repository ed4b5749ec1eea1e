"""The schema on MySQL, and the way to it from every version that upstream's server has left (spec: mysql.md §2, §3)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.migrations import SCHEMA_VERSION
from bbs.store.mysql import schema
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.mysql.dsn import parse_mysql_dsn
from bbs.store.mysql.literals import row
from bbs.store.mysql.migrations import MIGRATIONS, Migration
from bbs.store.mysql.session import Session
from bbs.store.schema import SchemaError
from bbs.store.store import Store
from tests.store.test_schema import INDEXES, VERSION
from tests.store.upstream_rows import expect_rows_of, rows_of_version
from tests.store.worlds import KEYRING

VERSIONS = [migration.version for migration in MIGRATIONS]

REASON = "varchar(1024) NO ''"
COLUMNS = {
    "configurations": ["id varchar(255) NO -", "value varchar(255) YES NULL"],
    "domains": ["domain varchar(255) NO -", "expire_time bigint YES 0"],
    "desired_lrps": [
        "process_guid varchar(255) NO -",
        "domain varchar(255) NO -",
        "log_guid varchar(255) NO -",
        "annotation longtext YES NULL",
        "instances int NO -",
        "memory_mb int NO -",
        "disk_mb int NO -",
        f"rootfs {REASON}",
        "routes longtext NO -",
        "volume_placement longtext NO -",
        "modification_tag_epoch varchar(255) NO -",
        "modification_tag_index int YES NULL",
        "run_info longtext NO -",
        "placement_tags text YES NULL",
        "max_pids int YES 0",
        "metric_tags mediumtext YES NULL",
        "update_strategy int NO 0",
    ],
    "actual_lrps": [
        "process_guid varchar(255) NO -",
        "instance_index int NO -",
        "evacuating tinyint NO 0",
        "domain varchar(255) NO -",
        "state varchar(255) NO -",
        "instance_guid varchar(255) NO ''",
        "cell_id varchar(255) NO ''",
        f"placement_error {REASON}",
        "since bigint YES 0",
        "net_info longtext NO -",
        "modification_tag_epoch varchar(255) NO -",
        "modification_tag_index int YES NULL",
        "crash_count int NO 0",
        f"crash_reason {REASON}",
        "expire_time bigint YES 0",
        "presence int NO 0",
        "internal_routes mediumtext YES NULL",
        "metric_tags mediumtext YES NULL",
        "routable tinyint YES 0",
        "availability_zone varchar(255) NO ''",
    ],
    "tasks": [
        "guid varchar(255) NO -",
        "domain varchar(255) NO -",
        "updated_at bigint YES 0",
        "created_at bigint YES 0",
        "first_completed_at bigint YES 0",
        "state int YES NULL",
        "cell_id varchar(255) NO ''",
        "result longtext YES NULL",
        "failed tinyint YES 0",
        f"failure_reason {REASON}",
        "task_definition longtext NO -",
        "rejection_count int NO 0",
        f"rejection_reason {REASON}",
    ],
    "bbs_health_check": ["id int NO -", "time bigint NO -"],
}


class Database:
    """A database, spoken to from Trio."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fetch: Callable[[str], Awaitable[list[Any]]] = aio_as_trio(session.fetch)

    async def migrate(self, *migrations: Migration) -> list[str]:
        """Migrate, and what was told of it."""
        told: list[str] = []
        await aio_as_trio(schema.migrate)(
            self.session,
            KEYRING,
            tell=lambda action, data: told.append(f"{action} {sorted(data.items())}"),
            migrations=migrations or MIGRATIONS,
        )
        return told

    async def migrate_up_to(self, version: int) -> None:
        await self.migrate(*(migration for migration in MIGRATIONS if migration.version <= version))

    async def configurations(self) -> dict[str, str]:
        return dict(await self.fetch("SELECT id, value FROM configurations"))

    async def insert(self, table: str, **values: Any) -> None:
        await self.fetch(f"INSERT INTO {table} ({', '.join(values)}) VALUES {row(values.values())}")


@pytest.fixture
async def database(mysql_dsn: str) -> AsyncIterator[Database]:
    async with open_asyncio_loop(null_logger()):
        session = await aio_as_trio(Session.open)(parse_mysql_dsn(mysql_dsn), connect_s=5, statement_s=60)
        yield Database(session)
        await aio_as_trio(session.close)()


async def expect_final_schema(database: Database) -> None:
    found: dict[str, list[str]] = {}
    for table, column, data_type, width, nullable, default in await database.fetch(
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
    ):
        kind = f"varchar({width})" if data_type == "varchar" else data_type
        found.setdefault(table, []).append(
            f"{column} {kind} {nullable} {'-' if default is None else default}"
        )
    assert found == COLUMNS
    indexes: dict[str, list[str]] = {}
    for table, name, column in await database.fetch(
        "SELECT table_name, index_name, column_name FROM information_schema.statistics"
        " WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index"
    ):
        indexes.setdefault(f"{table}_pkey" if name == "PRIMARY" else name, []).append(column)
    assert {name: ", ".join(of_index) for name, of_index in indexes.items()} == INDEXES


async def fill(database: Database, version: int) -> None:
    for table, values in rows_of_version(version):
        await database.insert(table, **values)


async def expect_data(mysql_dsn: str, version: int) -> None:
    def fail(dropped: object) -> None:
        raise AssertionError(dropped)

    backend = MySQLBackend(parse_mysql_dsn(mysql_dsn), KEYRING, on_dropped=fail)
    await backend.acquire_writer_lock()
    store = Store(backend, publish=lambda announcements: None)
    await store.load()
    await backend.aclose()
    expect_rows_of(version, store.committed)


async def test_an_empty_database_gets_the_final_schema(database: Database) -> None:
    told = await database.migrate()

    assert len(told) == 2 * len(VERSIONS)
    await expect_final_schema(database)
    assert (await database.configurations()) == {"version": VERSION}


@pytest.mark.parametrize("version", VERSIONS)
async def test_data_of_any_version_is_there_afterwards(
    database: Database, mysql_dsn: str, version: int
) -> None:
    await database.migrate_up_to(version)
    await fill(database, version)

    told = await database.migrate()

    assert len(told) == 2 * sum(known > version for known in VERSIONS)
    await expect_final_schema(database)
    await expect_data(mysql_dsn, version)


@pytest.mark.parametrize("migration", MIGRATIONS[1:], ids=lambda migration: str(migration.version))
async def test_a_step_that_was_interrupted_is_done_again(
    database: Database, mysql_dsn: str, migration: Migration
) -> None:
    """Whatever it had come to: after each of its statements, and at its end but for the version."""
    before = VERSIONS[VERSIONS.index(migration.version) - 1]
    await database.migrate_up_to(before)
    await fill(database, before)
    for number in range(len(migration.statements)):
        begun = Migration(migration.version, migration.statements[: number + 1])
        await aio_as_trio(begun.run)(database.session, KEYRING, "")
    if migration.change is not None:
        await aio_as_trio(migration.change)(database.session, KEYRING)

    await database.migrate()

    await expect_final_schema(database)
    await expect_data(mysql_dsn, before)


async def test_a_version_that_was_set_back_by_hand_spoils_nothing(database: Database, mysql_dsn: str) -> None:
    await database.migrate()
    await fill(database, SCHEMA_VERSION)
    await aio_as_trio(schema.configure)(database.session, "version", f'{{"CurrentVersion":{VERSIONS[0]}}}')

    await database.migrate()

    await expect_final_schema(database)
    await expect_data(mysql_dsn, SCHEMA_VERSION)


async def test_tables_without_a_version_are_made_anew(database: Database) -> None:
    await database.migrate()
    await fill(database, SCHEMA_VERSION)
    await database.fetch("DELETE FROM configurations")

    await database.migrate()

    assert await database.fetch("SELECT * FROM tasks") == []


async def test_a_newer_database_is_left_alone(database: Database) -> None:
    await database.migrate()
    await aio_as_trio(schema.configure)(database.session, "version", '{"CurrentVersion":1772581988}')

    with pytest.raises(SchemaError, match=r"^existing DB version \(1772581988\) exceeds bbs version"):
        await database.migrate()


async def test_a_step_that_fails_is_not_noted(database: Database) -> None:
    broken = Migration(VERSIONS[1], ("ALTER TABLE nothing ADD COLUMN a int",))

    with pytest.raises(Exception, match="1146"):
        await database.migrate(MIGRATIONS[0], broken)

    assert (await database.configurations())["version"] == f'{{"CurrentVersion":{VERSIONS[0]}}}'


async def test_new_tables_have_a_collation_that_compares_bytes(database: Database) -> None:
    await database.migrate()

    collations = await database.fetch(
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
    )
    assert collations == [("utf8mb4_nopad_bin",)]


async def test_foreign_tables_keep_their_collation(database: Database) -> None:
    await database.fetch(
        "CREATE TABLE configurations (id varchar(255) PRIMARY KEY, value varchar(255)) CHARACTER SET latin1"
    )
    await database.migrate()

    assert await database.fetch(
        "SELECT collation_name FROM information_schema.columns WHERE table_schema = DATABASE()"
        " AND table_name = 'configurations' AND column_name = 'id'"
    ) == [("latin1_swedish_ci",)]
