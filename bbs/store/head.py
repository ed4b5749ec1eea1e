"""What the next mutation must see: the committed rows, overlaid with those staged but not yet durable.

Only the overlay is kept here, so `head` costs what is in flight, and dropping it is all it takes to fall back to what
Postgres has.
"""

from collections.abc import Iterable

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Row, RowKey
from bbs.models.task import Task
from bbs.store.indexes import place_of
from bbs.store.tables import Tables


class Head:
    """Owned by `bbs.store.store.Store`. Decisions read it through a scope (`bbs.store.scopes`)."""

    __slots__ = ("_committed", "_processes", "_staged")

    def __init__(self, committed: Tables) -> None:
        self._committed = committed
        self._staged: dict[RowKey, Row] = {}
        # The staged rows once more, by process guid: a scale-down asks for all rows of a process.
        self._processes: dict[str, dict[RowKey, Row]] = {}

    def rows_at(self, process_guid: str, index: int) -> Rows:
        """All rows of one instance."""
        rows = self._committed.actual_lrps.rows_at(process_guid, index)
        staged = self._processes.get(process_guid)
        if staged is None:
            return rows
        return Rows(
            *(
                self._overlaid(staged, ActualLRPKey(process_guid, index, presence), rows[presence])
                for presence in Presence
            )
        )

    def rows_of(self, process_guid: str) -> list[ActualLRP]:
        """All rows of one process, by index and then presence."""
        committed = self._committed.actual_lrps.by_process_guid[process_guid]
        staged = self._processes.get(process_guid)
        if staged is None:
            return list(committed)
        rows = {lrp.key: lrp for lrp in committed}
        for (_, key), record in staged.values():
            assert isinstance(key, ActualLRPKey)
            if record is None:
                rows.pop(key, None)
            else:
                assert isinstance(record, ActualLRP)
                rows[key] = record
        return [rows[key] for key in sorted(rows)]

    def rows_in(self, process_guid: str, indices: Iterable[int]) -> list[ActualLRP]:
        """The rows of some instances of one process, by index as given and then presence. Costs what it looks at."""
        return [lrp for index in indices for lrp in self.rows_at(process_guid, index).present()]

    def rows_max(self, process_guid: str) -> int:
        """An upper bound of how many rows the process has, without looking at them: a committed row with a staged change counts
        twice.
        """
        staged = self._processes.get(process_guid, ())
        return len(self._committed.actual_lrps.by_process_guid[process_guid]) + len(staged)

    def places_of(self, process_guid: str) -> list[int]:
        """The places (`bbs.store.indexes.place_of`) of all rows of one process, in no order.

        A row with a staged change comes twice if it was there before, and comes even if the change is its removal. To sort
        that out would cost much more than the millisecond or two that this takes for 100,000 rows, and whoever asks looks at
        each row again, some at a time.
        """
        staged = self._processes.get(process_guid, ())
        places = list(self._committed.actual_lrps.by_process_guid.by_place(process_guid))
        for _, key in staged:
            assert isinstance(key, ActualLRPKey)
            places.append(place_of(key))
        return places

    def desired_lrp(self, process_guid: str) -> DesiredLRP | None:
        row = self._staged.get(RowKey(DesiredLRP, process_guid)) if self._staged else None
        if row is None:
            lrp: DesiredLRP | None = self._committed.desired_lrps.rows.get(process_guid)
            return lrp
        assert row.record is None or isinstance(row.record, DesiredLRP)
        return row.record

    def domain(self, name: str) -> Domain | None:
        row = self._staged.get(RowKey(Domain, name)) if self._staged else None
        if row is None:
            return self._committed.domains.rows.get(name)
        assert row.record is None or isinstance(row.record, Domain)
        return row.record

    def task(self, task_guid: str) -> Task | None:
        row = self._staged.get(RowKey(Task, task_guid)) if self._staged else None
        if row is None:
            return self._committed.tasks.rows.get(task_guid)
        assert row.record is None or isinstance(row.record, Task)
        return row.record

    def stage(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._staged[row.key] = row
            if row.key.table is ActualLRP:
                assert isinstance(row.key.key, ActualLRPKey)
                self._processes.setdefault(row.key.key.process_guid, {})[row.key] = row

    def unstage(self, rows: Iterable[Row]) -> None:
        """Forget rows that have become durable, unless a later version of them is staged."""
        for row in rows:
            # By identity: a later version may be equal, and is still to be written.
            if self._staged.get(row.key) is row:
                del self._staged[row.key]
                if row.key.table is ActualLRP:
                    assert isinstance(row.key.key, ActualLRPKey)
                    process = self._processes[row.key.key.process_guid]
                    del process[row.key]
                    if not process:
                        del self._processes[row.key.key.process_guid]

    def reset(self) -> None:
        """Fall back to what is committed."""
        self._staged.clear()
        self._processes.clear()

    def is_staged(self, key: RowKey) -> bool:
        """Whether a change of this row is on its way to the database."""
        return key in self._staged

    def staged(self) -> int:
        """How many rows are staged and not yet durable."""
        return len(self._staged)

    @staticmethod
    def _overlaid(
        staged: dict[RowKey, Row], key: ActualLRPKey, committed: ActualLRP | None
    ) -> ActualLRP | None:
        row = staged.get(RowKey(ActualLRP, key))
        if row is None:
            return committed
        assert row.record is None or isinstance(row.record, ActualLRP)
        return row.record
