"""The store's database: one connection to Postgres that holds the writer lock, and every write goes through it.

asyncpg runs on asyncio and the server on Trio, so whoever uses this must be inside ``async with
open_asyncio_loop(log):`` (`bbs.store.asyncio_loop`; one serves the whole process). A batch crosses over once.

One writer. The connection holds a session advisory lock (`WRITER_LOCK`), so no other process' statement can run
between ours, nor can our own: after a broken connection the lock is free only when the server has finished or undone
whatever it was still doing for us, and so a batch that is sent again never overtakes its first self. Whoever takes the
lock for the first time writes a random token into ``configurations`` (upstream's server ignores the row). After a
reconnect the token must still be there. If it is not, somebody else was master for a while and our memory is worthless.
To hold the lock again proves nothing about the time in between: without the token a process whose connection was broken
for a minute would go on with rows that another master has changed since, and overwrite them.

A commit is good when Postgres says so; on a cluster with synchronous replication that is when a standby has it. The warning
that it has not makes the commit count as one of which nothing is known. `bbs.store.primaries` is what else is to be known of
clusters, `bbs.store.kept_sessions` why a pooler in transaction mode is turned away.

A server may notice a broken connection late. Two things keep that from holding the lock for hours: the session asks
for TCP keep-alives, and a process that reconnects ends its own former session first.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import asyncpg
import trio

from bbs.models.outcome import Row
from bbs.store import schema
from bbs.store.backend import BackendUnavailable, DroppedRow, LogEnd, Seen, WriterLockLost
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import Values
from bbs.store.commit_tokens import CommitTokens
from bbs.store.crypto import Keyring
from bbs.store.driver_errors import meaning
from bbs.store.dsn import DSN
from bbs.store.kept_sessions import session_must_be_kept
from bbs.store.log_queries import END_OF_LOG, TIMELINE
from bbs.store.positions import position_of
from bbs.store.primaries import Primaries
from bbs.store.server_identity import server_identity
from bbs.store.sql_backend import CLOSE_S, SQLBackend, in_order
from bbs.store.statements import TableWrite, batch_statement, page_statement, rows_statement
from bbs.store.tokens import Token
from bbs.store.unseen import Coming, Reading, unseen

WRITER_LOCK: Final = 0x62627377_72697465
"""Key of the advisory lock: ``bbswrite`` in ASCII."""

WRITER_TOKEN_ID: Final = "bbs_writer"
"""Row of ``configurations`` that says who was the last to take the lock."""

RECONNECT_POLL_S: Final = 0.05
"""Pause between a writer's attempts to get its lock back: a session that was told to end needs a moment."""

SYNCHRONOUS_REPLICATION: Final = "syncrep.c"
"""The part of Postgres that makes a commit wait for a standby. It warns when that wait is broken off (by somebody's
``pg_cancel_backend``, say) and then calls the commit a success, though only this server has it."""

SCHEMA_IS_NOT_OURS: Final = "the tables are not of this version; a master makes them so when it starts"

T = TypeVar("T")
P = ParamSpec("P")

_HOLDER: Final = f"""
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = {WRITER_LOCK >> 32} AND objid = {WRITER_LOCK & 0xFFFFFFFF} AND objsubid = 1"""

_END_OF_LOG: Final = f"SELECT system_identifier, {TIMELINE}, ({END_OF_LOG})::text FROM pg_control_system()"

# A master that lost its machine is found out in 10 + 3 * 5 seconds. No effect on Unix sockets.
_SESSION: Final = """
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false), pg_backend_pid()"""


@dataclass(frozen=True, slots=True)
class PostgresStatistics:
    """``connects`` counts since the start; ``connected``: there is a connection that holds the lock."""

    connects: int
    connected: bool


