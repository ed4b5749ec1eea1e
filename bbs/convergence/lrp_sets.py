"""Which instances a pass has to deal with (spec: convergence.md §3.4).

The store's files of instances (`bbs.store.attention`) are narrowed down by what only a pass knows: the time, the cells,
the domains. What comes out is a list of instances for each kind of work. It is gathered in turns with others, so rows change
meanwhile and the lists are hints. Whoever works on an instance decides anew.
"""

from collections.abc import Callable, Collection, Iterable, Set
from dataclasses import dataclass, field
from typing import Final, TypeVar

import trio

from bbs.concurrency.turns import CountedTurns, in_turns, sliced
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.lifecycle.domains import is_fresh
from bbs.lifecycle.lrp_convergence import STALE_UNCLAIMED_NS, restarts_if_crashed_before_ns
from bbs.lifecycle.suspects import has_been_replaced, lost_its_cell
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, ActualLRPState, Presence
from bbs.models.desired_lrp import DesiredLRP
from bbs.store.tables import Tables

T = TypeVar("T")

LOOKED_AT_IN_A_TURN: Final = 200
"""Rows looked at before others get a turn: less than 1 ms."""


@dataclass(slots=True, kw_only=True)
class LRPSets:
    """Keys of rows by the kind of work, in the order in which they are worked on.

    ``extra`` are those beyond what is desired, ``orphans`` those of what nobody desires: the set that upstream calls
    *Retire* is both. Likewise *Unstarted* is ``stale`` and ``restartable``. Rows that are ``missing`` do not exist.
    """

    extra: list[ActualLRPKey] = field(default_factory=list)
    orphans: list[ActualLRPKey] = field(default_factory=list)
    missing: list[ActualLRPKey] = field(default_factory=list)
    stale: list[ActualLRPKey] = field(default_factory=list)
    restartable: list[ActualLRPKey] = field(default_factory=list)
    displaced: list[ActualLRPKey] = field(default_factory=list)
    suspects_back: list[ActualLRPKey] = field(default_factory=list)
    suspects_to_go: list[ActualLRPKey] = field(default_factory=list)
    routes_changed: list[ActualLRPKey] = field(default_factory=list)
    tags_changed: list[ActualLRPKey] = field(default_factory=list)
    missing_cells: set[str] = field(default_factory=set)
    oversized: list[str] = field(default_factory=list)
    """Processes with more instances desired than may be; what is missing of them are the first ones only."""
    suspects_running: int = 0
    suspects_claimed: int = 0

    @property
    def work_items(self) -> int:
        return sum(
            map(
                len,
                (
                    self.extra,
                    self.orphans,
                    self.missing,
                    self.stale,
                    self.restartable,
                    self.displaced,
                    self.suspects_back,
                    self.suspects_to_go,
                    self.routes_changed,
                    self.tags_changed,
                ),
            )
        )


