"""What the server promises, looked at with every step it takes.

Steps are: a transaction of the database, an outcome that becomes visible, an answer that a client gets, and each moment at
which everything waits. `INVARIANTS` names what is looked at. What is found is kept, with its time, and raised by `check`.

The database's transactions are heard of as they happen (`durable`), whoever made them and whether or not he knows. So what
the server has in memory, shows and acknowledges can be compared with what a successor would load at that very moment.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Final

import trio

from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    DesiredLRPChanged,
    DesiredLRPCreated,
    DesiredLRPRemoved,
    Event,
    Hub,
    TaskChanged,
    TaskCreated,
    TaskRemoved,
)
from bbs.models.outcome import Announcement, Record, Row, RowKey
from bbs.models.task import Task, TaskState
from bbs.store.indexes import Index
from bbs.store.memory_backend import MemoryBackend
from bbs.store.tables import Tables
from bbs.testing._container import Container
from tests.simulation import invariants
from tests.simulation.follower import Follower
from tests.simulation.ledger import Ledger, Version
from tests.simulation.server import BBS, Observer
from tests.simulation.task_client import TaskClient

INVARIANTS: Final = {
    "acknowledged": "what was answered without an error is durable by then, and stays",
    "memory": "whenever everything waits, the master's memory is what the database has",
    "restart": "a process that takes over has in memory what the database has",
    "rows": "rows make sense: who holds an instance, which presences may have which state",
    "indexes": "every index of the tables agrees with a scan of the rows",
    "tags": "with each change of a record its modification tag moves on",
    "lrp moves": "an instance's state moves along the arrows, and is not taken from who holds it",
    "crash counts": "a crash counts one more, or is the first after five minutes of running",
    "task moves": "a task's state moves along the arrows, and a task goes only when it is over",
    "events": "each visible change is told of, in its order, and nothing that is not durable",
    "followers": "of rows alone a follower tells what the master told, and its subscribers lack nothing that runs",
    "streams": "a stream has all events, none twice and none that contradicts the rows, or it ends",
    "watches": "who watches is told no change twice and none that does not follow, and comes to know what the server has",
    "one writer": "after a process' first transaction no earlier one makes another",
    "reads": "a read finds what was acknowledged before it was asked for",
    "callbacks": "who desired a task is told how it ended, as its cell was acknowledged, before it goes",
    "convergence": "when nothing is wrong any more, everything comes to rest: desired is running, and nothing else is",
    "bugs": "no exception that is nobody's business, no process that ends without a reason",
}

TASK_MOVES: Final = {
    (None, TaskState.Pending),
    (TaskState.Pending, TaskState.Pending),  # a rejection
    (TaskState.Pending, TaskState.Running),
    (TaskState.Pending, TaskState.Completed),
    (TaskState.Running, TaskState.Pending),
    (TaskState.Running, TaskState.Completed),
    (TaskState.Completed, TaskState.Resolving),
    (TaskState.Resolving, TaskState.Completed),
    (TaskState.Completed, None),
    (TaskState.Resolving, None),
}
"""``None`` is where there is no task (spec: tasks.md §2)."""

_UNCLAIMED, _CLAIMED, _RUNNING, _CRASHED = (
    ActualLRPState.UNCLAIMED,
    ActualLRPState.CLAIMED,
    ActualLRPState.RUNNING,
    ActualLRPState.CRASHED,
)

LRP_MOVES: Final = {
    (_UNCLAIMED, _UNCLAIMED): False,
    (_UNCLAIMED, _CLAIMED): False,
    (_UNCLAIMED, _RUNNING): False,
    (_CLAIMED, _UNCLAIMED): False,
    (_CLAIMED, _CLAIMED): True,
    (_CLAIMED, _RUNNING): False,
    (_CLAIMED, _CRASHED): False,
    (_RUNNING, _UNCLAIMED): False,
    (_RUNNING, _CLAIMED): True,
    (_RUNNING, _RUNNING): True,
    (_RUNNING, _CRASHED): False,
    (_CRASHED, _UNCLAIMED): False,
}
"""The moves of a row (spec: actual-lrps.md §2), and whether the instance has to stay the same."""

CRASHES_FORGIVEN_AFTER_NS: Final = 5 * 60 * 1_000_000_000
LATE_NS: Final = 60 * 1_000_000_000
"""A decision may wait for a database that is away."""
TASK_EXPIRES_NS: Final = 120 * 1_000_000_000
VERSIONS_KEPT: Final = 30


class Broken(AssertionError):
    """An invariant does not hold: ``invariant`` was found first."""

    def __init__(self, invariant: str, text: str, *, also: frozenset[str] = frozenset()) -> None:
        assert invariant in INVARIANTS, invariant
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.invariants = also | {invariant}
        """All that were found broken by then. Which is first may be a matter of microseconds."""


@dataclass(frozen=True, slots=True)
class Found:
    invariant: str
    text: str
    at_s: float


class Promises(Observer):
    """Also what hears of the database's transactions. ``now_ns`` is the clock of all processes."""

    def __init__(self, ledger: Ledger, task_client: TaskClient, now_ns: Callable[[], int]) -> None:
        self.found: list[Found] = []
        self.durable: dict[RowKey, Record] = {}
        self.on_loaded: Callable[[BBS], None] = lambda bbs: None
        self._ledger = ledger
        self._tasks = task_client
        self._now_ns = now_ns
        self._versions: defaultdict[RowKey, list[Record]] = defaultdict(list)
        self._last_batch: frozenset[RowKey] = frozenset()
        self._writer: object | None = None
        self._former: list[object] = []
        # Rows that the database may have otherwise than the master: it does not know, and mends them with its next transaction.
        self._unknown: set[RowKey] = set()
        self._master: BBS | None = None
        self._visible: dict[RowKey, Record] = {}
        self._told_gone: set[object] = set()
        # One that hears of each transaction, and one that hears of each outcome as the master makes it visible.
        self._follower, self._close_follower = Follower(()), Follower(())
        self._transactions = 0
        self._looked_at: object = None

    # What is heard of

    def committed(self, writer: object, rows: Sequence[Row]) -> None:
        """A transaction is durable."""
        self._transactions += 1
        if writer is not self._writer:
            if any(writer is former for former in self._former):
                self._note("one writer", f"{len(rows)} rows by a process that has had a successor")
            self._former.append(self._writer)
            self._writer = writer
        self._unknown.clear()
        self._last_batch = frozenset(row.key for row in rows)
        for difference in self._follower.misled(rows):
            self._note("followers", difference)
        for key, record in rows:
            before = self.durable.get(key)
            if record is None:
                self.durable.pop(key, None)
                if isinstance(before, Task):
                    self._task_deleted(before)
            else:
                self.durable[key] = record
                versions = self._versions[key]
                versions.append(record)
                del versions[:-VERSIONS_KEPT]

    def unknown(self, backend: MemoryBackend, rows: Sequence[Row]) -> None:
        if backend is self._writer:
            self._unknown.update(row.key for row in rows)

    def loaded(self, bbs: BBS) -> None:
        self._master = bbs
        self._unknown.clear()
        for difference in self._differences(bbs.store.committed):
            self._note("restart", difference)
        self._visible = dict(_rows(bbs.store.committed))
        self._close_follower = Follower(starmap(Row, self._visible.items()))
        self.on_loaded(bbs)

    def published(self, bbs: BBS, announcements: tuple[Announcement, ...]) -> None:
        if bbs is not self._master or not bbs.cpu.runs or not bbs.is_loaded.is_set():
            return
        told: set[object] = set()
        for announcement in announcements:
            for hub in (Hub.DESIRED, Hub.INSTANCE, Hub.TASK):
                for event in announcement.events(hub):
                    told.add(_about(event))
                    if isinstance(event, ActualLRPInstanceRemoved):
                        self._told_gone.add((event.actual_lrp.key, event.actual_lrp.tag))
                    self._look_at_event(event)
        visible = dict(_rows(bbs.store.committed))
        changed: list[Row] = []
        for key in visible.keys() | self._visible.keys():
            before, after = self._visible.get(key), visible.get(key)
            if before is not after:
                self._look_at_change(key, before, after, told)
                changed.append(Row(key, after))
        if changed:
            for difference in self._close_follower.differences(changed, announcements):
                self._note("followers", difference)
        self._visible = visible

    def acknowledged_to_cell(self, what: str, container: Container) -> None:
        """A cell was told that the BBS has its claim or start."""
        if what not in ("claim", "start"):
            return
        process_guid, index = container.at
        versions = (
            record
            for key, records in self._versions.items()
            if key.table is ActualLRP and key.key[:2] == (process_guid, index)
            for record in records
        )
        if not any(
            isinstance(record, ActualLRP) and record.instance.instance_guid == container.guid
            for record in versions
        ):
            self._note("acknowledged", f"{what} of {container.guid}, of which the database has never heard")

    def acknowledged_to_client(self) -> None:
        for process_guid in self._ledger.possible:
            record = self.durable.get(RowKey(DesiredLRP, process_guid))
            assert record is None or isinstance(record, DesiredLRP)
            self._compare_with_ledger("acknowledged", process_guid, Version.of(record))

    def was_read(self, process_guid: str, version: Version | None, possible: "set[Version | None]") -> None:
        if version not in possible:
            self._note("reads", f"{process_guid} was read as {version}, when it had to be one of {possible}")

    # What is looked at whenever everything waits

    def at_rest(self) -> None:
        """Everything waits: whatever has happened is through."""
        bbs = self._master
        changes = (
            self._transactions,
            bbs and sum(bbs.store.committed.changes.values()),
            bbs and bbs.store.head.staged(),
        )
        if changes == self._looked_at:
            return
        self._looked_at = changes
        for task_guid in self._tasks.acknowledged:
            if not self._versions[RowKey(Task, task_guid)]:
                self._note("acknowledged", f"task {task_guid} is not there, and never was")
        self.acknowledged_to_client()
        if bbs is None or not bbs.cpu.runs or bbs.backend is not self._writer:
            return
        tables = bbs.store.committed
        for difference in self._differences(tables):
            self._note("memory", difference)
        for text in invariants.always(tables):
            self._note("rows", text)
        for text in _wrong_indexes(tables):
            self._note("indexes", text)
        if not bbs.store.statistics().staged_rows and bbs.store.head.staged():
            self._note("memory", f"{bbs.store.head.staged()} rows are staged that nobody writes")

    def check(self) -> None:
        """Raises: Broken: something was found; it says the first."""
        if self.found:
            first = self.found[0]
            counts = Counter(found.invariant for found in self.found)
            text = f"{first.text} (at {first.at_s:.4f} s; found in all: {dict(counts)})"
            raise Broken(first.invariant, text, also=frozenset(counts))

    def tasks_left(self) -> list[str]:
        """Tasks that are not over, or of which nobody was told though he should have been."""
        return [
            f"{record.task_guid} is {record.state.name}"
            for record in self.durable.values()
            if isinstance(record, Task)
        ]

    # One by one

    def _note(self, invariant: str, text: str) -> None:
        self.found.append(Found(invariant, text, trio.current_time()))

    def _differences(self, tables: Tables) -> Iterator[str]:
        shown = dict(_rows(tables))
        for key in shown.keys() | self.durable.keys():
            mine, stored = shown.get(key), self.durable.get(key)
            if mine is not stored and mine != stored and key not in self._unknown:
                yield f"{_name(key)} is {_text(mine)} in memory and {_text(stored)} in the database"

    def _compare_with_ledger(self, invariant: str, process_guid: str, version: Version | None) -> None:
        if (
            self._ledger.contradicts(process_guid, version)
            and RowKey(DesiredLRP, process_guid) not in self._unknown
        ):
            self._note(
                invariant, f"{process_guid} is {version}, not one of {self._ledger.possible[process_guid]}"
            )

    def _look_at_change(
        self, key: RowKey, before: Record | None, after: Record | None, told: set[object]
    ) -> None:
        if isinstance(before, Task) or isinstance(after, Task):
            self._look_at_task(before, after)
        if isinstance(before, ActualLRP) and isinstance(after, ActualLRP):
            self._look_at_lrp(before, after)
        if isinstance(before, DesiredLRP) and isinstance(after, DesiredLRP):
            self._look_at_tags(_name(key), before, after)
        if after is None and isinstance(before, ActualLRP) and (before.key, before.tag) in self._told_gone:
            return  # a retired row is told of when its cell is asked, and goes later (spec: actual-lrps.md §6.7)
        if key.table is not Domain and _thing(key) not in told:
            self._note("events", f"{_name(key)} became {_text(after)}, and nobody was told")

    def _look_at_lrp(self, before: ActualLRP, after: ActualLRP) -> None:
        self._look_at_tags(_name(RowKey(ActualLRP, after.key)), before, after)
        if before.tag.epoch != after.tag.epoch or after.presence is not Presence.ORDINARY:
            return  # another row, under the same key
        same = LRP_MOVES.get((before.state, after.state))
        if same is None or (same and before.instance != after.instance):
            self._note("lrp moves", f"{after.key} went from {_text(before)} to {_text(after)}")
        if after.crash_count != before.crash_count:
            self._look_at_crash(before, after)

    def _look_at_crash(self, before: ActualLRP, after: ActualLRP) -> None:
        ran_ns = self._now_ns() - before.since_ns if before.state is _RUNNING else 0
        # The moment of the decision is not known to the nanosecond; close to the limit either is right.
        counts = {before.crash_count + 1} if ran_ns < CRASHES_FORGIVEN_AFTER_NS + LATE_NS else set()
        counts |= {1} if ran_ns > CRASHES_FORGIVEN_AFTER_NS else set()
        if after.crash_count not in counts:
            self._note(
                "crash counts",
                f"{after.key} has {after.crash_count} crashes after {before.crash_count}, having run "
                f"{ran_ns / 1e9:.1f} s",
            )

    def _look_at_tags(self, name: str, before: ActualLRP | DesiredLRP, after: ActualLRP | DesiredLRP) -> None:
        if before.tag.epoch == after.tag.epoch and before != after and after.tag.index <= before.tag.index:
            self._note("tags", f"{name} changed from {_text(before)} to {_text(after)}")

    def _look_at_task(self, before: Record | None, after: Record | None) -> None:
        was, became = (task.state if isinstance(task, Task) else None for task in (before, after))
        if (was, became) not in TASK_MOVES:
            self._note("task moves", f"{_text(before)} became {_text(after)}")
        if (
            isinstance(before, Task)
            and isinstance(after, Task)
            and was is became is TaskState.Running
            and before.cell_id != after.cell_id
        ):
            self._note("task moves", f"{_text(before)} was taken by {after.cell_id}")

    def _look_at_event(self, event: Event) -> None:
        match event:
            case ActualLRPInstanceCreated(actual_lrp=row) | ActualLRPInstanceChanged(after=row):
                key: RowKey = RowKey(ActualLRP, row.key)
                if not self._is_durable(key, row):
                    self._note("events", f"told of {_name(key)} as {_text(row)}, of which the database has "
                                         f"{_text(self.durable.get(key))}")  # fmt: skip
            case ActualLRPCrashed(before=crashed, after=row):
                self._look_at_crash(crashed, row)
            case DesiredLRPCreated(desired_lrp=lrp) | DesiredLRPChanged(after=lrp):
                if not self._is_durable(key := RowKey(DesiredLRP, lrp.key), lrp):
                    self._note("events", f"told of {_name(key)}, which is not durable")
            case TaskCreated(task=task) | TaskChanged(after=task):
                key = RowKey(Task, task.key)
                if key not in self._last_batch and self.durable.get(key) != task:
                    self._note("events", f"told of {_text(task)}, which is not durable")
            case _:
                pass

    def _is_durable(self, key: RowKey, told: ActualLRP | DesiredLRP) -> bool:
        """Whether the database has that version, a later one, or had it for a moment and has it no more."""
        if key in self._last_batch:
            return True
        stored = self.durable.get(key)
        return (
            isinstance(stored, ActualLRP | DesiredLRP)
            and stored.tag.epoch == told.tag.epoch
            and stored.tag.index >= told.tag.index
        )

    def _task_deleted(self, task: Task) -> None:
        guid = task.task_guid
        if guid not in self._tasks.acknowledged:
            return  # it may just be undone
        match task.state:
            case TaskState.Completed:
                if self._now_ns() - task.first_completed_at_ns < TASK_EXPIRES_NS:
                    self._note(
                        "task moves", f"{_text(task)} was deleted, and nobody has been told how it ended"
                    )
            case TaskState.Resolving:
                told = self._tasks.told[guid]
                if not told:
                    self._note(
                        "callbacks", f"{_text(task)} was deleted, and nobody has been told how it ended"
                    )
                elif (said := self._tasks.completed_as.get(guid)) is not None and said not in told:
                    self._note("callbacks", f"{guid} ended as {said}, and was told of as {told}")
            case _:
                self._note("acknowledged", f"{_text(task)} was deleted")


