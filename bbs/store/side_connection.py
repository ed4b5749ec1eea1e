"""A connection to Postgres beside the writer's, for the health check, the audit and other rare questions. It is made when it
is needed, and anew after a failure.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg
import trio
from trio_asyncio import aio_as_trio

from bbs.store.driver_errors import meaning
from bbs.store.dsn import DSN

CLOSE_S: Final = 1.0

T = TypeVar("T")
P = ParamSpec("P")


class SideConnection:
    """``connect_s`` bounds an attempt to connect and ``statement_s``, if given, each statement, in seconds."""

    def __init__(self, dsn: DSN, *, connect_s: float, statement_s: float | None = None) -> None:
        self._dsn = dsn
        self._connect_s = connect_s
        self._statement_s = statement_s
        self._connection: asyncpg.Connection[Any] | None = None

    async def get(self) -> "asyncpg.Connection[Any]":
        """The connection, a new one if need be. Runs under asyncio.

        Raises:
          Exception: whatever the driver failed with; `bbs.store.driver_errors` knows what it means.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._dsn.open_session(
                timeout_s=self._connect_s, command_timeout=self._statement_s
            )
        return self._connection

    async def run(
        self,
        work: "Callable[Concatenate[asyncpg.Connection[Any], P], Awaitable[T]]",
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Do ``work``, an asyncio function, with the connection. Call it under Trio.

        Raises:
          BackendUnavailable, StatementRejected: it failed; the connection is given up, and the next call connects anew.
        Cancellation:
          Breaks the work off, and with it the connection.
        """

        async def work_with_it() -> T:
            return await work(await self.get(), *args, **more)

        try:
            result: T = await aio_as_trio(work_with_it)()
        except (Exception, asyncio.CancelledError) as error:
            self.abandon()
            raise meaning(error) from error
        except BaseException:
            self.abandon()
            raise
        return result

    def abandon(self) -> None:
        """Close the connection without a word to the server. After a call that was broken off nobody knows what is still
        going on at its other end, so it can't be used again.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def aclose(self) -> None:
        """Close it, if there is one. Runs under Trio."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with trio.move_on_after(CLOSE_S, shield=True):
            try:
                await aio_as_trio(connection.close)(timeout=CLOSE_S)
            except Exception:
                # Whatever the driver stumbled over, the end of the session is all that is still wanted of it.
                connection.terminate()
