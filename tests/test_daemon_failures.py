"""What goes wrong inside or beside a running server: it goes on, or it ends as it should (spec: config.md §4, §6)."""

import os
import re
import ssl
from contextlib import AsyncExitStack

import pytest
import trio

from bbs.models.errors import InvalidRequest
from tests.daemons import ANOTHER_IS_WRITER, WAIT_MAX_S, Daemon, Surroundings, daemon
from tests.databases import ON_BOTH
from tests.records import desired_message
from tests.test_daemon import assert_order, domains, upsert
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

RUN = "import sys; from bbs.commands.entry import main; sys.exit(main())"


FAIL_WHEN_TOLD = """
import trio
async def fail_when_told(*args, task_status=trio.TASK_STATUS_IGNORED, **kwargs):
    task_status.started()
    async with await trio.open_file({told!r}):  # a pipe: opened when the other end is
        raise {failure}
"""

PLACES = {
    "a member": "from bbs.tls.reloading import Certificates; Certificates.watch = fail_when_told",
    "a member that only the master has": "from bbs.metrics.metrics import Metrics; Metrics.run_requests = fail_when_told",
    "the committer": "from bbs.store.store import Store; Store._wait_for_work = fail_when_told",
    "a task beside all members": """
import bbs.commands.configured
obey_signals = bbs.commands.configured._obey_signals
async def obey_and_fail(*args, task_status):
    task_status.started()
    await fail_when_told()
bbs.commands.configured._obey_signals = obey_and_fail
""",
}

FAILURES = {
    "an exception": "IndexError('of ours')",
    "one of asyncio's that is no Exception": "__import__('asyncio').CancelledError()",
}


@pytest.mark.parametrize(
    ("place", "failure"),
    [*((place, "an exception") for place in PLACES), ("a member", "one of asyncio's that is no Exception")],
)
async def test_a_bug_ends_it_with_a_word_and_gives_the_lock_back(
    around: Surroundings, place: str, failure: str
) -> None:
    told = around.tmp_path / "told"
    os.mkfifo(told)
    code = FAIL_WHEN_TOLD.format(failure=FAILURES[failure], told=str(told)) + PLACES[place] + "\n" + RUN
    config = around.config("a", lock_ttl="60s")
    async with daemon(around, config, program=("-c", code)) as bbs:
        await bbs.logs("started")
        with trio.fail_after(WAIT_MAX_S):
            async with await trio.open_file(told, "w"):
                pass
        assert await bbs.exit_code() == 1

        assert_order(bbs.messages(), "locket-lock.acquired-lock", "locket-lock.released-lock")
        assert bbs.messages()[-1] == "exited-with-failure"
        line = bbs.data_of("exited-with-failure")
        assert "fail_when_told" in line["trace"]
        assert bbs.other == []

    async with daemon(around, around.config("b")) as next_master:
        with trio.fail_after(30):  # half of what the lock had left
            await next_master.logs("started")


async def test_health_checks_that_time_out_at_a_healthy_database_do_not_end_it(around: Surroundings) -> None:
    """Each of them cancels an attempt to connect."""
    config = around.config(
        "a",
        enable_db_health_check=True,
        health_check_timeout="1ms",
        health_check_interval="10ms",
        health_check_failure_threshold=100_000,
    )
    async with daemon(around, config) as bbs:
        await bbs.logs("started")
        await wait_until(
            lambda: bbs.messages().count("db-health-check-runner.health-check-timed-out") > 200,
            within_s=60,
            what="a few hundred health checks have timed out",
        )

        await upsert(bbs, "d")
        assert await domains(bbs) == ["d"]
        assert bbs.messages().count("db-health-check-runner.health-check-timed-out") > 50
        assert await bbs.stop() == 0


async def test_an_idle_master_whose_session_an_administrator_ends_takes_it_again(
    around: Surroundings,
) -> None:
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")

        await around.database.end_writer_session()
        await wait_until(
            around.database.writer_sessions, within_s=10, what="there is another session with the lock"
        )

        await upsert(bbs, "d")
        assert "database-unavailable" not in bbs.messages()
        assert await bbs.stop() == 0


@ON_BOTH
async def test_an_idle_master_notices_at_once_that_another_server_has_become_one(
    around: Surroundings,
) -> None:
    """Two servers with one uuid: Locket takes them for one, and only the database can tell."""
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        await upsert(first, "before")
        second_config = around.config("a")
        (around.tmp_path / "second").mkdir()
        elsewhere = Surroundings(
            around.tmp_path / "second",
            around.certs,
            around.database,
            around.locket_address,
            around.auctioneer_address,
            around.locket,
        )
        async with daemon(elsewhere, second_config) as second:
            await second.logs("migration-manager.finished-migrations")

            with trio.fail_after(10):  # no write was needed; the lock's renewals go on as ever
                assert await first.exit_code() == 1

            error = first.data_of("exited-with-failure")["error"]
            assert re.search("store exited with error: " + ANOTHER_IS_WRITER, error)
            assert await domains(second) == ["before"]


async def poke(bbs: Daemon, data: bytes, *, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """Open a connection, send ``data`` and leave it so."""
    host, port = bbs.config["listen_address"].split(":")
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, int(port))
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname="localhost")
    await stream.send_all(data)
    return stream


async def test_what_was_tried_from_outside_leaves_it_running(around: Surroundings) -> None:
    """Everything at once, and then it serves and stops as ever. Each by itself has tests of its own."""
    tls = ssl.create_default_context(cafile=str(around.certs.ca_cert))
    tls.load_cert_chain(around.certs.client_cert, around.certs.client_key)
    tls.check_hostname = False
    config = around.config(
        "a",
        enable_db_health_check=True,
        health_check_timeout="1ms",
        health_check_interval="50ms",
        health_check_failure_threshold=100_000,
        converge_repeat_interval="100ms",
    )
    async with daemon(around, config) as bbs, AsyncExitStack() as stack, bbs.client() as client:
        await bbs.logs("started")
        with pytest.raises(InvalidRequest):
            await client.desire_lrp(desired_message("huge", instances=2**31 - 1))
        with pytest.raises(InvalidRequest):
            await client.desire_lrp(desired_message("g" * 2**20))
        for data, over in (
            (b"P", tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", tls),
            (b"POST /v1/ping HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", tls),
            (b"POST /v1/ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /", tls),
            (b"GET /v1/events.r1 HTTP/1.1\r\nHost: a\r\n\r\n", tls),
            (b"\x16\x03\x01", None),
            (b"GET / HTTP/1.0\r\n\r\n", None),
            (bytes(range(256)) * 100, tls),
        ):  # fmt: skip
            stream = await poke(bbs, data, tls=over)
            stack.push_async_callback(trio.aclose_forcefully, stream)
        for _ in range(3):
            await around.database.end_writer_session()
            await around.database.execute("UPDATE configurations SET value = value")
            await upsert(bbs, "d")
        await client.desire_lrp(desired_message("p", instances=5))
        await around.database.execute("DELETE FROM actual_lrps WHERE instance_index = 3")
        await bbs.logs("database-audit.memory-differed-from-database")

        async def is_repaired() -> bool:
            return len(await client.actual_lrps()) == 5

        # The pass that repairs it has no line of its own.
        await wait_until(is_repaired, within_s=20, what="there are 5 instances again")

        assert await bbs.health_status() == 200
        assert await bbs.stop() == 0

    assert bbs.messages()[-1] == "exited"
    assert not [line for line in bbs.other if "Traceback" in line]
