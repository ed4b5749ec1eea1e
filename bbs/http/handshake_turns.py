"""Whose handshake is computed next, when many clients connect at once.

A full handshake takes two steps of about a millisecond each, nearly all of it in OpenSSL, which releases the interpreter's
lock. So a step is computed in a thread (`TLSStream.do_handshake`), and the event loop serves everybody else meanwhile.
How many are computed at once is bounded: more threads than processors would only take time from the event loop.

First come, first served, except that handshakes that have begun go before those that have not. Otherwise all clients would
get the first half of their handshake before anybody gets the second, and all would be served at the end. A client that sends
its handshake in pieces gets more turns than others, but short ones. What a client takes to answer is not part of a turn, so
a silent one holds up nobody.

Nothing is refused here: whoever has been accepted waits, and `Limits.connections_max` bounds how many do. The time that a
client waits for its turn does not count against `Limits.handshake_timeout_s`, which is for what the client owes us.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

import trio

from bbs.http.tls_stream import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeTurnsStatistics:
    waiting: int
    """Handshakes whose next step could be computed, if it were their turn."""


class HandshakeTurns:
    """At most ``at_once`` handshakes have a turn at the same time."""

    def __init__(self, *, at_once: int) -> None:
        self._free = at_once
        self._begun = trio.lowlevel.ParkingLot()
        self._new = trio.lowlevel.ParkingLot()

    def of(self, scope: trio.CancelScope) -> Turn:
        """The turns of one handshake, whose time is limited by ``scope``: its deadline is put off by each wait."""
        is_begun = False

        @asynccontextmanager
        async def turn() -> AsyncIterator[None]:
            nonlocal is_begun
            left_s = scope.deadline - trio.current_time()
            scope.deadline = inf
            try:
                await self._take(self._begun if is_begun else self._new)
            finally:
                scope.deadline = trio.current_time() + left_s
            is_begun = True
            try:
                yield
            finally:
                self._give_back()

        return turn

    def statistics(self) -> HandshakeTurnsStatistics:
        return HandshakeTurnsStatistics(waiting=len(self._begun) + len(self._new))

    async def _take(self, queue: trio.lowlevel.ParkingLot) -> None:
        """No checkpoint if nobody has to be waited for: what is done in a turn has one.

        Cancellation:
          The turn is somebody else's.
        """
        if self._free:
            self._free -= 1
        else:
            await queue.park()  # until whoever had the turn passes it on to us

    def _give_back(self) -> None:
        for queue in (self._begun, self._new):
            if queue:
                queue.unpark()
                return
        self._free += 1
