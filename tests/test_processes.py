"""The server as a process: how it works, loses its database, and ends."""

import json
import math
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.client import EventSource, InternalBBSClient
from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.errors import InvalidRequest, UnknownError
from bbs.store.asyncio_loop import open_asyncio_loop
from tests.databases import ON_BOTH, SomeDatabase, running_mysql, running_postgres
from tests.made_once import copy_cluster
from tests.peers.peer_server import peer_server
from tests.processes import first_line, running_bbs, spawn
from tests.records import desired_message
from tests.scratch import scratch_directory
from tests.waiting import wait_until

LARGE = 5_000
LARGE_MAX_S = 240
"""For four changes and their events: ten seconds on a quiet machine, half a minute on a busy one."""

ROWS = "SELECT process_guid FROM desired_lrps ORDER BY process_guid"


async def in_database(url: str, statement: str) -> list[asyncpg.Record]:
    async def execute() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    async with open_asyncio_loop(null_logger()):
        rows: list[asyncpg.Record] = await aio_as_trio(execute)()
        return rows


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(
    number: signal.Signals, tmp_path: Path, some_database: SomeDatabase
) -> None:
    async with running_bbs(tmp_path, "--database-url", some_database.url) as bbs, bbs.client() as client:
        events = await client.subscribe_to_instance_events()
        await client.desire_lrp(desired_message())
        bbs.process.send_signal(number)
        with trio.fail_after(15):
            code = await bbs.process.wait()
        await events.aclose()

    assert code == 0
    assert '"bbs.exited"' in (tmp_path / "bbs.log").read_text()


@pytest.mark.slow
@ON_BOTH
async def test_writes_go_on_after_the_database_ended_our_session(
    tmp_path: Path, some_database: SomeDatabase
) -> None:
    async with running_bbs(tmp_path, "--database-url", some_database.url) as bbs, bbs.client() as client:
        for number in range(5):
            await client.desire_lrp(desired_message(f"before-{number}"))
            await some_database.end_writer_session()
            await client.desire_lrp(desired_message(f"after-{number}"))

        assert len(await client.desired_lrps()) == 10
        assert await bbs.stop() == 0

    [(count,)] = await some_database.execute("SELECT count(*) FROM desired_lrps")
    assert count == 10


@pytest.mark.slow
@ON_BOTH
async def test_a_second_server_waits_for_the_first_and_finds_everything(
    tmp_path: Path, some_database: SomeDatabase
) -> None:
    async with running_bbs(tmp_path, "--database-url", some_database.url) as first:
        second = await spawn(
            *(
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--locket-listen",
                "127.0.0.1:0",
                "--data-dir",
                str(tmp_path / "data"),
            ),
            *("--database-url", some_database.url),
            stderr=tmp_path / "second.log",
        )
        try:
            async with first.client() as client:
                await client.desire_lrp(desired_message())
            with trio.move_on_after(2) as waiting:
                await first_line(second)
            assert waiting.cancelled_caught, "two masters"

            first.process.kill()
            with trio.fail_after(30):
                line = await first_line(second)
            assert line.startswith("listening on ")
        finally:
            second.terminate()
            with trio.fail_after(30):
                await second.wait()

    [(count,)] = await some_database.execute("SELECT count(*) FROM desired_lrps")
    assert count == 1


