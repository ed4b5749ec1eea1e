"""What somebody else does to the database, and what becomes of it in memory: against real databases."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio

from bbs.convergence.audit import Audit
from bbs.log import LagerSink, Level, null_logger, root_logger
from bbs.models.actual_lrp import ActualLRPState, InstanceKey
from bbs.models.domain import Domain
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Outcome, Record, RowKey, delete, put
from bbs.models.task import TaskState
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.postgres_audit import parsed
from bbs.store.store import Store
from tests.databases import ON_BOTH, SomeDatabase
from tests.log_lines import Lines
from tests.records import AnyScope, actual_lrp, desired_lrp, task

KEYRING = Keyring({"label": "key"}, "label")
RUNNING = actual_lrp(
    state=ActualLRPState.RUNNING, instance=InstanceKey(instance_guid="i", cell_id="c"), net_info=b"\x0a\x01a"
)


@dataclass
class World:
    """A server's store with its audit, and somebody else's connection to its database."""

    store: Store
    backend: Any
    database: Any
    audit: Audit
    execute: Any
    lines: Lines
    dropped: list[DroppedRow]
    announced: list[Announcement] = field(default_factory=list)

    async def commit(self, *records: Record) -> None:
        await self.store.commit(Outcome(rows=tuple(map(put, records))), AnyScope(self.store, "test"))

    async def told(self) -> int:
        """An audit; how many rows it took over."""
        before = self.audit.statistics()
        await self.audit.run()
        after = self.audit.statistics()
        assert after.failed == before.failed
        return after.taken_over - before.taken_over

    def events(self, hub: Hub) -> list[str]:
        told: Sequence[Event] = [event for each in self.announced for event in each.events(hub)]
        return [event.name for event in told]


@pytest.fixture
async def world(some_database: SomeDatabase) -> AsyncIterator[World]:
    async with opened(some_database) as world:
        yield world


@asynccontextmanager
async def opened(some_database: SomeDatabase, **settings: Any) -> AsyncIterator[World]:
    lines, dropped, announced = Lines(), list[DroppedRow](), list[Announcement]()
    async with open_asyncio_loop(null_logger()), some_database.session() as execute:
        backend = some_database.backend(KEYRING, on_dropped=dropped.append)
        database = some_database.database.audit()
        store = Store(backend, publish=announced.extend)
        audit = Audit(
            store,
            database,
            KEYRING,
            sessions=lambda: backend.connects,
            log=root_logger("bbs", LagerSink(lines, min_level=Level.INFO)),
            **settings,
        )
        await backend.acquire_writer_lock()
        await audit.begin()
        await store.load()
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            yield World(store, backend, database, audit, execute, lines, dropped, announced)
            nursery.cancel_scope.cancel()
        await database.aclose()
        await backend.aclose()


@ON_BOTH
async def test_what_we_write_ourselves_is_no_finding(world: World) -> None:
    await world.commit(*(actual_lrp(index=index) for index in range(300)), desired_lrp(), task())
    assert await world.told() == 0
    await world.commit(RUNNING, Domain(name="d", expire_time_ns=5), task(state=TaskState.Completed))
    await world.store.commit(
        Outcome(rows=(delete(actual_lrp(index=7)), delete(desired_lrp()))), AnyScope(world.store, "test")
    )

    assert await world.told() == 0
    assert await world.told() == 0
    assert not world.lines.lines


async def test_a_row_that_somebody_started_is_taken_over_with_events(world: World) -> None:
    await world.commit(actual_lrp(), desired_lrp())

    await world.execute("UPDATE actual_lrps SET state = 'RUNNING', instance_guid = 'i', cell_id = 'c'")
    assert await world.told() == 1

    [row] = world.store.committed.actual_lrps.rows.values()
    assert (row.state, row.instance.cell_id) == (ActualLRPState.RUNNING, "c")
    assert world.events(Hub.INSTANCE) == ["actual_lrp_instance_changed"]
    assert world.store.committed.actual_lrps.by_cell["c"]
    assert await world.told() == 0


@ON_BOTH
async def test_rows_that_somebody_deleted_are_taken_over_with_events(world: World) -> None:
    await world.commit(desired_lrp(instances=300), *(actual_lrp(index=index) for index in range(300)))

    await world.execute("DELETE FROM actual_lrps WHERE instance_index % 30 = 1")
    assert await world.told() == 10

    assert len(world.store.committed.actual_lrps.rows) == 290
    assert world.events(Hub.INSTANCE) == ["actual_lrp_instance_removed"] * 10
    assert world.lines.messages[-1] == "bbs.database-audit.memory-differed-from-database"
    assert world.lines.data_of("bbs.database-audit.memory-differed-from-database")["rows"] == 10
    assert world.lines.messages.count("bbs.database-audit.took-over-row") == 10


@ON_BOTH
@pytest.mark.parametrize(
    ("statement", "events"),
    [
        ("UPDATE desired_lrps SET instances = 7", {Hub.DESIRED: ["desired_lrp_changed"]}),
        ("DELETE FROM desired_lrps", {Hub.DESIRED: ["desired_lrp_removed"]}),
        ("UPDATE tasks SET cell_id = 'x', state = 2", {Hub.TASK: ["task_changed"]}),
        ("DELETE FROM tasks", {Hub.TASK: ["task_removed"]}),
        ("UPDATE domains SET expire_time = 77", {}),
        ("DELETE FROM domains", {}),
        (
            "UPDATE actual_lrps SET presence = 2",
            {Hub.INSTANCE: ["actual_lrp_instance_removed", "actual_lrp_instance_created"]},
        ),
        (
            "INSERT INTO actual_lrps (process_guid, instance_index, domain, state, net_info, modification_tag_epoch)"
            " VALUES ('new', 3, 'd', 'UNCLAIMED', '', 'e')",
            {Hub.INSTANCE: ["actual_lrp_instance_created"]},
        ),
        ("UPDATE desired_lrps SET process_guid = 'q'", {Hub.DESIRED: ["desired_lrp_created", "desired_lrp_removed"]}),
    ],
)  # fmt: skip
async def test_every_kind_of_change_is_found_told_and_found_once(
    world: World, statement: str, events: dict[Hub, list[str]]
) -> None:
    await world.commit(actual_lrp(), desired_lrp(), task(), Domain(name="d", expire_time_ns=5))

    await world.execute(statement)
    assert await world.told() > 0

    told = {hub: sorted(world.events(hub)) for hub in (Hub.DESIRED, Hub.INSTANCE, Hub.TASK)}
    assert {hub: names for hub, names in told.items() if names} == {
        hub: sorted(names) for hub, names in events.items()
    }
    assert await world.told() == 0
    await agrees_with_the_database(world)


async def agrees_with_the_database(world: World) -> None:
    """A new server would load what this one has."""
    committed = world.store.committed
    keys = [RowKey(table, key) for table in committed.sizes() for key in committed.keys(table)]
    stored = {row.key: row.record for row in (await world.backend.read(keys)).rows}
    assert stored == {key: committed.get(key) for key in keys}


@ON_BOTH
async def test_a_change_that_is_older_than_the_last_look_but_came_later_is_found(world: World) -> None:
    """A transaction that was open while we looked: its rows carry an id from before the look."""
    await world.commit(actual_lrp())
    await world.execute("BEGIN")
    await world.execute("UPDATE actual_lrps SET state = 'CRASHED', crash_count = 3")
    for _ in range(3):
        await world.commit(Domain(name="d", expire_time_ns=5))
        assert await world.told() == 0

    await world.execute("COMMIT")

    assert await world.told() == 1


async def test_a_change_of_ours_on_its_way_wins_over_one_that_we_have_not_seen(world: World) -> None:
    await world.commit(actual_lrp())
    await world.execute("UPDATE actual_lrps SET state = 'CRASHED', crash_count = 3")

    await world.commit(RUNNING)

    assert await world.told() == 0
    assert list(world.store.committed.actual_lrps.rows.values()) == [RUNNING]


async def test_a_row_that_only_memory_has_another_opinion_of_is_compared_in_its_turn(
    some_database: SomeDatabase,
) -> None:
    async with opened(some_database, compared_rows=64) as world:
        await world.commit(*(actual_lrp(index=index) for index in range(300)))
        wrong = replace(actual_lrp(index=299), crash_count=9)
        world.store.committed.apply([put(wrong)])  # as a bug of ours would

        found = [await world.told() for _ in range(7)]

    assert sum(found) == 1


@ON_BOTH
async def test_after_a_lost_session_all_rows_are_compared_at_once(some_database: SomeDatabase) -> None:
    async with opened(some_database, compared_rows=1) as world:
        await world.commit(*(actual_lrp(index=index) for index in range(300)))
        world.store.committed.apply([put(replace(actual_lrp(index=299), crash_count=9))])
        assert await world.told() == 0
        with_it = world.database.connection._connection
        assert await world.told() == 0
        assert world.database.connection._connection is with_it
        await some_database.end_writer_session()
        with trio.fail_after(10):
            await world.commit(Domain(name="d", expire_time_ns=5))

        assert await world.told() == 1
        assert world.database.connection._connection is not with_it, "it may be a former primary's by now"


@ON_BOTH
@pytest.mark.parametrize(
    ("statement", "rows_seen"),
    [
        ("UPDATE actual_lrps SET net_info = '02nonsense'", 0),  # upstream deletes such a row
        ("UPDATE actual_lrps SET state = 'SLEEPING'", 0),
        ("UPDATE actual_lrps SET presence = 77", 0),
    ],
)
async def test_a_row_that_somebody_spoilt_is_not_seen_any_more_and_found_once(
    world: World, statement: str, rows_seen: int
) -> None:
    await world.commit(actual_lrp())

    await world.execute(statement)
    assert await world.told() == 1

    assert len(world.store.committed.actual_lrps.rows) == rows_seen
    for _ in range(3):
        assert await world.told() == 0


@ON_BOTH
async def test_a_database_that_is_away_fails_the_audit_and_nothing_else(world: World) -> None:
    await world.execute("ALTER TABLE domains RENAME TO elsewhere")
    await world.audit.run()
    assert world.audit.statistics().failed == 1
    await world.execute("ALTER TABLE elsewhere RENAME TO domains")

    await world.commit(actual_lrp())
    assert await world.told() == 0


async def test_audits_beside_writes_find_nothing(world: World) -> None:
    async def write(number: int) -> None:
        for turn in range(40):
            lrp = actual_lrp(f"p-{number}", index=turn % 5, crash_count=turn)
            row = delete(lrp) if turn % 7 == 3 else put(lrp)
            await world.store.commit(Outcome(rows=(row,)), AnyScope(world.store, f"p-{number}"))

    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(write, number)
            for _ in range(15):
                assert await world.told() == 0
    assert await world.told() == 0


@pytest.mark.parametrize(
    ("text", "shown", "hidden"),
    [
        ("10:10:", [1, 9], [10, 11]),
        ("10:20:10,14", [9, 11, 15, 19], [10, 14, 20]),
        (f"{2**40}:{2**40 + 2}:{2**40}", [2**40 - 1, 2**40 + 1], [2**40, 2**40 + 2]),
    ],
)
def test_snapshots(text: str, shown: list[int], hidden: list[int]) -> None:
    snapshot = parsed(text)

    assert all(map(snapshot.shows, shown))
    assert not any(map(snapshot.shows, hidden))
