"""The calls to cells that one pass makes and waits for.

A cell that does not answer holds a call until its timeout. So few calls to one cell are under way at once, and once it
has failed to answer, the pass makes no more of them: the next one comes round soon, and by then the cell may be gone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.log import Data, Logger
from bbs.models.errors import Failure
from bbs.peers.cell_queue import CellQueue
from bbs.peers.http import NoResponse

CALLS_PER_CELL_MAX: Final = 4
"""Calls to one cell under way at once; the same as for the calls that nobody waits for (`bbs.acts.effects`)."""


@dataclass(frozen=True, slots=True)
class _Call:
    cell_id: str
    make: Callable[[], Awaitable[object]]
    failed: str
    about: Data


class CellCalls:
    """Made by `cell_calls`."""

    def __init__(self, calls_max: int, log: Logger) -> None:
        self._log = log
        self._queue = CellQueue[_Call](waiting_max=calls_max, per_cell_max=CALLS_PER_CELL_MAX)
        self._silent_cells: set[str] = set()
        self._left = 0
        self._none_left = ClearableEvent()
        self._none_left.set()

    def add(
        self, cell_id: str, make: Callable[[], Awaitable[object]], *, failed: str = "", about: Data
    ) -> None:
        """Have ``make`` called when it is its turn. A failure is logged as ``failed``, with ``about``; with '' it is not, for
        calls that log their failures themselves.
        """
        self._queue.put_nowait(cell_id, _Call(cell_id, make, failed, about))
        self._left += 1
        self._none_left.clear()

    async def wait_none_left(self) -> None:
        """Until all calls have ended. None may be added any more."""
        await self._none_left.wait()

    async def work(self) -> None:
        """Make calls until cancelled."""
        while True:
            async with self._queue.next() as call:
                await self._make(call)
            self._left -= 1
            if not self._left:
                self._none_left.set()

    async def _make(self, call: _Call) -> None:
        if call.cell_id in self._silent_cells:
            self._log.info("skipping-silent-cell", call.about, cell_id=call.cell_id)
            return
        try:
            await call.make()
        except Failure as error:
            # Only silence: a cell that answers with an error has cost no time, and the next call may succeed.
            if isinstance(error, NoResponse):
                self._silent_cells.add(call.cell_id)
            if call.failed:
                self._log.error(call.failed, call.about, error=error)


@asynccontextmanager
async def cell_calls(*, calls_max: int, workers: int, log: Logger) -> AsyncIterator[CellCalls]:
    """At most ``calls_max`` calls, ``workers`` at a time. All have ended when the block has.

    Cancellation:
      Abandons the calls where they are.
    """
    calls = CellCalls(calls_max, log)
    async with trio.open_nursery() as nursery:
        for _ in range(min(workers, calls_max)):
            nursery.start_soon(calls.work)
        yield calls
        await calls.wait_none_left()
        # Only workers that wait for a call are left to be cancelled.
        nursery.cancel_scope.cancel()
