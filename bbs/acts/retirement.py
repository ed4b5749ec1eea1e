"""Carries out what `bbs.lifecycle.retirement` decides step by step: used by the route and by the pass over LRPs."""

from collections.abc import Callable

from bbs.acts.change import change
from bbs.acts.effects import Effects
from bbs.lifecycle.retirement import ATTEMPTS, AskCell, RemoveRow, RetireStep
from bbs.log import Logger
from bbs.models.errors import BBSError, ResourceNotFound
from bbs.models.outcome import NOTHING, Outcome
from bbs.peers.interfaces import Cell, RepURLUnusable
from bbs.store.store import Store


class Retirement:
    def __init__(self, store: Store, effects: Effects) -> None:
        self._store = store
        self._effects = effects

    async def begin(self, decide: Callable[[], RetireStep | None], *, about: str) -> AskCell | None:
        """Take the first step: remove the row if no cell has it, else return what is to be asked of its cell.

        ``decide`` reads `store.head`; ``None``: there is nothing to retire.

        Raises:
          BBSError: the decision's refusal, or the store's.
        """
        to_ask: AskCell | None = None

        def first_step() -> Outcome:
            nonlocal to_ask
            match decide():
                case RemoveRow(outcome):
                    return outcome
                case AskCell() as step:
                    to_ask = step
            return NOTHING

        await change(self._store, first_step, about=about)
        return to_ask

    async def ask_cell(self, step: AskCell, *, log: Logger) -> bool:
        """Have the cell stop the instance, or remove the row if there is no such cell; whether it was removed.

        ``log`` is a session about it. spec: actual-lrps.md §6.7, rows 4-7

        Raises:
          BBSError: the cell could not be looked up, the row could not be removed, or the last attempt failed.
        """
        about, is_told = step.lrp.process_guid, False
        for attempt in range(1, ATTEMPTS + 1):
            cell = await self._cell(step, log)
            if cell is None:
                await self._remove_without_cell(step, is_told=is_told)
                return True
            if not is_told:
                await change(self._store, step.told, about=about)
                is_told = True
            try:
                await self._effects.reps.stop_lrp_instance(cell, step.lrp, trace_id=step.trace_id, log=log)
            except RepURLUnusable:
                raise
            except BBSError as error:
                # Also the last one, as upstream.
                log.error("retrying-failed-retire-of-actual-lrp", error=error, attempt=attempt)
                if attempt == ATTEMPTS:
                    raise
            else:
                return False
        raise AssertionError("the last attempt returns or raises")

    async def _cell(self, step: AskCell, log: Logger) -> Cell | None:
        try:
            return await self._effects.cells.cell_by_id(step.cell_id, log=log)
        except ResourceNotFound:
            return None

    async def _remove_without_cell(self, step: AskCell, *, is_told: bool) -> None:
        lrp, head = step.lrp, self._store.head
        await change(
            self._store,
            lambda: step.without_cell(head.rows_at(lrp.process_guid, lrp.index), is_told=is_told),
            about=lrp.process_guid,
        )
