"""The store's database on MySQL: one session writes, and a row of ``configurations`` says whose it is.

One writer. Whoever becomes master writes a random token into ``configurations`` and reads the tables afterwards. Each batch
is one transaction that begins by changing the row of that token, and fails if the token is another's
(`bbs.store.mysql.statements.fence`). So every batch of a former master has either been committed before the new token was
written, and is read by the new master, or finds the token gone and is never committed:

- On one server the two changes of the row wait for each other, and in READ COMMITTED the later one sees the earlier one.
- On a Galera cluster with the two masters on two nodes, both changes are part of what the nodes compare before a commit.
  Of two that are under way at once the second to be ordered is refused on every node. A node commits in that order, so
  whoever has committed the token has everything that was ordered before.

``GET_LOCK`` proves nothing behind a proxy and is refused by Galera clusters. Where it works it is taken as well: by it a
process without Locket waits for its turn, and a new master finds the session of the old one, to end it if it still holds
the row.

Rows have no versions here that could be asked for, so a standby can't read ahead: it loads when it becomes master.
"""

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio
from asyncmy.errors import MySQLError

from bbs.concurrency.turns import sliced
from bbs.models.errors import ResourceExists, UnknownError
from bbs.models.outcome import Row
from bbs.store.backend import (
    DroppedRow,
    Seen,
    StatementRejected,
    WriterLockLost,
)
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import Values
from bbs.store.crypto import Keyring
from bbs.store.mysql import schema
from bbs.store.mysql.chunks import chunks
from bbs.store.mysql.dsn import MySQLDSN
from bbs.store.mysql.errors import (
    LOCK_WAIT_TIMEOUT,
    NO_SUCH_THREAD,
    NULL_IN_A_KEY,
    StatementFailed,
    bbs_error,
    is_answer,
    meaning,
    number,
)
from bbs.store.mysql.literals import row
from bbs.store.mysql.rows import with_booleans
from bbs.store.mysql.session import Session
from bbs.store.mysql.statements import (
    FENCE_CHECK,
    WRITER_TOKEN_ID,
    booleans,
    delete_statement,
    fence,
    is_of,
    page_statement,
    put_statements,
    rows_statement,
    token_value,
)
from bbs.store.schema import KEY_LABEL_ID, OnMigration, SchemaError
from bbs.store.sql_backend import SQLBackend, in_order
from bbs.store.statements import TableWrite
from bbs.store.unseen import SLICE_ROWS, Coming, Reading

RECONNECT_POLL_S: Final = 0.05
"""Pause between attempts to take the writer's row from a session that was told to end, which needs a moment."""

_LOCK_NAME: Final = "CONCAT('bbs_writer ', MD5(DATABASE()))"
"""Named locks are the server's, so the name has the database in it; it may have 64 characters."""

STATEMENT_MARGIN_BYTES: Final = 4_096
"""How far below ``max_allowed_packet`` a text stays: room for the statements around the rows."""


