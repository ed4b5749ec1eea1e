"""Convergence over LRPs the slow way: all rows are scanned for each set, straight from the tables of convergence.md.

No index, no I/O, nothing shared with what it checks but records and the row primitives of the specification, written
down here once more.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final

from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPKey,
    ActualLRPState,
    ModificationTag,
    Presence,
)
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record

SECOND_NS: Final = 1_000_000_000
UNCLAIMED, CLAIMED, RUNNING, CRASHED = ActualLRPState
O, E, S = Presence  # noqa: E741 - the specification's names

RESTART_WAITS_S: Final = {0: 0, 1: 0, 2: 0, 3: 30, 4: 60, 5: 120, 6: 240, 7: 480}
"""actual-lrps.md §3; from 8 to 199 it is 16 minutes, and then never."""

Slot = tuple[str, int]


@dataclass
class World:
    """All there is."""

    actual: dict[ActualLRPKey, ActualLRP] = field(default_factory=dict)
    desired: dict[str, DesiredLRP] = field(default_factory=dict)
    domains: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "World":
        world = cls()
        for record in records:
            world.put(record)
        return world

    def put(self, record: Record) -> None:
        match record:
            case ActualLRP():
                self.actual[record.key] = record
            case DesiredLRP():
                self.desired[record.process_guid] = record
            case Domain():
                self.domains[record.name] = record.expire_time_ns

    def delete(self, record: Record) -> None:
        match record:
            case ActualLRP():
                self.actual.pop(record.key, None)
            case DesiredLRP():
                self.desired.pop(record.process_guid, None)
            case Domain():
                self.domains.pop(record.name, None)

    def of_presence(self, presence: Presence) -> list[ActualLRP]:
        return [lrp for lrp in self.actual.values() if lrp.presence is presence]


@dataclass
class Sets:
    """spec: convergence.md §3.4"""

    extra: set[Slot]
    orphans: set[Slot]
    missing: set[Slot]
    stale: set[Slot]
    restartable: set[Slot]
    displaced: set[Slot]
    suspects_back: set[Slot]
    suspects_to_go: set[Slot]
    routes_changed: set[Slot]
    tags_changed: set[Slot]
    missing_cells: set[str]
    suspects_running: int
    suspects_claimed: int


def prune(world: World, cells: Set[str], now_ns: int) -> set[ActualLRPKey]:
    """§3.1 and §3.2. Returns the evacuating rows that go."""
    world.domains = {name: expiry for name, expiry in world.domains.items() if expiry > now_ns}
    gone = {lrp.key for lrp in world.of_presence(E) if lrp.instance.cell_id not in cells}
    for key in gone:
        del world.actual[key]
    return gone


def fresh(world: World, now_ns: int) -> set[str]:
    """domains.md §3"""
    seconds, rest = divmod(now_ns, SECOND_NS)
    rounded = (seconds + (rest >= SECOND_NS // 2)) * SECOND_NS
    return {name for name, expiry in world.domains.items() if expiry > rounded}


def find(world: World, cells: Set[str], now_ns: int) -> Sets:
    ordinary, suspects = world.of_presence(O), world.of_presence(S)

    def where(rows: Iterable[ActualLRP], holds: Callable[[ActualLRP], bool]) -> set[Slot]:
        return {(lrp.process_guid, lrp.index) for lrp in rows if holds(lrp)}

    def is_desired(lrp: ActualLRP) -> bool:
        return lrp.process_guid in world.desired

    def has_lost_its_cell(lrp: ActualLRP) -> bool:
        if lrp.state not in (RUNNING, CLAIMED) or not is_desired(lrp):
            return False
        return lrp.instance.cell_id not in cells and lrp.instance.cell_id != "" if cells else True

    def is_orphan(lrp: ActualLRP) -> bool:
        return not is_desired(lrp) and lrp.domain in world.domains

    missing, extra = set(), set()
    for guid, desired in world.desired.items():
        indices = {lrp.index for lrp in ordinary if lrp.process_guid == guid}
        if indices != set(range(desired.instances)):  # upstream compares numbers, and leaves holes
            missing |= {(guid, index) for index in range(desired.instances) if index not in indices}
            if desired.domain in fresh(world, now_ns):
                extra |= {(guid, index) for index in indices if index >= desired.instances}
    running = where(ordinary, lambda lrp: lrp.state is RUNNING)
    return Sets(
        extra=extra,
        orphans=where(ordinary, is_orphan),
        missing=missing,
        stale=where(
            ordinary,
            lambda lrp: lrp.state is UNCLAIMED and lrp.since_ns < now_ns - 30 * SECOND_NS and is_desired(lrp),
        ),
        restartable=where(
            ordinary,
            lambda lrp: lrp.state is CRASHED and is_desired(lrp) and should_restart(lrp, now_ns),
        ),
        displaced=where(ordinary, has_lost_its_cell),
        suspects_back=where(suspects, lambda lrp: lrp.instance.cell_id in cells),
        suspects_to_go=where(
            suspects,
            lambda lrp: is_orphan(lrp) or (lrp.state is RUNNING and (lrp.process_guid, lrp.index) in running),
        ),
        routes_changed=where(ordinary, lambda lrp: routes_changed(lrp, world.desired)),
        tags_changed=where(ordinary, lambda lrp: tags_changed(lrp, world.desired)),
        missing_cells={lrp.instance.cell_id for lrp in world.actual.values() if has_lost_its_cell(lrp)},
        suspects_running=sum(lrp.state is RUNNING for lrp in suspects),
        suspects_claimed=sum(lrp.state is CLAIMED for lrp in suspects),
    )


def should_restart(lrp: ActualLRP, now_ns: int) -> bool:
    if lrp.crash_count >= 200:
        return False
    wait_s = RESTART_WAITS_S.get(lrp.crash_count, 16 * 60)
    return wait_s == 0 or lrp.since_ns + wait_s * SECOND_NS <= now_ns


def routes_changed(lrp: ActualLRP, desired: Mapping[str, DesiredLRP]) -> bool:
    if lrp.state is not RUNNING or lrp.process_guid not in desired:
        return False
    wanted = wanted_routes(desired[lrp.process_guid])
    if wanted is None:
        return False
    stored = list(lrp.internal_routes or ())
    return len(wanted) != len(stored) or any(name not in stored for name in wanted)


def wanted_routes(desired: DesiredLRP) -> list[str] | None:
    """``None``: nobody can tell."""
    try:
        parsed = json.loads(dict(desired.routes or ()).get("internal-router", b"null"))
        return [route["hostname"] for route in parsed or ()]
    except (ValueError, TypeError, KeyError):
        return None


def tags_changed(lrp: ActualLRP, desired: Mapping[str, DesiredLRP]) -> bool:
    if lrp.state is not RUNNING or lrp.process_guid not in desired or lrp.metric_tags is None:
        return False
    return dict(lrp.metric_tags) != wanted_tags(lrp, desired[lrp.process_guid])


def wanted_tags(lrp: ActualLRP, desired: DesiredLRP) -> dict[str, str]:
    resolved = {1: str(lrp.index), 2: lrp.instance.instance_guid}
    return {name: resolved.get(tag.dynamic, tag.static) for name, tag in desired.metric_tags}


@dataclass
class Pass:
    """What a pass with one worker does to ``world``, and asks of others.

    ``told`` are events, named as in the specification. What is told of a retired instance is left to the tests of that.
    """

    world: World
    cells: Set[str]
    now_ns: int
    auctions: list[Slot] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    updates: list[tuple[Slot, object, object]] = field(default_factory=list)
    told: dict[Slot, list[str]] = field(default_factory=dict)

    def run(self) -> Sets:
        """In the order of §4. A cell that is present does as asked."""
        for key in sorted(prune(self.world, self.cells, self.now_ns)):
            self._tell(key[:2], "gR E", "iR E")
        sets = find(self.world, self.cells, self.now_ns)
        for slot in sorted(sets.extra | sets.orphans):
            self._retire(slot)
        for slot in sorted(sets.missing):
            self._create(slot)
            self._tell(slot, "gC O", "iC O")
            self.auctions.append(slot)
        for slot in sorted(sets.stale | sets.restartable):
            self._place_again(slot)
        for slot in sorted(sets.displaced):
            self._displace(slot)
        for slot in sorted(sets.suspects_back):
            self._promote(slot)
        for slot in sorted(sets.suspects_to_go):
            self._remove_suspect(slot)
        for slot in sorted(sets.routes_changed):
            self._update(slot, routes=True)
        for slot in sorted(sets.tags_changed):
            self._update(slot, routes=False)
        return sets

    def _retire(self, slot: Slot) -> None:
        lrp = self._row(slot, O)
        assert lrp is not None
        self._tell(slot, "retired")
        if lrp.state in (CLAIMED, RUNNING) and lrp.instance.cell_id in self.cells:
            self.stops.append(lrp.instance.instance_guid)
        else:
            self._drop(slot, O)

    def _place_again(self, slot: Slot) -> None:
        lrp = self._row(slot, O)
        if lrp is None:
            return
        if lrp.state is CRASHED:
            self._put(self._unclaimed(lrp))
            self._tell(slot, "gX O", "iC O", "iR O")
        self.auctions.append(slot)

    def _displace(self, slot: Slot) -> None:
        lrp, suspect = self._row(slot, O), self._row(slot, S)
        if lrp is None:
            return
        if suspect is not None and suspect.state in (CLAIMED, RUNNING):
            self._put(self._unclaimed(lrp))
            self._tell(slot, "iC O", "iR O")
        elif suspect is None:
            self._put(replace(lrp, presence=S))
            self._create(slot)
            self._tell(slot, "iX O->S", "iC O")
            self.auctions.append(slot)

    def _promote(self, slot: Slot) -> None:
        suspect = self._row(slot, S)
        assert suspect is not None
        if self._row(slot, O) is not None:
            self._tell(slot, "gR O", "iR O")
        self._drop(slot, S)
        self._put(replace(suspect, presence=O))
        self._tell(slot, "iX S->O")

    def _remove_suspect(self, slot: Slot) -> None:
        """It stays if the pass has just taken its replacement back ("`S` kept" in the summary of §4)."""
        suspect, lrp = self._row(slot, S), self._row(slot, O)
        if suspect is None:
            return
        if slot[0] not in self.world.desired or (lrp is not None and lrp.state is suspect.state is RUNNING):
            self._drop(slot, S)
            self._tell(slot, "gR S", "iR S")

    def _update(self, slot: Slot, *, routes: bool) -> None:
        """As of the row's state now: it may have become a suspect's replacement."""
        lrp, desired = self._row(slot, O), self.world.desired[slot[0]]
        if lrp is None or lrp.instance.cell_id not in self.cells:
            return
        if routes and routes_changed(lrp, self.world.desired):
            self.updates.append((slot, tuple(wanted_routes(desired) or ()) or None, None))
        elif not routes and tags_changed(lrp, self.world.desired):
            self.updates.append((slot, None, wanted_tags(lrp, desired)))

    def _unclaimed(self, lrp: ActualLRP) -> ActualLRP:
        tag = replace(lrp.tag, index=lrp.tag.index + 1)
        return replace(
            lrp, state=UNCLAIMED, instance=NO_INSTANCE, net_info=b"", since_ns=self.now_ns, tag=tag
        )

    def _create(self, slot: Slot) -> None:
        self._put(
            ActualLRP(
                process_guid=slot[0],
                index=slot[1],
                domain=self.world.desired[slot[0]].domain,
                state=UNCLAIMED,
                since_ns=self.now_ns,
                tag=ModificationTag(epoch="new", index=0),
            )
        )

    def _row(self, slot: Slot, presence: Presence) -> ActualLRP | None:
        return self.world.actual.get(ActualLRPKey(*slot, presence))

    def _put(self, lrp: ActualLRP) -> None:
        self.world.actual[lrp.key] = lrp

    def _drop(self, slot: Slot, presence: Presence) -> None:
        self.world.actual.pop(ActualLRPKey(*slot, presence), None)

    def _tell(self, slot: Slot, *events: str) -> None:
        self.told.setdefault(slot, []).extend(events)
