"""What each page shows: named sections, each a value that becomes JSON. A section that has not changed is not sent again, so clocks
and ages are left to the page: it is told since when.
"""

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any, Final

import trio

from bbs.concurrency.turns import TimedTurns, sliced
from bbs.dashboard import apps, counts
from bbs.dashboard.cell_use import CellUses, Use
from bbs.dashboard.history import History, Point
from bbs.dashboard.smallest import smallest
from bbs.dashboard.sources import Sources
from bbs.dashboard.troubles import Trouble, Wrong, troubles
from bbs.lifecycle.domains import is_fresh
from bbs.models import pb
from bbs.models.task import Task, TaskState
from bbs.words.times import NS

Sections = dict[str, object]
Parameters = Mapping[str, str]

ROWS_MAX: Final = 100
"""Instances and tasks to a page of a cell's, and tasks to a page of the list."""

LOOK_INTERVAL_S: Final = 0.9
"""How long what was found out about the cells is good enough for the next view."""

CELLS_OF_A_TURN: Final = 100

DOMAINS_MAX: Final = 50
"""Domains that are listed: the first by name."""


class Views:
    """Each view is asked with the words of its address, any of which may be missing or wrong: then there is nothing to show."""

    def __init__(self, sources: Sources, uses: CellUses, history: History) -> None:
        self._sources = sources
        self._tables = sources.tables
        self._uses = uses
        self._plots = _Plots(history)
        self._looked_at = -math.inf
        self.by_name: Final[Mapping[str, Callable[[Parameters], Coroutine[Any, Any, Sections]]]] = {
            "fleet": self.fleet,
            "apps": self.apps,
            "app": self.app,
            "cells": self.cells,
            "cell": self.cell,
            "tasks": self.tasks,
            "task": self.task,
            "server": self.server,
        }

    def header(self) -> Sections:
        """What every page shows."""
        role = self._sources.role()
        stale = role.staleness_s
        return {
            "part": role.part.value,
            "since_ns": role.since_ns,
            "not_ready": role.not_ready,
            "stale_s": None if stale == float("inf") else round(stale) if stale >= 2 else 0,
            "version": self._sources.version,
            "url": role.url,
        }

    async def fleet(self, parameters: Parameters) -> Sections:
        await self._look()
        instances = await counts.instances(self._tables)
        cells = await self._cells()
        role = self._sources.role()
        return {
            "instances": asdict(instances),
            "tasks": counts.tasks(self._tables),
            "domains": self._domains(),
            "troubles": [_trouble(each) for each in troubles(self._sources, self._uses, instances, role)],
            "convergence": self._convergence(),
            "cells": cells,
            "plots": self._plots.now(),
        }

    async def server(self, parameters: Parameters) -> Sections:
        store, hubs = self._sources.store(), self._sources.hubs()
        return {
            "plots": self._plots.now(),
            "convergence": self._convergence(),
            "store": {
                "staged_rows": store.staged_rows,
                "retries": store.retries,
                "failed_outcomes": store.failed_outcomes,
            },
            "hubs": {
                "subscribers": {hub.name.lower(): count for hub, count in hubs.subscribers.items()},
                "cut_off": hubs.cut_off,
            },
        }

    async def apps(self, parameters: Parameters) -> Sections:
        wrong = parameters.get("wrong", "")
        listed = await apps.apps(
            self._tables,
            prefix=parameters.get("prefix", ""),
            after=parameters.get("after", ""),
            wrong=Wrong(wrong) if wrong in set(Wrong) else None,
        )
        return {"apps": listed}

    async def app(self, parameters: Parameters) -> Sections:
        await self._look()
        return {
            "app": apps.app(
                self._tables,
                parameters.get("guid", ""),
                cells=self._uses.announced,
                start=number(parameters.get("start", "")),
                now_ns=self._sources.now_ns(),
            ),
            "convergence": self._convergence(),
        }

    async def cells(self, parameters: Parameters) -> Sections:
        await self._look()
        return {"cells": await self._cells()}

    async def cell(self, parameters: Parameters) -> Sections:
        await self._look()
        cell_id, after = parameters.get("cell", ""), parameters.get("after", "")
        presence = self._uses.announced.get(cell_id)
        rows = self._tables.actual_lrps.by_cell[cell_id]
        tasks = self._tables.tasks.running_by_cell[cell_id]
        behind = (lrp for lrp in rows if _place(lrp.process_guid, lrp.index) > after)
        shown = nsmallest(ROWS_MAX + 1, behind, key=lambda lrp: _place(lrp.process_guid, lrp.index))
        last = shown[ROWS_MAX - 1] if len(shown) > ROWS_MAX else None
        failure = self._sources.rep_failures.by_cell.get(cell_id)
        return {
            "cell": {
                "id": cell_id,
                "known": presence is not None or bool(rows) or bool(tasks),
                "columns": CELL_COLUMNS,
                "row": _cell(cell_id, presence, self._uses.of(cell_id)),
                "rep": "" if presence is None else presence.rep_url or presence.rep_address,
                "placement_tags": [] if presence is None else list(presence.placement_tags),
                "optional_placement_tags": [] if presence is None else list(presence.optional_placement_tags),
                "failure": None if failure is None else asdict(failure),
                "instances": [apps.instance(lrp) for lrp in shown[:ROWS_MAX]],
                "next": None if last is None else _place(last.process_guid, last.index),
                "tasks": [_task(task) for task in islice(tasks, ROWS_MAX)],
            }
        }

    async def tasks(self, parameters: Parameters) -> Sections:
        state, after = parameters.get("state", ""), parameters.get("after", "")
        table = self._tables.tasks
        rows = list(table.by_state[state] if state in TaskState.__members__ else table.rows.values())

        def guids(some: Iterable[Task]) -> list[str]:
            return [task.task_guid for task in some if task.task_guid > after]

        found = await smallest(ROWS_MAX + 1, rows, guids)
        # Meanwhile one may have gone.
        shown = [table.rows[guid] for guid in found[:ROWS_MAX] if guid in table.rows]
        return {
            "counts": counts.tasks(self._tables),
            "tasks": {
                "tasks": [_task(task) for task in shown],
                "next": found[ROWS_MAX - 1] if len(found) > ROWS_MAX else None,
            },
        }

    async def task(self, parameters: Parameters) -> Sections:
        guid = parameters.get("task", "")
        task = self._tables.tasks.rows.get(guid)
        return {"task": {"guid": guid, "row": None if task is None else _task(task, whole=True)}}

    def _domains(self) -> Sections:
        now_ns = self._sources.now_ns()
        rows = self._tables.domains.rows
        named = {name for name, _ in self._tables.desired_lrps.by_domain.items()} | rows.keys()
        return {
            "count": len(named),
            "fresh": sum(is_fresh(domain, now_ns=now_ns) for domain in rows.values()),
            "listed": [
                {
                    "name": name,
                    "fresh": name in rows and is_fresh(rows[name], now_ns=now_ns),
                }
                for name in nsmallest(DOMAINS_MAX, named)
            ],
        }

    def _convergence(self) -> Sections | None:
        passes = self._sources.passes
        if passes is None:
            return None
        times, lrps, tasks = passes.times(), passes.lrps(), passes.tasks()
        return {
            "running": times.are_running,
            "ended_ns": _rounded(self._sources, times.ended_at),
            "next_ns": _rounded(self._sources, times.next_at),
            "lrps": {name: value for name, value in asdict(lrps).items() if name != "fresh_domains"},
            "tasks": asdict(tasks),
        }

    async def _look(self) -> None:
        """Once for all views that are made at about the same time."""
        if trio.current_time() - self._looked_at >= LOOK_INTERVAL_S:
            self._looked_at = trio.current_time()
            await self._uses.look()

    async def _cells(self) -> Sections:
        uses = self._uses
        rows, turns = [], TimedTurns()
        for some in sliced(sorted(uses.known()), CELLS_OF_A_TURN):
            rows += [_cell(cell_id, uses.announced.get(cell_id), uses.of(cell_id)) for cell_id in some]
            await turns.checkpoint_if_due()
        return {
            "trouble": uses.trouble,
            "missing": len(uses.missing()),
            "announced": len(uses.announced),
            "columns": CELL_COLUMNS,
            "rows": rows,
        }


