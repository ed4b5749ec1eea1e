"""A backup that is restored takes rows, and the numbers of transactions, back to where they were."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.convergence.taken_over import announcements_of
from bbs.embedded_postgres import embedded_postgres
from bbs.log import null_logger
from bbs.models.events import Hub
from bbs.models.outcome import Announcement, Record, put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.following import Following
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_changes import PostgresChanges
from bbs.store.store import Store
from tests.daemons import free_port
from tests.log_lines import Lines
from tests.records import actual_lrp, task
from tests.store.changes.follower import all_records
from tests.store.worlds import KEYRING, by_key
from tests.waiting import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

WITHIN_S = 30.0


@asynccontextmanager
async def server(directory: Path, port: int) -> AsyncIterator[DSN]:
    settings = {"listen_addresses": "127.0.0.1", "port": str(port)}
    async with embedded_postgres(directory, settings=settings):
        yield parse_dsn(f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable", {})


@asynccontextmanager
async def writer_of(dsn: DSN) -> AsyncIterator[PostgresBackend]:
    writer = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
    try:
        await writer.acquire_writer_lock()
        yield writer
    finally:
        await writer.aclose()


async def fetch(dsn: DSN, statement: str) -> int:
    connection = await aio_as_trio(dsn.open_session)(timeout_s=5.0)
    try:
        return int(await aio_as_trio(connection.fetchval)(statement))
    finally:
        await aio_as_trio(connection.close)()


async def next_transaction_is(number: int, dsn: DSN) -> None:
    """Let transactions pass that change nothing."""
    while (now := await fetch(dsn, "SELECT pg_current_xact_id()::text")) != number - 1:
        assert now < number


VERSION = "SELECT xmin::text FROM actual_lrps WHERE process_guid = 'changed'"


async def copy(source: Path, target: Path) -> None:
    """With owners and permissions, about which Postgres is particular."""
    await trio.run_process(["cp", "-a", str(source), str(target)])


@pytest.mark.parametrize("streams", [True, False], ids=["by a stream", "by looks"])
async def test_memory_becomes_what_was_restored(tmp_path: Path, streams: bool) -> None:
    async with open_asyncio_loop(null_logger()):
        await check(tmp_path, streams=streams)


async def check(tmp_path: Path, *, streams: bool) -> None:
    directory, backup, port = tmp_path / "data", tmp_path / "backup", free_port()
    before: list[Record] = [actual_lrp("kept"), actual_lrp("changed", since_ns=1), task("untouched")]
    async with server(directory, port) as dsn, writer_of(dsn) as writer:
        await writer.write([put(record) for record in before])
    await copy(directory, backup)

    lines, told = Lines(), list[Announcement]()
    source = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
    store = Store(source, publish=told.extend)
    following = Following(
        store,
        source,
        PostgresChanges(dsn, KEYRING) if streams else None,
        announce=announcements_of(store.committed),
        look_interval_s=0.1,
        log=lines.logger(),
    )

    async def has(*records: Record) -> None:
        await wait_until(
            lambda: by_key(all_records(store.committed)) == by_key(records),
            within_s=WITHIN_S,
            what="it has them",
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(following.run)
        async with server(directory, port), writer_of(dsn) as writer:
            number = await fetch(dsn, "SELECT pg_current_xact_id()::text") + 50
            await next_transaction_is(number, dsn)
            await writer.write([put(actual_lrp("changed", since_ns=2)), put(actual_lrp("lost"))])
            await has(
                actual_lrp("kept"), actual_lrp("changed", since_ns=2), task("untouched"), actual_lrp("lost")
            )
            seen = await fetch(dsn, VERSION)
        shutil.rmtree(directory)
        await copy(backup, directory)
        told.clear()
        # At another port at first, so that what is followed next is what was written after the restore.
        async with server(directory, free_port()) as elsewhere, writer_of(elsewhere) as writer:
            await next_transaction_is(seen, elsewhere)
            await writer.write([put(actual_lrp("changed", since_ns=3)), put(actual_lrp("new"))])
            assert await fetch(elsewhere, VERSION) == seen, "or this test would show nothing"
        async with server(directory, port):
            await has(
                actual_lrp("kept"), actual_lrp("changed", since_ns=3), task("untouched"), actual_lrp("new")
            )
            assert sorted(event.name for each in told for event in each.events(Hub.INSTANCE)) == [
                "actual_lrp_instance_changed",
                "actual_lrp_instance_created",
                "actual_lrp_instance_removed",
            ]
            assert not [event for each in told for event in each.events(Hub.TASK)]
        nursery.cancel_scope.cancel()
    await source.aclose()