class MySQLBackend(SQLBackend):
    """A `bbs.store.database.WriterBackend` on MySQL or MariaDB.

    ``statement_s`` bounds every crossing and ``connect_s`` every attempt to connect, both in seconds. A process that waits
    for the writer lock asks for it every ``lock_poll_s``. ``on_dropped`` hears of every row that a load leaves out,
    ``on_migration`` of every step to the present schema.
    """

    def __init__(
        self,
        dsn: MySQLDSN,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None],
        on_migration: OnMigration = lambda action, data: None,
        statement_s: float = 10.0,
        connect_s: float = 5.0,
        lock_poll_s: float = 0.5,
    ) -> None:
        super().__init__(keyring, on_dropped=on_dropped, meaning=meaning)
        self._dsn = dsn
        self._on_migration = on_migration
        self._statement_s = statement_s
        self._connect_s = connect_s
        self._lock_poll_s = lock_poll_s
        self._token: Final = str(uuid.uuid4())
        self._transaction = 0
        self._is_writer = False
        """The token was written. Whether it is still there is seen when the next session is opened, and by every batch."""
        self._bytewise: frozenset[str] = frozenset()
        """Tables whose keys are equal only if their bytes are."""
        self._session: Session | None = None
        self._writer_session_id: int | None = None

    # What follows runs under Trio, up to the next such line.

    async def acquire_writer_lock(self) -> None:
        while True:
            if await self._cross(self._try_to_become_writer):
                return
            await trio.sleep(self._lock_poll_s)

    async def take_writer_lock(self) -> None:
        """As `acquire_writer_lock`, for a process that Locket says is master: it waits for nobody. The session of whoever
        still holds the lock is ended, and from then on no batch of that process can be committed.
        """
        while True:
            if await self._cross(self._take):
                return
            await trio.sleep(RECONNECT_POLL_S)

    async def record_key_label(self) -> None:
        label = schema.configuration_statement(KEY_LABEL_ID, self._keyring.active_label)
        await self._cross(self._commit, [[label]])

    async def hold(self) -> None:
        async def ask() -> None:
            await self._must_be_ours(await self._writer())

        await self._cross(ask)

    async def end_of_log(self) -> None:
        """There is no log that anybody here could follow."""

    async def follow(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        """Nothing: what has changed can't be asked for, so a standby reads when it becomes master."""
        for rows in seen.forget():
            yield rows

    @property
    def token(self) -> None:
        """Nobody follows the log of a MySQL server."""
        return None

    def _reading(self) -> Reading:
        return _Reading(partial(self._cross.begin, self._fetch_rows), self._bytewise)

    def _abandon_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.terminate()

    def _session_ended(self, session: Session) -> None:
        """A session that we ended ourselves is not `_session` any more, so it does not count as lost."""
        if session is self._session and self._is_writer and not self._cross.is_closed:
            self._on_session_lost()

    def _is_connected(self) -> bool:
        return self._session is not None and not self._session.is_closed()

    # What follows runs under asyncio.

    async def _connected(self) -> Session:
        if self._session is not None and not self._session.is_closed():
            return self._session
        self._abandon_session()
        self._session = session = await Session.open(
            self._dsn, connect_s=self._connect_s, statement_s=self._statement_s
        )
        session.on_end(lambda: self._session_ended(session))
        self._connects += 1
        self._server_version = session.version if "MariaDB" in session.version else f"MySQL {session.version}"
        return session

    async def _prepare(self) -> None:
        await schema.ensure_configurations(await self._connected())

    async def _server_identity(self) -> str:
        return ""  # rows have no versions that could mean something else elsewhere

    async def _stored_key_label(self) -> str:
        return await schema.stored_key_label(await self._writer())

    async def _writer(self) -> Session:
        """A session, whose owner was the writer when it was opened.

        Raises:
          WriterLockLost: another process has become the writer.
        """
        assert self._is_writer, "acquire_writer_lock comes first"
        if self._session is not None and not self._session.is_closed():
            return self._session
        session = await self._connected()
        await self._end_session(self._writer_session_id)
        await self._must_be_ours(session)
        await _try_lock(session)
        self._writer_session_id = session.id
        return session

    async def _must_be_ours(self, session: Session) -> None:
        value = await schema.configured(session, WRITER_TOKEN_ID)
        if not is_of(value or "", self._token):
            raise WriterLockLost("another process has become the writer")

    async def _try_to_become_writer(self) -> bool:
        """Become the writer, unless another session has the named lock.

        Raises:
          SchemaError: the server has no such locks, so that nobody can wait for his turn.
          WriterLockLost: we were, and another process has been since.
        """
        if self._is_writer:
            await self._writer()
            return True
        session = await self._connected()
        is_ours = await _try_lock(session)
        if is_ours is None:
            raise SchemaError(
                "this database has no GET_LOCK (it is a cluster of several servers), so two processes could not know of each"
                " other: run bbs -config FILE with Locket, which says who is master"
            )
        if is_ours:
            await schema.ensure_configurations(session)
            await self._claim(session)
            await self._make_ready(session)
        return is_ours

    async def _take(self) -> bool:
        session = await self._connected()
        await schema.ensure_configurations(session)
        try:
            await self._claim(session)
        except MySQLError as error:
            if number(error) != LOCK_WAIT_TIMEOUT:
                raise
            # A transaction of the former master has the row and does not end.
            await self._end_session(await _holder(session))
            return False
        # Only now, so that the former master, which notices at once that its session was ended, finds another's token and
        # stops, and does not take the lock again.
        if await _try_lock(session) is False:
            await self._end_session(await _holder(session))
        await self._make_ready(session)
        return True

    async def _claim(self, session: Session) -> None:
        """Say that this process is the writer: from here on no batch of another one can be committed."""
        self._transaction = 0
        await schema.configure(session, WRITER_TOKEN_ID, token_value(self._token, 0))

    async def _make_ready(self, session: Session) -> None:
        await schema.migrate(session, self._keyring, tell=self._on_migration)
        self._bytewise = await schema.bytewise_tables(session)
        self._writer_session_id = session.id
        self._is_writer = True

    async def _fetch(self, statement: str) -> list[Any]:
        return await (await self._writer()).fetch(statement)

    async def _fetch_rows(self, statement: str, booleans: Sequence[int]) -> list[Any]:
        rows = await self._fetch(statement)
        return [with_booleans(row, booleans) for row in rows] if booleans else rows

    async def _run(self, values: Mapping[TableWrite, Sequence[Values]]) -> int:
        if not values:
            return self._transaction
        bytes_max = self._bytes_max(await self._writer())
        groups: list[list[str]] = []
        for write, rows in in_order(values):
            bytewise = write.codec.table in self._bytewise
            if write.deletes:
                groups += (
                    [delete_statement(write, some, bytewise=bytewise)] for some in sliced(rows, SLICE_ROWS)
                )
                continue
            texts = list(map(row, rows))
            _must_fit(max(texts, key=len), bytes_max)
            begin = 0
            for some in chunks(texts, bytes_max):
                keys = [each[: write.codec.key_columns] for each in rows[begin : begin + len(some)]]
                groups.append(put_statements(write, some, keys, bytewise=bytewise))
                begin += len(some)
        return await self._commit(groups)

    async def _commit(self, groups: Sequence[Sequence[str]]) -> int:
        """One transaction, in one crossing if it fits. Only the second statement of a group fails for NULL in a key."""
        session = await self._writer()
        self._transaction += 1
        texts = [*fence(self._token, self._transaction)]
        first_statements: set[int] = set()
        for group in groups:
            first_statements.add(len(texts))
            texts += group
        texts.append("COMMIT")
        done = 0
        try:
            for some in chunks(texts, self._bytes_max(session)):
                await session.run(some)
                done += len(some)
        except StatementFailed as failed:
            cause = failed.error
            if not is_answer(cause):
                raise
            await session.fetch("ROLLBACK")
            index = done + failed.index
            if number(cause) != NULL_IN_A_KEY or index in first_statements:
                raise StatementRejected(bbs_error(cause)) from cause
            if index == FENCE_CHECK:
                raise WriterLockLost("another process has become the writer") from None
            raise StatementRejected(ResourceExists()) from None
        return self._transaction

    @staticmethod
    def _bytes_max(session: Session) -> int:
        return session.packet_bytes_max - STATEMENT_MARGIN_BYTES

    async def _end_session(self, session_id: int | None) -> None:
        """End the session of that number, if it holds the named lock. Numbers of sessions come again after a restart of the
        server, and are another server's behind a proxy, but that lock only writers take.
        """
        session = await self._connected()
        if session_id is None or session_id == session.id or await _holder(session) != session_id:
            return
        try:
            await session.fetch(f"KILL {session_id}")
        except MySQLError as error:
            if number(error) != NO_SUCH_THREAD:
                raise

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is None or session.is_closed():
            return
        try:
            await session.close()
        except Exception:
            # Whatever the driver stumbled over, the end of the session is all that is still wanted of it.
            session.terminate()


@dataclass(frozen=True, slots=True)
class _Reading:
    """A `bbs.store.unseen.Reading` by ``begin``, which begins a statement, given the positions of booleans in its rows."""

    begin: Callable[..., Coming]
    bytewise: frozenset[str]

    def page(self, codec: Codec, after: Values, rows: int, *, whole: bool) -> Coming:
        return self.begin(page_statement(codec, after, rows, whole=whole), booleans(codec, whole=whole))

    def rows(self, codec: Codec, keys: Sequence[Values]) -> Coming:
        return self.begin(rows_statement(codec, keys, bytewise=codec.table in self.bytewise), booleans(codec))


async def _try_lock(session: Session) -> bool | None:
    """Take the named lock of this database; whether that worked. ``None``: this server has no such locks, or each server of
    its cluster has its own.
    """
    for _, value in await session.fetch("SHOW VARIABLES LIKE 'wsrep_on'"):
        if value == "ON":
            return None
    try:
        return bool(await session.value(f"SELECT GET_LOCK({_LOCK_NAME}, 0)"))
    except MySQLError as error:
        if is_answer(error):
            return None
        raise


async def _holder(session: Session) -> int | None:
    """The number of the session that holds the named lock."""
    try:
        holder: int | None = await session.value(f"SELECT IS_USED_LOCK({_LOCK_NAME})")
    except MySQLError as error:
        if is_answer(error):
            return None
        raise
    return holder


def _must_fit(text: str, bytes_max: int) -> None:
    """Refuse a row that is too large for the server, which would cut the connection off without a word."""
    size = len(text.encode())
    if size > bytes_max:
        raise StatementRejected(
            UnknownError(
                f"a row of {size} bytes is more than the database takes at once; its max_allowed_packet would have to be"
                f" {size + STATEMENT_MARGIN_BYTES} or more"
            )
        )