class AtRest(trio.abc.Instrument):
    """Has the promises looked at whenever every task waits."""

    def __init__(self, promises: Promises) -> None:
        self._promises = promises

    def before_io_wait(self, timeout: float) -> None:
        # Not by ``timeout``: with a clock that jumps it is always 0.
        if trio.lowlevel.current_statistics().tasks_runnable:
            return
        try:
            self._promises.at_rest()
        except Exception as error:  # Trio would only log it, and look no more
            self._promises.found.append(Found("bugs", f"to look is a bug: {error!r}", trio.current_time()))
            raise


def _rows(tables: Tables) -> Iterator[tuple[RowKey, Record]]:
    by_class: tuple[tuple[type[Record], Mapping[Any, Record]], ...] = (
        (ActualLRP, tables.actual_lrps.rows),
        (DesiredLRP, tables.desired_lrps.rows),
        (Domain, tables.domains.rows),
        (Task, tables.tasks.rows),
    )
    for record_class, rows in by_class:
        for key, record in rows.items():
            yield RowKey(record_class, key), record


def _wrong_indexes(tables: Tables) -> Iterator[str]:
    lrps, tasks, desired = tables.actual_lrps, tables.tasks, tables.desired_lrps
    scans: tuple[tuple[str, Index[Any], Callable[[Any], str], Mapping[Any, Any]], ...] = (
        ("ActualLRPs by cell", lrps.by_cell, lambda lrp: lrp.instance.cell_id, lrps.rows),
        ("ActualLRPs by domain", lrps.by_domain, lambda lrp: lrp.domain, lrps.rows),
        ("DesiredLRPs by domain", desired.by_domain, lambda lrp: lrp.domain, desired.rows),
        ("tasks by cell", tasks.by_cell, lambda task: task.cell_id, tasks.rows),
        ("tasks by state", tasks.by_state, lambda task: task.state.name, tasks.rows),
    )
    for name, index, of, rows in scans:
        wanted: defaultdict[str, set[int]] = defaultdict(set)
        for record in rows.values():
            if value := of(record):
                wanted[value].add(id(record))
        filed = {value: set(map(id, records)) for value, records in index.items()}
        if filed != wanted:
            yield f"{name} are {filed.keys()}, and a scan finds {wanted.keys()}"
    for process_guid in {lrp.process_guid for lrp in lrps.rows.values()}:
        filed_rows = list(lrps.by_process_guid[process_guid])
        scanned = [lrps.rows[key] for key in sorted(lrps.rows) if key.process_guid == process_guid]
        if list(map(id, filed_rows)) != list(map(id, scanned)):
            yield f"the rows of {process_guid} are {filed_rows}, and a scan finds {scanned}"
    queued = len(tasks.pending_by_creation) + len(tasks.resolving_by_update) + len(tasks.completed_by_update)
    waiting = sum(task.state is not TaskState.Running for task in tasks.rows.values())
    if queued != waiting:
        yield f"{queued} tasks are queued by time, and {waiting} should be"


