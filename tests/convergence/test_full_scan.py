"""The indexes of convergence, its sets and its passes agree with a scan of all rows, whatever the history."""

from collections.abc import Set
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from bbs.convergence.lrp_sets import Finder, LRPSets
from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPGroupCreated,
    ActualLRPGroupRemoved,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Event,
    Hub,
)
from bbs.models.outcome import Record, delete, put
from bbs.store.attention import Attention
from bbs.store.indexes import TimeQueue
from bbs.store.tables import Tables
from tests.convergence.fleets import (
    CELL_SETS,
    DESIRED,
    HISTORIES,
    NOWS,
    RECORDS,
    Change,
    actual_lrps,
    desired_lrps,
)
from tests.convergence.full_scan import (
    CLAIMED,
    CRASHED,
    RUNNING,
    UNCLAIMED,
    E,
    O,
    Pass,
    S,
    Sets,
    Slot,
    World,
    find,
    prune,
    routes_changed,
    tags_changed,
)
from tests.convergence.lrp_bench import domain, open_lrp_bench
from tests.lifecycle.notation import N, read_row

BOTH_RUN_AND_NOBODY_DESIRES_THEM: list[Change] = [
    (domain(), True),
    (read_row("O RUN a@c1 e#0"), True),
    (read_row("S RUN b@c9 e#0"), True),
]
"""So the suspect is to go for two reasons, and yet once."""


def after(history: list[Change]) -> tuple[Tables, World]:
    tables, world = Tables(), World()
    for record, is_put in history:
        tables.apply([put(record) if is_put else delete(record)])
        (world.put if is_put else world.delete)(record)
    return tables, world


@given(HISTORIES)
def test_attention_agrees_with_a_scan(history: list[Change]) -> None:
    tables, world = after(history)

    assert filed(tables.attention) == scanned(world)


@given(HISTORIES)
def test_what_is_put_and_deleted_again_leaves_nothing_behind(history: list[Change]) -> None:
    tables, world = after(history)
    for records in (world.actual, world.desired):
        tables.apply([delete(record) for record in records.values()])

    assert filed(tables.attention) == scanned(World())


@given(st.lists(actual_lrps(), max_size=6), st.lists(desired_lrps() | st.none(), min_size=2, max_size=6))
def test_running_rows_are_filed_anew_whenever_what_is_desired_changes(
    rows: list[ActualLRP], versions: list[DesiredLRP | None]
) -> None:
    """Histories of all kinds seldom have a running row whose DesiredLRP changes in one respect."""
    wanted = replace(DESIRED, process_guid="p")
    tables, world = after([(replace(lrp, process_guid="p", presence=O, state=RUNNING), True) for lrp in rows])
    for version in versions:
        if version is None:
            tables.apply([delete(wanted)])
            world.delete(wanted)
        else:
            tables.apply([put(replace(version, process_guid="p"))])
            world.put(replace(version, process_guid="p"))

        assert filed(tables.attention) == scanned(world)


@given(HISTORIES, st.lists(st.integers(0, 3)))
def test_rows_that_are_filed_late_end_where_a_scan_finds_them(
    history: list[Change], caught_up: list[int]
) -> None:
    """As if every process were large, and somebody filed some of its rows now and then."""
    tables, world = Tables(), World()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("bbs.store.attention.REFILED_AT_ONCE_MAX", -1)
        for (record, is_put), rows in zip(history, caught_up + [0] * len(history), strict=False):
            tables.apply([put(record) if is_put else delete(record)])
            (world.put if is_put else world.delete)(record)
            tables.attention.catch_up(rows)
        while tables.attention.catch_up(1):
            pass

    assert filed(tables.attention) == scanned(world)


@pytest.mark.parametrize(
    ("update", "drifted"),
    [
        ({"routes": (("internal-router", b'[{"hostname":"x"}]'),)}, {"routes drifted"}),
        ({"metric_tags": (("t", MetricTag(static="x")),)}, {"tags drifted"}),
        ({"instances": 5}, set()),
    ],
)
def test_an_update_that_changes_one_thing(update: dict[str, Any], drifted: set[str]) -> None:
    row = replace(read_row("O RUN a@c1 e#0"), internal_routes=(), metric_tags=())
    before = replace(DESIRED, process_guid="p", routes=None, metric_tags=())
    tables, world = after([(row, True), (before, True), (replace(before, **update), True)])

    files = filed(tables.attention)

    assert files == scanned(world)
    assert {name for name in ("routes drifted", "tags drifted") if files[name]} == drifted


