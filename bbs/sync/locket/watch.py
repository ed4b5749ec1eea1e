"""Notices cells that come and go, so that nobody has to wait for the next pass of convergence.

Upstream notices a cell's loss by its passes alone (spec: locking-and-presence.md §5). This is sooner, and no more than
a hint: what a pass acts upon it looks up itself.
"""

from collections.abc import Callable
from typing import NoReturn

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.log import Logger, null_logger
from bbs.models.errors import Failure
from bbs.peers.interfaces import Cells

OnChange = Callable[[frozenset[str], frozenset[str]], None]
"""Is called with the ids of the cells that came and of those that went."""


class PresenceWatch:
    """Looks every ``poll_interval_s`` seconds, and as soon as it is woken; calls ``on_change`` when the cells differ from
    those of the look before. The first look calls nobody.

    While Locket does not answer, all cells count as they were last known: otherwise a Locket that is away would look like a
    fleet that has vanished. That is logged once, not for each look.
    """

    def __init__(self, cells: Cells, *, poll_interval_s: float, on_change: OnChange, log: Logger) -> None:
        self._cells = cells
        self._poll_interval_s = poll_interval_s
        self._on_change = on_change
        self._log = log
        self._quiet = null_logger()
        self._known: frozenset[str] | None = None
        self._is_blind = False
        self._woken = ClearableEvent()

    def wake(self) -> None:
        """Look now: somebody knows that something has changed."""
        self._woken.set()

    async def run(self) -> NoReturn:
        """Look again and again, until cancelled."""
        self._log = self._log.session("presence-watch")
        while True:
            # Before the look: what happens during it calls for another one.
            self._woken.clear()
            await self._look()
            with trio.move_on_after(self._poll_interval_s):
                await self._woken.wait()

    async def _look(self) -> None:
        try:
            present = frozenset(await self._cells.present_cells(log=self._quiet))
        except Failure as error:
            if not self._is_blind:
                self._log.error("failed-to-look-for-cells", error=error)
            self._is_blind = True
            return
        if self._is_blind:
            self._log.info("looking-for-cells-again", cells=len(present))
        self._is_blind = False
        known, self._known = self._known, present
        if known is None or known == present:
            return
        came, went = present - known, known - present
        for cell_id in sorted(came):
            self._log.info("cell-appeared", {"cell-id": cell_id})
        for cell_id in sorted(went):
            self._log.info("cell-disappeared", {"cell-id": cell_id})
        self._on_change(came, went)
