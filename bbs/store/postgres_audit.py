"""What an audit asks the database, on a connection of its own: who else has written, and what is there.

Nothing here needs the writer lock, and nothing is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import asyncpg

from bbs.models.outcome import Record
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.dsn import DSN
from bbs.store.side_connection import SideConnection
from bbs.store.statements import audit_statement, page_statement

LOW_32_BITS: Final = 0xFFFF_FFFF
"""A row's ``xmin`` holds only these bits of the id of the transaction that wrote it; ids themselves have 64. So ids are cut
down before they are compared with rows. That is safe because an audit compares only what is a few minutes old, and the lower
bits come around again after four billion transactions; Postgres' ``age`` takes that turn into account."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions can be seen: all before ``oldest``, none from ``next_`` on, and not those ``running``."""

    oldest: int
    next_: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From Postgres' form, ``10:20:10,14,15``."""
        oldest, next_, running = text.split(":")
        return cls(
            int(oldest), int(next_), frozenset(map(int, running.split(","))) if running else frozenset()
        )

    def shows(self, transaction: int) -> bool:
        return transaction < self.oldest or (transaction < self.next_ and transaction not in self.running)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A row that none of our transactions has written: its key columns, and the transaction's lower 32 bits."""

    record_class: type[Record]
    key: Values
    version: int


@dataclass(frozen=True, slots=True)
class Look:
    """All tables at one moment: how many rows each has, and those that somebody else has written."""

    snapshot: Snapshot
    counts: Mapping[type[Record], int]
    foreign: tuple[Foreign, ...]


class PostgresAudit:
    """Raises `BackendUnavailable` or `StatementRejected` from every call; the next one connects anew.

    ``statement_s`` and ``connect_s`` bound a statement and an attempt to connect, in seconds.
    """

    def __init__(self, dsn: DSN, *, statement_s: float = 10.0, connect_s: float = 5.0) -> None:
        self._connection = SideConnection(dsn, connect_s=connect_s, statement_s=statement_s)

    async def now(self) -> int:
        """The oldest transaction that somebody may still be writing in. What is read later has all before it."""
        return (await self._connection.run(_snapshot)).oldest

    async def look(self, *, since: int, ours: Sequence[int]) -> Look:
        """Look for rows written since transaction ``since`` by none of ``ours``."""
        return await self._connection.run(_look, since & LOW_32_BITS, [each & LOW_32_BITS for each in ours])

    async def page(
        self, record_class: type[Record], *, after: Values, rows: int, whole: bool
    ) -> list[Sequence[Any]]:
        """At most ``rows`` rows behind the key ``after`` (``()``: from the first), in the order of keys. Each has all its
        columns if ``whole``, else those of its key, and its version as the last value.
        """
        statement = page_statement(CODECS[record_class], first=not after, whole=whole)
        page: list[Sequence[Any]] = await self._connection.run(_fetch, statement, *after, rows)
        return page

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        await self._connection.aclose()


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
    return Snapshot.parse(await connection.fetchval("SELECT txid_current_snapshot()::text"))


async def _fetch(connection: "asyncpg.Connection[Any]", statement: str, *parameters: object) -> list[Any]:
    return await connection.fetch(statement, *parameters)
