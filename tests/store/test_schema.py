"""A database that we make is the one upstream makes, and one that we find is left alone or refused."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store import schema
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.migrations import MIGRATIONS, SCHEMA_VERSION
from bbs.store.schema import SchemaError
from tests.store.worlds import KEYRING

# As in spec: storage.md §1: name, type, width, nullable, default.
COLUMNS = {
    "configurations": """
        id character varying 255 NO -
        value character varying 255 YES -""",
    "domains": """
        domain character varying 255 NO -
        expire_time bigint - YES 0""",
    "desired_lrps": """
        process_guid character varying 255 NO -
        domain character varying 255 NO -
        log_guid character varying 255 NO -
        annotation text - YES -
        instances integer - NO -
        memory_mb integer - NO -
        disk_mb integer - NO -
        rootfs character varying 1024 NO -
        routes text - NO -
        volume_placement text - NO -
        modification_tag_epoch character varying 255 NO -
        modification_tag_index integer - YES -
        run_info text - NO -
        placement_tags text - YES -
        max_pids integer - YES 0
        metric_tags text - YES -
        update_strategy integer - NO 0""",
    "actual_lrps": """
        process_guid character varying 255 NO -
        instance_index integer - NO -
        evacuating boolean - NO false
        domain character varying 255 NO -
        state character varying 255 NO -
        instance_guid character varying 255 NO ''::character varying
        cell_id character varying 255 NO ''::character varying
        placement_error character varying 1024 NO ''::character varying
        since bigint - YES 0
        net_info text - NO -
        modification_tag_epoch character varying 255 NO -
        modification_tag_index integer - YES -
        crash_count integer - NO 0
        crash_reason character varying 1024 NO ''::character varying
        expire_time bigint - YES 0
        presence integer - NO 0
        internal_routes text - YES -
        metric_tags text - YES -
        routable boolean - YES false
        availability_zone character varying 255 NO ''::character varying""",
    "tasks": """
        guid character varying 255 NO -
        domain character varying 255 NO -
        updated_at bigint - YES 0
        created_at bigint - YES 0
        first_completed_at bigint - YES 0
        state integer - YES -
        cell_id character varying 255 NO ''::character varying
        result text - YES -
        failed boolean - YES false
        failure_reason character varying 1024 NO ''::character varying
        task_definition text - NO -
        rejection_count integer - NO 0
        rejection_reason character varying 1024 NO ''::character varying""",
    "bbs_health_check": """
        id integer - NO nextval('bbs_health_check_id_seq'::regclass)
        time bigint - NO -""",
}
INDEXES = {
    "configurations_pkey": "id",
    "domains_pkey": "domain",
    "domains_expire_time_idx": "expire_time",
    "desired_lrps_pkey": "process_guid",
    "desired_lrps_domain_idx": "domain",
    "actual_lrps_pkey": "process_guid, instance_index, presence",
    "actual_lrps_domain_idx": "domain",
    "actual_lrps_cell_id_idx": "cell_id",
    "actual_lrps_since_idx": "since",
    "actual_lrps_state_idx": "state",
    "actual_lrps_expire_time_idx": "expire_time",
    "tasks_pkey": "guid",
    "tasks_domain_idx": "domain",
    "tasks_state_idx": "state",
    "tasks_cell_id_idx": "cell_id",
    "tasks_updated_at_idx": "updated_at",
    "tasks_created_at_idx": "created_at",
    "tasks_first_completed_at_idx": "first_completed_at",
    "bbs_health_check_pkey": "id",
}
VERSION = '{"CurrentVersion":1772581987}'


class Database:
    """A database, spoken to from Trio."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection
        self.execute: Callable[..., Awaitable[str]] = aio_as_trio(connection.execute)
        self.fetch: Callable[..., Awaitable[list[Any]]] = aio_as_trio(connection.fetch)

    async def migrate(self, *, up_to: int = SCHEMA_VERSION) -> list[str]:
        """Migrate, and what was told of it."""
        told: list[str] = []
        await aio_as_trio(schema.migrate)(
            self.connection,
            KEYRING,
            tell=lambda action, data: told.append(f"{action} {sorted(data.items())}"),
            migrations=[migration for migration in MIGRATIONS if migration.version <= up_to],
        )
        return told

    async def configurations(self) -> dict[str, str]:
        return dict(await self.fetch("SELECT id, value FROM configurations"))

    async def configure(self, row_id: str, value: str) -> None:
        await aio_as_trio(schema.configure)(self.connection, row_id, value)

    async def domains(self) -> list[str]:
        return [name for (name,) in await self.fetch("SELECT domain FROM domains")]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_asyncio_loop(null_logger()):
        connection = await aio_as_trio(asyncpg.connect)(database_url)
        yield Database(connection)
        await aio_as_trio(connection.close)()


