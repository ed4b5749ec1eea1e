"""Auctions that requests ask for while earlier ones are still being asked for, gathered into one call (spec: peers.md §2).

A call to the auctioneer takes an array, and costs about the same for one auction as for a hundred. So what group commit
does for rows is done here for auctions. While fewer than `CALLS_AT_ONCE` calls are under way, an auction goes out at once,
alone or with those that were asked for in the same turn of the event loop. What comes later joins the call that waits, as
long as that has room, and else begins another one behind it. Calls are made in the order in which they began to wait, and
their auctions are in the order in which they were asked for.

Whoever asks waits for the end of the call that carries its own auction, and what becomes of that call is what becomes of
each auction in it. The calls are tasks of `GatheredAuctions.run`, so nobody's cancellation breaks off a call that others
wait for. Whoever gives up takes its auction out of a call that still waits, and a call that everybody has given up is
cancelled. So no more wait here than there are requests being handled, and there are no more calls than that, whatever
the auctioneer does; this is the bound, and there is no policy for "full".
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NoReturn, Protocol, TypeVar

import trio

from bbs.log import Level, Logger
from bbs.models.errors import Failure
from bbs.peers.interfaces import PeerUnavailable

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

CALLS_AT_ONCE: Final = 2
"""Calls under way before others gather: as many as connections to a host are kept when they are idle. More would have to
connect each time."""

PATIENCE_S: Final = 1.0
"""How long a call holds up others. One that hangs must not keep everybody from asking, for as long as its timeouts and
attempts last (or for ever, without ``communication_timeout``); so after that time it does not count any more."""

ELEMENTS_MAX: Final = 200
"""Auctions in a call: what fails together."""

BYTES_MAX: Final = 1024 * 1024
"""Bytes of a call's body. An auction that is larger goes alone."""


class Request(Protocol[T_contra]):
    """Makes a call about ``elements``. Raises `Failure` if the auctioneer does not accept it."""

    async def __call__(self, elements: Sequence[T_contra], /, *, trace_id: str, log: Logger) -> None: ...


@dataclass(frozen=True, slots=True)
class GatheredStatistics:
    """``waiting`` auctions are in calls that wait, and ``under_way`` is a number of calls. The others count since the start."""

    waiting: int
    under_way: int
    calls: int
    auctions: int


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Generic[T]):
    element: T
    size: int
    trace_id: str
    log: Logger


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    """``asked`` are those who wait for it, in their order. ``failure`` and ``bug`` count once it has ended."""

    asked: list[_Asked[T]] = field(default_factory=list)
    size: int = 0
    began_s: float = 0.0
    ended: trio.Event = field(default_factory=trio.Event)
    failure: Failure | None = None
    bug: Exception | None = None
    until_given_up: trio.CancelScope = field(default_factory=trio.CancelScope)

    def has_room(self, size: int) -> bool:
        return len(self.asked) < ELEMENTS_MAX and self.size + size <= BYTES_MAX

    def join(self, asked: _Asked[T]) -> None:
        self.asked.append(asked)
        self.size += asked.size

    def leave(self, asked: _Asked[T]) -> None:
        self.asked.remove(asked)
        self.size -= asked.size


