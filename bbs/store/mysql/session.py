"""One session of a MySQL server: how it is opened, and the two ways in which statements go through it.

Everything here runs under asyncio. A call that fails or is cancelled other than by a plain error of the server leaves a
session of which nobody knows what the other end is doing; its owner ends it.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Self

from asyncmy import Connection
from asyncmy.constants import CLIENT
from asyncmy.cursors import Cursor
from asyncmy.errors import MySQLError

from bbs.store.mysql.dsn import MySQLDSN
from bbs.store.mysql.errors import StatementFailed, is_answer, meaning, words
from bbs.store.side_connection import SideConnection

LOCK_WAIT_S: Final = 5
"""How long the server waits for another session's row lock: whoever holds one on our rows is an operator with an open
transaction, or a former self that the server has not noticed the end of."""

# Strict, so that nothing is cut silently (spec: mysql.md §6.4); READ COMMITTED, so that no gaps are locked and a statement
# sees what is committed when it runs (§4.3). `sql_notes`: a note about each IF NOT EXISTS would be a warning of the driver's.
_SETTINGS: Final = f"""
SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', SESSION sql_notes = 0,
  SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S}, SESSION autocommit = 1;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT CONNECTION_ID(), @@max_allowed_packet, VERSION()"""


CLOSE_S: Final = 1.0


class _Cursor(Cursor):
    async def _show_warnings(self, conn: Connection) -> None:
        """Nothing: to ask for them is a round trip after every statement that had one."""


_DRIVER_CONNECT_S_MAX: Final = 31_536_000
"""The driver refuses more, while upstream takes 292 years; so the time to connect is bounded around it."""


class Session:
    """An open session. ``id`` is the server's number for it; ``packet_bytes_max`` bounds what is sent at once."""

    def __init__(self, connection: Any, statement_s: float | None) -> None:
        self._connection = connection
        self._statement_s = statement_s
        self._end: asyncio.Future[None] | None = None
        self.id = 0
        self.packet_bytes_max = 0
        self.version = ""

    @classmethod
    async def open(cls, dsn: MySQLDSN, *, connect_s: float, statement_s: float | None) -> Self:
        """Connect within ``connect_s``. Each call on the session may then take ``statement_s`` seconds.

        Raises:
          ConnectionError: the server refused us, in its words: they are about us, and not about a row.
          Exception: whatever else the driver failed with; `bbs.store.mysql.errors` knows what it means.
        """
        tls = dsn.tls_context()
        try:
            connection = await cls._connect(dsn, tls, connect_s)
        except MySQLError as error:
            if is_answer(error):
                raise ConnectionError(words(error)) from error
            if not (dsn.falls_back_to_plain_text and tls is not None):
                raise
            connection = await cls._connect(dsn, None, connect_s)
        session = cls(connection, statement_s)
        try:
            [[row]] = (await session.run([_SETTINGS]))[-1:]
        except StatementFailed as failed:
            session.terminate()
            raise ConnectionError(words(failed.error)) from failed
        except BaseException:
            session.terminate()
            raise
        session.id, session.packet_bytes_max, session.version = row
        return session

    @staticmethod
    async def _connect(dsn: MySQLDSN, tls: ssl.SSLContext | None, connect_s: float) -> Any:
        connect: Any = Connection  # its stub has no types
        connection = connect(
            host=dsn.host,
            port=dsn.port,
            unix_socket=dsn.socket,
            user=dsn.user,
            password=dsn.password.encode(),
            database=dsn.database or None,
            charset="utf8mb4",
            ssl=tls,
            autocommit=None,
            client_flag=CLIENT.MULTI_STATEMENTS | CLIENT.FOUND_ROWS,
            connect_timeout=_DRIVER_CONNECT_S_MAX,
            cursor_cls=_Cursor,
        )
        async with asyncio.timeout(connect_s):
            await connection.connect()
        return connection

    def is_closed(self) -> bool:
        return bool(not self._connection.connected or self._connection._stream_broken)

    async def fetch(self, statement: str, *, within_s: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, which may take ``within_s`` seconds if that is given."""
        timeout_s = self._statement_s if within_s is None else within_s
        async with asyncio.timeout(timeout_s), self._connection.cursor() as cursor:
            await cursor.execute(statement)
            return list(await cursor.fetchall())

    async def value(self, statement: str) -> Any:
        """The first value of the first row, or ``None``."""
        rows = await self.fetch(statement)
        return rows[0][0] if rows else None

    async def run(self, statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """Send all ``statements`` at once, and return the rows of each. The server stops at the first that fails.

        Raises:
          StatementFailed: with the number of the one that failed; a transaction that was begun is still open.
        """
        results: list[list[tuple[Any, ...]]] = []
        async with asyncio.timeout(self._statement_s), self._connection.cursor() as cursor:
            try:
                await cursor.execute(";".join(statements))
                results.append(list(await cursor.fetchall()))
                while await cursor.nextset():
                    results.append(list(await cursor.fetchall()))
            except MySQLError as error:
                if self.is_closed():
                    raise
                raise StatementFailed(len(results), error) from error
        return results

    def on_end(self, ended: Callable[[], None]) -> None:
        """Have ``ended`` called when the connection is over, whoever ended it."""
        # The driver has no such hook of its own; its protocol knows, and may be waited for by any number of tasks.
        self._end = asyncio.ensure_future(self._connection._proto.wait_closed())
        self._end.add_done_callback(lambda _: ended())

    def terminate(self) -> None:
        """End it without a word to the server."""
        self._connection.close()

    async def close(self) -> None:
        """End it in good manners."""
        async with asyncio.timeout(CLOSE_S):
            await self._connection.ensure_closed()


def side_session(
    dsn: MySQLDSN, *, connect_s: float, statement_s: float | None = None
) -> SideConnection[Session]:
    """A session beside the writer's. ``connect_s`` bounds an attempt to connect and ``statement_s``, if given, each statement,
    in seconds.
    """
    return SideConnection(
        partial(Session.open, dsn, connect_s=connect_s, statement_s=statement_s), meaning=meaning
    )
