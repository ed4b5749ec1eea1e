"""The way from Trio to a database driver under asyncio and back, for a backend with one session.

Calls take turns, a fetch may be begun ahead of its use, and every failure comes back as what it means to the store.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import trio
import trio_asyncio
from trio_asyncio import aio_as_trio

from bbs.store.backend import StatementRejected, WriterLockLost
from bbs.store.query_statistics import QueryCounts

T = TypeVar("T")
P = ParamSpec("P")

Run = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
Fetch = Callable[..., Awaitable[list[Any]]]


class Crossing:
    """``meaning`` gives the error to raise for one of the driver's, and ``abandon`` ends the session without a word. ``run``, if
    given, is what every piece of work is run by, under asyncio.

    A session is kept only after a success or a plain error of the server: nobody knows what is going on at the other end
    of one whose statement was cancelled or timed out.
    """

    def __init__(
        self,
        *,
        meaning: Callable[[Exception | asyncio.CancelledError], Exception],
        abandon: Callable[[], None],
        run: Run | None = None,
    ) -> None:
        self.queries = QueryCounts()
        self.is_closed = False
        self._meaning = meaning
        self._abandon_session = abandon
        self._run = run
        self._fenced: str | None = None
        self._turn = trio.Lock()
        # A fetch that has begun, and whose rows nobody may have asked for yet.
        self._coming: asyncio.Future[list[Any]] | None = None

    async def __call__(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` under asyncio, when nothing else does.

        Raises:
          WriterLockLost: fenced.
          trio.ClosedResourceError: closed.
          Exception: the meaning of what ``work`` raised.
        Cancellation:
          Breaks the work off, and with it the session.
        """
        async with self._turn:
            if self.is_closed:
                raise trio.ClosedResourceError
            if self._fenced is not None:
                raise WriterLockLost(self._fenced)
            try:
                with self.queries.counted():
                    result: T = await aio_as_trio(self._in_turn)(partial(work, *args, **kwargs))
            except (Exception, asyncio.CancelledError) as error:
                failure = self._meaning(error)
                if not isinstance(failure, StatementRejected):
                    self.abandon()
                if failure is error:
                    raise
                raise failure from error
            except BaseException:
                self.abandon()
                raise
        return result

    def begin(self, fetch: Fetch, statement: str, *parameters: object) -> Callable[[], Awaitable[list[Any]]]:
        """Begin a fetch under asyncio, and go on. What is returned waits for the rows, and fails as a call does.

        Every call waits until it has ended, since a session runs one statement at a time.
        """
        if self.is_closed or self._fenced is not None or self._turn.locked():
            return partial(self, fetch, statement, *parameters)
        self._coming = coming = asyncio.ensure_future(
            fetch(statement, *parameters), loop=trio_asyncio.current_loop.get()
        )
        coming.add_done_callback(_note_failure)

        async def rows() -> list[Any]:
            return await coming

        return partial(self, rows)

    def fence(self, reason: str) -> None:
        """Break off what is under way, and let no call through any more: each raises `WriterLockLost` with ``reason``. Does
        not block.
        """
        self._fenced = reason
        self.abandon()

    def abandon(self) -> None:
        """End the session, and whatever is being fetched."""
        self.give_up_coming()
        self._abandon_session()

    def close(self) -> None:
        """Let no call through any more."""
        self.is_closed = True
        self.give_up_coming()

    def give_up_coming(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` when a fetch that has begun has ended, however it ended: that is for whoever asks for its rows."""
        coming = self._coming
        if coming is not None:
            await asyncio.wait((coming,))
            if self._coming is coming:
                self._coming = None
        return await (work() if self._run is None else self._run(work))


def _note_failure(coming: "asyncio.Future[Any]") -> None:
    """Whoever waits for it is told; if nobody does any more, it is no loose end for asyncio to report."""
    if not coming.cancelled():
        coming.exception()
