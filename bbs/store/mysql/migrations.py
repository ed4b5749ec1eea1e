"""From any schema that upstream's server has left on MySQL to the present one, step by step (spec: mysql.md §3.2).

No step can be undone, and any may have been begun before. So each statement either may be repeated as it is, or comes with
the errors that say that it has been done already.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bbs.store.crypto import CannotDecrypt, Keyring
from bbs.store.migrations import lifted_metric_tags
from bbs.store.mysql.errors import DUPLICATE_COLUMN, number
from bbs.store.mysql.literals import literal
from bbs.store.mysql.session import Session

STEP_S: Final = 3600.0
"""Longest time for one statement, in seconds: a table of any size is rewritten in less."""

ORIGINAL_TABLES: Final = (
    "DROP TABLE IF EXISTS domains",
    "DROP TABLE IF EXISTS tasks",
    "DROP TABLE IF EXISTS desired_lrps",
    "DROP TABLE IF EXISTS actual_lrps",
    """
CREATE TABLE domains (
  domain varchar(255) PRIMARY KEY,
  expire_time bigint DEFAULT 0,
  INDEX domains_expire_time_idx (expire_time)
) {options}""",
    """
CREATE TABLE desired_lrps (
  process_guid varchar(255) PRIMARY KEY,
  domain varchar(255) NOT NULL,
  log_guid varchar(255) NOT NULL,
  annotation mediumtext,
  instances int NOT NULL,
  memory_mb int NOT NULL,
  disk_mb int NOT NULL,
  rootfs varchar(255) NOT NULL,
  routes mediumtext NOT NULL,
  volume_placement mediumtext NOT NULL,
  modification_tag_epoch varchar(255) NOT NULL,
  modification_tag_index int,
  run_info mediumtext NOT NULL,
  INDEX desired_lrps_domain_idx (domain)
) {options}""",
    """
CREATE TABLE actual_lrps (
  process_guid varchar(255) NOT NULL,
  instance_index int NOT NULL,
  evacuating bool NOT NULL DEFAULT false,
  domain varchar(255) NOT NULL,
  state varchar(255) NOT NULL,
  instance_guid varchar(255) NOT NULL DEFAULT '',
  cell_id varchar(255) NOT NULL DEFAULT '',
  placement_error varchar(255) NOT NULL DEFAULT '',
  since bigint DEFAULT 0,
  net_info mediumtext NOT NULL,
  modification_tag_epoch varchar(255) NOT NULL,
  modification_tag_index int,
  crash_count int NOT NULL DEFAULT 0,
  crash_reason varchar(255) NOT NULL DEFAULT '',
  expire_time bigint DEFAULT 0,
  PRIMARY KEY (process_guid, instance_index, evacuating),
  INDEX actual_lrps_domain_idx (domain),
  INDEX actual_lrps_cell_id_idx (cell_id),
  INDEX actual_lrps_since_idx (since),
  INDEX actual_lrps_state_idx (state),
  INDEX actual_lrps_expire_time_idx (expire_time)
) {options}""",
    """
CREATE TABLE tasks (
  guid varchar(255) PRIMARY KEY,
  domain varchar(255) NOT NULL,
  updated_at bigint DEFAULT 0,
  created_at bigint DEFAULT 0,
  first_completed_at bigint DEFAULT 0,
  state int,
  cell_id varchar(255) NOT NULL DEFAULT '',
  result mediumtext,
  failed bool DEFAULT false,
  failure_reason varchar(255) NOT NULL DEFAULT '',
  task_definition mediumtext NOT NULL,
  INDEX tasks_domain_idx (domain),
  INDEX tasks_state_idx (state),
  INDEX tasks_cell_id_idx (cell_id),
  INDEX tasks_updated_at_idx (updated_at),
  INDEX tasks_created_at_idx (created_at),
  INDEX tasks_first_completed_at_idx (first_completed_at)
) {options}""",
)

PRESENCE: Final = (
    "ALTER TABLE actual_lrps ADD COLUMN presence int NOT NULL DEFAULT 0",
    "UPDATE actual_lrps SET presence = 1 WHERE evacuating = 1",
    "ALTER TABLE actual_lrps DROP PRIMARY KEY, ADD PRIMARY KEY (process_guid, instance_index, presence)",
)

ROUTABLE: Final = (
    "ALTER TABLE actual_lrps ADD COLUMN routable bool DEFAULT false",
    "UPDATE actual_lrps SET routable = 1 WHERE state = 'RUNNING'",
)

HEALTH_CHECK: Final = """
CREATE TABLE IF NOT EXISTS bbs_health_check (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  time bigint NOT NULL
) {options}"""

Change = Callable[[Session, Keyring], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: statements, of which ADD COLUMN may meet its column, and then a function where keys are needed.

    ``{options}`` in a statement stands for a new table's engine and collation.
    """

    version: int
    statements: tuple[str, ...] = ()
    change: Change | None = None

    async def run(self, session: Session, keyring: Keyring, options: str) -> None:
        for statement in self.statements:
            try:
                await session.fetch(statement.replace("{options}", options), within_s=STEP_S)
            except Exception as error:
                if number(error) != DUPLICATE_COLUMN:
                    raise
        if self.change is not None:
            await self.change(session, keyring)


