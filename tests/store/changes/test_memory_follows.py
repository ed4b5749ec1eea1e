"""Memory follows the database by its stream of changes: what it knows, what it tells, and how late it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
import trio

from bbs.convergence.taken_over import announcements_of
from bbs.models.actual_lrp import ActualLRPState, InstanceKey, Presence
from bbs.models.domain import Domain
from bbs.models.events import Hub
from bbs.models.outcome import Announcement, Record, Row, RowKey, delete, put
from bbs.models.task import Task
from bbs.store.backend import LogEnd
from bbs.store.codecs import CODECS
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.following import Following
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_changes import PostgresChanges
from bbs.store.store import Store
from bbs.store.tokens import Token
from tests.log_lines import Lines
from tests.records import actual_lrp, desired_lrp, task
from tests.store.changes.follower import all_records, end_of_log
from tests.store.worlds import KEYRING, RECORDS, PostgresWorld, by_key
from tests.waiting import wait_until

pytestmark = pytest.mark.postgres

WITHIN_S = 30.0


@dataclass
class Follower:
    """A store that follows, what it has told, and its log."""

    store: Store
    following: Following
    lines: Lines
    told: list[Announcement] = field(default_factory=list)

    def events(self, hub: Hub) -> list[str]:
        return [event.name for each in self.told for event in each.events(hub)]

    async def has(self, *records: Record) -> None:
        """Wait until memory has just these."""
        await wait_until(
            lambda: by_key(all_records(self.store.committed)) == by_key(records),
            within_s=WITHIN_S,
            what="the follower has what the database has",
        )

    async def logs(self, message: str, times: int = 1) -> dict[str, Any]:
        """Wait until a message was logged so often; the last one's data."""
        await wait_until(
            lambda: self.lines.messages.count(f"bbs.{message}") >= times,
            within_s=WITHIN_S,
            what=f"{message} is logged",
        )
        data: dict[str, Any] = [
            line["data"] for line in self.lines.lines if line["message"] == f"bbs.{message}"
        ][-1]
        return data


