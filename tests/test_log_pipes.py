"""Servers whose output nobody reads (spec: metrics-and-logs.md §3, config.md §4, §6)."""

import fcntl
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from bbs.client import ClientConfig, InternalBBSClient
from bbs.log import Level
from bbs.log.lines import BYTES_MAX
from bbs.models import pb
from tests.daemons import WAIT_MAX_S, Daemon, Surroundings, daemon, end, free_port
from tests.databases import SomeDatabase
from tests.waiting import wait_until

END_MAX_S = 30.0
"""For the end of a process that waits 5 s for a reader, on a busy machine."""

LOCK_TTL_S = 2
"""What `Surroundings.config` says."""

ANSWER_MAX_S = 30.0
AVAILABLE = pb.PingResponse(available=True).SerializeToString()

CONNECTIONS = 8
REQUESTS_PER_CONNECTION = 50
TARGET_BYTES = 3_000
"""Requests have two lines at debug, and two in the access log, that say their target. Such a line is one atomic write."""
REQUESTS = int(1.3 * BYTES_MAX) // (2 * TARGET_BYTES)
"""For more than a queue and a pipe hold."""
HANDSHAKES = 10


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The end to write to of a pipe that is full, and never read."""
    reader, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"x" * room)
    yield writer
    os.close(writer)
    os.close(reader)


async def flood(address: str, tls: ssl.SSLContext | None = None) -> None:
    """Pings with long targets. Each must be answered."""
    host, port = address.split(":")
    request = (
        f"POST /v1/ping?{'x' * TARGET_BYTES} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode()
    )

    async def ping_on() -> None:
        for _ in range(REQUESTS // CONNECTIONS // REQUESTS_PER_CONNECTION):
            stream: trio.abc.Stream = await trio.open_tcp_stream(host, int(port))
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
            async with stream:
                for _ in range(REQUESTS_PER_CONNECTION):
                    await ping(stream, request)

    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(ping_on)


async def ping(stream: trio.abc.Stream, request: bytes) -> None:
    await stream.send_all(request)
    answer = b""
    with trio.fail_after(ANSWER_MAX_S):
        while not answer.endswith(AVAILABLE):
            piece = await stream.receive_some()
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")


async def flood_daemon(bbs: Daemon) -> None:
    tls = ssl.create_default_context(cafile=bbs.certs.ca_cert)
    tls.load_cert_chain(bbs.certs.client_cert, bbs.certs.client_key)
    await flood(bbs.config["listen_address"], tls)


async def gauges(bbs: Daemon) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False) as http:
        page = (await http.get(f"http://{bbs.config['debug_address']}/metrics")).text
    families = text_string_to_metric_families(page)
    return {sample.name: sample.value for family in families for sample in family.samples}


async def read_to_end(descriptor: int, lines: list[dict[str, Any]]) -> None:
    content = b""
    async with trio.lowlevel.FdStream(descriptor) as stream:
        async for piece in stream:
            content += piece
    lines += map(json.loads, content.splitlines())


def sessions(lines: list[dict[str, Any]], message: str) -> list[int]:
    return [int(line["data"]["session"]) for line in lines if line["message"] == message]


def dropped(lines: list[dict[str, Any]]) -> int:
    """As they tell it themselves."""
    told = [line for line in lines if line["message"].endswith(".log-lines-dropped")]
    assert all(line["log_level"] == Level.ERROR for line in told)
    return sum(line["data"]["lines"] for line in told)


@pytest.mark.slow
async def test_a_master_whose_output_nobody_reads_stays_master(around: Surroundings) -> None:
    access_log = around.tmp_path / "access.log"
    os.mkfifo(access_log)
    access_reader = os.open(access_log, os.O_RDONLY | os.O_NONBLOCK)
    access_lines: list[dict[str, Any]] = []
    config = around.config("a", access_log_path=str(access_log), debug_address=f"127.0.0.1:{free_port()}")
    async with daemon(around, config) as bbs, trio.open_nursery() as nursery:
        await bbs.logs("started")
        async with daemon(around, around.config("b")) as standby:
            await standby.logs("locket-lock.started")
            bbs.stop_reading()

            await flood_daemon(bbs)
            for _ in range(HANDSHAKES):
                await fail_a_handshake(bbs)
            async with bbs.client() as client:
                with trio.move_on_after(3 * LOCK_TTL_S):
                    while True:
                        await client.upsert_domain("cf-apps", ttl_s=0)
                        assert await bbs.health_status() == 200
            assert "locket-lock.acquired-lock" not in standby.messages()
        counted = await gauges(bbs)
        assert counted["bbs_log_lines_dropped"] > 0
        assert counted["bbs_access_log_lines_dropped"] > 0

        bbs.read_on()
        nursery.start_soon(read_to_end, access_reader, access_lines)
        await bbs.logs("log-lines-dropped")
        assert await domains(bbs) == ["cf-apps"]
        counted = await gauges(bbs)
        assert await bbs.stop() == 0

    assert bbs.messages()[-1] == "exited"
    assert len(bbs.other) == HANDSHAKES
    assert all("http: TLS handshake error from" in line for line in bbs.other)
    assert dropped(bbs.lines) == counted["bbs_log_lines_dropped"]
    numbers = sessions(bbs.lines, "bbs.request.done")
    assert numbers == sorted(numbers)
    assert numbers[-1] > REQUESTS // 2
    assert dropped(access_lines) == counted["bbs_access_log_lines_dropped"]
    numbers = sessions(access_lines, "bbs-access.request.serving")
    assert numbers == sorted(numbers)
    notices = sum(line["message"] == "bbs-access.log-lines-dropped" for line in access_lines)
    assert len(access_lines) - notices + dropped(access_lines) == 2 * numbers[-1]
    assert counted["bbs_log_lines_lost"] == counted["bbs_access_log_lines_lost"] == 0


async def fail_a_handshake(bbs: Daemon) -> None:
    host, port = bbs.config["listen_address"].split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.0 400")


async def domains(bbs: Daemon) -> list[str]:
    async with bbs.client() as client:
        return sorted(await client.domains())


@pytest.mark.slow
async def test_output_that_is_never_read_holds_up_neither_start_nor_end(
    around: Surroundings, full_pipe: int
) -> None:
    config = around.config("a")
    file = around.tmp_path / "a.json"
    file.write_text(json.dumps(config))
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "bbs", "-config", str(file)], stdout=full_pipe, stderr=full_pipe
    )
    bbs = Daemon(process, config, around.certs)
    try:
        await until_answered(bbs.client)
        await flood_daemon(bbs)
        process.terminate()
        with trio.fail_after(END_MAX_S):
            assert await process.wait() == 0
    finally:
        await end(process)


async def until_answered(client_of: Callable[[], AbstractAsyncContextManager[InternalBBSClient]]) -> None:
    async with client_of() as client:
        await wait_until(client.ping, within_s=WAIT_MAX_S, what="it answers", every_s=0.1)


@pytest.mark.slow
async def test_bbs_serve_does_not_need_a_reader(
    tmp_path: Path, some_database: SomeDatabase, full_pipe: int
) -> None:
    address = f"127.0.0.1:{free_port()}"
    where = ["--listen", address, "--locket-listen", "127.0.0.1:0", "--data-dir", str(tmp_path)]
    process = await trio.lowlevel.open_process(
        [
            sys.executable,
            "-m",
            "bbs",
            "serve",
            *where,
            "--database-url",
            some_database.url,
            "--log-level",
            "debug",
        ],
        stdout=full_pipe,
        stderr=full_pipe,
    )
    config = ClientConfig(url=f"http://{address}", attempts=1, request_timeout_s=30)
    try:
        await until_answered(lambda: InternalBBSClient.connect(config))
        await flood(address)
        async with InternalBBSClient.connect(config) as client:
            await client.upsert_domain("cf-apps", ttl_s=0)
            assert await client.domains() == ["cf-apps"]
        process.terminate()
        with trio.fail_after(END_MAX_S):
            assert await process.wait() == 0
    finally:
        await end(process)


REFUSED = {
    "panics before it can log": {"log_level": "loud"},
    "logs, then panics": {"log_level": "info", "health_address": "127.0.0.1:1"},
}


@pytest.mark.parametrize("config", REFUSED.values(), ids=REFUSED)
def test_a_start_that_must_fail_does_not_need_a_reader(
    config: dict[str, str], tmp_path: Path, full_pipe: int
) -> None:
    result = subprocess.run(
        refused(config, tmp_path), stdout=full_pipe, stderr=full_pipe, timeout=END_MAX_S, check=False
    )

    assert result.returncode == 2


def test_a_panic_comes_after_what_was_logged_before_it(tmp_path: Path) -> None:
    result = subprocess.run(
        refused(REFUSED["logs, then panics"], tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=END_MAX_S,
        check=False,
        text=True,
    )

    *lines, panic = result.stdout.splitlines()
    assert panic.startswith("panic: ")
    logged = [json.loads(line) for line in lines]
    assert [line["message"] for line in logged] == ["bbs.starting", "bbs.cannot-setup-encryption"]
    assert logged[-1]["log_level"] == Level.FATAL


def refused(config: dict[str, str], tmp_path: Path) -> list[str]:
    """A command that ends before it needs a database."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"session_name": "bbs", **config}))
    return [sys.executable, "-m", "bbs", "-config", str(file)]