async def seal_routes(session: Session, keyring: Keyring) -> None:
    """Encrypt routes, which were plain JSON before this version. Those that are sealed already stay as they are."""
    rows = await session.fetch("SELECT process_guid, routes FROM desired_lrps", within_s=STEP_S)
    for process_guid, routes in rows:
        if not _is_sealed(routes, keyring):
            await _set(session, "routes", process_guid, keyring.seal(routes.encode()))


async def lift_metric_tags(session: Session, keyring: Keyring) -> None:
    """Copy metric tags from the run info, where they were before this version, into their column where that is empty: newer
    run infos have none in them. Where the run info can't be read the column stays NULL.
    """
    rows = await session.fetch(
        "SELECT process_guid, run_info FROM desired_lrps WHERE metric_tags IS NULL", within_s=STEP_S
    )
    for process_guid, run_info in rows:
        tags = lifted_metric_tags(run_info, keyring)
        if tags is not None:
            await _set(session, "metric_tags", process_guid, tags)


def _is_sealed(text: str, keyring: Keyring) -> bool:
    try:
        keyring.open(text)
    except CannotDecrypt:
        return False
    return True


async def _set(session: Session, column: str, process_guid: str, value: str) -> None:
    await session.fetch(
        f"UPDATE desired_lrps SET {column} = {literal(value)} WHERE process_guid = {literal(process_guid)}"
    )


def _add(table: str, column: str) -> tuple[str, ...]:
    return (f"ALTER TABLE {table} ADD COLUMN {column}",)


def _modify(table: str, kind: str, *columns: str) -> tuple[str, ...]:
    return (f"ALTER TABLE {table} {', '.join(f'MODIFY {column} {kind}' for column in columns)}",)


def _texts(kind: str) -> tuple[str, ...]:
    """Give the large columns a type of text."""
    return (
        f"ALTER TABLE desired_lrps MODIFY annotation {kind}, MODIFY routes {kind} NOT NULL,"
        f" MODIFY volume_placement {kind} NOT NULL, MODIFY run_info {kind} NOT NULL",
        f"ALTER TABLE actual_lrps MODIFY net_info {kind} NOT NULL",
        f"ALTER TABLE tasks MODIFY result {kind}, MODIFY task_definition {kind} NOT NULL",
    )


REASON: Final = "varchar(1024) NOT NULL DEFAULT ''"

MIGRATIONS: Final = (
    Migration(1461790966, ORIGINAL_TABLES),
    Migration(1471030898, _texts("mediumtext")),
    Migration(1472757022, _add("desired_lrps", "placement_tags text")),
    Migration(1474908092, _modify("actual_lrps", REASON, "crash_reason", "placement_error")),
    Migration(1474993971, change=seal_routes),
    Migration(1481761088, _add("desired_lrps", "max_pids int DEFAULT 0")),
    Migration(1502289152, _modify("desired_lrps", REASON, "rootfs")),
    Migration(1522700600, _add("tasks", "rejection_count int NOT NULL DEFAULT 0")),
    Migration(1523050077, _add("tasks", "rejection_reason varchar(255) NOT NULL DEFAULT ''")),
    Migration(1528928964, _modify("tasks", REASON, "rejection_reason", "failure_reason")),
    Migration(1529530809, PRESENCE),
    Migration(1643660541, _add("actual_lrps", "internal_routes mediumtext")),
    Migration(1674146125, _texts("longtext")),
    Migration(1676360874, _add("actual_lrps", "metric_tags mediumtext")),
    Migration(1686692176, ROUTABLE),
    Migration(1698182853, _add("actual_lrps", "availability_zone varchar(255) NOT NULL DEFAULT ''")),
    Migration(1722634733, _add("desired_lrps", "metric_tags mediumtext"), lift_metric_tags),
    Migration(1764949919, (HEALTH_CHECK,)),
    Migration(1772581987, _add("desired_lrps", "update_strategy int NOT NULL DEFAULT 0")),
)
