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
    """Have the cell stop the instance, or remove the row if there is no such cell (spec: actual-lrps.md §6.7, rows 4-7).

    Returns whether the row was removed. If not, the cell has accepted the stop, and removes the row when the container is
    gone. ``log`` is a session about this one instance.

    Raises:
      PeerUnavailable: Locket did not say whether there is such a cell, the cell announces no address that may be called
        (`RepURLUnusable`), or the last of `ATTEMPTS` attempts to stop the instance failed.
      ResourceNotFound: there is no such cell, and meanwhile the row has gone or another instance has it.
      Failure: the removal could not be written, as `bbs.acts.change.change` raises it.
    Cancellation:
      Between two attempts or in one; what was told or removed stays so.
    """
    lrp = retiring.lrp
    process = store.process(lrp.process_guid)
    is_told = False
    for attempt in range(1, ATTEMPTS + 1):
        # Looked up for each attempt: a cell that went away meanwhile will never remove the row, so we have to.
        cell = await _cell(lrp.instance.cell_id, cells, log)
        if cell is None:
            await _remove(process, retiring, is_told=is_told)
            return True
        if not is_told:
            # Before the stop and whatever becomes of it, as upstream; once, though there may be several attempts.
            await change(process, lambda process: told(retiring))
            is_told = True
        try:
            await reps.stop_lrp_instance(cell, lrp, trace_id=retiring.trace_id, log=log)
        except RepURLUnusable:
            raise  # asking again does not change the address
        except Failure as error:
            # Also of the last attempt, which is not followed by another: upstream logs so.
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
    # Only the certain answer that there is no such cell may lead to the removal of a row. If Locket does not answer the
    # instance may well be running, so that failure is passed on.
    try:
        return await cells.cell_by_id(cell_id, log=log)
    except ResourceNotFound:
        return None
