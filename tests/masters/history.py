"""What was really committed, by whom and in which order: the database itself keeps the history.

Triggers note each row that is written in a table of their own, within the transaction that writes it. So a change is in
the history if and only if it was committed. Each session says by its ``application_name`` which launch of which server it
belongs to. With each row stands what its transaction saw: if the next one saw the one before, that had been committed by
then, and the two did not overlap.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import asyncpg
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.foreign_changes import Snapshot
from bbs.store.postgres_audit import parsed

TABLES = ("desired_lrps", "actual_lrps", "tasks", "domains")

_INSTALL = """
CREATE TABLE write_history (
  number bigserial PRIMARY KEY,
  launch text NOT NULL DEFAULT current_setting('application_name'),
  transaction bigint NOT NULL DEFAULT txid_current(),
  snapshot text NOT NULL DEFAULT txid_current_snapshot()::text,
  relation text NOT NULL,
  operation text NOT NULL,
  key text NOT NULL,
  annotation text
);
CREATE FUNCTION note_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  written jsonb;
BEGIN
  IF TG_OP = 'DELETE' THEN written := to_jsonb(OLD); ELSE written := to_jsonb(NEW); END IF;
  INSERT INTO write_history (relation, operation, key, annotation) VALUES (
    TG_TABLE_NAME, TG_OP,
    COALESCE(written->>'process_guid', written->>'guid', written->>'domain'), written->>'annotation'
  );
  RETURN NULL;
END $$;
""" + "\n".join(
    f"CREATE TRIGGER note_write AFTER INSERT OR UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION note_write();"
    for table in TABLES
)


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was written: ``INSERT``, ``UPDATE`` or ``DELETE``. Only DesiredLRPs have an annotation."""

    table: str
    operation: str
    key: str
    annotation: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A transaction that was committed, and what it saw when it wrote its first row."""

    launch: str
    transaction: int
    snapshot: Snapshot
    changes: tuple[Change, ...]


def reigns(batches: Sequence[Batch]) -> list[str]:
    """The launches that wrote, in their order.

    ``batches`` are in the order of their first rows. Fails if two overlap, or if a launch wrote again after another one.
    """
    for before, after in pairwise(batches):
        assert after.snapshot.shows(before.transaction), (
            f"{after.launch} wrote in {after.transaction} before {before.launch} had committed {before.transaction}"
        )
    found = [launch for launch, _ in groupby(batch.launch for batch in batches)]
    assert len(found) == len(set(found)), f"a process wrote again after another one: {found}"
    return found


def must_be_in_order(reigns: Sequence[str], grants: Sequence[str]) -> None:
    """Launches wrote in the order in which Locket gave them the lock; not everyone who had it need have written."""
    rest = iter(grants)
    for launch in reigns:
        assert launch in rest, f"{reigns} wrote, and the lock was given to {grants}"


class Database:
    """One connection for the test's own questions. Use it inside `open_database`."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection

    async def fetch(self, statement: str, *parameters: object) -> list[Any]:
        rows: list[Any] = await aio_as_trio(self._connection.fetch)(statement, *parameters)
        return rows

    async def keep_history(self) -> None:
        """From now on. The tables must be there."""
        await aio_as_trio(self._connection.execute)(_INSTALL)

    async def history(self) -> list[Batch]:
        """All that was committed, in the order of each transaction's first row."""
        rows = await self.fetch("SELECT * FROM write_history ORDER BY number")
        by_transaction: dict[int, list[Any]] = {}
        for row in rows:
            by_transaction.setdefault(row["transaction"], []).append(row)
        return [
            Batch(
                some[0]["launch"],
                transaction,
                parsed(some[0]["snapshot"]),
                tuple(
                    Change(row["relation"], row["operation"], row["key"], row["annotation"]) for row in some
                ),
            )
            for transaction, some in by_transaction.items()
        ]

    @asynccontextmanager
    async def writes_held_up(self) -> AsyncIterator[None]:
        """No change of a DesiredLRP can go on until the block ends: its transaction waits in the middle."""
        transaction = self._connection.transaction()
        await aio_as_trio(transaction.start)()
        await self.fetch("LOCK TABLE desired_lrps IN SHARE MODE")
        try:
            yield
        finally:
            await aio_as_trio(transaction.rollback)()

    async def is_held_up(self, launch: str) -> bool:
        """Whether a write of that launch waits for `writes_held_up`."""
        rows = await self.fetch(
            "SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
            " AND wait_event = 'relation'",
            launch,
        )
        return bool(rows)

    async def end_sessions(self, launch: str) -> None:
        await self.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", launch
        )


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    async with open_asyncio_loop(null_logger()):
        connection = await aio_as_trio(asyncpg.connect)(url)
        try:
            yield Database(connection)
        finally:
            await aio_as_trio(connection.close)()
