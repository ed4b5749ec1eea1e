"""A Locket in the test's own process, which obeys the test: it takes the lock away, refuses it, or is gone for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from bbs.log import null_logger
from bbs.sync.locket.client import Code, LocketError, Resource
from bbs.sync.locket.lock import KEY
from bbs.sync.locket.server import embedded_locket
from bbs.sync.locket.table import Change, LocketTable
from bbs.tls.contexts import TLSFiles


class ObedientTable(LocketTable):
    """While ``refuses`` is set nobody is given the lock, and nobody can renew it. ``renewals`` counts grants to whoever has it or gets it."""

    refuses = False
    renewals = 0

    def lock(self, resource: Resource, *, ttl_s: int) -> None:
        if self.refuses and resource.key == KEY:
            raise LocketError(Code.UNKNOWN, "refused by the test")
        super().lock(resource, ttl_s=ttl_s)
        self.renewals += resource.key == KEY


class ObedientLocket:
    """``grants`` are the owners of the lock, one after the other. ``robbed`` are those from whom it was taken before its
    time was up, which Locket never does: until such a master's next renewal only the database can tell it.

    What is in the table outlasts `gone`, as it does in upstream's Locket, whose table is in a database.
    """

    def __init__(self, tls: TLSFiles) -> None:
        self.table = ObedientTable(trio.current_time)
        self.address = "127.0.0.1:0"
        self.grants: list[str] = []
        self.robbed: set[str] = set()
        self._tls = tls

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        with self.table.observed(self._note):
            async with trio.open_nursery() as nursery:
                await self._start(nursery)
                self._nursery = nursery
                yield
                nursery.cancel_scope.cancel()

    @property
    def holder(self) -> str | None:
        row = self.table.row(KEY)
        return None if row is None else row.resource.owner

    def hand_over(self, heir: str | None, *, ttl_s: int) -> None:
        """Take the lock from whoever has it, and give it to ``heir``, or to whoever asks first."""
        if (holder := self.holder) is not None:
            self.robbed.add(holder)
            self.table.release(Resource.lock(KEY, owner=holder))
        if heir is not None:
            self.table.lock(Resource.lock(KEY, owner=heir), ttl_s=ttl_s)

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """Nobody listens at its address until the block ends."""
        self._scope.cancel()
        await self._ended.wait()
        try:
            yield
        finally:
            await self._start(self._nursery)

    async def _start(self, nursery: trio.Nursery) -> None:
        self._scope = await nursery.start(self._serve)

    async def _serve(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        self._ended = trio.Event()
        with trio.CancelScope() as scope:
            async with embedded_locket(self.table, self.address, tls=self._tls, log=null_logger()) as bound:
                self.address = bound
                task_status.started(scope)
                await trio.sleep_forever()
        self._ended.set()

    def _note(self, change: Change) -> None:
        if change.resource.key == KEY and change.is_present:
            self.grants.append(change.resource.owner)