class PostgresBackend(SQLBackend):
    """A `bbs.store.database.WriterBackend` on Postgres.

    ``statement_s`` bounds every statement and ``connect_s`` every attempt to connect, both in seconds. A standby asks
    for the lock every ``lock_poll_s``; a writer that reconnects gives up after ``lock_wait_s``, for its caller to retry.
    ``on_dropped`` hears of every row that a load leaves out, ``on_migration`` of every step to the present schema. What the
    sessions see of the primaries is noted in ``primaries``, if others want to know.
    """

    def __init__(
        self,
        dsn: DSN,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None],
        on_migration: schema.OnMigration = lambda action, data: None,
        primaries: Primaries | None = None,
        statement_s: float = 10.0,
        connect_s: float = 5.0,
        lock_poll_s: float = 0.5,
        lock_wait_s: float = 5.0,
    ) -> None:
        super().__init__(keyring, on_dropped=on_dropped, meaning=meaning, run=self._while_primary)
        self._dsn = dsn
        self._statement_s = statement_s
        self._connect_s = connect_s
        self._lock_poll_s = lock_poll_s
        self._lock_wait_s = lock_wait_s
        self._token: Final = str(uuid.uuid4())
        self._token_written = False
        self._connection: asyncpg.Connection[Any] | None = None
        self._holds_lock = False
        self._session_pid: int | None = None
        self._locked_session_pid: int | None = None
        self._on_migration = on_migration
        self._primaries = Primaries(dsn) if primaries is None else primaries
        self._is_unreplicated = False
        self._commit_tokens: Final = CommitTokens()

    # What follows runs under Trio, up to the next such line.

    async def acquire_writer_lock(self) -> None:
        while True:
            if await self._cross(self._try_to_become_writer):
                return
            await trio.sleep(self._lock_poll_s)

    async def record_key_label(self) -> None:
        """As `WriterBackend.record_key_label`, on a connection of its own, so that writes go on meanwhile."""
        side = self._dsn.side_connection(
            connect_s=self._connect_s, statement_s=self._statement_s, admit=self._primaries.admit_beside
        )
        try:
            is_writer = await side.run(self._record_key_label)
        finally:
            await side.aclose()
        if not is_writer:
            raise WriterLockLost("another process is the writer")

    async def take_writer_lock(self) -> None:
        """As `acquire_writer_lock`, for a process that Locket says is master: the session of whoever still holds the lock
        is ended. Waits only as long as a session takes to end.
        """
        while not await self._cross(self._try_to_become_writer):
            # The holder notices at once that its session was ended, and would take the lock again before we do, time after
            # time. But it looks for its token when it has the lock, and stops if the token is another's. So ours has to be
            # there before its session ends.
            await self._cross(self._claim)
            await self.end_writer_session()
            await trio.sleep(RECONNECT_POLL_S)

    async def hold(self) -> None:
        # Not only a look at our end of the connection: it may be a while before we hear that the other one is gone.
        await self._cross(self._fetch, "SELECT 1")

    async def follow(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        """As `Source.follow`: for a process that has not taken the writer lock.

        Raises BackendUnavailable, once what was seen is forgotten, as long as the schema is not ours.
        """
        assert not self._holds_lock, "whoever holds the lock loads"

        if await self._cross(self._schema_is_ours):
            seen.read_on(await self._cross(self._server_identity))
            reading = PostgresReading(partial(self._cross.begin, self._fetch_unlocked))
            async with aclosing(unseen(reading, self._keyring, seen)) as slices:
                async for _, rows, _ in slices:
                    yield rows
                    await trio.lowlevel.checkpoint()
        else:
            for rows in seen.forget():
                yield rows
                await trio.lowlevel.checkpoint()
            raise BackendUnavailable(SCHEMA_IS_NOT_OURS)

    async def end_writer_session(self) -> bool:
        """End the session that holds the writer lock, if it is not ours; whether there was one.

        For a process that knows by other means (Locket) that the holder is master no more.

        Raises:
          BackendUnavailable: it is not known whether this happened.
        """
        return await self._cross(self._end_sessions, None)

    async def end_of_log(self) -> LogEnd | None:
        return await self._cross(self._end_of_log)

    def statistics(self) -> PostgresStatistics:
        return PostgresStatistics(
            connects=self._connects, connected=self._is_connected() and self._holds_lock
        )

    @property
    def token(self) -> Token | None:
        return self._commit_tokens.latest

    def _reading(self) -> Reading:
        return PostgresReading(partial(self._cross.begin, self._fetch))

    def _abandon_session(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
        self._holds_lock = False
        self._is_unreplicated = False

    def _terminated(self, connection: object) -> None:
        """Called by the driver when a session is over. A session that we abandoned ourselves is not `_connection` any more,
        so it does not count as lost.
        """
        if connection is self._connection and self._holds_lock and not self._cross.is_closed:
            self._on_session_lost()

    def _is_connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    # What follows runs under asyncio.

    async def _while_primary(self, work: Callable[[], Awaitable[T]]) -> T:
        result = await self._primaries.while_primary(work, in_session=self._is_connected)
        self._must_be_replicated()
        return result

    async def _connected(self) -> "asyncpg.Connection[Any]":
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._abandon_session()
        # Our statements are few and always the same, so they may stay prepared for as long as the session lasts.
        self._connection = connection = await self._dsn.open_session(
            timeout_s=self._connect_s,
            admit=self._admit,
            command_timeout=self._statement_s,
            max_cached_statement_lifetime=0,
        )
        connection.add_termination_listener(self._terminated)
        connection.add_log_listener(self._noticed)
        self._connects += 1
        version = connection.get_server_version()
        self._server_version = f"PostgreSQL {version.major}.{version.minor}"
        row = await connection.fetchrow(_SESSION)
        assert row is not None
        self._session_pid = row[-1]
        if self._locked_session_pid is not None:
            await self._end_sessions(self._locked_session_pid)
        return connection

    async def _admit(self, connection: "asyncpg.Connection[Any]") -> None:
        await session_must_be_kept(
            connection, partial(self._dsn.open_session, timeout_s=self._connect_s), where=self._dsn.where
        )
        await self._primaries.admit(connection)

    def _noticed(self, connection: object, notice: asyncpg.PostgresLogMessage) -> None:
        """Called by the driver, before it returns from the statement that the server has something to say about."""
        source = getattr(notice, "server_source_filename", None)
        if connection is self._connection and source == SYNCHRONOUS_REPLICATION:
            self._is_unreplicated = True

    def _must_be_replicated(self) -> None:
        if self._is_unreplicated:
            raise ConnectionError("a commit's wait for its standby was broken off, so it may not be there")

    async def _try_to_become_writer(self) -> bool:
        """Take the lock, unless somebody else has it.

        Raises:
          WriterLockLost: we had it before, and somebody else has had it since.
        """
        connection = await self._connected()
        if self._holds_lock:
            return True
        # Noted before we ask: if the answer is lost on its way, the session may hold the lock all the same, and the next
        # one has to end it. The one before it has been told to end by now (`_connected`).
        self._locked_session_pid = self._session_pid
        is_ours = await connection.fetchval("SELECT pg_try_advisory_lock($1)", WRITER_LOCK)
        if self._token_written:
            token = await connection.fetchval(
                "SELECT value FROM configurations WHERE id = $1", WRITER_TOKEN_ID
            )
            if token != self._token:
                raise WriterLockLost("another process was the writer since the connection broke")
        if not is_ours:
            self._locked_session_pid = None
            return False
        if not self._token_written:
            await schema.migrate(connection, self._keyring, tell=self._on_migration)
            await schema.configure(connection, WRITER_TOKEN_ID, self._token)
            self._must_be_replicated()
            self._token_written = True
        await self._commit_tokens.begin(connection)
        self._holds_lock = True
        return True

    async def _claim(self) -> None:
        await schema.configure(await self._connected(), WRITER_TOKEN_ID, self._token)

    async def _writer(self) -> "asyncpg.Connection[Any]":
        """The connection that holds the writer lock; if it is broken, a new one, for which the lock is taken again.

        Raises:
          TimeoutError: another session has held the lock for ``lock_wait_s``.
          WriterLockLost: somebody else has had it since.
        """
        if self._connection is not None and self._holds_lock and not self._connection.is_closed():
            return self._connection
        assert self._token_written, "acquire_writer_lock comes first"
        deadline = asyncio.get_running_loop().time() + self._lock_wait_s
        while not await self._try_to_become_writer():
            if asyncio.get_running_loop().time() >= deadline:
                raise TimeoutError("another session holds the writer lock")
            await asyncio.sleep(RECONNECT_POLL_S)
        assert self._connection is not None
        return self._connection

    async def _fetch(self, statement: str, *parameters: object) -> list[Any]:
        connection = await self._writer()
        return await connection.fetch(statement, *parameters)

    async def _prepare(self) -> None:
        await schema.ensure_configurations(await self._connected())

    async def _record_key_label(self, connection: "asyncpg.Connection[Any]") -> bool:
        return await schema.configure_as_writer(
            connection,
            schema.KEY_LABEL_ID,
            self._keyring.active_label,
            writer=(WRITER_TOKEN_ID, self._token),
        )

    async def _end_of_log(self) -> LogEnd | None:
        connection = await self._writer()
        try:
            row = await connection.fetchrow(_END_OF_LOG)
        except asyncpg.PostgresError:
            return None  # not every service that speaks Postgres has a log of this kind, or lets us ask
        assert row is not None
        system, timeline, position = row
        return LogEnd(str(system), int(timeline, 16), position_of(position))

    async def _server_identity(self) -> str:
        return await server_identity(await self._connected())

    async def _stored_key_label(self) -> str:
        return await schema.stored_key_label(await self._writer())

    async def _fetch_unlocked(self, statement: str, *parameters: object) -> list[Any]:
        connection = await self._connected()
        return await connection.fetch(statement, *parameters)

    async def _schema_is_ours(self) -> bool:
        """Whether the tables are there, as we know them; their rows may be read before anybody may write."""
        return await schema.is_current(await self._connected())

    async def _run(self, values: Mapping[TableWrite, Sequence[Values]]) -> int:
        # Every combination of writes is a statement of its own to be prepared.
        ordered = in_order(values)
        if not ordered:
            return 0
        connection = await self._writer()
        arrays = [column for _, rows in ordered for column in zip(*rows, strict=True)]
        statement = batch_statement(
            tuple(write for write, _ in ordered), for_followers=self._commit_tokens.can_be_told
        )
        row = await connection.fetchrow(statement, *arrays)
        assert row is not None
        transaction: int = row[0]
        if self._commit_tokens.can_be_told:
            _, asynchronously, is_followed = row
            await self._commit_tokens.committed(
                connection, asynchronously=asynchronously, is_followed=is_followed
            )
        return transaction

    async def _end_sessions(self, pid: int | None) -> bool:
        """End the sessions other than this one that hold the writer lock: all, or only that of ``pid``."""
        connection = await self._connected()
        only = "" if pid is None else " AND pid = $1"
        ended = await connection.fetch(
            f"SELECT pg_terminate_backend(pid) FROM ({_HOLDER}{only}) AS holder",
            *(() if pid is None else (pid,)),
        )
        return bool(ended)

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            if self._holds_lock:
                # Closing alone does not wait until the server has let go of the lock.
                await connection.execute("SELECT pg_advisory_unlock_all()", timeout=CLOSE_S / 2)
            await connection.close(timeout=CLOSE_S / 2)
        except Exception:
            # Whatever the driver stumbled over, the end of the session is all that is still wanted of it.
            connection.terminate()
        finally:
            self._holds_lock = False


@dataclass(frozen=True, slots=True)
class PostgresReading:
    """A `bbs.store.unseen.Reading` by ``begin``, which begins a statement with its parameters."""

    begin: Callable[..., Coming]

    def page(self, codec: Codec, after: Values, rows: int, *, whole: bool) -> Coming:
        return self.begin(page_statement(codec, first=not after, whole=whole), *after, rows)

    def rows(self, codec: Codec, keys: Sequence[Values]) -> Coming:
        return self.begin(rows_statement(codec), *map(list, zip(*keys, strict=True)))
