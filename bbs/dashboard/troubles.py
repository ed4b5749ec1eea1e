"""What is wrong with a fleet now, and what will be done about it, in words.

Each kind of trouble with instances is also a way to choose apps (`processes_with`), so that the page can lead from the number to
those whom it counts. Rows are looked up where `bbs.store.attention` files them, so a fleet that is as desired costs nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Final

from bbs.dashboard.cell_use import CellUses
from bbs.dashboard.counts import Instances
from bbs.dashboard.smallest import smallest
from bbs.dashboard.sources import Part, Role, Sources
from bbs.lifecycle.domains import is_fresh
from bbs.lifecycle.lrp_convergence import STALE_UNCLAIMED_NS
from bbs.lifecycle.restart import RESTARTS_MAX
from bbs.store.tables import NO_CELL, Tables
from bbs.words.times import NS, duration

REASONS_OF_MAX: Final = 500
"""Waiting instances whose refusals are looked at."""

NAMED_MAX: Final = 10
"""Cells and domains that are named; the others are counted."""

WRITES_LATE_S: Final = 2.0
"""A write that has waited for so long for the database is told of. One takes some milliseconds."""

RECENT_NS: Final = 60 * NS
"""How long ago a call to a rep may have failed for it to count as now."""

PENDING_LONG_NS: Final = 30 * NS


class Severity(StrEnum):
    BAD = "bad"
    """Something that should run does not, or may not."""
    CAUTION = "caution"
    """It is being dealt with, or keeps something from being cleared away."""


class Wrong(StrEnum):
    """What may be wrong with an app."""

    MISSING = "missing"
    UNCLAIMED = "unclaimed"
    CRASHED = "crashed"
    SUSPECT = "suspect"
    EXTRA = "extra"
    NOT_DESIRED = "not_desired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """``what`` goes on after ``count``. ``doing`` says what happens about it. ``command`` names one of
    `bbs.dashboard.commands.COMMANDS`, to which ``about`` gives the words it needs. ``wrong`` chooses the apps.
    """

    severity: Severity
    count: int
    what: str
    doing: str
    command: str
    about: Mapping[str, str] = field(default_factory=dict)
    wrong: Wrong | None = None
    cells: tuple[str, ...] = ()


async def processes_with(
    wrong: Wrong, tables: Tables, *, count: int, prefix: str = "", after: str = ""
) -> list[str]:
    """The guids of the first ``count`` processes of which that is true, of those that begin with ``prefix`` and come behind ``after``."""
    kind = _KINDS[wrong]

    def guids(some: Sequence[Any]) -> Iterator[str]:
        for guid in map(kind.guid_of, some):
            if guid > after and guid.startswith(prefix) and kind.is_true(tables, guid):
                yield guid

    return await smallest(count, kind.found(tables), guids)


def troubles(sources: Sources, uses: CellUses, instances: Instances, role: Role) -> Iterator[Trouble]:
    """What keeps instances from running first."""
    tables, now_ns = sources.tables, sources.now_ns()
    yield from _of_the_server(sources, role)
    yield from _of_cells(sources, uses, now_ns)
    yield from _of_instances(tables, instances, now_ns)
    yield from _of_tasks(tables, now_ns)
    yield from _of_domains(tables, now_ns)


def _of_the_server(sources: Sources, role: Role) -> Iterator[Trouble]:
    store = sources.store()
    if role.part is Part.MASTER and role.not_ready:
        yield Trouble(
            severity=Severity.BAD,
            count=1,
            what=f"master that answers nobody: {role.not_ready}",
            doing="requests get 503 until then",
            command="server",
        )
    if store.waiting_s > WRITES_LATE_S:
        yield Trouble(
            severity=Severity.BAD,
            count=store.staged_rows,
            what=_word(store.staged_rows, "row waits", "rows wait")
            + f" for the database, the first for {store.waiting_s:.0f} s",
            doing="the transaction is tried again until its time is over; then its requests are answered with an error",
            command="staged-rows",
        )


def _of_cells(sources: Sources, uses: CellUses, now_ns: int) -> Iterator[Trouble]:
    if uses.trouble:
        yield Trouble(
            severity=Severity.BAD,
            count=len(uses.announced),
            what=f"{_word(len(uses.announced), 'cell as it was', 'cells as they were')} last known: who announces itself can't be asked"
            f" ({uses.trouble})",
            doing="convergence changes nothing about cells until Locket answers",
            command="cells",
        )
    missing = uses.missing()
    if missing:
        yield Trouble(
            severity=Severity.BAD,
            count=len(missing),
            what=_word(len(missing), "cell is not announced and has", "cells are not announced and have")
            + f" instances or tasks: {_named(missing)}",
            doing="the next pass makes their instances suspect and asks the auctioneer for replacements, and fails their tasks",
            command="cells-missing",
            cells=tuple(missing[:NAMED_MAX]),
        )
    failing = sorted(
        cell_id
        for cell_id, failure in sources.rep_failures.by_cell.items()
        if now_ns - failure.at_ns < RECENT_NS
    )
    if failing:
        yield Trouble(
            severity=Severity.CAUTION,
            count=len(failing),
            what=f"{_word(len(failing), 'cell', 'cells')} whose rep failed a call in the last minute: {_named(failing)}",
            doing="what was asked of them is asked again by a pass, as long as it is still wanted",
            command="rep-failures",
            cells=tuple(failing[:NAMED_MAX]),
        )


def _of_instances(tables: Tables, instances: Instances, now_ns: int) -> Iterator[Trouble]:
    attention = tables.attention
    if instances.missing:
        yield Trouble(
            severity=Severity.BAD,
            count=instances.missing,
            what=_word(
                instances.missing,
                "instance is desired and has no row",
                "instances are desired and have no row",
            ),
            doing="the next pass makes them and asks the auctioneer to place them",
            command="missing",
            wrong=Wrong.MISSING,
        )
    if waiting := len(attention.unclaimed):
        late = attention.unclaimed.count_before(now_ns - STALE_UNCLAIMED_NS)
        yield Trouble(
            severity=Severity.BAD if late else Severity.CAUTION,
            count=waiting,
            what=_word(waiting, "instance waits for a cell", "instances wait for a cell")
            + _refusals(tables, late),
            doing=f"passes ask the auctioneer again about those that have waited for {duration(STALE_UNCLAIMED_NS)}: {late} now",
            command="instances",
            about={"state": "UNCLAIMED"},
            wrong=Wrong.UNCLAIMED,
        )
    crashed = {times: len(queue) for times, queue in attention.crashed.items()}
    for_good = sum(count for times, count in crashed.items() if times >= RESTARTS_MAX)
    if count := sum(crashed.values()):
        stays = (
            f"; {for_good} crashed {RESTARTS_MAX} times and stay down until they are desired anew"
            if for_good
            else ""
        )
        yield Trouble(
            severity=Severity.BAD,
            count=count,
            what=_word(count, "instance has crashed and waits", "instances have crashed and wait")
            + " to be started again",
            doing=f"passes have each placed again when its pause is over, at once up to 16 minutes{stays}",
            command="instances",
            about={"state": "CRASHED"},
            wrong=Wrong.CRASHED,
        )
    if instances.suspect:
        yield Trouble(
            severity=Severity.CAUTION,
            count=instances.suspect,
            what=_word(
                instances.suspect,
                "suspect instance: its cell is missing, and it may still serve",
                "suspect instances: their cell is missing, and they may still serve",
            ),
            doing="each is kept until its replacement runs or its cell is back",
            command="presence",
            about={"presence": "SUSPECT"},
            wrong=Wrong.SUSPECT,
        )
    if instances.extra:
        yield Trouble(
            severity=Severity.CAUTION,
            count=instances.extra,
            what=_word(instances.extra, "instance is", "instances are") + " beyond what is desired",
            doing="passes stop them, if their domain is fresh",
            command="extra",
            wrong=Wrong.EXTRA,
        )
    if instances.orphans:
        yield Trouble(
            severity=Severity.CAUTION,
            count=instances.orphans,
            what=_word(instances.orphans, "instance is", "instances are") + " of what nobody desires",
            doing="passes stop them, if their domain is fresh",
            command="not-desired",
            wrong=Wrong.NOT_DESIRED,
        )


def _of_tasks(tables: Tables, now_ns: int) -> Iterator[Trouble]:
    lost = len(tables.tasks.running_by_cell[NO_CELL])
    if lost:
        yield Trouble(
            severity=Severity.BAD,
            count=lost,
            what=_word(lost, "running task names no cell", "running tasks name no cell"),
            doing="the next pass fails them",
            command="tasks",
            about={"state": "Running"},
        )
    waiting = tables.tasks.pending_by_creation
    oldest = next(waiting.pages(1, before_ns=now_ns - PENDING_LONG_NS), None)
    if oldest:
        task = oldest[0]
        refused = f"; it was refused: {task.rejection_reason}" if task.rejection_reason else ""
        yield Trouble(
            severity=Severity.CAUTION,
            count=len(waiting),
            what=_word(len(waiting), "task waits", "tasks wait")
            + f" for a cell, the first for {duration(now_ns - task.created_at_ns)}{refused}",
            doing="each pass asks the auctioneer again, and fails those that have waited too long",
            command="tasks",
            about={"state": "Pending"},
        )
    if tables.tasks.unreadable:
        yield Trouble(
            severity=Severity.CAUTION,
            count=len(tables.tasks.unreadable),
            what=_word(len(tables.tasks.unreadable), "task has", "tasks have")
            + " a definition that can't be read",
            doing="each goes as soon as a pass would have done something about it; the log names them",
            command="tasks-all",
        )


def _of_domains(tables: Tables, now_ns: int) -> Iterator[Trouble]:
    fresh = {domain.name for domain in tables.domains.rows.values() if is_fresh(domain, now_ns=now_ns)}
    stale = sorted(name for name, _ in tables.desired_lrps.by_domain.items() if name not in fresh)
    if stale:
        yield Trouble(
            severity=Severity.CAUTION,
            count=len(stale),
            what=_word(len(stale), "domain has apps and is", "domains have apps and are")
            + f" not fresh: {_named(stale)}",
            doing="missing instances are started all the same; extra ones are not stopped until the domain is fresh again",
            command="domains",
        )


def _refusals(tables: Tables, late: int) -> str:
    """Why the auctioneer refused so many that have waited longest, as far as it said so."""
    keys = islice(tables.attention.unclaimed, min(late, REASONS_OF_MAX))
    rows = (tables.actual_lrps.rows.get(key) for key in keys)
    told = Counter(lrp.placement_error for lrp in rows if lrp is not None and lrp.placement_error)
    return "".join(f"; {count} refused: {reason}" for reason, count in told.most_common(3))


def _word(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more


@dataclass(frozen=True, slots=True)
class _Kind:
    """``found`` copies what is filed, as fast as that goes; ``guid_of`` one of these is that of its process, which ``is_true`` may
    rule out.
    """

    found: Callable[[Tables], Sequence[Any]]
    guid_of: Callable[[Any], str] = attrgetter("process_guid")
    is_true: Callable[[Tables, str], bool] = lambda tables, guid: True


def _lacks(tables: Tables, guid: str) -> bool:
    """Of a process that is desired: what is beyond, less what is too many in all, is what lacks."""
    attention = tables.attention
    return attention.beyond.get(guid, 0) > attention.surplus.get(guid, 0) and guid in tables.desired_lrps.rows


_KINDS: Final[Mapping[Wrong, _Kind]] = {
    Wrong.MISSING: _Kind(lambda tables: [*tables.attention.surplus, *tables.attention.beyond], str, _lacks),
    Wrong.UNCLAIMED: _Kind(lambda tables: list(tables.attention.unclaimed)),
    Wrong.CRASHED: _Kind(lambda tables: list(tables.attention.crashing), str),
    Wrong.SUSPECT: _Kind(lambda tables: list(tables.attention.suspects)),
    Wrong.EXTRA: _Kind(lambda tables: list(tables.attention.beyond), str),
    Wrong.NOT_DESIRED: _Kind(
        lambda tables: list(chain.from_iterable(rows for _, rows in tables.attention.orphans.items()))
    ),
}
assert _KINDS.keys() == set(Wrong)