@given(HISTORIES, CELL_SETS, NOWS)
@example(BOTH_RUN_AND_NOBODY_DESIRES_THEM, frozenset({"c1"}), N)
def test_the_sets_agree_with_a_scan(history: list[Change], cells: Set[str], now_ns: int) -> None:
    tables, world = after(history)

    async def look() -> tuple[set[ActualLRPKey], LRPSets]:
        finder = Finder(tables, cells, now_ns=now_ns)
        evacuating = await finder.evacuating_to_prune()
        tables.apply([delete(tables.actual_lrps.rows[key]) for key in evacuating])
        expired = [each for each in tables.domains.rows.values() if each.expire_time_ns <= now_ns]
        tables.apply([delete(each) for each in expired])
        return set(evacuating), await finder.sets()

    evacuating, found = trio.run(look)

    assert evacuating == prune(world, cells, now_ns)
    assert as_scanned(found) == find(world, cells, now_ns)


@given(st.lists(RECORDS, max_size=12), CELL_SETS, NOWS)
def test_a_pass_agrees_with_a_scan(records: list[Record], cells: Set[str], now_ns: int) -> None:
    world = World.of(records)
    expected = Pass(world, cells, now_ns)
    domains = [domain(name, expiry_ns) for name, expiry_ns in world.domains.items()]
    given_records: list[Record] = [*world.actual.values(), *world.desired.values(), *domains]

    async def converge() -> None:
        async with open_lrp_bench() as bench:
            bench.cells, bench.now_ns = cells, now_ns
            await bench.given(*given_records)
            expected.run()

            await bench.convergence.converge()

            assert without_epochs(bench.rows()) == without_epochs(world.actual)
            assert set(bench.store.committed.domains.rows) == set(world.domains)
            auctions = [(guid, i) for request in bench.auctions() for guid, [i] in request]
            assert sorted(auctions) == sorted(expected.auctions)
            assert len(bench.auctions()) == bool(expected.auctions)
            assert sorted(each.partition("@")[0] for each in bench.stopped()) == sorted(expected.stops)
            updates = [
                (each.lrp.key[:2], each.internal_routes, None if each.metric_tags is None else dict(each.metric_tags))
                for each in bench.updates()
            ]  # fmt: skip
            assert sorted(updates, key=repr) == sorted(expected.updates, key=repr)
            told = in_short(bench.events)
            for slot, events in expected.told.items():
                if "retired" not in events:
                    for hub in "gi":
                        assert [each for each in told[slot] if each[0] == hub] == [
                            each for each in events if each[0] == hub
                        ]
            assert set(told) <= set(expected.told)
            statistics = bench.convergence.statistics()
            assert (
                statistics.unclaimed,
                statistics.claimed,
                statistics.running,
                statistics.crashed,
            ) == tuple(
                sum(lrp.state is state for lrp in world.of_presence(O))
                for state in (UNCLAIMED, CLAIMED, RUNNING, CRASHED)
            )

    trio.run(converge, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("time_ns", [-1, 0, 1, 2**27 - 1, 2**27, 2**27 + 1, 2**63 - 1])
def test_a_time_queue_is_exact_to_the_nanosecond(time_ns: int) -> None:
    queue: TimeQueue[str] = TimeQueue()
    queue.add("k", time_ns)

    assert queue.before(time_ns) == []
    assert queue.before(time_ns + 1) == ["k"]
    queue.discard("k", time_ns)
    assert (queue.before(2**64), len(queue)) == ([], 0)


@given(st.dictionaries(st.integers(0, 20), st.integers(-(2**30), 2**30)), st.integers(-(2**30), 2**30))
@example({1: 2**27, 2: 0, 3: 2**27 + 5}, 2**27 + 1)
def test_a_time_queue_gives_all_that_is_due(times: dict[int, int], before_ns: int) -> None:
    queue: TimeQueue[int] = TimeQueue()
    for key, time_ns in times.items():
        queue.add(key, time_ns)

    due = queue.before(before_ns)

    assert sorted(due) == sorted(key for key, time_ns in times.items() if time_ns < before_ns)
    slots = [times[key] >> 27 for key in due]
    assert slots == sorted(slots), "the oldest first, to the eighth of a second"
    assert queue.count_before(before_ns) == len(due)
    assert sorted(queue) == sorted(times)
    assert len(queue) == len(times)


def filed(attention: Attention) -> dict[str, object]:
    return {
        "counts": {(p, s): attention.count(p, s) for p in Presence for s in (UNCLAIMED, CLAIMED, RUNNING, CRASHED)},
        "desired instances": attention.desired_instances,
        "surplus": attention.surplus,
        "beyond": attention.beyond,
        "orphans": {name: {lrp.key for lrp in rows} for name, rows in attention.orphans.items()},
        "unclaimed": set(attention.unclaimed.before(2**64)),
        "crashed": {count: set(queue.before(2**64)) for count, queue in attention.crashed.items()},
        "routes drifted": set(attention.routes_drifted),
        "tags drifted": set(attention.tags_drifted),
        "crashing": attention.crashing,
        "suspects": set(attention.suspects),
        "nowhere": set(attention.nowhere.items()),
    }  # fmt: skip


def scanned(world: World) -> dict[str, object]:
    rows, ordinary = list(world.actual.values()), world.of_presence(O)
    guids = {lrp.process_guid for lrp in rows} | set(world.desired)

    def keys(holds: object) -> set[ActualLRPKey]:
        return {lrp.key for lrp in ordinary if lrp.process_guid in world.desired and holds(lrp)}  # type: ignore[operator]

    def instances(guid: str) -> int:
        return world.desired[guid].instances if guid in world.desired else 0

    crashed = {
        lrp.crash_count for lrp in ordinary if lrp.state is CRASHED and lrp.process_guid in world.desired
    }
    orphans = [lrp for lrp in rows if lrp.presence is not E and lrp.process_guid not in world.desired]
    surplus = {guid: sum(lrp.process_guid == guid for lrp in ordinary) - instances(guid) for guid in guids}
    beyond = {
        guid: sum(lrp.process_guid == guid and lrp.index >= desired.instances for lrp in ordinary)
        for guid, desired in world.desired.items()
    }
    crashing = [lrp.process_guid for lrp in ordinary if lrp.state is CRASHED]
    return {
        "counts": {
            (p, s): sum(lrp.presence is p and lrp.state is s for lrp in rows)
            for p in Presence
            for s in (UNCLAIMED, CLAIMED, RUNNING, CRASHED)
        },
        "desired instances": sum(map(instances, guids)),
        "surplus": {guid: count for guid, count in surplus.items() if count},
        "beyond": {guid: count for guid, count in beyond.items() if count},
        "orphans": {
            name: {lrp.key for lrp in orphans if lrp.domain == name} for name in {lrp.domain for lrp in orphans}
        },
        "unclaimed": keys(lambda lrp: lrp.state is UNCLAIMED),
        "crashed": {
            count: keys(lambda lrp, count=count: lrp.state is CRASHED and lrp.crash_count == count)
            for count in crashed
        },
        "routes drifted": keys(lambda lrp: routes_changed(lrp, world.desired)),
        "tags drifted": keys(lambda lrp: tags_changed(lrp, world.desired)),
        "crashing": {guid: crashing.count(guid) for guid in crashing},
        "suspects": {lrp.key for lrp in world.of_presence(S)},
        "nowhere": {
            (lrp.key, lrp)
            for lrp in rows
            if not lrp.instance.cell_id and (lrp.state in (CLAIMED, RUNNING) or lrp.presence is E)
        },
    }  # fmt: skip


def as_scanned(found: LRPSets) -> Sets:
    """Also: nothing is in a set twice."""

    def slots(keys: list[ActualLRPKey]) -> set[Slot]:
        assert len(set(keys)) == len(keys)
        return {key[:2] for key in keys}

    return Sets(
        extra=slots(found.extra),
        orphans=slots(found.orphans),
        missing=slots(found.missing),
        stale=slots(found.stale),
        restartable=slots(found.restartable),
        displaced=slots(found.displaced),
        suspects_back=slots(found.suspects_back),
        suspects_to_go=slots(found.suspects_to_go),
        routes_changed=slots(found.routes_changed),
        tags_changed=slots(found.tags_changed),
        missing_cells=found.missing_cells,
        suspects_running=found.suspects_running,
        suspects_claimed=found.suspects_claimed,
    )


def without_epochs(rows: dict[ActualLRPKey, ActualLRP]) -> dict[ActualLRPKey, object]:
    return {
        key: (lrp.message().SerializeToString(deterministic=True).replace(lrp.tag.epoch.encode(), b""), lrp.tag.index)
        if not lrp.tag.epoch.startswith("new")
        else (lrp.state, lrp.domain, lrp.since_ns, lrp.tag.index, lrp.instance)
        for key, lrp in rows.items()
    }  # fmt: skip


def in_short(events: dict[Hub, list[Event]]) -> dict[Slot, list[str]]:
    told: dict[Slot, list[str]] = {}
    for hub in (Hub.GROUP, Hub.INSTANCE):
        for event in events[hub]:
            lrp, text = in_words(event)
            told.setdefault((lrp.process_guid, lrp.index), []).append(text)
    return told


def in_words(event: Event) -> tuple[ActualLRP, str]:
    match event:
        case ActualLRPGroupCreated(group):
            return group.resolve(), f"gC {group.resolve().presence.name[0]}"
        case ActualLRPGroupRemoved(group):
            return group.resolve(), f"gR {group.resolve().presence.name[0]}"
        case ActualLRPGroupChanged(before, _):
            return before.resolve(), f"gX {before.resolve().presence.name[0]}"
        case ActualLRPInstanceCreated(lrp):
            return lrp, f"iC {lrp.presence.name[0]}"
        case ActualLRPInstanceRemoved(lrp):
            return lrp, f"iR {lrp.presence.name[0]}"
        case ActualLRPInstanceChanged(old, new):
            return old, f"iX {old.presence.name[0]}->{new.presence.name[0]}"
        case ActualLRPCrashed(old, _):  # of a retirement that leaves a crashed suspect to the group hub
            return old, f"K {old.presence.name[0]}"
    raise AssertionError(f"no pass tells this: {event}")
