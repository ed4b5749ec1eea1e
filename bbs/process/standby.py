"""What a process does while another one is master: it follows what that one writes, so as master it has little to load."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from bbs.store.database import WriterBackend
from bbs.store.following import Following
from bbs.store.store import Store

BEGIN_AFTER_S: Final = 0.5
"""A process that becomes master at once has nobody to follow, and perhaps no tables yet."""

CATCH_UP_S: Final = 2.0
"""How long a new master waits for the last changes, which are milliseconds old. To load all rows takes about as long."""


class Standby:
    """Follows the database into ``store`` by ``following``, whose ``source`` it closes in the end. ``writer`` is the backend that is
    to be the master's.
    """

    def __init__(
        self, store: Store, following: Following, *, source: WriterBackend, writer: WriterBackend
    ) -> None:
        self._store = store
        self._following = following
        self._source = source
        self._writer = writer
        self._reading = trio.CancelScope()
        self._has_ended = trio.Event()

    @asynccontextmanager
    async def reading_ahead(self) -> AsyncIterator[None]:
        """Keep memory close to what the master writes, until the block ends or somebody asks whether it `has_all`."""

        async def read_ahead() -> None:
            try:
                with self._reading:
                    await trio.sleep(BEGIN_AFTER_S)
                    await self._following.run()
            finally:
                await self._source.aclose()
                self._has_ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_ahead)
            yield
            self._reading.cancel()

    async def has_all(self) -> bool:
        """For the new master, once nobody else writes: whether memory has all rows. If not, they have to be loaded. Nothing is
        read ahead any more: what would still come would put old rows over new ones.

        Raises:
          BackendUnavailable, WriterLockLost: the database can't be asked how much there is.
        """
        try:
            has_all = await self._caught_up()
        finally:
            self._reading.cancel()
            with trio.CancelScope(
                shield=True
            ):  # it ends at once, but for a session that is closed within seconds
                await self._has_ended.wait()
        if has_all:
            self._store.forget_seen()
        return has_all

    async def _caught_up(self) -> bool:
        if self._reading.cancel_called:
            return False
        end = await self._writer.end_of_log()
        if end is None:
            return False
        with trio.move_on_after(CATCH_UP_S):
            return await self._following.has_come_to(end)
        return False
