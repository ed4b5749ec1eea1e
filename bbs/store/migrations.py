"""From any schema that upstream's server has left to the present one, step by step (spec: storage.md §2).

Each step is a transaction that also writes the version it leads to, so whatever interrupts it, the next start goes on
from there. The first step makes the tables anew: a database without a version is an empty one to upstream, whatever is
in it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncpg import Connection

from bbs.models import pb
from bbs.models.desired_lrp import metric_tags_from_message
from bbs.models.errors import InvalidRequest
from bbs.models.wire import decode
from bbs.store import json_columns as jsonc
from bbs.store.codecs.envelope import ENVELOPE
from bbs.store.crypto import CannotDecrypt, Keyring

STEP_S: Final = 3600.0
"""Longest time for one statement, in seconds: a table of any size is rewritten in less."""

PAGE_ROWS: Final = 500
"""Rows that are sealed anew before others get a turn of the event loop."""

ORIGINAL_TABLES: Final = """
DROP TABLE IF EXISTS domains, tasks, desired_lrps, actual_lrps;

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
  rootfs varchar(255) NOT NULL,
  routes text NOT NULL,
  volume_placement text NOT NULL,
  modification_tag_epoch varchar(255) NOT NULL,
  modification_tag_index integer,
  run_info text NOT NULL
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
  placement_error varchar(255) NOT NULL DEFAULT '',
  since bigint DEFAULT 0,
  net_info text NOT NULL,
  modification_tag_epoch varchar(255) NOT NULL,
  modification_tag_index integer,
  crash_count integer NOT NULL DEFAULT 0,
  crash_reason varchar(255) NOT NULL DEFAULT '',
  expire_time bigint DEFAULT 0,
  PRIMARY KEY (process_guid, instance_index, evacuating)
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
  failure_reason varchar(255) NOT NULL DEFAULT '',
  task_definition text NOT NULL
);
CREATE INDEX tasks_domain_idx ON tasks (domain);
CREATE INDEX tasks_state_idx ON tasks (state);
CREATE INDEX tasks_cell_id_idx ON tasks (cell_id);
CREATE INDEX tasks_updated_at_idx ON tasks (updated_at);
CREATE INDEX tasks_created_at_idx ON tasks (created_at);
CREATE INDEX tasks_first_completed_at_idx ON tasks (first_completed_at)"""

PRESENCE: Final = """
ALTER TABLE actual_lrps ADD COLUMN IF NOT EXISTS presence integer NOT NULL DEFAULT 0;
UPDATE actual_lrps SET presence = 1 WHERE evacuating;
ALTER TABLE actual_lrps DROP CONSTRAINT actual_lrps_pkey,
  ADD CONSTRAINT actual_lrps_pkey PRIMARY KEY (process_guid, instance_index, presence)"""

ROUTABLE: Final = """
ALTER TABLE actual_lrps ADD COLUMN IF NOT EXISTS routable boolean DEFAULT false;
UPDATE actual_lrps SET routable = true WHERE state = 'RUNNING'"""

HEALTH_CHECK: Final = """
CREATE TABLE IF NOT EXISTS bbs_health_check (
  id serial PRIMARY KEY,
  time bigint NOT NULL
)"""

Change = Callable[["Connection[Any]", Keyring], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: SQL, or a function where keys are needed. Upstream's steps that only concern MySQL have neither, but their
    versions are stored all the same.
    """

    version: int
    change: str | Change = ""

    async def run(self, connection: "Connection[Any]", keyring: Keyring) -> None:
        if callable(self.change):
            await self.change(connection, keyring)
        elif self.change:
            await connection.execute(self.change, timeout=STEP_S)


async def seal_routes(connection: "Connection[Any]", keyring: Keyring) -> None:
    """Encrypt routes, which were plain JSON before this version."""
    for page in _pages(
        await connection.fetch("SELECT process_guid, routes FROM desired_lrps", timeout=STEP_S)
    ):
        await _set(connection, "routes", [(guid, keyring.seal(routes.encode())) for guid, routes in page])


