"""What a stop waits for: connections whose request is not read to its end, or whose handler still runs.

Once there are none left, no request can change anything any more. Answers may still be on their way.
"""

from collections.abc import Iterable

import trio


class Unserved:
    """The unserved connections of one lane at a stop. Empty until `found`; from then on connections only leave it."""

    def __init__(self) -> None:
        self._connections: set[object] = set()
        self._none_left = trio.Event()

    def found(self, connections: Iterable[object]) -> None:
        """The stop begins, and these are unserved. Called once."""
        self._connections.update(connections)
        self._tell()

    def served(self, connection: object) -> None:
        """Its handler is done with, or never will be called. Means nothing for a connection that is not among them."""
        if connection in self._connections:
            self._connections.discard(connection)
            self._tell()

    async def wait_none_left(self) -> None:
        """Wait until none is left, at first for `found`. No deadline of its own: the stop ends connections after a while."""
        await self._none_left.wait()

    def _tell(self) -> None:
        if not self._connections:
            self._none_left.set()
