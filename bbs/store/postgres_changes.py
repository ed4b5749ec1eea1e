"""The way to follow what is committed to a Postgres: a stream of changes, and the rows as they were when it began."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncpg
import trio
from trio_asyncio import aio_as_trio

from bbs.models.outcome import Row
from bbs.store import schema
from bbs.store.backend import BackendUnavailable, Seen
from bbs.store.changes import ChangeStream, Start, follow_changes
from bbs.store.codecs.codec import Undecodable
from bbs.store.crossing import Crossing
from bbs.store.crypto import Keyring
from bbs.store.driver_errors import meaning
from bbs.store.dsn import DSN
from bbs.store.key_check import check_keys
from bbs.store.postgres import SCHEMA_IS_NOT_OURS, PostgresReading
from bbs.store.primaries import later_primary
from bbs.store.server_identity import server_identity
from bbs.store.unseen import unseen

CONNECT_S: Final = 5.0
STATEMENT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class PostgresChanges:
    """``keyring`` has the keys with which values are sealed."""

    dsn: DSN
    keyring: Keyring

    def stream(self, *, timeline_min: int) -> AbstractAsyncContextManager[ChangeStream]:
        """As `bbs.store.changes.follow_changes`."""
        return follow_changes(self.dsn, timeline_min=timeline_min)

    async def later_primary(self, timeline: int) -> int:
        """Wait until another server of the connection string is the primary on a later timeline; returns that. The one that is
        followed may go on as if nothing had happened, and would have nothing more to tell.
        """
        if not self.dsn.has_standbys:
            await trio.sleep_forever()
        found: int = await aio_as_trio(later_primary)(self.dsn, timeline)
        return found

    def snapshot(self, start: Start, *, on_unreadable: Callable[[Undecodable], None]) -> "PostgresSnapshot":
        """All rows as they were at the start of a stream, until its first transaction is asked for."""
        return PostgresSnapshot(start, self.keyring, on_unreadable=on_unreadable)


class PostgresSnapshot:
    """A `bbs.store.backend.Source` that shows the snapshot with which a stream starts. For one load; close it afterwards.

    ``on_unreadable`` hears of each row that can't be read.
    """

    def __init__(
        self, start: Start, keyring: Keyring, *, on_unreadable: Callable[[Undecodable], None]
    ) -> None:
        self._start = start
        self._keyring = keyring
        self._on_unreadable = on_unreadable
        self._connection: asyncpg.Connection[Any] | None = None
        self._cross = Crossing(meaning=meaning, abandon=self.close)

    async def follow(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        """As `Source.follow`. Raises besides:

        BackendUnavailable: also if the schema is not ours. What was seen is forgotten then.
        KeysDoNotFit: values are sealed with a key that we don't have.
        """
        await self._cross(self._begin)
        if not await self._cross(self._schema_is_ours):
            for rows in seen.forget():
                yield rows
                await trio.lowlevel.checkpoint()
            raise BackendUnavailable(SCHEMA_IS_NOT_OURS)

        async def fetch(statement: str) -> list[Any]:
            return await self._cross(self._fetch, statement)

        await check_keys(fetch, self._keyring)
        seen.read_on(await self._cross(self._server_identity))
        reading = PostgresReading(partial(self._cross.begin, self._fetch))
        async with aclosing(unseen(reading, self._keyring, seen)) as slices:
            async for _, rows, unreadable in slices:
                yield rows
                for each in unreadable:
                    self._on_unreadable(each)
                await trio.lowlevel.checkpoint()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # What follows runs under asyncio.

    async def _begin(self) -> None:
        connection = await self._start.server.open_session(
            timeout_s=CONNECT_S, command_timeout=STATEMENT_S, max_cached_statement_lifetime=0
        )
        self._connection = connection
        # A name of Postgres' making, of digits, letters and dashes. No statement takes it as a parameter.
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute(f"SET TRANSACTION SNAPSHOT '{self._start.snapshot}'")

    async def _schema_is_ours(self) -> bool:
        assert self._connection is not None
        return await schema.is_current(self._connection)

    async def _server_identity(self) -> str:
        assert self._connection is not None
        return await server_identity(self._connection)

    async def _fetch(self, statement: str, *parameters: object) -> list[Any]:
        if self._connection is None:
            raise ConnectionError("the session of the snapshot has ended")
        return await self._connection.fetch(statement, *parameters)
