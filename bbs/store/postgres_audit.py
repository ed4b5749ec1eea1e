"""What an audit asks the database, on a connection of its own: who else has written, and what is there.

Nothing here needs the writer lock, and nothing is changed.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg

from bbs.models.outcome import Record
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.dsn import DSN
from bbs.store.foreign_changes import LOW_32_BITS, Foreign, Look, Snapshot
from bbs.store.primaries import Primaries
from bbs.store.statements import audit_statement, page_statement


class PostgresAudit:
    """A `bbs.store.foreign_changes.DatabaseAudit`. ``statement_s`` and ``connect_s`` bound a statement and an attempt to connect,
    in seconds. A server that was the primary before one that ``primaries`` knows is not asked.
    """

    def __init__(
        self, dsn: DSN, primaries: Primaries, *, statement_s: float = 10.0, connect_s: float = 5.0
    ) -> None:
        self.connection = dsn.side_connection(
            connect_s=connect_s, statement_s=statement_s, admit=primaries.admit_beside
        )

    async def now(self) -> int:
        """The oldest transaction that somebody may still be writing in. What is read later has all before it."""
        return (await self.connection.run(_snapshot)).oldest

    async def look(self, *, since: int, ours: Sequence[int]) -> Look:
        """Look for rows written since transaction ``since`` by none of ``ours``."""
        return await self.connection.run(_look, since & LOW_32_BITS, [each & LOW_32_BITS for each in ours])

    async def page(
        self, record_class: type[Record], *, after: Values, rows: int, whole: bool
    ) -> list[Sequence[Any]]:
        """At most ``rows`` rows behind the key ``after`` (``()``: from the first), in the order of keys. Each has all its
        columns if ``whole``, else those of its key, and its version as the last value.
        """
        statement = page_statement(CODECS[record_class], first=not after, whole=whole)
        page: list[Sequence[Any]] = await self.connection.run(_fetch, statement, *after, rows)
        return page

    def leave(self) -> None:
        self.connection.abandon()

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        await self.connection.aclose()


async def _look(connection: "asyncpg.Connection[Any]", since: int, ours: list[int]) -> Look:
    counts: dict[type[Record], int] = {}
    foreign: list[Foreign] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        snapshot = await _snapshot(connection)
        for record_class, codec in CODECS.items():
            row = await connection.fetchrow(audit_statement(codec), since, ours)
            assert row is not None, "an aggregate has one row"
            counts[record_class] = row[0]
            foreign += [Foreign(record_class, tuple(key), version) for *key, version in row[1] or ()]
    return Look(snapshot, counts, tuple(foreign))


async def _snapshot(connection: "asyncpg.Connection[Any]") -> Snapshot:
    return parsed(await connection.fetchval("SELECT txid_current_snapshot()::text"))


async def _fetch(connection: "asyncpg.Connection[Any]", statement: str, *parameters: object) -> list[Any]:
    return await connection.fetch(statement, *parameters)


def parsed(text: str) -> Snapshot:
    """From Postgres' form, ``10:20:10,14,15``."""
    oldest, next_, running = text.split(":")
    return Snapshot(
        int(oldest), int(next_), frozenset(map(int, running.split(","))) if running else frozenset()
    )