@asynccontextmanager
async def follower(postgres: PostgresWorld, dsn: DSN, **settings: Any) -> AsyncIterator[Follower]:
    """It runs. It has loaded when it has logged ``following-changes``."""
    lines, source = Lines(), postgres.open()
    told: list[Announcement] = []
    store = Store(source, publish=told.extend)
    following = Following(
        store,
        source,
        PostgresChanges(dsn, KEYRING),
        announce=announcements_of(store.committed),
        log=lines.logger(),
        **settings,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(following.run)
        yield Follower(store, following, lines, told)
        nursery.cancel_scope.cancel()


async def end_stream(postgres: PostgresWorld) -> None:
    assert await postgres.fetchval(
        "SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE application_name = 'bbs-changes'"
    )


async def test_it_loads_and_then_takes_over_what_is_committed(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    await writer.write([put(record) for record in RECORDS])
    async with follower(postgres, dsn) as follow:
        assert (await follow.logs("following-changes"))["rows"] == len(RECORDS)
        await follow.has(*RECORDS)

        claimed = actual_lrp(
            state=ActualLRPState.CLAIMED, instance=InstanceKey(instance_guid="i", cell_id="c")
        )
        await writer.write([put(claimed), delete(RECORDS[1]), put(task("new"))])

        await follow.has(claimed, *RECORDS[2:], task("new"))
        statistics = follow.following.statistics()
        assert (statistics.is_streaming, statistics.rows, statistics.transactions) == (True, 3, 1)


async def test_it_tells_of_what_has_changed(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        before: list[Record] = [desired_lrp("p"), actual_lrp("p"), task("t")]
        await writer.write([put(record) for record in before])
        await writer.write([put(desired_lrp("p", annotation="new"))])
        await writer.write([delete(record) for record in before])
        await wait_until(
            lambda: follow.following.statistics().transactions == 3, within_s=WITHIN_S, what="all have come"
        )

        assert follow.events(Hub.DESIRED) == [
            "desired_lrp_created",
            "desired_lrp_changed",
            "desired_lrp_removed",
        ]
        assert follow.events(Hub.INSTANCE) == ["actual_lrp_instance_created", "actual_lrp_instance_removed"]
        assert follow.events(Hub.TASK) == ["task_created", "task_removed"]


async def test_a_stream_that_ends_is_followed_by_another_that_reads_what_has_changed(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    await writer.write([put(record) for record in RECORDS])
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        await writer.write([put(actual_lrp("streamed"))])
        await follow.has(*RECORDS, actual_lrp("streamed"))
        follow.told.clear()

        await end_stream(postgres)
        await writer.write([put(actual_lrp("missed")), delete(RECORDS[0])])

        # The one that came by the stream is not read again, and nothing is told twice.
        assert (await follow.logs("following-changes", 2))["rows"] == 2
        await follow.has(*RECORDS[1:], actual_lrp("streamed"), actual_lrp("missed"))
        assert sorted(follow.events(Hub.INSTANCE)) == [
            "actual_lrp_instance_created",
            "actual_lrp_instance_removed",
        ]
        assert follow.lines.messages.count("bbs.lost-changes") == 1


async def test_it_knows_how_late_it_is(dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend) -> None:
    async with follower(postgres, dsn) as follow:
        assert follow.following.as_of == -float("inf")
        await follow.logs("following-changes")
        for number in range(3):
            now = trio.current_time()
            await writer.write([put(Domain(name="d", expire_time_ns=number))])
            await wait_until(
                lambda now=now: follow.following.as_of > now,  # type: ignore[misc]
                within_s=WITHIN_S,
                what="it says that it has what was committed",
            )
            [domain] = follow.store.committed.domains.rows.values()
            assert domain.expire_time_ns == number


async def test_without_a_stream_what_it_knows_grows_old(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        await postgres.execute("DROP PUBLICATION bbs")
        await postgres.execute("ALTER TABLE domains DROP COLUMN expire_time")
        await follow.logs("cannot-follow-changes")

        as_of = follow.following.as_of
        now = trio.current_time()
        assert as_of < now
        assert not follow.following.statistics().is_streaming


async def test_a_column_that_upstreams_next_migration_adds_changes_nothing(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        await postgres.execute("ALTER TABLE domains ADD COLUMN colour text DEFAULT 'green'")
        await writer.write([put(Domain(name="d", expire_time_ns=1))])
        await follow.has(Domain(name="d", expire_time_ns=1))
        assert follow.lines.messages == ["bbs.following-changes"]


async def test_a_schema_of_another_version_is_not_followed_until_it_is_ours_again(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    """As when upstream's next release migrates: what its rows mean nobody here can know."""
    version = await postgres.fetchval("SELECT value FROM configurations WHERE id = 'version'")
    set_version = "UPDATE configurations SET value = $1 WHERE id = 'version'"
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        await postgres.execute(set_version, '{"CurrentVersion":9000000000}')
        await writer.write([put(Domain(name="theirs", expire_time_ns=1))])
        lost = await follow.logs("lost-changes", 2)
        assert lost["error"] == "the tables are not of this version; a master makes them so when it starts"
        as_of = follow.following.as_of

        await postgres.execute(set_version, version)
        await follow.logs("following-changes", 2)
        await follow.has(Domain(name="theirs", expire_time_ns=1))
        assert follow.following.as_of > as_of


async def test_what_is_stored_apart_and_did_not_change_is_kept(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    """Upstream updates the columns that change; the others, if they are large, do not come."""
    large = "".join(Random(1).choices("0123456789abcdef", k=20_000))  # not to be compressed away
    lrp = desired_lrp("p", annotation=large)
    await writer.write([put(lrp)])
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        await postgres.execute("UPDATE desired_lrps SET instances = 7 WHERE process_guid = 'p'")
        await follow.has(replace(lrp, instances=7))
        assert follow.following.statistics().unreadable == 0


async def test_a_row_that_can_be_read_again_is_read(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    await writer.write([put(record) for record in RECORDS])
    await postgres.spoil(RECORDS[0], net_info="02AAAA")
    async with follower(postgres, dsn) as follow:
        assert (await follow.logs("left-out-row"))["table"] == "actual_lrps"
        await follow.has(*RECORDS[1:])
        assert follow.following.statistics().unreadable == 1
        await writer.write([put(RECORDS[0])])
        await follow.has(*RECORDS)
        assert follow.following.statistics().unreadable == 0


async def test_who_has_a_token_waits_for_it(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        timeline = follow.following.position.timeline
        for number in range(20):
            domain = Domain(name="d", expire_time_ns=number)
            await writer.write([put(domain)])
            with trio.fail_after(WITHIN_S):
                await follow.following.wait_for(Token(timeline, await end_of_log(postgres)))
            assert follow.store.committed.domains.rows["d"] == domain
        with trio.move_on_after(0.05):
            await follow.following.wait_for(Token(timeline, 2**62))
            raise AssertionError("this has not been committed")
        with trio.move_on_after(0.05):
            await follow.following.wait_for(Token(timeline + 1, 0))
            raise AssertionError("nobody has been promoted")


async def test_whether_a_new_master_has_all_rows(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follower(postgres, dsn) as follow:
        await follow.logs("following-changes")
        await writer.write([put(record) for record in RECORDS])
        end = await writer.end_of_log()
        assert end is not None
        with trio.fail_after(WITHIN_S):
            assert await follow.following.has_come_to(end)
            await follow.has(*RECORDS)
            # Another server's log, or that of a former primary, says nothing about this one's.
            assert not await follow.following.has_come_to(replace(end, system="7"))
            assert not await follow.following.has_come_to(replace(end, timeline=end.timeline + 1))

            await postgres.spoil(RECORDS[0], net_info="02AAAA")
            end = await writer.end_of_log()
            assert end is not None
            assert not await follow.following.has_come_to(end)
            await writer.write([put(RECORDS[0])])
            end = await writer.end_of_log()
            assert end is not None
            assert await follow.following.has_come_to(end)


async def test_nobody_waits_for_a_stream_that_has_ended(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend
) -> None:
    async with follower(postgres, dsn) as follow, trio.open_nursery() as nursery:
        await follow.logs("following-changes")
        end = await writer.end_of_log()
        assert end is not None
        answers: list[bool] = []

        async def ask(end: LogEnd) -> None:
            answers.append(await follow.following.has_come_to(end))

        nursery.start_soon(ask, replace(end, position=end.position + 2**40))
        await end_stream(postgres)
        await wait_until(lambda: answers == [False], within_s=WITHIN_S, what="it is told so")


async def test_where_changes_cannot_be_followed_the_tables_are_looked_through(
    physical_server: str, postgres: PostgresWorld
) -> None:
    dsn = parse_dsn(physical_server, {})
    writer = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
    source = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
    try:
        await writer.acquire_writer_lock()
        lines, told = Lines(), list[Announcement]()
        store = Store(source, publish=told.extend)
        following = Following(
            store,
            source,
            PostgresChanges(dsn, KEYRING),
            announce=announcements_of(store.committed),
            look_interval_s=0.05,
            log=lines.logger(),
        )
        follow = Follower(store, following, lines, told)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.run)
            await follow.logs("cannot-follow-changes")
            for number in range(3):
                now = trio.current_time()
                await writer.write([put(Domain(name="d", expire_time_ns=number)), put(task(f"t{number}"))])
                await wait_until(lambda now=now: following.as_of > now, within_s=WITHIN_S, what="a look")  # type: ignore[misc]
                assert store.committed.domains.rows["d"].expire_time_ns == number
            assert follow.events(Hub.TASK) == ["task_created"] * 3
            assert lines.messages == ["bbs.cannot-follow-changes"]
            end = await writer.end_of_log()
            assert end is not None
            assert not await following.has_come_to(end)
            nursery.cancel_scope.cancel()
    finally:
        await writer.aclose()
        await source.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_committed_and_whenever_streams_end_memory_follows(
    dsn: DSN, postgres: PostgresWorld, writer: PostgresBackend, seed: int
) -> None:
    random = Random(seed)
    rows: dict[RowKey, Record] = {}
    async with follower(postgres, dsn) as follow:
        for number in range(60):
            batch: dict[RowKey, Row] = {}
            for _ in range(random.choice((1, 3, 250))):
                record = drawn(random, number)
                gone = random.random() < 0.3
                row = delete(record) if gone else put(record)
                batch[row.key] = row
                if gone:
                    rows.pop(row.key, None)
                else:
                    rows[row.key] = record
            await writer.write(list(batch.values()))
            if random.random() < 0.1:
                await postgres.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'bbs-changes'"
                )
            if random.random() < 0.05:
                emptied = random.choice((Domain, Task))
                await postgres.execute(f"TRUNCATE {CODECS[emptied].table}")
                rows = {key: row for key, row in rows.items() if key.table is not emptied}
        await follow.has(*rows.values())


def drawn(random: Random, number: int) -> Record:
    guid, index = f"p{random.randrange(9)}", random.randrange(3)
    kind = random.randrange(4)
    if kind == 0:
        return actual_lrp(guid, index, random.choice(list(Presence)), since_ns=number)
    if kind == 1:
        return desired_lrp(guid, annotation=str(number))
    if kind == 2:
        return Domain(name=f"d{random.randrange(3)}", expire_time_ns=number)
    return task(guid, rejection_count=number)