async def columns(database: Database) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, *rest in await database.fetch(
        "SELECT table_name, column_name, data_type, coalesce(character_maximum_length::text, '-'), is_nullable,"
        " coalesce(column_default, '-') FROM information_schema.columns WHERE table_schema = 'public'"
        " ORDER BY table_name, ordinal_position"
    ):
        found.setdefault(table, []).append(" ".join(rest))
    return found


async def expect_final_schema(database: Database) -> None:
    assert await columns(database) == {
        table: [line.strip() for line in text.strip().splitlines()] for table, text in COLUMNS.items()
    }
    indexes = dict(
        await database.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    )
    assert {
        name: definition[definition.index("(") + 1 : -1] for name, definition in indexes.items()
    } == INDEXES
    assert all(" USING btree " in definition for definition in indexes.values())
    assert all(("UNIQUE" in definition) == name.endswith("_pkey") for name, definition in indexes.items())


async def test_an_empty_database_gets_the_schema_of_the_spec(database: Database) -> None:
    await database.migrate()

    await expect_final_schema(database)


async def test_the_version_is_written(database: Database) -> None:
    told = await database.migrate()

    assert await database.configurations() == {"version": VERSION}
    assert told[:2] == [
        "running-migration [('current_version', 0), ('migration_version', 1461790966)]",
        "completed-migration [('current_version', 1461790966), ('target_version', 1772581987)]",
    ]
    assert len(told) == 2 * len(MIGRATIONS)


async def test_a_second_time_nothing_changes(database: Database) -> None:
    await database.migrate()
    await database.execute("INSERT INTO domains VALUES ('d', 1)")

    assert await database.migrate() == []

    assert await database.domains() == ["d"]


@pytest.mark.parametrize("version", [None, '{"CurrentVersion":0}', "{}", "null"])
async def test_tables_without_a_version_are_made_anew(database: Database, version: str | None) -> None:
    await database.migrate()
    await database.execute("INSERT INTO domains VALUES ('d', 1)")
    await database.execute("INSERT INTO bbs_health_check VALUES (1, 1)")
    await database.execute("TRUNCATE configurations")
    if version is not None:
        await database.configure("version", version)

    await database.migrate()

    assert await database.domains() == []
    assert await database.configurations() == {"version": VERSION}
    assert len(await database.fetch("SELECT FROM bbs_health_check")) == 1


@pytest.mark.parametrize(
    ("version", "text"),
    [
        pytest.param(
            '{"CurrentVersion":1772581988}',
            "existing DB version (1772581988) exceeds bbs version (1772581987)",
            id="newer",
        ),
        pytest.param(
            '{"currentversion":9999999999}',
            "existing DB version (9999999999) exceeds bbs version (1772581987)",
            id="key in any case",
        ),
        pytest.param("", "could not deserialize record", id="empty"),
        pytest.param("x", "could not deserialize record", id="not JSON"),
        pytest.param("[]", "could not deserialize record", id="not an object"),
        pytest.param('{"CurrentVersion":"1"}', "could not deserialize record", id="not a number"),
        pytest.param(
            '{"CurrentVersion":9223372036854775808}', "could not deserialize record", id="not 64 bits"
        ),
    ],
)
async def test_another_version_is_refused_and_nothing_is_touched(
    database: Database, version: str, text: str
) -> None:
    await database.migrate()
    await database.execute("INSERT INTO domains VALUES ('d', 1)")
    await database.configure("version", version)

    with pytest.raises(SchemaError) as refused:
        await database.migrate()

    assert str(refused.value).startswith(text)
    assert await database.domains() == ["d"]
    assert (await database.configurations())["version"] == version