def _thing(key: RowKey) -> object:
    """What a row is of: an instance has up to three."""
    return (ActualLRP, key.key[0], key.key[1]) if key.table is ActualLRP else (key.table, key.key)


def _about(event: Event) -> object:
    match event:
        case (
            ActualLRPInstanceCreated(actual_lrp=lrp)
            | ActualLRPInstanceRemoved(actual_lrp=lrp)
            | ActualLRPInstanceChanged(after=lrp)
            | ActualLRPCrashed(after=lrp)
        ):
            return ActualLRP, lrp.process_guid, lrp.index
        case (
            DesiredLRPCreated(desired_lrp=lrp)
            | DesiredLRPChanged(after=lrp)
            | DesiredLRPRemoved(desired_lrp=lrp)
        ):
            return DesiredLRP, lrp.process_guid
        case TaskCreated(task=task) | TaskChanged(after=task) | TaskRemoved(task=task):
            return Task, task.task_guid
    raise AssertionError(event)


def _name(key: RowKey) -> str:
    return f"{key.table.__name__} {key.key}"


def _text(record: Record | None) -> str:
    match record:
        case None:
            return "nothing"
        case ActualLRP():
            return (
                f"{record.presence.name} {record.state} {record.instance.instance_guid or '-'} "
                f"{record.tag.epoch}#{record.tag.index}"
            )
        case DesiredLRP():
            return f"{record.instances} × {record.process_guid} {record.tag.epoch}#{record.tag.index}"
        case Task():
            return f"task {record.task_guid} {record.state.name} {record.cell_id}"
        case Domain():
            return f"domain {record.name}"
