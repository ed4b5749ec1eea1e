"""The tables in memory: every row, filed under its key and under whatever the operations ask by.

A table holds references to immutable records, so handing one out is free and a snapshot is a list of references.
Every index is kept up to date by `put` and `delete` and must always agree with a scan of the rows.
"""

from collections.abc import Callable, Iterable, Iterator, KeysView, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from sortedcontainers import SortedDict

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record, Row, RowKey
from bbs.models.task import Task, TaskState
from bbs.store.attention import Attention
from bbs.store.indexes import ByProcess, Index, TimeQueue

__all__ = [
    "NO_CELL",
    "ActualLRPTable",
    "DesiredLRPTable",
    "DomainTable",
    "Index",
    "Tables",
    "TaskQueue",
    "TaskTable",
    "TimeQueue",
]


class ActualLRPTable:
    __slots__ = ("by_cell", "by_domain", "by_process_guid", "rows")

    def __init__(self) -> None:
        self.rows: dict[ActualLRPKey, ActualLRP] = {}
        self.by_process_guid = ByProcess()
        self.by_cell: Index[ActualLRP] = Index(lambda lrp: lrp.instance.cell_id)
        self.by_domain: Index[ActualLRP] = Index(lambda lrp: lrp.domain)

    def put(self, key: ActualLRPKey, lrp: ActualLRP) -> ActualLRP | None:
        """Add or replace a row; returns the one that was there before."""
        before = self.rows.get(key)
        self.rows[key] = lrp
        self.by_process_guid.put(key, lrp)
        if before is None:
            self.by_cell.add(key, lrp)
            self.by_domain.add(key, lrp)
        else:
            self.by_cell.replace(key, before, lrp)
            self.by_domain.replace(key, before, lrp)
        return before

    def delete(self, key: ActualLRPKey) -> ActualLRP | None:
        """Remove a row, if it is there; returns it."""
        lrp = self.rows.pop(key, None)
        if lrp is not None:
            self.by_cell.discard(key, lrp)
            self.by_domain.discard(key, lrp)
            self.by_process_guid.discard(key)
        return lrp

    def rows_at(self, process_guid: str, index: int) -> Rows:
        """The rows of one instance, at most one of each presence."""
        get = self.rows.get
        return Rows(
            get(ActualLRPKey(process_guid, index, Presence.ORDINARY)),
            get(ActualLRPKey(process_guid, index, Presence.EVACUATING)),
            get(ActualLRPKey(process_guid, index, Presence.SUSPECT)),
        )


class DesiredLRPTable:
    """Rows are kept in the order of their process guids. The app guid is a prefix of the guids of its processes, so all
    processes of an app stand together, and `with_prefix` need not look at the others.
    """

    __slots__ = ("_in_order", "by_domain", "rows")

    def __init__(self) -> None:
        self._in_order: tuple[DesiredLRP, ...] | None = None
        self.rows: SortedDict[str, DesiredLRP] = SortedDict()
        self.by_domain: Index[DesiredLRP] = Index(lambda lrp: lrp.domain)

    def put(self, process_guid: str, lrp: DesiredLRP) -> DesiredLRP | None:
        """Add or replace a row; returns the one that was there before."""
        before: DesiredLRP | None = self.rows.get(process_guid)
        self.rows[process_guid] = lrp
        self._in_order = None
        if before is None:
            self.by_domain.add(process_guid, lrp)
        else:
            self.by_domain.replace(process_guid, before, lrp)
        return before

    def delete(self, process_guid: str) -> DesiredLRP | None:
        """Remove a row, if it is there; returns it."""
        lrp: DesiredLRP | None = self.rows.pop(process_guid, None)
        if lrp is not None:
            self._in_order = None
            self.by_domain.discard(process_guid, lrp)
        return lrp

    def in_order(self) -> Sequence[DesiredLRP]:
        """All rows. A dozen milliseconds for 100,000, half of what iterating over the values takes; nothing until a row changes."""
        if self._in_order is None:
            self._in_order = tuple(map(self.rows.__getitem__, self.rows))
        return self._in_order

    def with_prefix(self, prefix: str) -> Iterator[DesiredLRP]:
        """The LRPs whose process guid starts with ``prefix``, in order. Costs what it yields."""
        for process_guid in self.rows.irange(minimum=prefix):
            if not process_guid.startswith(prefix):
                return
            yield self.rows[process_guid]


class DomainTable:
    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: dict[str, Domain] = {}

    def put(self, name: str, domain: Domain) -> None:
        self.rows[name] = domain

    def delete(self, name: str) -> None:
        self.rows.pop(name, None)


class TaskQueue:
    """Tasks of one state in the order of one of their times, so that those too old cost only themselves."""

    __slots__ = ("_filed", "_state", "_time_ns")

    def __init__(self, state: TaskState, time_ns: Callable[[Task], int]) -> None:
        self._state = state
        self._time_ns = time_ns
        self._filed: SortedDict[tuple[int, str], Task] = SortedDict()

    def add(self, task: Task) -> None:
        if task.state is self._state:
            self._filed[self._time_ns(task), task.task_guid] = task

    def discard(self, task: Task) -> None:
        if task.state is self._state:
            del self._filed[self._time_ns(task), task.task_guid]

    def pages(
        self, tasks: int, *, after_ns: int | None = None, before_ns: int | None = None
    ) -> Iterator[list[Task]]:
        """Tasks whose time lies strictly between the two, the oldest first, at most ``tasks`` to a page.

        Each page is looked up when it is asked for, so a caller may have a checkpoint in between, and tasks may come and go.
        """
        # Keys are pairs of a time and a guid, and no guid is empty. So all keys of a time lie behind (time, ""), and
        # exclusive bounds made of that mean: from the nanosecond after `after_ns` on, and before `before_ns`.
        last = None if after_ns is None else (after_ns + 1, "")
        end = None if before_ns is None else (before_ns, "")
        while page := list(islice(self._filed.irange(last, end, inclusive=(False, False)), tasks)):
            last = page[-1]
            yield [self._filed[key] for key in page]

    def __len__(self) -> int:
        return len(self._filed)


