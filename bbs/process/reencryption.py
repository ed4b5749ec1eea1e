"""Seals every value with the active key, while requests go on (spec: storage.md §4).

All rows are in memory, and whatever is written is sealed with the active key. So all it takes is to write each row
again, as it is: page by page through the committer, which does requests' writes in the same transactions. No tag changes
and no event tells of it. Rows that could not be read are not in memory, and stay as they are.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from bbs.acts.change import change
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import Failure
from bbs.models.outcome import NOTHING, Outcome, put
from bbs.models.task import Task
from bbs.store.store import Store

PAGE_ROWS: Final = 64
"""Rows on their way at once: about 3 ms of sealing, and a small part of a batch."""


class ReencryptionFailed(Exception):
    """Some rows could not be written; they have their old key until the next start."""


@dataclass(slots=True)
class _Progress:
    failure: Failure | None = None


async def seal_anew(store: Store) -> int:
    """Write every row that has sealed columns again; returns how many there were when it began.

    Rows that change or go meanwhile are as good as done: whatever is written has the active key.

    Raises:
      ReencryptionFailed: for what went wrong first. Some rows may have been written.
    """
    progress, rows = _Progress(), 0
    for page in _pages(store):
        rows += len(page)
        async with trio.open_nursery() as nursery:
            for seal in page:
                nursery.start_soon(_done, seal, progress)
        if progress.failure is not None:
            raise ReencryptionFailed(str(progress.failure)) from progress.failure
    return rows


Seal = Callable[[], Awaitable[Outcome]]
"""Writes one row again."""


def _pages(store: Store) -> Iterator[list[Seal]]:
    tables = store.committed
    seals: list[Seal] = [
        *(partial(_seal_desired_lrp, store, process_guid) for process_guid in tables.desired_lrps.rows),
        *(partial(_seal_actual_lrp, store, key) for key in tables.actual_lrps.rows),
        *(partial(_seal_task, store, task_guid) for task_guid in tables.tasks.rows),
    ]
    return (seals[begin : begin + PAGE_ROWS] for begin in range(0, len(seals), PAGE_ROWS))


async def _done(seal: Seal, progress: _Progress) -> None:
    """A failure is noted and not raised: the nursery would break off the other rows of the page, which may well succeed."""
    try:
        await seal()
    except Failure as error:
        progress.failure = progress.failure or error


async def _seal_desired_lrp(store: Store, process_guid: str) -> Outcome:
    return await change(store.process(process_guid), lambda process: _again(process.desired_lrp()))


async def _seal_actual_lrp(store: Store, key: ActualLRPKey) -> Outcome:
    return await change(
        store.process(key.process_guid),
        lambda process: _again(process.rows_at(key.instance_index)[key.presence]),
    )


async def _seal_task(store: Store, task_guid: str) -> Outcome:
    return await change(store.task(task_guid), lambda scope: _again(scope.task()))


def _again(record: ActualLRP | DesiredLRP | Task | None) -> Outcome:
    """The row as it is, written once more; a task that can't be read has nothing to seal."""
    if record is None or (isinstance(record, Task) and record.unreadable):
        return NOTHING
    return Outcome(rows=(put(record),))
