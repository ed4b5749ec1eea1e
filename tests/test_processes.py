"""The server as a process: how it starts, refuses to, loses its database, and ends."""

import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
import trio
import trio_asyncio
from trio_asyncio import aio_as_trio

from bbs.client import EventSource, InternalBBSClient
from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.models import pb
from bbs.models.errors import InvalidRequest, UnknownError
from bbs.store.postgres import WRITER_LOCK
from tests.peers.peer_server import peer_server
from tests.processes import first_line, running_bbs, spawn
from tests.records import desired_message

LARGE = 5_000

ROWS = "SELECT process_guid FROM desired_lrps ORDER BY process_guid"

TERMINATE_WRITER = f"""
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = {WRITER_LOCK >> 32} AND objid = {WRITER_LOCK & 0xFFFFFFFF}
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bbs", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


async def in_database(url: str, statement: str) -> list[asyncpg.Record]:
    async def execute() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    async with trio_asyncio.open_loop():
        rows: list[asyncpg.Record] = await aio_as_trio(execute)()
        return rows


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param((), "required: COMMAND", id="no command"),
        pytest.param(
            ("serve", "--body-bytes-max", "0"), "invalid positive int value: '0'", id="a senseless limit"
        ),
        pytest.param(("serve", "--log-level", "loud"), "invalid choice: 'loud'", id="an unknown level"),
        pytest.param(("serve", "--ca-file", "ca.crt"), "go together", id="a CA without a certificate"),
        pytest.param(
            ("serve", "--ca-file", "x", "--cert-file", "x", "--key-file", "x"),
            "no such file",
            id="missing files",
        ),
        pytest.param(("serve", "--listen", "127.0.0.1"), "127.0.0.1", id="no port"),
        pytest.param(
            ("serve", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--database-url", "host="),
            "cannot use the database: ",
            id="no database",
        ),
    ],
)
def test_a_bad_command_line_is_explained(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    if arguments[:1] == ("serve",):
        arguments = (*arguments, "--data-dir", str(tmp_path))

    result = run(*arguments)

    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout


def test_certificates_are_made_once(tmp_path: Path) -> None:
    made = run("certs", str(tmp_path / "certs"))
    assert made.returncode == 0
    assert [Path(line).name for line in made.stdout.splitlines()] == [
        "ca.crt",
        "server.crt",
        "server.key",
        "client.crt",
        "client.key",
    ]

    again = run("certs", str(tmp_path / "certs"))

    assert again.returncode == 2
    assert "ca.crt" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path, database_url: str) -> None:
    async with running_bbs(tmp_path, "--database-url", database_url) as bbs, bbs.client() as client:
        events = await client.subscribe_to_instance_events()
        await client.desire_lrp(desired_message())
        bbs.process.send_signal(number)
        with trio.fail_after(15):
            code = await bbs.process.wait()
        await events.aclose()

    assert code == 0
    assert '"bbs.exited"' in (tmp_path / "bbs.log").read_text()


@pytest.mark.slow
def test_a_port_in_use_is_explained(tmp_path: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(
            *("serve", "--listen", address, "--locket-listen", "127.0.0.1:0"),
            *("--database-url", database_url, "--data-dir", str(tmp_path)),
        )

    assert result.returncode == 2
    assert f"cannot listen: listen tcp {address}: bind: address already in use; choose" in result.stderr


@pytest.mark.slow
async def test_writes_go_on_after_the_database_ended_our_session(tmp_path: Path, database_url: str) -> None:
    async with running_bbs(tmp_path, "--database-url", database_url) as bbs, bbs.client() as client:
        for number in range(5):
            await client.desire_lrp(desired_message(f"before-{number}"))
            assert await in_database(database_url, TERMINATE_WRITER)
            await client.desire_lrp(desired_message(f"after-{number}"))

        assert len(await client.desired_lrps()) == 10
        assert await bbs.stop() == 0

    [(count,)] = await in_database(database_url, "SELECT count(*) FROM desired_lrps")
    assert count == 10


@pytest.mark.slow
async def test_a_second_server_waits_for_the_first_and_finds_everything(
    tmp_path: Path, database_url: str
) -> None:
    async with running_bbs(tmp_path, "--database-url", database_url) as first:
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
            *("--database-url", database_url),
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

    [(count,)] = await in_database(database_url, "SELECT count(*) FROM desired_lrps")
    assert count == 1


@pytest.mark.slow
async def test_a_missing_table_is_told_and_ends_the_process(tmp_path: Path, database_url: str) -> None:
    async with running_bbs(tmp_path, "--database-url", database_url) as bbs:
        await in_database(database_url, "DROP TABLE domains")
        async with bbs.client() as client:
            with pytest.raises(Exception, match="Unrecoverable Error: ") as refusal:
                await client.upsert_domain("d", ttl_s=0)
            assert getattr(refusal.value, "wire_type", None) == pb.Error.Unrecoverable
        with trio.fail_after(30):
            assert await bbs.process.wait() == 0

    assert '"bbs.unrecoverable-error"' in (tmp_path / "bbs.log").read_text()


@pytest.mark.postgres
@pytest.mark.slow
async def test_a_database_that_is_away_stops_no_read_and_loses_no_write(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="bbs-away-") as directory:
        database = Path(directory)
        # The symlink names the socket's directory of the day, so that one URL serves before and after.
        url = f"host={database / 'postgres.socket'} user=postgres dbname=postgres"
        async with AsyncExitStack() as stack:
            with embedded_postgres_blocking(database):
                bbs = await stack.enter_async_context(
                    running_bbs(tmp_path, "--database-url", url, "--write-retry-s", "3")
                )
                client = await stack.enter_async_context(bbs.client())
                await client.desire_lrp(desired_message("before"))

            assert [lrp.process_guid for lrp in await client.desired_lrps()] == ["before"]
            with pytest.raises(
                UnknownError, match="the database is unavailable; nothing was changed, try again"
            ):
                await client.desire_lrp(desired_message("away"))

            with embedded_postgres_blocking(database):
                await client.desire_lrp(desired_message("after"))
                assert sorted(lrp.process_guid for lrp in await client.desired_lrps()) == ["after", "before"]
                assert await bbs.stop() == 0
                rows = await in_database(
                    f"postgresql://postgres@/postgres?host={database / 'postgres.socket'}", ROWS
                )

    assert [guid for (guid,) in rows] == ["after", "before"]


@pytest.mark.slow
async def test_a_task_is_auctioned_run_and_called_back(tmp_path: Path, database_url: str) -> None:
    async with (
        peer_server() as peer,
        running_bbs(tmp_path, "--database-url", database_url, "--auctioneer-address", peer.address) as bbs,
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
    assert callback.line == "POST /done HTTP/1.1"
    assert callback.body.startswith(
        b'{"task_guid":"t","failed":false,"failure_reason":"","result":"r","created_at":'
    )


@pytest.mark.slow
async def test_a_large_process_is_desired_scaled_and_removed_beside_others(
    tmp_path: Path, database_url: str
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
        bbs = await stack.enter_async_context(running_bbs(tmp_path, "--database-url", database_url))
        client = await stack.enter_async_context(bbs.client())
        events = await stack.enter_async_context(await client.subscribe_to_instance_events())
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(ping, client)
        nursery.start_soon(read, events)
        with trio.fail_after(60):
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
    assert await in_database(database_url, "SELECT * FROM actual_lrps") == []


@pytest.mark.slow
async def test_a_large_change_that_died_with_the_process_is_carried_through_by_the_next(
    tmp_path: Path, database_url: str
) -> None:
    arguments = ("--database-url", database_url, "--converge-repeat-interval-s", "1")
    async with running_bbs(tmp_path, *arguments) as bbs, bbs.client() as client:
        await client.upsert_domain("d", ttl_s=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.desire_lrp, desired_message("p", instances=LARGE))
            with trio.fail_after(30):
                while not await client.actual_lrps():  # noqa: ASYNC110 - in another process
                    await trio.sleep(0.01)
            bbs.process.kill()
            nursery.cancel_scope.cancel()
    [(count,)] = await in_database(database_url, "SELECT count(*) FROM actual_lrps")
    assert 0 < count < LARGE

    async with running_bbs(tmp_path, *arguments) as bbs, bbs.client() as client:
        with trio.fail_after(30):
            while len(await client.actual_lrps()) < LARGE:  # noqa: ASYNC110 - in another process
                await trio.sleep(0.1)
        indices = [lrp.actual_lrp_key.index for lrp in await client.actual_lrps()]

    assert sorted(indices) == list(range(LARGE))
