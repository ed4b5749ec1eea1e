"""A connection to the database beside the writer's, for the health check, the audit and other rare questions. It is made when
it is needed, and anew after a failure.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar

import trio
from trio_asyncio import aio_as_trio

CLOSE_S: Final = 1.0


class Closable(Protocol):
    """What a driver's connection can do, whichever driver's it is."""

    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
T = TypeVar("T")
P = ParamSpec("P")


class SideConnection(Generic[C]):
    """``open_`` makes a connection, under asyncio; ``meaning`` gives the error to raise for one of the driver's."""

    def __init__(
        self,
        open_: Callable[[], Awaitable[C]],
        *,
        meaning: Callable[[Exception | asyncio.CancelledError], Exception],
    ) -> None:
        self._open = open_
        self._meaning = meaning
        self._connection: C | None = None

    async def get(self) -> C:
        """The connection, a new one if need be. Runs under asyncio.

        Raises:
          Exception: whatever the driver failed with.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._open()
        return self._connection

    async def run(
        self, work: Callable[Concatenate[C, P], Awaitable[T]], *args: P.args, **more: P.kwargs
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
            raise self._meaning(error) from error
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
        with trio.move_on_after(CLOSE_S, shield=True), suppress(Exception):
            # Whatever the driver stumbles over, the end of the session is all that is still wanted of it.
            await aio_as_trio(connection.close)()
        connection.terminate()
