"""Bytes of lists, made before anybody asks for the list: in idle turns, after the load and after changes.

Whether a record's bytes are there says the record itself, so nothing is noted when one changes: `run` looks through the
records for those that have none, unless no row has changed since it last did. What it makes is what a request would
make, so a request never has to wait for it, and finds its work half done at worst.

Which forms are made is decided by who asks. A form that was asked for within `FORGET_S` is kept ready. Before anybody has
asked for anything, in a standby above all, these are the forms that the clients of every fleet ask a new master for at
once (`EXPECTED`). A form that nobody asks for any more is forgotten, and its memory with it.

Many clients list everything at the same time, after a takeover above all. As long as an answer with all records is being
sent and no row has changed since, whoever asks for the same is given the same bytes, so they are joined once and are in
memory once. When the last of them has been sent, nobody refers to them any more, and they go.

What else is asked for is joined piece by piece while it is sent (`LatePieces`): lists of some records, and of all while an
older answer with all is still being sent, since somebody reads slowly. So however many read however slowly, each form is
in memory as a whole once at most, and what a further reader takes is a reference to each record's bytes, and one piece.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, NoReturn
from weakref import WeakValueDictionary

import trio

from bbs.concurrency.turns import IdleTurns, TimedTurns, sliced
from bbs.http.endpoints import LatePieces
from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.task import Task
from bbs.routes.answers import SLICE_BYTES, in_slices
from bbs.routes.forms import (
    ACTUAL_LRPS,
    DESIRED_LRPS,
    ROUTING_INFOS,
    SCHEDULING_INFOS,
    TASKS,
    Form,
    RecordT,
)
from bbs.store.store import Store

EXPECTED: Final = (ACTUAL_LRPS, SCHEDULING_INFOS, ROUTING_INFOS)
"""Route-emitters and exporters list ActualLRPs, Cloud Controller and older route-emitters scheduling infos, route-emitters of
today routing infos. Whole DesiredLRPs are for operators' tools, and tasks come and go too fast to be worth it."""

FORMS: Final = (*EXPECTED, DESIRED_LRPS, TASKS)

PAUSE_S: Final = 1.0
"""Between two looks for records without bytes. Of 100,000 records that have them a look costs about 5 ms."""

FORGET_S: Final = 3600.0
"""Clients that list everything do so every few seconds or minutes; what rests for that long was asked for by a person."""

RECORDS_BETWEEN_LOOKS: Final = 64


class _Whole(list[bytes]):
    """A list response with all records of a table, as they were after so many ``changes``."""

    __slots__ = ("__weakref__", "changes")

    changes: int


class ReadyLists:
    """Nothing is made before `run` does, and nothing forgotten. ``store`` may be a standby's, or be loading."""

    def __init__(self, store: Store, *, forget_s: float = FORGET_S) -> None:
        self._forget_s = forget_s
        self._tables = store.committed
        self._asked_s: dict[Form[Any], float] = {}
        self._first_asked_s: float | None = None
        self._done_at: dict[Form[Any], int] = {}
        self._joining = {form: trio.Lock() for form in FORMS}
        self._whole: WeakValueDictionary[Form[Any], _Whole] = WeakValueDictionary()

    async def listed(
        self, form: Form[RecordT], records: Sequence[RecordT], *, are_all: bool = False
    ) -> Sequence[bytes] | LatePieces:
        """The bytes of a list response with ``records``, a snapshot that was taken in this turn of the event loop.

        ``are_all``: it is the whole table, in the order in which the whole table is always listed.
        """
        changes = self._tables.changes[form.record_class]
        self._note(form, len(records))
        if are_all:
            # Whoever asks at the same time waits for the one answer, instead of making another one.
            async with self._joining[form]:
                whole = self._whole.get(form)
                if whole is None:
                    self._whole[form] = whole = _Whole(await in_slices(records, form.joined))
                    whole.changes = changes
                if whole.changes == changes:
                    return whole
            # Its readers are slow. It stays the only one: one for each change would fill the memory.
            del whole
        return await _joined_late(form, records)

    def _note(self, form: Form[Any], records: int) -> None:
        """Somebody lists so many records. Fewer than half of all are no reason to make all."""
        if 2 * records < len(self._rows(form)):
            return
        self._asked_s[form] = now_s = trio.current_time()
        if self._first_asked_s is None:
            self._first_asked_s = now_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Make what is wanted and forget what is not, until cancelled. Holds the event loop for a millisecond at most."""
        task_status.started()
        while True:
            for form in FORMS:
                if self._is_wanted(form):
                    await self._make(form)
                elif form in self._done_at:
                    del self._done_at[form]
                    await self._forget(form)
            await trio.sleep(PAUSE_S)

    def _is_wanted(self, form: Form[Any]) -> bool:
        asked_s = self._asked_s.get(form, self._first_asked_s if form in EXPECTED else None)
        if asked_s is None:
            return form in EXPECTED
        return trio.current_time() - asked_s < self._forget_s

    async def _make(self, form: Form[Any]) -> None:
        changes = self._tables.changes[form.record_class]
        if self._done_at.get(form) == changes:
            return
        turns = IdleTurns()
        for some in sliced(self._records(form), RECORDS_BETWEEN_LOOKS):
            if None in map(form.kept, some):
                for record in some:
                    if form.kept(record) is None:
                        form.made(record)
                        await turns.rest_if_due()
            await turns.rest_if_due()
        self._done_at[form] = changes

    async def _forget(self, form: Form[Any]) -> None:
        turns = IdleTurns()
        for some in sliced(self._records(form), RECORDS_BETWEEN_LOOKS):
            for record in some:
                form.forget(record)
            await turns.rest_if_due()

    def _records(self, form: Form[Any]) -> list[Any]:
        """A snapshot in any order: to go through a sorted dictionary in its order takes fifty times as long."""
        return list(dict.values(self._rows(form)))

    def _rows(self, form: Form[Any]) -> dict[Any, Any]:
        tables = self._tables
        rows: dict[type[object], dict[Any, Any]] = {
            ActualLRP: tables.actual_lrps.rows,
            DesiredLRP: tables.desired_lrps.rows,
            Task: tables.tasks.rows,
        }
        return rows[form.record_class]


async def _joined_late(form: Form[RecordT], records: Sequence[RecordT]) -> Sequence[bytes] | LatePieces:
    """Made are the records' own bytes, which they keep, and these are joined when they are sent. What is short is joined at
    once: to keep its pieces would take more memory.
    """
    kept: list[Any] = []
    size = 0
    turns = TimedTurns()
    for some in sliced(records, RECORDS_BETWEEN_LOOKS):
        made = form.made_of(some)
        size += form.size(made)
        kept += made
        await turns.checkpoint_if_due()
    if size <= SLICE_BYTES:
        return [form.join(kept)]
    return LatePieces(size, partial(_pieces, form, kept))


def _pieces(form: Form[Any], kept: list[Any]) -> Iterator[bytes]:
    for some in sliced(kept, RECORDS_BETWEEN_LOOKS):
        if form.size(some) <= SLICE_BYTES:
            yield form.join(some)
        else:
            yield from (form.join((one,)) for one in some)
