"""Wakes those who wait, again and again: a `trio.Event` that can be cleared."""

import trio


class ClearableEvent:
    """Whether something is so, for those who wait until it is. Cleared at first.

    No wakeup is missed by a loop that clears the event, then looks at what it is about, then waits: whatever comes after
    the look has set the event, before the wait or during it. Cleared between the look and the wait, with a checkpoint
    before it, the event may be lost.

    Setting an event that is set changes nothing, so however often it is set before somebody clears it, the waiter goes
    on once. Nobody who waits takes it away from others: it stays set until it is cleared.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Everybody who waits goes on, and whoever comes does not wait, until `clear`."""
        self._event.set()

    def clear(self) -> None:
        """Whoever waits from now on waits for the next `set`. Those who were woken by the last one, and have not had
        their turn yet, go on all the same.
        """
        if self._event.is_set():
            self._event = trio.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until it is set; only a checkpoint if it is.

        There is no deadline: whoever has one brings a cancel scope. When this returns, the event may have been cleared
        again, and what it is about may be over.

        Cancellation:
          Changes nothing; what was set stays so.
        """
        await self._event.wait()
