"""The database's schema on MySQL, and what ``configurations`` says of it (spec: mysql.md §2, §3; storage.md §1, §2).

What is here keeps to upstream's order and words, so that either server can take the database over from the other. New tables
get a collation in which keys are equal only byte by byte; tables that are there keep theirs.
"""

from collections.abc import Sequence
from typing import Final

from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import SQLType
from bbs.store.crypto import Keyring
from bbs.store.migrations import SCHEMA_VERSION
from bbs.store.mysql.literals import literal
from bbs.store.mysql.migrations import MIGRATIONS, Migration
from bbs.store.mysql.session import Session
from bbs.store.schema import (
    KEY_LABEL_ID,
    VERSION_ID,
    OnMigration,
    newer_than_ours,
    version_of,
    version_text,
)

BYTEWISE: Final = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb4_bin")
"""Collations for new tables, the best first: MariaDB's, MySQL 8's, and that of older servers, which ignores blanks at the end
of a key."""

BYTEWISE_SUFFIXES: Final = ("_nopad_bin", "_0900_bin")
"""What the names of collations end with in which texts are equal only if their bytes are."""


async def new_collation(session: Session) -> str:
    """The best collation for new tables that this server has."""
    listed = ", ".join(map(literal, BYTEWISE))
    found = {
        name
        for (name,) in await session.fetch(
            f"SELECT collation_name FROM information_schema.collations WHERE collation_name IN ({listed})"
        )
    }
    return next(collation for collation in BYTEWISE if collation in found)


async def ensure_configurations(session: Session) -> None:
    """Make the table ``configurations`` if it is missing. Every process does so at its start, also a standby."""
    await session.fetch(
        "CREATE TABLE IF NOT EXISTS configurations (id varchar(255) PRIMARY KEY, value varchar(255))"
        f" {_options(await new_collation(session))}"
    )


async def migrate(
    session: Session, keyring: Keyring, *, tell: OnMigration, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Bring the database to `SCHEMA_VERSION`; one that is there already is left alone.

    A statement that changes a table ends the transaction it is in (spec: mysql.md §3.1), so a step that is interrupted is
    half done; the version is written last, and each step takes what an earlier attempt at it has left.

    Raises:
      SchemaError: the stored version is greater than ours, or unreadable.
    """
    await ensure_configurations(session)
    stored = await configured(session, VERSION_ID)
    version = 0 if stored is None else version_of(stored)
    if stored is None:
        await configure(session, VERSION_ID, version_text(0))
    if version > SCHEMA_VERSION:
        raise newer_than_ours(version)
    collation = await new_collation(session)
    for migration in migrations:
        if migration.version > version:
            tell("running-migration", {"current_version": version, "migration_version": migration.version})
            await migration.run(session, keyring, _options(collation))
            version = migration.version
            await configure(session, VERSION_ID, version_text(version))
            tell("completed-migration", {"current_version": version, "target_version": SCHEMA_VERSION})


async def bytewise_tables(session: Session) -> frozenset[str]:
    """The tables whose keys are equal in the database only if their bytes are."""
    collations = {
        (table, column): collation
        for table, column, collation in await session.fetch(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
        )
    }
    return frozenset(
        codec.table
        for codec in CODECS.values()
        if all(
            collations.get((codec.table, column.name), "").endswith(BYTEWISE_SUFFIXES)
            for column in codec.key
            if column.type is SQLType.TEXT
        )
    )


async def stored_key_label(session: Session) -> str:
    """The label of the key that all values are sealed with; '' if that is not known."""
    return await configured(session, KEY_LABEL_ID) or ""


async def configured(session: Session, row_id: str) -> str | None:
    value: str | None = await session.value(f"SELECT value FROM configurations WHERE id = {literal(row_id)}")
    return value


async def configure(session: Session, row_id: str, value: str) -> None:
    """Set a row of ``configurations``."""
    await session.fetch(configuration_statement(row_id, value))


def configuration_statement(row_id: str, value: str) -> str:
    return (
        f"INSERT INTO configurations (id, value) VALUES ({literal(row_id)}, {literal(value)})"
        " ON DUPLICATE KEY UPDATE value = VALUES(value)"
    )


def _options(collation: str) -> str:
    return f"ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE {collation}"
