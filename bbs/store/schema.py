"""The database's schema: made on an empty database, checked on any other (spec: storage.md §1, §2, §4).

Runs once, by whoever holds the writer lock and before anything is read. It writes what upstream's server writes, so
that either can take the database over from the other.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from asyncpg import Connection

SCHEMA_VERSION: Final = 1772581987
"""Newest version known. A greater one makes upstream's server refuse the database, so we never write one."""

VERSION_ID: Final = "version"
KEY_LABEL_ID: Final = "encryption_key_label"

TABLES_MADE_ANEW: Final = ("domains", "tasks", "desired_lrps", "actual_lrps")
"""Upstream's first migration drops these."""

CONFIGURATIONS: Final = """
CREATE TABLE IF NOT EXISTS configurations (
  id varchar(255) PRIMARY KEY,
  value varchar(255)
)"""

TABLES: Final = """
CREATE TABLE domains (
  domain varchar(255) PRIMARY KEY,
  expire_time bigint DEFAULT 0
);
CREATE INDEX domains_expire_time_idx ON domains (expire_time);

CREATE TABLE desired_lrps (
  process_guid varchar(255) PRIMARY KEY,
  domain varchar(255) NOT NULL,
  log_guid varchar(255) NOT NULL,
  annotation text,
  instances integer NOT NULL,
  memory_mb integer NOT NULL,
  disk_mb integer NOT NULL,
  rootfs varchar(1024) NOT NULL,
  routes text NOT NULL,
  volume_placement text NOT NULL,
  modification_tag_epoch varchar(255) NOT NULL,
  modification_tag_index integer,
  run_info text NOT NULL,
  placement_tags text,
  max_pids integer DEFAULT 0,
  metric_tags text,
  update_strategy integer NOT NULL DEFAULT 0
);
CREATE INDEX desired_lrps_domain_idx ON desired_lrps (domain);

CREATE TABLE actual_lrps (
  process_guid varchar(255) NOT NULL,
  instance_index integer NOT NULL,
  evacuating boolean NOT NULL DEFAULT false,
  domain varchar(255) NOT NULL,
  state varchar(255) NOT NULL,
  instance_guid varchar(255) NOT NULL DEFAULT '',
  cell_id varchar(255) NOT NULL DEFAULT '',
  placement_error varchar(1024) NOT NULL DEFAULT '',
  since bigint DEFAULT 0,
  net_info text NOT NULL,
  modification_tag_epoch varchar(255) NOT NULL,
  modification_tag_index integer,
  crash_count integer NOT NULL DEFAULT 0,
  crash_reason varchar(1024) NOT NULL DEFAULT '',
  expire_time bigint DEFAULT 0,
  presence integer NOT NULL DEFAULT 0,
  internal_routes text,
  metric_tags text,
  routable boolean DEFAULT false,
  availability_zone varchar(255) NOT NULL DEFAULT '',
  PRIMARY KEY (process_guid, instance_index, presence)
);
CREATE INDEX actual_lrps_domain_idx ON actual_lrps (domain);
CREATE INDEX actual_lrps_cell_id_idx ON actual_lrps (cell_id);
CREATE INDEX actual_lrps_since_idx ON actual_lrps (since);
CREATE INDEX actual_lrps_state_idx ON actual_lrps (state);
CREATE INDEX actual_lrps_expire_time_idx ON actual_lrps (expire_time);

CREATE TABLE tasks (
  guid varchar(255) PRIMARY KEY,
  domain varchar(255) NOT NULL,
  updated_at bigint DEFAULT 0,
  created_at bigint DEFAULT 0,
  first_completed_at bigint DEFAULT 0,
  state integer,
  cell_id varchar(255) NOT NULL DEFAULT '',
  result text,
  failed boolean DEFAULT false,
  failure_reason varchar(1024) NOT NULL DEFAULT '',
  task_definition text NOT NULL,
  rejection_count integer NOT NULL DEFAULT 0,
  rejection_reason varchar(1024) NOT NULL DEFAULT ''
);
CREATE INDEX tasks_domain_idx ON tasks (domain);
CREATE INDEX tasks_state_idx ON tasks (state);
CREATE INDEX tasks_cell_id_idx ON tasks (cell_id);
CREATE INDEX tasks_updated_at_idx ON tasks (updated_at);
CREATE INDEX tasks_created_at_idx ON tasks (created_at);
CREATE INDEX tasks_first_completed_at_idx ON tasks (first_completed_at);

CREATE TABLE IF NOT EXISTS bbs_health_check (
  id serial PRIMARY KEY,
  time bigint NOT NULL
)"""


class SchemaError(Exception):
    """This database can't be used as it is."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """``made_anew``: the tables are fresh and empty. ``rotation_due``: values may be sealed with another key."""

    made_anew: bool
    rotation_due: bool


async def prepare(
    connection: "Connection[Any]", *, key_labels: Collection[str], active_label: str
) -> SchemaState:
    """Bring the database to `SCHEMA_VERSION`; on one that is there already, only look. Runs under asyncio.

    Tables without a version row are dropped and made anew, as upstream does (its tests rely on it).

    Raises:
      SchemaError: the version is newer, older or unreadable, or the values' key is unknown.
    """
    await connection.execute(CONFIGURATIONS)
    async with connection.transaction():
        version = _version(await _configured(connection, VERSION_ID))
        if version > SCHEMA_VERSION:
            raise SchemaError(f"Existing DB version ({version}) exceeds bbs version ({SCHEMA_VERSION})")
        if 0 < version < SCHEMA_VERSION:
            raise SchemaError(
                f"Existing DB version ({version}) is older than {SCHEMA_VERSION} and can't be migrated;"
                " start a current release of the Go server on it once"
            )
        made_anew = version <= 0
        if made_anew:
            await connection.execute(f"DROP TABLE IF EXISTS {', '.join(TABLES_MADE_ANEW)}")
            await connection.execute(TABLES)
            await configure(connection, VERSION_ID, _version_text(SCHEMA_VERSION))
        label = await _configured(connection, KEY_LABEL_ID) or ""
        if label and label not in key_labels:
            raise SchemaError(f"Existing encryption key version ({label}) is not among the known keys")
        if made_anew:
            # Nothing is left that another key could have sealed.
            label = active_label
            await configure(connection, KEY_LABEL_ID, label)
    return SchemaState(made_anew=made_anew, rotation_due=label != active_label)


async def is_current(connection: "Connection[Any]") -> bool:
    """Whether the tables are there, and of `SCHEMA_VERSION`. Writes nothing. Runs under asyncio.

    Raises:
      SchemaError: the stored version is unreadable.
    """
    if await connection.fetchval("SELECT to_regclass('configurations')") is None:
        return False
    return _version(await _configured(connection, VERSION_ID)) == SCHEMA_VERSION


async def configure(connection: "Connection[Any]", row_id: str, value: str) -> None:
    """Set a row of ``configurations``."""
    await connection.execute(
        "INSERT INTO configurations (id, value) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
        row_id,
        value,
    )


async def _configured(connection: "Connection[Any]", row_id: str) -> str | None:
    value: str | None = await connection.fetchval("SELECT value FROM configurations WHERE id = $1", row_id)
    return value


def _version_text(version: int) -> str:
    return json.dumps({"CurrentVersion": version}, separators=(",", ":"))


def _version(text: str | None) -> int:
    """The stored version; 0 without a row. Upstream reads the key in any case, and an object without it as 0."""
    if text is None:
        return 0
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
