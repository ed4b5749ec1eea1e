"""What an audit asks the database, on a connection of its own: who else has written, and what is there.

Nothing here needs the writer lock, and nothing is changed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Self, TypeVar

import asyncpg
import trio
from trio_asyncio import aio_as_trio

from bbs.models.outcome import Record
from bbs.store.codec import TABLES, Values
from bbs.store.driver_errors import meaning
from bbs.store.dsn import DSN
from bbs.store.statements import audit_statement, page_statement

CLOSE_S: Final = 1.0
LOW_32_BITS: Final = 0xFFFF_FFFF
"""What a row remembers of the id of the transaction that wrote it."""

T = TypeVar("T")
P = ParamSpec("P")


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
    """Raises `BackendUnavailable` or `BatchRefused` from every call; the next one connects anew.

    ``statement_s`` and ``connect_s`` bound a statement and an attempt to connect, in seconds.
    """

    def __init__(self, dsn: DSN, *, statement_s: float = 10.0, connect_s: float = 5.0) -> None:
        self._dsn = dsn
        self._statement_s = statement_s
        self._connect_s = connect_s
        self._connection: asyncpg.Connection[Any] | None = None

    # What follows runs under Trio, up to the next such line.

    async def now(self) -> int:
        """The oldest transaction that somebody may still be writing in. What is read later has all before it."""
        return (await self._cross(self._snapshot)).oldest

    async def look(self, *, since: int, ours: Sequence[int]) -> Look:
        """Look for rows written since transaction ``since`` by none of ``ours``."""
        return await self._cross(self._look, since & LOW_32_BITS, [each & LOW_32_BITS for each in ours])

    async def page(
        self, record_class: type[Record], *, after: Values, rows: int, whole: bool
    ) -> list[Sequence[Any]]:
        """At most so many ``rows`` after that key, in the order of keys: all columns or only the key's, and a version."""
        statement = page_statement(TABLES[record_class], first=not after, whole=whole)
        page: list[Sequence[Any]] = await self._cross(self._fetch, statement, *after, rows)
        return page

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.move_on_after(CLOSE_S, shield=True):
                try:
                    await aio_as_trio(connection.close)(timeout=CLOSE_S)
                except Exception:
                    # Whatever the driver stumbled over, the end of the session is all that is still wanted of it.
                    connection.terminate()

    async def _cross(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result: T = await aio_as_trio(work)(*args, **kwargs)
        except (Exception, asyncio.CancelledError) as error:
            self._abandon()
            raise meaning(error) from error
        except BaseException:
            self._abandon()
            raise
        return result

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # What follows runs under asyncio.

    async def _connected(self) -> "asyncpg.Connection[Any]":
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._dsn.connect(
                timeout_s=self._connect_s, command_timeout=self._statement_s
            )
        return self._connection

    async def _snapshot(self) -> Snapshot:
        connection = await self._connected()
        return Snapshot.parse(await connection.fetchval("SELECT txid_current_snapshot()::text"))

    async def _fetch(self, statement: str, *parameters: object) -> list[Any]:
        return await (await self._connected()).fetch(statement, *parameters)

    async def _look(self, since: int, ours: list[int]) -> Look:
        connection = await self._connected()
        counts: dict[type[Record], int] = {}
        foreign: list[Foreign] = []
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await self._snapshot()
            for record_class, table in TABLES.items():
                row = await connection.fetchrow(audit_statement(table), since, ours)
                assert row is not None, "an aggregate has one row"
                counts[record_class] = row[0]
                foreign += [Foreign(record_class, tuple(key), version) for *key, version in row[1] or ()]
        return Look(snapshot, counts, tuple(foreign))
