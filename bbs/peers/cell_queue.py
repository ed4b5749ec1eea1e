"""A queue of calls to cells in which no cell can hold up the calls to others.

A dead cell holds each call to it until its timeout. In a plain queue a few hundred calls to one dead cell would take all
workers, and no instance on any other cell could be stopped meanwhile. So only a few calls to one cell are under way at
once; the rest wait in the cell's own line, while calls to other cells go on.

A *turn* is the right to take one call from a cell's line. At any moment a cell has as many turns on offer as it has
calls waiting, but never more than it may still have under way; each step below keeps it so. Turns are taken in the order
in which they were offered, so cells with calls waiting come up one after another, however long their lines are.

When the queue is full, new calls are refused; whoever puts them in decides what that means (`bbs.acts.effects`: drop and
count, since convergence asks again).
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


@dataclass(slots=True)
class _Line(Generic[T]):
    waiting: deque[T] = field(default_factory=deque)
    under_way: int = 0


class CellQueue(Generic[T]):
    """Holds ``waiting_max`` calls over all cells; ``per_cell_max`` to one cell are under way at once."""

    def __init__(self, *, waiting_max: int, per_cell_max: int) -> None:
        self._waiting_max = waiting_max
        self._per_cell_max = per_cell_max
        self._lines: dict[str, _Line[T]] = {}
        self._waiting = 0
        # There are never more turns than calls that wait.
        self._offer_turn, self._turns = trio.open_memory_channel[str](waiting_max)

    def __len__(self) -> int:
        """How many calls wait, those under way not counted."""
        return self._waiting

    def put_nowait(self, cell_id: str, call: T) -> None:
        """Add a call.

        Raises:
          trio.WouldBlock: the queue is full.
        """
        if self._waiting == self._waiting_max:
            raise trio.WouldBlock
        line = self._lines.setdefault(cell_id, _Line())
        # With fewer calls than may be under way every call has its turn already, so the new one gets one too. With more,
        # it waits for a call that ends, which passes its turn on.
        if len(line.waiting) + line.under_way < self._per_cell_max:
            self._offer_turn.send_nowait(cell_id)
        line.waiting.append(call)
        self._waiting += 1

    @asynccontextmanager
    async def next(self) -> AsyncIterator[T]:
        """The next call whose cell has a turn; it counts as under way until the block ends."""
        cell_id = await self._turns.receive()
        line = self._lines[cell_id]
        call = line.waiting.popleft()
        self._waiting -= 1
        line.under_way += 1
        try:
            yield call
        finally:
            # More calls than may be under way: one of those that wait has no turn yet and takes over this call's.
            if len(line.waiting) + line.under_way > self._per_cell_max:
                self._offer_turn.send_nowait(cell_id)
            line.under_way -= 1
            if not line.waiting and not line.under_way:
                del self._lines[cell_id]
