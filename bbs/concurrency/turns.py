"""Long work, done in turns with everybody else: others run between two pieces of it.

How long a piece may be is said in one of two ways. Where items cost about the same, so many of them make a turn
(`in_turns`, `CountedTurns`): that needs no clock and comes out the same each time. Where one costs a hundred times what
another does, the clock decides (`TimedTurns`).

All of these run the event loop between two turns, and so let others change what the work is about: it has to be on a
snapshot, or to be decided anew each turn.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

HOLD_S: Final = 0.0005
"""How long work that looks at the clock may hold the event loop before others get a turn. It does so in each turn that they get
until they are done, so what a request waits for in all is this many times its turns. Four times as long makes a list of
100,000 no cheaper: the difference is within 3 %."""

TURNS_OF_A_WRITE: Final = 12
"""What a claim needs between its arrival and its answer, most of them on its way to asyncio, to the database and back."""

WRITE_WAITS_MAX_S: Final = 0.01
assert TURNS_OF_A_WRITE * HOLD_S <= WRITE_WAITS_MAX_S

IDLE_HOLD_S: Final = 0.001
IDLE_REST_MIN_S: Final = 0.001
IDLE_REST_MAX_S: Final = 0.016
LATE_S: Final = 0.002
"""Of work that can wait: how long it holds the event loop, how long it rests in between, and what delay of its waking tells
it that others have work to do. So it takes half of a processor that idles, and a seventeenth of one that is busy."""


def sliced(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items``, ``size`` at a time; the last slice may be shorter, and there is none of nothing."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def in_turns(items: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
    """``items``, ``size`` at a time, with a checkpoint after each slice, also the last. No checkpoint for no items.

    Nobody may change ``items`` meanwhile. A loop over it may be left whenever it wants: there is nothing to close.

    Cancellation:
      Between two slices.
    """
    return _InTurns(items, size)


class _InTurns(Generic[T]):
    """A class and not an async generator, since that would have to be closed by whoever leaves the loop early."""

    __slots__ = ("_is_first", "_slices")

    def __init__(self, items: Sequence[T], size: int) -> None:
        self._slices = sliced(items, size)
        self._is_first = True

    def __aiter__(self) -> AsyncIterator[Sequence[T]]:
        return self

    async def __anext__(self) -> Sequence[T]:
        if not self._is_first:
            await trio.lowlevel.checkpoint()
        self._is_first = False
        for piece in self._slices:
            return piece
        raise StopAsyncIteration


class CountedTurns:
    """Counts work, in whatever unit its caller does, and lets others have a turn whenever ``size`` of it is done."""

    __slots__ = ("_done", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._done = 0

    async def done(self, work: int = 1) -> None:
        """So much more is done. A checkpoint if that makes a turn, and nothing otherwise. Costs about 0.1 us."""
        self._done += work
        if self._done >= self._size:
            self._done = 0
            await trio.lowlevel.checkpoint()


class TimedTurns:
    """Lets others have a turn whenever ``hold_s`` have passed, counted from when this was made or they had the last one.

    The clock is Trio's: a test, or a simulation in virtual time, hands in its own with `trio.run`, and while that stands
    still, nothing is ever due. A look at it costs about 0.2 us, so where items cost no more, look every so many.
    """

    __slots__ = ("_due_s", "_hold_s", "_now_s")

    def __init__(self, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._now_s = trio.lowlevel.current_clock().current_time
        self._due_s = self._now_s() + hold_s

    async def checkpoint_if_due(self) -> None:
        """A checkpoint if the event loop has been held for too long, and nothing otherwise."""
        if self._now_s() > self._due_s:
            await trio.lowlevel.checkpoint()
            self._due_s = self._now_s() + self._hold_s


class IdleTurns:
    """Lets others have a turn as `TimedTurns` does, and rests after its own: for work that nobody waits for.

    The rest doubles whenever waking up from it took long, since then others had work to do, and is halved whenever it
    did not.
    """

    __slots__ = ("_due_s", "_now_s", "_rest_s")

    def __init__(self) -> None:
        self._now_s = trio.lowlevel.current_clock().current_time
        self._rest_s = IDLE_REST_MIN_S
        self._due_s = self._now_s() + IDLE_HOLD_S

    async def rest_if_due(self) -> None:
        """A rest if the event loop has been held for too long, and nothing otherwise."""
        now_s = self._now_s()
        if now_s <= self._due_s:
            return
        await trio.sleep(self._rest_s)
        woken_s = self._now_s()
        if woken_s - now_s > self._rest_s + LATE_S:
            self._rest_s = min(2 * self._rest_s, IDLE_REST_MAX_S)
        else:
            self._rest_s = max(self._rest_s / 2, IDLE_REST_MIN_S)
        self._due_s = woken_s + IDLE_HOLD_S