@pytest.mark.slow
@ON_BOTH
async def test_a_missing_table_is_told_and_ends_the_process(
    tmp_path: Path, some_database: SomeDatabase
) -> None:
    async with running_bbs(tmp_path, "--database-url", some_database.url) as bbs:
        await some_database.execute("DROP TABLE domains")
        async with bbs.client() as client:
            code = "SQLSTATE 42P01" if some_database.on_postgres else "Error 1146 (42S02): "
            words = f"Unrecoverable Error: .*{re.escape(code)}"
            with pytest.raises(Exception, match=words) as refusal:
                await client.upsert_domain("d", ttl_s=0)
            assert getattr(refusal.value, "wire_type", None) == pb.Error.Unrecoverable
        with trio.fail_after(30):
            assert await bbs.process.wait() == 0

    assert '"bbs.unrecoverable-error"' in (tmp_path / "bbs.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "running",
    [
        pytest.param(running_postgres, marks=pytest.mark.postgres, id="postgres"),
        pytest.param(running_mysql, marks=pytest.mark.mariadb, id="mariadb"),
    ],
)
async def test_a_database_that_is_away_stops_no_read_and_loses_no_write(
    tmp_path: Path, running: Callable[[Path], AbstractContextManager[SomeDatabase]]
) -> None:
    with scratch_directory("bbs-away-") as home:
        async with AsyncExitStack() as stack:
            with running(home) as database:
                bbs = await stack.enter_async_context(
                    running_bbs(tmp_path, "--database-url", database.url, "--write-retry-s", "3")
                )
                client = await stack.enter_async_context(bbs.client())
                await client.desire_lrp(desired_message("before"))

            assert [lrp.process_guid for lrp in await client.desired_lrps()] == ["before"]
            with pytest.raises(
                UnknownError, match="the database is unavailable; nothing was changed, try again"
            ):
                await client.desire_lrp(desired_message("away"))

            with running(home) as database:
                await client.desire_lrp(desired_message("after"))
                assert sorted(lrp.process_guid for lrp in await client.desired_lrps()) == ["after", "before"]
                assert await bbs.stop() == 0
                rows = await database.execute(ROWS)

    assert [guid for (guid,) in rows] == ["after", "before"]


@pytest.fixture
def home() -> Iterator[Path]:
    """Has an empty database in ``data``."""
    with scratch_directory("bbs-home-") as directory:
        copy_cluster(directory / "data")
        yield directory


def kill_postmaster(data_dir: Path) -> None:
    """That of ``bbs serve`` on ``data_dir``, as soon as there is one."""
    pid = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


async def wait_for_lines(log: Path, message: str, times: int) -> None:
    async def are_there() -> bool:
        return (await trio.Path(log).read_text()).count(f'"bbs.{message}"') >= times

    await wait_until(are_there, within_s=60, what=f"{times} lines {message} in {log}")


@pytest.mark.postgres
@pytest.mark.slow
async def test_an_embedded_postgres_that_is_killed_under_writes_comes_back_and_nothing_is_lost(
    home: Path,
) -> None:
    acknowledged: list[str] = []
    tell, told = trio.open_memory_channel[str](math.inf)
    is_over = trio.Event()
    async with running_bbs(home) as bbs, bbs.client() as client:

        async def write(writer: int) -> None:
            for number in count():
                if is_over.is_set():
                    return
                guid = f"{writer}-{number}"
                await client.desire_lrp(desired_message(guid))
                acknowledged.append(guid)
                tell.send_nowait(guid)

        async with trio.open_nursery() as writers:
            for writer in range(8):
                writers.start_soon(write, writer)
            for number in range(1, 4):
                for _ in range(100):
                    await told.receive()
                kill_postmaster(home / "data")
                await wait_for_lines(home / "bbs.log", "embedded-postgres-started-again", number)
            is_over.set()

        in_memory = sorted(lrp.process_guid for lrp in await client.desired_lrps())
        assert in_memory == sorted(acknowledged)
        assert await bbs.stop() == 0

    log = (home / "bbs.log").read_text()
    assert log.count('"bbs.embedded-postgres-died"') == 3
    assert "Traceback" not in log
    with embedded_postgres_blocking(home / "data") as postgres:
        assert sorted(guid for (guid,) in await in_database(postgres.dsn, ROWS)) == in_memory


BREAK = """
CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$
"""
AT_THE_LABEL = """
CREATE TRIGGER break BEFORE INSERT OR UPDATE ON configurations
FOR EACH ROW WHEN (NEW.id = 'encryption_key_label') EXECUTE FUNCTION break()
"""


