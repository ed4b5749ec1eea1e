"""Has a cell stop an instance that is to be retired: what `bbs.lifecycle.retirement` decides step by step."""

from bbs.acts.change import change
from bbs.lifecycle.retirement import ATTEMPTS, told, without_cell
from bbs.log import Logger
from bbs.models.errors import Failure, ResourceNotFound
from bbs.models.outcome import RetireInstance
from bbs.peers.interfaces import Cell, Cells, Reps, RepURLUnusable
from bbs.store.scopes import ProcessScope
from bbs.store.store import Store


async def retire_instance(
    store: Store, retiring: RetireInstance, *, cells: Cells, reps: Reps, log: Logger
) -> bool:
    """Have the cell stop the instance, or remove the row if there is no such cell; whether it was removed.

    ``log`` is a session about it. spec: actual-lrps.md §6.7, rows 4-7

    Raises:
      Failure: the cell could not be looked up, the row could not be removed, or the last attempt failed.
    """
    lrp = retiring.lrp
    process = store.process(lrp.process_guid)
    is_told = False
    for attempt in range(1, ATTEMPTS + 1):
        cell = await _cell(lrp.instance.cell_id, cells, log)
        if cell is None:
            await _remove(process, retiring, is_told=is_told)
            return True
        if not is_told:
            await change(process, lambda process: told(retiring))
            is_told = True
        try:
            await reps.stop_lrp_instance(cell, lrp, trace_id=retiring.trace_id, log=log)
        except RepURLUnusable:
            raise
        except Failure as error:
            # Also the last one, as upstream.
            log.error("retrying-failed-retire-of-actual-lrp", error=error, attempt=attempt)
            if attempt == ATTEMPTS:
                raise
        else:
            return False
    raise AssertionError("the last attempt returns or raises")


async def _remove(process: ProcessScope, retiring: RetireInstance, *, is_told: bool) -> None:
    index = retiring.lrp.index
    await change(process, lambda process: without_cell(retiring, process.rows_at(index), is_told=is_told))


async def _cell(cell_id: str, cells: Cells, log: Logger) -> Cell | None:
    try:
        return await cells.cell_by_id(cell_id, log=log)
    except ResourceNotFound:
        return None
