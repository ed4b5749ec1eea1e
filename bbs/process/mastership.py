"""How a process becomes the only one that writes, and what it does while another one is: it reads ahead."""

from collections.abc import Awaitable, Callable
from time import time_ns
from typing import Final

import trio

from bbs.log import Logger
from bbs.process.standby import Standby
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.database import WriterBackend
from bbs.sync.locket.lock import Lock, LockLost

GIVE_BACK_S: Final = 2.0
"""How long a process that is broken off tries to give its lock back."""

LOOK_AGAIN_S: Final = 0.5
"""Pause between attempts to ask a database that does not answer."""


class LocketMastership:
    """Be the one master that Locket knows, and write no longer than that.

    When the lock is lost the backend is fenced first: its connection is cut, so that a transaction under way can't commit
    after another process has become master and read the rows.

    ``confirm`` asks the database whether anybody else has written since the rows were loaded; it returns if not, and if
    somebody has, whoever writes ends this process.
    """

    def __init__(
        self,
        lock: Lock,
        backend: WriterBackend,
        standby: Standby,
        *,
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        self._lock = lock
        self._backend = backend
        self._standby = standby
        self._confirm = confirm
        self._lapses_settled = 0
        self._settling = trio.CancelScope()
        self._since_ns: int | None = None

    @property
    def since_ns(self) -> int | None:
        """When this process became master, in Unix nanoseconds; None while it is not `is_certain` that it is."""
        return self._since_ns if self._lock.is_held and self.is_certain else None

    @property
    def is_certain(self) -> bool:
        """Whether nobody else can be master, nor can have been since the rows were loaded."""
        return not self._lock.may_have_run_out and self._lock.lapses == self._lapses_settled

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Started when the lock is held, for which there is no deadline; stopped when it has been released.

        Raises:
          LockLost: in a group of exceptions; the backend has been fenced.
        Cancellation:
          Before it has started: releases the lock, ours or not. After that: fences the backend and gives the lock back,
          which takes `GIVE_BACK_S` at most.
        """
        async with trio.open_nursery() as nursery, self._standby.reading_ahead():
            until_stopped = await nursery.start(self._hold_lock)
            nursery.start_soon(self._settle_lapses)
            self._since_ns = time_ns()
            task_status.started(until_stopped)

    async def _hold_lock(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        try:
            await self._lock.run(task_status=task_status)
        except LockLost as lost:
            self._backend.fence(str(lost))
            raise
        except trio.Cancelled:
            if self._lock.is_held:
                # All members are broken off at once, for a failure outside them. Nothing is written from here on, so
                # nobody has to wait until the lock expires.
                self._backend.fence("this process is ending")
                with trio.CancelScope(deadline=trio.current_time() + GIVE_BACK_S, shield=True):
                    await self._lock.give_back()
            raise
        finally:
            self._settling.cancel()

    async def _settle_lapses(self) -> None:
        """Ask the database after each lapse of the lock. Until it has answered, this process is not `is_certain`."""
        with self._settling:
            while True:
                lapses = await self._lock.wait_lapse(after=self._lapses_settled)
                try:
                    await self._confirm()
                except (BackendUnavailable, StatementRejected):
                    # Whoever looks after the session has told of it, if it is no more than that.
                    await trio.sleep(LOOK_AGAIN_S)
                else:
                    # Those that have come meanwhile are asked about next.
                    self._lapses_settled = lapses


class WriterLockMastership:
    """Be the one master by the database's writer lock alone."""

    def __init__(self, backend: WriterBackend, standby: Standby, *, log: Logger) -> None:
        self._backend = backend
        self._standby = standby
        self._log = log
        self._since_ns: int | None = None

    @property
    def since_ns(self) -> int | None:
        """When this process became master, in Unix nanoseconds; None while it is not."""
        return self._since_ns

    @property
    def is_certain(self) -> bool:
        """Always: with the writer lock nobody else can write, and whoever takes it away ends this process."""
        return True

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Started when the writer lock is held, for which there is no deadline. It is held until the backend is closed.

        Raises:
          BackendUnavailable: in a group; the database was not there from the beginning.
          SchemaError, StatementRejected: in a group; as `WriterBackend.acquire_writer_lock`, which also makes the schema
            ready.
        """
        self._log.info("waiting-for-writer-lock")
        async with self._standby.reading_ahead():
            await self._acquire()
            self._log.info("acquired-writer-lock")
            self._since_ns = time_ns()
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._since_ns = None

    async def _acquire(self) -> None:
        while True:
            try:
                await self._backend.acquire_writer_lock()
                return
            except BackendUnavailable as trouble:
                # One that never was there may be a slip of whoever gave its address. A standby can wait for another.
                if self._backend.connects == 0:
                    raise
                self._log.error("failed-to-acquire-writer-lock", error=trouble)
            await trio.sleep(LOOK_AGAIN_S)