@pytest.mark.slow
async def test_a_database_that_fails_a_server_that_has_started_is_no_bad_flag(
    home: Path, database_url: str
) -> None:
    async with running_bbs(home, "--database-url", database_url) as bbs:
        await wait_for_lines(home / "bbs.log", "encryptor.encryption-finished", 1)
        assert await bbs.stop() == 0
    await in_database(database_url, BREAK)
    await in_database(database_url, AT_THE_LABEL)
    keys = home / "data" / "encryption-keys.json"
    known = json.loads(keys.read_text())
    known["encryption_keys"]["new"] = "secret"
    keys.write_text(json.dumps({**known, "active_key_label": "new"}))

    async with running_bbs(home, "--database-url", database_url) as bbs:
        with trio.fail_after(30):
            code = await bbs.process.wait()

    assert code == 1
    log = (home / "bbs.log").read_text()
    assert '"bbs.exited-with-failure"' in log
    assert "Traceback" not in log


@pytest.mark.postgres
@pytest.mark.slow
async def test_an_embedded_postgres_that_cannot_be_started_again_ends_the_server(home: Path) -> None:
    async with running_bbs(home) as bbs, bbs.client() as client:
        await client.desire_lrp(desired_message("before"))
        # Until then the label of the key is not recorded, which nothing makes up for.
        await wait_for_lines(home / "bbs.log", "encryptor.encryption-finished", 1)
        (home / "data" / "postgres" / "postgresql.auto.conf").write_text("garbage\n")
        kill_postmaster(home / "data")
        with trio.fail_after(60):
            code = await bbs.process.wait()

    log = (home / "bbs.log").read_text()
    assert code == 1
    assert log.count('"bbs.embedded-postgres-start-failed"') == 5
    assert '"bbs.exited-with-failure"' in log
    assert "could not be started again" in log
    assert "Traceback" not in log

    (home / "data" / "postgres" / "postgresql.auto.conf").write_text("")
    async with running_bbs(home) as bbs, bbs.client() as client:
        assert [lrp.process_guid for lrp in await client.desired_lrps()] == ["before"]
        assert await bbs.stop() == 0


@pytest.mark.postgres
@pytest.mark.slow
async def test_a_stop_while_the_embedded_postgres_is_away_is_clean_and_bounded(home: Path) -> None:
    async with running_bbs(home, "--write-retry-s", "2") as bbs, bbs.client() as client:
        await client.desire_lrp(desired_message("before"))
        (home / "data" / "postgres" / "postgresql.auto.conf").write_text("garbage\n")
        kill_postmaster(home / "data")
        await wait_for_lines(home / "bbs.log", "embedded-postgres-start-failed", 1)
        with trio.fail_after(30):
            assert await bbs.stop() == 0

    log = (home / "bbs.log").read_text()
    assert '"bbs.exited"' in log
    assert "Traceback" not in log
    assert not (home / "data" / "postgres.socket").is_symlink()