CELL_COLUMNS: Final = (
    "id", "zone", "announced", "containers", "containers_max", "memory_mb", "memory_max_mb", "disk_mb", "disk_max_mb",
    "running", "tasks",
)  # fmt: skip


def _cell(cell_id: str, presence: pb.CellPresence | None, use: Use) -> list[object]:
    """The values of `CELL_COLUMNS`: without their names, since a fleet has a thousand."""
    capacity = pb.CellCapacity() if presence is None else presence.capacity
    return [
        cell_id,
        "" if presence is None else presence.zone,
        presence is not None,
        use.containers,
        capacity.containers,
        use.memory_mb,
        capacity.memory_mb,
        use.disk_mb,
        capacity.disk_mb,
        use.running,
        use.tasks,
    ]


def number(text: str) -> int:
    """A natural number out of an address, 0 if it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _place(process_guid: str, index: int) -> str:
    """By which the instances of a cell are in order. It is also how a page says where the next one begins."""
    return f"{process_guid}/{index:010}"


def _task(task: Task, *, whole: bool = False) -> dict[str, object]:
    """Without its action, its result and its environment, which may be secret."""
    short: dict[str, object] = {
        "guid": task.task_guid,
        "domain": task.domain,
        "state": task.state.name,
        "cell": task.cell_id,
        "created_ns": task.created_at_ns,
        "updated_ns": task.updated_at_ns,
        "failed": task.failed,
        "why": task.failure_reason or task.rejection_reason,
    }
    if not whole:
        return short
    definition = pb.TaskDefinition() if task.unreadable else task.definition_message()
    return {
        **short,
        "completed_ns": task.first_completed_at_ns,
        "rejections": task.rejection_count,
        "result_bytes": len(task.result),
        "callback": bool(definition.completion_callback_url),
        "memory_mb": definition.memory_mb,
        "disk_mb": definition.disk_mb,
        "rootfs": definition.root_fs,
        "unreadable": bool(task.unreadable),
    }


def _trouble(trouble: Trouble) -> dict[str, object]:
    return {**asdict(trouble), "wrong": None if trouble.wrong is None else trouble.wrong.value}


def _rounded(sources: Sources, at: float | None) -> int | None:
    """To the second, since the two clocks it is worked out from drift against one another."""
    return None if at is None else sources.wall_ns(at) // NS * NS


@dataclass(frozen=True, slots=True)
class _Series:
    """A column of all points."""

    title: str
    value: Callable[[Point], float | None]


_SERIES: Final = (
    _Series("request_p50_s", lambda point: point.request_p50_s),
    _Series("request_p99_s", lambda point: point.request_p99_s),
    _Series("batches", lambda point: point.batches),
    _Series("rows", lambda point: point.rows),
    _Series("batch_p50_s", lambda point: point.batch_p50_s),
    _Series("batch_p99_s", lambda point: point.batch_p99_s),
    _Series("lag_p50_s", lambda point: point.lag_p50_s),
    _Series("lag_p99_s", lambda point: point.lag_p99_s),
    _Series("events", lambda point: point.events),
)


class _Plots:
    """The plots, drawn up anew whenever there is a new point, for all pages and all seconds in between."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._last: Point | None = None
        self._drawn = _drawn(())

    def now(self) -> dict[str, object]:
        last = self._history.points[-1] if self._history.points else None
        if last is not self._last:
            self._last, self._drawn = last, _drawn(tuple(self._history.points))
        return self._drawn


def _drawn(points: Sequence[Point]) -> dict[str, object]:
    groups = sorted({group for point in points for group in point.requests})
    return {
        "at_ns": [point.at_ns for point in points],
        "requests": {group: [_short(point.requests.get(group, 0.0)) for point in points] for group in groups},
        **{each.title: [_short(each.value(point)) for point in points] for each in _SERIES},
    }


def _short(value: float | None) -> float | None:
    """Four digits are more than a plot shows."""
    return None if value is None else float(f"{value:.4g}")
