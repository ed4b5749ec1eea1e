"""What the backends on SQL databases have in common: rows are gathered for a batch, loaded, read back and dropped.

How a session is opened, who may write, and what a batch looks like differ from one kind of database to the other, and are in
`bbs.store.postgres` and `bbs.store.mysql.backend`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import trio
from trio_asyncio import aio_as_trio

from bbs.concurrency.turns import sliced
from bbs.models.outcome import Record, Row, RowKey
from bbs.store.backend import DroppedRow, ReadBack, Seen, row_key
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec, Policy, Undecodable
from bbs.store.codecs.columns import Values
from bbs.store.crossing import Crossing, Run
from bbs.store.crypto import Keyring
from bbs.store.key_check import check_keys
from bbs.store.query_statistics import QueryStatistics
from bbs.store.statements import TableWrite
from bbs.store.unseen import SLICE_ROWS, Reading, unseen

CLOSE_S: Final = 2.0


class SQLBackend(ABC):
    """Most of a `bbs.store.database.WriterBackend`. ``meaning`` and ``run`` are for its `Crossing`."""

    def __init__(
        self,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None],
        meaning: Callable[[Exception | asyncio.CancelledError], Exception],
        run: Run | None = None,
    ) -> None:
        self._keyring = keyring
        self._on_dropped = on_dropped
        self._connects = 0
        self._server_version = ""
        self._cross = Crossing(meaning=meaning, abandon=self._abandon_session, run=run)
        self._on_session_lost: Callable[[], None] = lambda: None

    # What follows runs under Trio, up to the next such line.

    async def prepare(self) -> None:
        await self._cross(self._prepare)

    async def stored_key_label(self) -> str:
        return await self._cross(self._stored_key_label)

    def fence(self, reason: str) -> None:
        self._cross.fence(reason)

    def watch_session(self, on_lost: Callable[[], None]) -> None:
        self._on_session_lost = on_lost

    async def load(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        async def fetch(statement: str) -> list[Any]:
            return await self._cross(self._fetch, statement)

        await check_keys(fetch, self._keyring)
        seen.read_on(await self._cross(self._server_identity))
        async with aclosing(unseen(self._reading(), self._keyring, seen)) as slices:
            async for codec, rows, undecodable in slices:
                yield rows
                await self._drop(codec, undecodable)
                await trio.lowlevel.checkpoint()

    async def write(self, rows: Sequence[Row]) -> int:
        values: defaultdict[TableWrite, list[Values]] = defaultdict(list)
        for number, some in enumerate(sliced(rows, SLICE_ROWS)):
            if number:
                await trio.lowlevel.checkpoint()
            for (record_class, key), record in some:
                codec = CODECS[record_class]
                if record is None:
                    values[TableWrite(codec, deletes=True)].append(codec.key_values(key))
                else:
                    values[TableWrite(codec, deletes=False)].append(codec.encode(record, self._keyring))
        return await self._cross(self._run, values)

    async def read(self, keys: Sequence[RowKey]) -> ReadBack:
        wanted: defaultdict[type[Record], list[RowKey]] = defaultdict(list)
        for key in keys:
            wanted[key.table].append(key)
        found: dict[RowKey, Row] = {key: Row(key, None) for key in keys}
        left_out: list[RowKey] = []
        for record_class, of_class in wanted.items():
            codec = CODECS[record_class]
            stored = await self._reading().rows(codec, [codec.key_values(key.key) for key in of_class])()
            rows, undecodable = codec.decode_rows([row[:-1] for row in stored], self._keyring)
            found |= {row.key: row for row in rows}
            left_out += [
                row_key(record_class, error.key) for error in undecodable if error.policy is Policy.LEAVE_OUT
            ]
            await self._drop(codec, undecodable)
        return ReadBack(list(found.values()), left_out)

    async def aclose(self) -> None:
        self._cross.close()
        with trio.move_on_after(CLOSE_S, shield=True):
            await aio_as_trio(self._close)()

    @property
    def server_version(self) -> str:
        """Name and version of the server, such as ``PostgreSQL 18.0``, as it was at the last connection; '' before any."""
        return self._server_version

    @property
    def connects(self) -> int:
        """Sessions opened since the start."""
        return self._connects

    def query_statistics(self) -> QueryStatistics:
        """Counts and durations of calls to the database. The maxima are since the last call of this."""
        return self._cross.queries.take(open_connections=int(self._is_connected()))

    async def _drop(self, codec: Codec, undecodable: Sequence[Undecodable]) -> None:
        doomed = [error.key for error in undecodable if error.policy is Policy.DELETE]
        if doomed:
            await self._cross(self._run, {TableWrite(codec, deletes=True): doomed})
        for error in undecodable:
            deleted = error.policy is Policy.DELETE
            self._on_dropped(
                DroppedRow(table=codec.table, key=error.key, reason=error.reason, deleted=deleted)
            )

    @abstractmethod
    def _reading(self) -> Reading:
        """Reads rows in the writer's session."""

    @abstractmethod
    def _abandon_session(self) -> None:
        """End the session without a word to the server, if there is one."""

    @abstractmethod
    def _is_connected(self) -> bool: ...

    # What follows runs under asyncio.

    @abstractmethod
    async def _prepare(self) -> None: ...

    @abstractmethod
    async def _stored_key_label(self) -> str: ...

    @abstractmethod
    async def _server_identity(self) -> str:
        """As `Seen.read_on` wants it."""

    @abstractmethod
    async def _fetch(self, statement: str) -> list[Any]:
        """The rows of a statement, in the writer's session."""

    @abstractmethod
    async def _run(self, values: Mapping[TableWrite, Sequence[Values]]) -> int:
        """Write all that is given, or none, in one transaction, whose number is returned."""

    @abstractmethod
    async def _close(self) -> None:
        """End the session in good manners."""


def in_order(
    values: Mapping[TableWrite, Sequence[Values]],
) -> list[tuple[TableWrite, Sequence[Values]]]:
    """Always the same order of the same writes, so that equal batches are equal statements."""
    return sorted(values.items(), key=lambda item: (item[0].codec.table, item[0].deletes))