@pytest.mark.slow
async def test_a_task_is_auctioned_run_and_called_back(tmp_path: Path, some_database: SomeDatabase) -> None:
    async with (
        peer_server() as peer,
        running_bbs(
            tmp_path, "--database-url", some_database.url, "--auctioneer-address", peer.address
        ) as bbs,
        bbs.client() as client,
        await client.subscribe_to_task_events() as events,
    ):
        definition = pb.TaskDefinition(
            root_fs="preloaded:cflinuxfs4",
            action=pb.Action(run_action=pb.RunAction(path="/bin/true", user="vcap")),
            completion_callback_url=f"{peer.address}/done",
        )
        await client.desire_task(task_guid="t", domain="d", definition=definition)
        assert await client.start_task(task_guid="t", cell_id="c1")
        await client.complete_task(task_guid="t", cell_id="c1", result="r")
        with trio.fail_after(10):
            names = [(await events.next()).name for _ in range(5)]

        assert names == ["task_created", *["task_changed"] * 3, "task_removed"]
        assert not await client.tasks()
        assert await bbs.stop() == 0

    auction, callback = peer.sent
    assert auction.line == "POST /v1/tasks HTTP/1.1"
    assert auction.body.startswith(b'[{"Task":{"TaskGuid":"t",')
    assert callback.line == "POST /done HTTP/1.1"
    assert callback.body.startswith(
        b'{"task_guid":"t","failed":false,"failure_reason":"","result":"r","created_at":'
    )
    log = (tmp_path / "bbs.log").read_text()
    assert '"bbs.request.complete-task.complete-task.task-client-completing-task"' in log
    assert '"bbs.task-completion-workpool.handle-completed-task.callback-done"' in log


@pytest.mark.slow
async def test_a_large_process_is_desired_scaled_and_removed_beside_others(
    tmp_path: Path, some_database: SomeDatabase
) -> None:
    pings = 0
    told: Counter[str] = Counter()
    all_removed = trio.Event()

    async def ping(client: InternalBBSClient) -> None:
        nonlocal pings
        while True:
            assert await client.ping()
            pings += 1

    async def read(events: EventSource) -> None:
        async for event in events:
            told[event.name] += 1
            if told["actual_lrp_instance_removed"] == 2 * LARGE - 1:
                all_removed.set()

    async with AsyncExitStack() as stack:
        bbs = await stack.enter_async_context(running_bbs(tmp_path, "--database-url", some_database.url))
        client = await stack.enter_async_context(bbs.client())
        events = await stack.enter_async_context(await client.subscribe_to_instance_events())
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(ping, client)
        nursery.start_soon(read, events)
        with trio.fail_after(LARGE_MAX_S):
            for change in (
                partial(client.desire_lrp, desired_message("p", instances=LARGE)),
                partial(client.update_desired_lrp, "p", pb.DesiredLRPUpdate(instances=1)),
                partial(client.update_desired_lrp, "p", pb.DesiredLRPUpdate(instances=LARGE)),
                partial(client.remove_desired_lrp, "p"),
            ):
                pings = 0
                await change()
                assert pings > 10, "others were answered meanwhile"
            with pytest.raises(InvalidRequest, match="Invalid field: instances: 2147483647 is more than"):
                await client.desire_lrp(desired_message("q", instances=2**31 - 1))
            await all_removed.wait()
        nursery.cancel_scope.cancel()

    assert told["actual_lrp_instance_created"] == 2 * LARGE - 1
    assert await some_database.execute("SELECT * FROM actual_lrps") == []


@pytest.mark.slow
async def test_a_large_change_that_died_with_the_process_is_carried_through_by_the_next(
    tmp_path: Path, some_database: SomeDatabase
) -> None:
    arguments = ("--database-url", some_database.url, "--converge-repeat-interval-s", "1")
    async with running_bbs(tmp_path, *arguments) as bbs, bbs.client() as client:
        await client.upsert_domain("d", ttl_s=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.desire_lrp, desired_message("p", instances=LARGE))
            await wait_until(client.actual_lrps, within_s=30, what="the first instances are there")
            bbs.process.kill()
            nursery.cancel_scope.cancel()
    [(count,)] = await some_database.execute("SELECT count(*) FROM actual_lrps")
    assert 0 < count < LARGE

    async with running_bbs(tmp_path, *arguments) as bbs, bbs.client() as client:

        async def are_all_there() -> bool:
            return len(await client.actual_lrps()) >= LARGE

        await wait_until(are_all_there, within_s=30, what=f"{LARGE} instances are there", every_s=0.1)
        indices = [lrp.actual_lrp_key.index for lrp in await client.actual_lrps()]

    assert sorted(indices) == list(range(LARGE))