class GatheredAuctions(Generic[T]):
    """Auctions of one kind: ``request`` makes a call about some, ``size`` tells how many bytes one has there, about.

    ``name`` is what the log calls one of them, and ``key`` says under what name it lists them.
    """

    def __init__(
        self, request: Request[T], *, size: Callable[[T], int], name: Callable[[T], str], key: str
    ) -> None:
        self._request = request
        self._size = size
        self._name = name
        self._key = key
        self._waiting: deque[_Call[T]] = deque()
        self._under_way: list[_Call[T]] = []
        self._changed = trio.Event()
        self._is_running = False
        self._calls = self._auctions = 0

    async def run(self) -> NoReturn:
        """Make the calls until cancelled. Whoever waits then gets a failure."""
        self._is_running = True
        try:
            async with trio.open_nursery() as calls:
                while True:
                    await self._wait_for_turn()
                    self._begin(calls)
        finally:
            self._is_running = False
            for call in self._waiting:
                call.failure = _not_asked()
                call.ended.set()
            self._waiting.clear()

    async def ask(self, element: T, *, trace_id: str, log: Logger) -> Failure | None:
        """Have the auctioneer asked for one auction, and wait for its word. Returns the failure, if it is one. While
        nobody runs `run`, the call is the caller's own.

        There is no deadline of its own: calls end by their own timeouts, and those before this one hold it up for
        `PATIENCE_S` each at most. A call with one auction has ``trace_id`` and its lines go to ``log``; with several, the
        first one's.

        Raises:
          RuntimeError: a bug of ours in the call.
        Cancellation:
          The auctioneer may have been asked. An auction whose call still waits is taken out of it.
        """
        if not self._is_running:
            try:
                await self._request((element,), trace_id=trace_id, log=log)
            except Failure as error:
                return error
            return None
        asked = _Asked(element, self._size(element), trace_id, log)
        call = self._join(asked)
        try:
            await call.ended.wait()
        except trio.Cancelled:
            self._give_up(call, asked)
            raise
        if call.bug is not None:
            # Each gets an exception of its own: one that is raised by several tasks would mix up their tracebacks.
            raise RuntimeError("the call that carried the auction ended in a bug") from call.bug
        return call.failure

    def statistics(self) -> GatheredStatistics:
        waiting = sum(len(call.asked) for call in self._waiting)
        return GatheredStatistics(waiting, len(self._under_way), self._calls, self._auctions)

    def _join(self, asked: _Asked[T]) -> _Call[T]:
        if not self._waiting or not self._waiting[-1].has_room(asked.size):
            self._waiting.append(_Call())
            self._changed.set()
        call = self._waiting[-1]
        call.join(asked)
        return call

    def _give_up(self, call: _Call[T], asked: _Asked[T]) -> None:
        call.leave(asked)
        if not call.asked:
            if call in self._waiting:
                self._waiting.remove(call)
            else:
                call.until_given_up.cancel()

    def _turn_s(self) -> float:
        """When the next call may begin, as things are, in Trio's time; ``inf``: not before something else happens."""
        if not self._waiting:
            return float("inf")
        if len(self._under_way) < CALLS_AT_ONCE:
            return float("-inf")
        return self._under_way[-CALLS_AT_ONCE].began_s + PATIENCE_S

    async def _wait_for_turn(self) -> None:
        """Wait until the first call that waits may begin. A checkpoint, if it may at once."""
        await trio.lowlevel.checkpoint()
        while (turn_s := self._turn_s()) > trio.current_time():
            self._changed = trio.Event()
            with trio.move_on_at(turn_s):
                await self._changed.wait()

    def _begin(self, calls: trio.Nursery) -> None:
        call = self._waiting.popleft()
        call.began_s = trio.current_time()
        self._under_way.append(call)
        # Those who asked may give up before the task begins, but what it carries is settled now.
        calls.start_soon(self._make, call, tuple(call.asked))

    async def _make(self, call: _Call[T], carried: Sequence[_Asked[T]]) -> None:
        first, elements = carried[0], [asked.element for asked in carried]
        if len(elements) > 1 and first.log.enabled(Level.DEBUG):
            trace_ids = [asked.trace_id for asked in carried]
            guids = [self._name(element) for element in elements]
            first.log.debug("gathered-auctions", {"trace_ids": trace_ids, self._key: guids})
        self._calls += 1
        self._auctions += len(elements)
        call.failure = _not_asked()
        try:
            with call.until_given_up:
                await self._request(elements, trace_id=first.trace_id, log=first.log)
                call.failure = None
        except Failure as error:
            call.failure = error
        except Exception as bug:
            # It ends the requests that asked, as it did when each made its own call, and not this process.
            call.bug = bug
        finally:
            self._under_way.remove(call)
            call.ended.set()
            self._changed.set()
            # A failure's traceback refers to this frame. If this also referred to the failure, by way of the call, both would stay
            # in memory until a garbage collection, with all that was to be auctioned.
            del call, carried, first, elements


def _not_asked() -> Failure:
    return PeerUnavailable("the auctioneer is not asked any more: the server stops")
