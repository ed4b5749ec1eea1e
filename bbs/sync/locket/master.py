"""Who is master, as Locket knows it: for those who are not, and are asked to write."""

from dataclasses import dataclass
from typing import Final

import trio

from bbs.sync.locket.client import Locket, LocketError
from bbs.sync.locket.lock import KEY

ASK_S: Final = 2.0

REMEMBERED_S: Final = 1.0
"""Clients that write to the wrong place do it again and again; Locket is not asked for each of them."""


@dataclass(frozen=True, slots=True)
class MasterKnown:
    """``owner`` is the master's uuid and ``url`` where it is, each '' if Locket does not know. Upstream's server does not say
    where it is.
    """

    owner: str
    url: str

    def __str__(self) -> str:
        if self.url:
            return f"the master is at {self.url} (uuid {self.owner})"
        if self.owner:
            return f"the master's uuid is {self.owner}; Locket does not know its address"
        return "Locket knows of no master now"


NOBODY: Final = MasterKnown("", "")


class MasterLookup:
    """Asks ``locket`` who has the lock."""

    def __init__(self, locket: Locket) -> None:
        self._locket = locket
        self._known = NOBODY
        self._until = -1.0
        self._asking = trio.Lock()

    async def ask(self) -> MasterKnown:
        """Who is master, or was a moment ago. Locket is asked once, however many want to know."""
        async with self._asking:
            return await self._ask()

    async def _ask(self) -> MasterKnown:
        if trio.current_time() >= self._until:
            try:
                lock = await self._locket.fetch(KEY, deadline_s=ASK_S)
            except LocketError:
                self._known = NOBODY
            else:
                self._known = MasterKnown(lock.owner, lock.value)
            self._until = trio.current_time() + REMEMBERED_S
        return self._known
