"""The database's schema, brought up to date, and what ``configurations`` says of it (spec: storage.md §1, §2, §4).

Runs once, by whoever holds the writer lock and before anything is read. It writes what upstream's server writes, so
that either can take the database over from the other.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from asyncpg import Connection

from bbs.store.crypto import Keyring
from bbs.store.migrations import MIGRATIONS, SCHEMA_VERSION, Migration

VERSION_ID: Final = "version"
KEY_LABEL_ID: Final = "encryption_key_label"

CONFIGURATIONS: Final = """
CREATE TABLE IF NOT EXISTS configurations (
  id varchar(255) PRIMARY KEY,
  value varchar(255)
)"""


class SchemaError(Exception):
    """This database can't be used as it is."""


OnMigration = Callable[[str, dict[str, int]], None]
"""Told, in upstream's words, of what is going on: an action of the log, and its data."""


async def ensure_configurations(connection: "Connection[Any]") -> None:
    """Make the table ``configurations`` if it is missing. Every process does so at its start, also a standby."""
    await connection.execute(CONFIGURATIONS)


async def migrate(
    connection: "Connection[Any]",
    keyring: Keyring,
    *,
    tell: OnMigration = lambda action, data: None,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> None:
    """Bring the database to `SCHEMA_VERSION`; one that is there already is left alone. Runs under asyncio.

    Tables without a version are dropped and made anew, as upstream does (its tests rely on it).

    Raises:
      SchemaError: the stored version is greater than ours, or unreadable.
    """
    await ensure_configurations(connection)
    version = await _stored_version(connection)
    if version is None:
        version = 0
        await configure(connection, VERSION_ID, version_text(version))
    if version > SCHEMA_VERSION:
        raise newer_than_ours(version)
    for migration in migrations:
        if migration.version > version:
            tell("running-migration", {"current_version": version, "migration_version": migration.version})
            async with connection.transaction():
                await migration.run(connection, keyring)
                await configure(connection, VERSION_ID, version_text(migration.version))
            version = migration.version
            tell("completed-migration", {"current_version": version, "target_version": SCHEMA_VERSION})


async def stored_key_label(connection: "Connection[Any]") -> str:
    """The label of the key that all values are sealed with; '' if that is not known."""
    return await _configured(connection, KEY_LABEL_ID) or ""


async def is_current(connection: "Connection[Any]") -> bool:
    """Whether the tables are there, and of `SCHEMA_VERSION`. Writes nothing. Runs under asyncio.

    Raises:
      SchemaError: the stored version is unreadable.
    """
    if await connection.fetchval("SELECT to_regclass('configurations')") is None:
        return False
    return await _stored_version(connection) == SCHEMA_VERSION


async def configure(connection: "Connection[Any]", row_id: str, value: str) -> None:
    """Set a row of ``configurations``."""
    await connection.execute(
        "INSERT INTO configurations (id, value) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
        row_id,
        value,
    )


async def configure_as_writer(
    connection: "Connection[Any]", row_id: str, value: str, *, writer: tuple[str, str]
) -> bool:
    """As `configure`, but only if the row ``writer[0]`` has the value ``writer[1]``; whether it did."""
    done = await connection.fetchval(
        "INSERT INTO configurations (id, value)"
        " SELECT $1, $2 WHERE EXISTS (SELECT FROM configurations WHERE id = $3 AND value = $4)"
        " ON CONFLICT (id) DO UPDATE SET value = excluded.value RETURNING true",
        row_id,
        value,
        *writer,
    )
    return bool(done)


async def _configured(connection: "Connection[Any]", row_id: str) -> str | None:
    value: str | None = await connection.fetchval("SELECT value FROM configurations WHERE id = $1", row_id)
    return value


async def _stored_version(connection: "Connection[Any]") -> int | None:
    text = await _configured(connection, VERSION_ID)
    return None if text is None else version_of(text)


def newer_than_ours(version: int) -> SchemaError:
    """What to raise for a database that a newer server has written, in upstream's words."""
    return SchemaError(f"existing DB version ({version}) exceeds bbs version ({SCHEMA_VERSION})")


def version_text(version: int) -> str:
    """What the row `VERSION_ID` says."""
    return json.dumps({"CurrentVersion": version}, separators=(",", ":"))


def version_of(text: str) -> int:
    """The stored version. Upstream reads the key in any case, and an object without it as 0.

    Raises:
      SchemaError: it is unreadable.
    """
    try:
        members = json.loads(text)
        if members is None:
            return 0
        version = next((value for name, value in members.items() if name.lower() == "currentversion"), 0)
        if version is None:
            return 0
        if isinstance(version, bool) or not isinstance(version, int) or not -(2**63) <= version < 2**63:
            raise ValueError(f"{version!r} is no 64-bit integer")
    except (ValueError, AttributeError, RecursionError) as error:
        raise SchemaError(f"could not deserialize record: the stored version is {text!r:.80}") from error
    return version