async def lift_metric_tags(connection: "Connection[Any]", keyring: Keyring) -> None:
    """Copy metric tags from the run info, where they were before this version, into a column of their own. Where the run
    info can't be read the column stays NULL.
    """
    await connection.execute(
        "ALTER TABLE desired_lrps ADD COLUMN IF NOT EXISTS metric_tags text", timeout=STEP_S
    )
    rows = await connection.fetch("SELECT process_guid, run_info FROM desired_lrps", timeout=STEP_S)
    for page in _pages(rows):
        lifted = ((process_guid, lifted_metric_tags(run_info, keyring)) for process_guid, run_info in page)
        await _set(connection, "metric_tags", [(guid, tags) for guid, tags in lifted if tags is not None])


def lifted_metric_tags(run_info: str, keyring: Keyring) -> str | None:
    """What stands in the column of metric tags for a run info that has them in it; ``None`` if it can't be read."""
    try:
        message = decode(pb.DesiredLRPRunInfo, keyring.open(run_info)[len(ENVELOPE) :])
    except (CannotDecrypt, InvalidRequest):
        return None
    tags = metric_tags_from_message(message.metric_tags)
    return keyring.seal(jsonc.dump_metric_tags(tags) if tags else b"{}")


def _pages(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[begin : begin + PAGE_ROWS] for begin in range(0, len(rows), PAGE_ROWS))


async def _set(connection: "Connection[Any]", column: str, values: Sequence[tuple[str, str]]) -> None:
    """Set ``column`` of desired LRPs, by process guid."""
    guids, texts = [guid for guid, _ in values], [text for _, text in values]
    await connection.execute(
        f"UPDATE desired_lrps SET {column} = given.value"
        " FROM unnest($1::text[], $2::text[]) AS given (guid, value) WHERE process_guid = given.guid",
        guids,
        texts,
        timeout=STEP_S,
    )
    await asyncio.sleep(0)  # sealing a page took some milliseconds


def _add(table: str, column: str) -> str:
    return f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}"


def _widen(table: str, *columns: str) -> str:
    return f"ALTER TABLE {table} " + ", ".join(
        f"ALTER COLUMN {column} TYPE varchar(1024)" for column in columns
    )


MIGRATIONS: Final = (
    Migration(1461790966, ORIGINAL_TABLES),
    Migration(1471030898),
    Migration(1472757022, _add("desired_lrps", "placement_tags text")),
    Migration(1474908092, _widen("actual_lrps", "crash_reason", "placement_error")),
    Migration(1474993971, seal_routes),
    Migration(1481761088, _add("desired_lrps", "max_pids integer DEFAULT 0")),
    Migration(1502289152, _widen("desired_lrps", "rootfs")),
    Migration(1522700600, _add("tasks", "rejection_count integer NOT NULL DEFAULT 0")),
    Migration(1523050077, _add("tasks", "rejection_reason varchar(255) NOT NULL DEFAULT ''")),
    Migration(1528928964, _widen("tasks", "rejection_reason", "failure_reason")),
    Migration(1529530809, PRESENCE),
    Migration(1643660541, _add("actual_lrps", "internal_routes text")),
    Migration(1674146125),
    Migration(1676360874, _add("actual_lrps", "metric_tags text")),
    Migration(1686692176, ROUTABLE),
    Migration(1698182853, _add("actual_lrps", "availability_zone varchar(255) NOT NULL DEFAULT ''")),
    Migration(1722634733, lift_metric_tags),
    Migration(1764949919, HEALTH_CHECK),
    Migration(1772581987, _add("desired_lrps", "update_strategy integer NOT NULL DEFAULT 0")),
)

SCHEMA_VERSION: Final = MIGRATIONS[-1].version
"""Newest version known. A greater one makes upstream's server refuse the database, so we never write one."""