class TaskTable:
    """Tasks, with the queues by which convergence finds those that are due.

    ``unreadable`` are the rows whose definition cannot be read. They are in ``rows`` and in every index as well.
    """

    __slots__ = (
        "_by_guid", "_queues", "by_cell", "by_domain", "by_state", "completed_by_completion", "completed_by_update",
        "pending_by_creation", "resolving_by_update", "rows", "running_by_cell", "unreadable",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rows: dict[str, Task] = {}
        self.unreadable: dict[str, Task] = {}
        self.by_cell: Index[Task] = Index(lambda task: task.cell_id)
        self.by_domain: Index[Task] = Index(lambda task: task.domain)
        self.by_state: Index[Task] = Index(lambda task: task.state.name)
        self.running_by_cell: Index[Task] = Index(_cell_of_running)
        self.pending_by_creation = TaskQueue(TaskState.Pending, attrgetter("created_at_ns"))
        self.resolving_by_update = TaskQueue(TaskState.Resolving, attrgetter("updated_at_ns"))
        self.completed_by_update = TaskQueue(TaskState.Completed, attrgetter("updated_at_ns"))
        self.completed_by_completion = TaskQueue(TaskState.Completed, attrgetter("first_completed_at_ns"))
        self._by_guid = (self.by_cell, self.by_domain, self.by_state, self.running_by_cell)
        self._queues = (
            self.pending_by_creation,
            self.resolving_by_update,
            self.completed_by_update,
            self.completed_by_completion,
        )

    def put(self, task_guid: str, task: Task) -> None:
        # The former version is filed under its own state and times, so it has to be taken out by these.
        self.delete(task_guid)
        self.rows[task_guid] = task
        if task.unreadable:
            self.unreadable[task_guid] = task
        for index in self._by_guid:
            index.add(task_guid, task)
        for queue in self._queues:
            queue.add(task)

    def delete(self, task_guid: str) -> None:
        task = self.rows.pop(task_guid, None)
        if task is None:
            return
        self.unreadable.pop(task_guid, None)
        for index in self._by_guid:
            index.discard(task_guid, task)
        for queue in self._queues:
            queue.discard(task)


NO_CELL: Final = "\0"
"""Where a running task that names no cell is filed, since an `Index` leaves empty values out and convergence must find the
task. No cell is called that: Postgres could not store it."""


def _cell_of_running(task: Task) -> str:
    return task.cell_id or NO_CELL if task.state is TaskState.Running else ""


class Tables:
    """All rows of one view: what readers see.

    ``attention`` files instances by what convergence may have to do about them. It follows from both LRP tables, so it
    is kept up to date by `apply`, not by the tables. ``changes`` counts rows added, replaced and removed, by the class of
    their records: while the number stays the same, so does the table.
    """

    __slots__ = (
        "_attentive", "_by_class", "actual_lrps", "attention", "changes", "desired_lrps", "domains", "tasks",
    )  # fmt: skip

    def __init__(self) -> None:
        self.actual_lrps = ActualLRPTable()
        self.desired_lrps = DesiredLRPTable()
        self.domains = DomainTable()
        self.tasks = TaskTable()
        self.attention = Attention(self.desired_lrps.rows, self.actual_lrps.by_process_guid)
        # A row's key and record fit the table that its class names; no type says so.
        self._by_class: dict[type[Record], Any] = {
            ActualLRP: self.actual_lrps,
            DesiredLRP: self.desired_lrps,
            Domain: self.domains,
            Task: self.tasks,
        }
        self.changes: dict[type[Record], int] = dict.fromkeys(self._by_class, 0)
        self._attentive: dict[type[Record], Callable[[Any, Any, Any], None]] = {
            ActualLRP: self.attention.actual_lrp_changed,
            DesiredLRP: self.attention.desired_lrp_changed,
        }

    def apply(self, rows: Iterable[Row]) -> None:
        for (table_class, key), record in rows:
            table = self._by_class[table_class]
            self.changes[table_class] += 1
            # The table first: `attention` looks other rows of the process up there.
            before = table.delete(key) if record is None else table.put(key, record)
            if tell := self._attentive.get(table_class):
                tell(key, before, record)

    def sizes(self) -> dict[type[Record], int]:
        """The number of rows in each table, by the class of its records."""
        return {record_class: len(table.rows) for record_class, table in self._by_class.items()}

    def keys(self, record_class: type[Record]) -> KeysView[Any]:
        """The keys of all rows of one table."""
        keys: KeysView[Any] = self._by_class[record_class].rows.keys()
        return keys

    def get(self, row: RowKey) -> Record | None:
        """The row of that key, if there is one."""
        record: Record | None = self._by_class[row.table].rows.get(row.key)
        return record