class Finder:
    """Looks for rows as of ``now_ns``, when ``cells`` announce themselves.

    Of one process at most ``instances_max`` instances can be missing: the database may hold a DesiredLRP with any number,
    written when nobody looked.
    """

    def __init__(
        self, tables: Tables, cells: Set[str], *, now_ns: int, instances_max: int = INSTANCES_MAX
    ) -> None:
        self._tables = tables
        self._desired = tables.desired_lrps.rows
        self._attention = tables.attention
        self._cells = cells
        self._now_ns = now_ns
        self._instances_max = instances_max

    async def evacuating_to_prune(self) -> list[ActualLRPKey]:
        """Those whose cell is none of ``cells``, desired or not, whatever their domain (spec: §3.2)."""
        found: list[ActualLRPKey] = []

        def look(lrp: ActualLRP) -> None:
            if lrp.presence is Presence.EVACUATING:
                found.append(lrp.key)

        await _look_at_each(self._rows_elsewhere(), look)
        return found

    async def sets(self) -> LRPSets:
        """All other sets. Domains that have expired and evacuating rows without cell must have been pruned before: the former
        would make orphans go, the cells of the latter would count as missing.
        """
        sets, attention = LRPSets(), self._attention
        while attention.catch_up(LOOKED_AT_IN_A_TURN):
            await trio.lowlevel.checkpoint()
        sets.suspects_running = attention.count(Presence.SUSPECT, ActualLRPState.RUNNING)
        sets.suspects_claimed = attention.count(Presence.SUSPECT, ActualLRPState.CLAIMED)
        sets.stale = attention.unclaimed.before(self._now_ns - STALE_UNCLAIMED_NS)
        sets.restartable = self._restartable()
        sets.routes_changed = list(attention.routes_drifted)
        sets.tags_changed = list(attention.tags_drifted)
        await self._find_uneven(sets)
        await self._find_orphans(sets)
        await self._find_displaced(sets)
        await self._find_suspects(sets)
        return sets

    def _restartable(self) -> list[ActualLRPKey]:
        keys: list[ActualLRPKey] = []
        for crash_count, queue in self._attention.crashed.items():
            before_ns = restarts_if_crashed_before_ns(crash_count, now_ns=self._now_ns)
            if before_ns is not None:
                keys += queue.before(before_ns)
        return keys

    async def _find_uneven(self, sets: LRPSets) -> None:
        """Of processes whose ordinary rows are not those desired, what lacks and what is too much.

        Upstream looks only at processes with another number of rows than desired. Where the number is right and the indices
        are wrong, the hole stays for ever: with two instances desired and rows at 0 and 5, nobody serves as instance 1. Here
        such a process is found as well (``Attention.beyond``), at no cost, so it is repaired (docs/differences.md).
        """
        fresh = fresh_domains(self._tables, now_ns=self._now_ns)

        # One count for all, so that processes large and small together make turns of one size.
        turns = CountedTurns(LOOKED_AT_IN_A_TURN)
        # In the order in which they came to need it, so that the same events lead to the same pass in each process of Python.
        for process_guid in dict.fromkeys((*self._attention.surplus, *self._attention.beyond)):
            desired = self._desired.get(process_guid)
            if desired is not None:
                await self._compare(desired, sets, turns, is_fresh=desired.domain in fresh)
            await turns.done()

    async def _compare(
        self, desired: DesiredLRP, sets: LRPSets, turns: CountedTurns, *, is_fresh: bool
    ) -> None:
        if desired.instances > self._instances_max:
            sets.oversized.append(desired.process_guid)
        taken: set[int] = set()
        for rows in sliced(
            list(self._tables.actual_lrps.by_process_guid[desired.process_guid]), LOOKED_AT_IN_A_TURN
        ):
            taken.update(lrp.index for lrp in rows if lrp.presence is Presence.ORDINARY)
            await turns.done(len(rows))
        for indices in sliced(range(min(desired.instances, self._instances_max)), LOOKED_AT_IN_A_TURN):
            lacking = [index for index in indices if index not in taken]
            sets.missing += _ordinary_keys(desired.process_guid, lacking)
            await turns.done(len(indices))
        # To create too much is harmless and to remove too much is not. If the domain is not fresh, whoever declares what
        # should run may not have declared all of it, so rows beyond that stay.
        if is_fresh:
            for extra in sliced(
                sorted(index for index in taken if index >= desired.instances), LOOKED_AT_IN_A_TURN
            ):
                sets.extra += _ordinary_keys(desired.process_guid, extra)
                await turns.done(len(extra))

    async def _find_orphans(self, sets: LRPSets) -> None:
        """Rows that nobody desires and whose domain is there, so that this is no omission of a client that has not yet said all.

        Unlike for rows beyond what is desired, it is enough that the domain exists (spec: convergence.md §3.4). The two differ
        by at most half a second, by which `is_fresh` rounds, since expired domains have just been pruned.
        """

        def look(lrp: ActualLRP) -> None:
            found = sets.orphans if lrp.presence is Presence.ORDINARY else sets.suspects_to_go
            found.append(lrp.key)

        for name in list(self._tables.domains.rows):
            await _look_at_each(self._attention.orphans[name], look)

    async def _find_displaced(self, sets: LRPSets) -> None:
        """Claimed and running rows of desired processes whose cell is missing. Suspect ones are in their place already, so
        only their cells are noted.
        """
        cells, desired = self._cells, self._desired

        def look(lrp: ActualLRP) -> None:
            if lost_its_cell(lrp, cells) and lrp.process_guid in desired:
                sets.missing_cells.add(lrp.instance.cell_id)
                if lrp.presence is Presence.ORDINARY:
                    sets.displaced.append(lrp.key)

        await _look_at_each(self._rows_elsewhere(), look)

    async def _find_suspects(self, sets: LRPSets) -> None:
        table, to_go = self._tables.actual_lrps, set(sets.suspects_to_go)

        def look(key: ActualLRPKey) -> None:
            rows = table.rows_at(key.process_guid, key.instance_index)
            if rows.suspect is not None and rows.suspect.instance.cell_id in self._cells:
                sets.suspects_back.append(key)
            # One that nobody desires has been found as an orphan already.
            if has_been_replaced(rows) and key not in to_go:
                sets.suspects_to_go.append(key)

        await _look_at_each(self._attention.suspects, look)

    def _rows_elsewhere(self) -> list[ActualLRP]:
        """Rows on cells that are not there, and rows that should name a cell and do not."""
        rows = list(self._attention.nowhere.values())
        for cell_id, on_cell in self._tables.actual_lrps.by_cell.items():
            if cell_id not in self._cells:
                rows += on_cell
        return rows


def fresh_domains(tables: Tables, *, now_ns: int) -> frozenset[str]:
    domains = tables.domains.rows.values()
    return frozenset(domain.name for domain in domains if is_fresh(domain, now_ns=now_ns))


async def _look_at_each(candidates: Collection[T], look: Callable[[T], None]) -> None:
    """Look at a copy of ``candidates``, which may go on changing. A checkpoint for each turn, none without any."""
    if candidates:
        async for some in in_turns(list(candidates), LOOKED_AT_IN_A_TURN):
            for candidate in some:
                look(candidate)


def _ordinary_keys(process_guid: str, indices: Iterable[int]) -> list[ActualLRPKey]:
    return [ActualLRPKey(process_guid, index, Presence.ORDINARY) for index in indices]
