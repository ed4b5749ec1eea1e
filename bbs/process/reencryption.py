"""Seals every value with the active key, while requests go on (spec: storage.md §4).

All rows are in memory, and whatever is written is sealed with the active key. So all it takes is to write each row
again, as it is: page by page through the committer, which does requests' writes in the same transactions. No tag changes
and no event tells of it. Rows that could not be read are not in memory, and stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import trio

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import BBSError
from bbs.models.outcome import Outcome, Record, put
from bbs.models.task import Task
from bbs.store.store import Store

PAGE_ROWS: Final = 64
"""Rows on their way at once: about 3 ms of sealing, and a small part of a batch."""


class ReencryptionFailed(Exception):
    """Some rows could not be written; they have their old key until the next start."""


@dataclass(slots=True)
class _Progress:
    failure: BBSError | None = None


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
            for record_class, key, about in page:
                nursery.start_soon(_seal_one, store, record_class, key, about, progress)
        if progress.failure is not None:
            raise ReencryptionFailed(str(progress.failure)) from progress.failure
    return rows


_Place = tuple[type[Record], ActualLRPKey | str, str]


def _pages(store: Store) -> Iterator[list[_Place]]:
    tables = store.committed
    places: list[_Place] = [
        *((DesiredLRP, process_guid, process_guid) for process_guid in tables.desired_lrps.rows),
        *((ActualLRP, key, key.process_guid) for key in tables.actual_lrps.rows),
        *((Task, task_guid, task_guid) for task_guid in tables.tasks.rows),
    ]
    return (places[begin : begin + PAGE_ROWS] for begin in range(0, len(places), PAGE_ROWS))


async def _seal_one(
    store: Store, record_class: type[Record], key: ActualLRPKey | str, about: str, progress: _Progress
) -> None:
    record = _current(store, record_class, key)
    if record is None or (isinstance(record, Task) and record.unreadable):
        return
    try:
        await store.commit(Outcome(rows=(put(record),)), about=about)
    except BBSError as error:
        progress.failure = progress.failure or error


def _current(store: Store, record_class: type[Record], key: ActualLRPKey | str) -> Record | None:
    """The row as the next mutation must see it."""
    if isinstance(key, ActualLRPKey):
        return store.head.rows_at(key.process_guid, key.instance_index)[key.presence]
    return store.head.desired_lrp(key) if record_class is DesiredLRP else store.head.task(key)
