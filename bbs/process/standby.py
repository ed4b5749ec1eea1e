"""What a process does while another one is master: it reads what that one writes, so as master it has little to load."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from bbs.log import Logger
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.database import WriterBackend
from bbs.store.schema import SchemaError
from bbs.store.store import Store

FOLLOW_INTERVAL_S: Final = 10.0
"""Pause between a standby's looks at the database."""


class Standby:
    """Follows ``source`` into ``store``, and closes it in the end. ``has_ended`` is set when nothing is read any more."""

    def __init__(self, store: Store, source: WriterBackend, *, log: Logger) -> None:
        self.has_ended = trio.Event()
        self._store = store
        self._source = source
        self._log = log

    @asynccontextmanager
    async def reading_ahead(self) -> AsyncIterator[Callable[[], None]]:
        """Keep what is in memory close to what the master writes, until the block ends or the yielded function is called.

        Whoever loads waits for `has_ended` first: a look that is still under way would put old rows over the ones loaded.
        """
        scope = trio.CancelScope()

        async def read_ahead() -> None:
            try:
                with scope:
                    await self._follow()
            finally:
                await self._source.aclose()
                self.has_ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_ahead)
            yield scope.cancel
            scope.cancel()

    async def _follow(self) -> None:
        while True:
            try:
                rows = await self._store.follow(self._source)
            except (BackendUnavailable, StatementRejected, SchemaError) as trouble:
                # It costs nothing but time: what was not read ahead is loaded at the takeover. A trouble that lasts is told
                # there, and ends the process; a standby has nobody to serve and can wait.
                self._log.debug("failed-to-read-ahead", error=trouble)
            else:
                self._log.debug("read-ahead", rows=rows)
            await trio.sleep(FOLLOW_INTERVAL_S)
