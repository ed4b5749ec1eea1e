"""Thousands of connections to one process: what an idle one takes, and how fast all their streams end at SIGTERM.

How many is by flags, and with ``-s`` the figures are printed, as `docs/guarantees.md` has them.
"""

import os
import resource
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bbs.tls.development import DevelopmentCerts
from tests.databases import SomeDatabase
from tests.http.serving import Wire, post
from tests.processes import RunningBBS, running_bbs
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

WAIT_MAX_S = 60.0
GROW_MAX_S = 300.0
"""Thousands of handshakes, of which this process computes a half."""
AT_ONCE = 50
"""Clients that connect at the same time."""

STREAM = post("/v1/events/lrp_instances.r1")
LAST_CHUNK = b"0\r\n\r\n"

IDLE_BYTES_MAX = 64 << 10
"""That an idle connection may take; figures are in the page."""

OTHERS = 20
"""Descriptors that the process opens and closes meanwhile, at most: sessions, files, peers."""


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """As many as this process may have: it holds the clients' ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients of one process, which are closed in the end."""

    def __init__(self, bbs: RunningBBS, tls: ssl.SSLContext | None) -> None:
        host, _, port = bbs.url.rpartition("//")[2].rpartition(":")
        self._address = host, int(port)
        self._tls = tls
        self.wires: list[Wire] = []

    async def grow(self, count: int, *, sending: bytes) -> None:
        """Have so many more, each with the head of an answer to what it sends, if that is anything."""
        at_once = trio.CapacityLimiter(AT_ONCE)

        async def connect() -> None:
            async with at_once:
                transport = await trio.open_tcp_stream(*self._address)
                wire = Wire(transport)
                self.wires.append(wire)
                if self._tls is not None:
                    wire.stream = trio.SSLStream(
                        transport, self._tls, server_hostname="127.0.0.1", https_compatible=True
                    )
                if sending:
                    await wire.send(sending)
                    await wire.read_until(b"\r\n\r\n")

        with trio.fail_after(GROW_MAX_S):
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(connect)

    async def leave(self) -> None:
        while self.wires:
            await trio.aclose_forcefully(self.wires.pop().stream)


@asynccontextmanager
async def crowded(
    tmp_path: Path,
    some_database: SomeDatabase,
    certs: DevelopmentCerts | None,
    client_tls: ssl.SSLContext | None,
) -> AsyncIterator[tuple[RunningBBS, Crowd]]:
    arguments = ["--database-url", some_database.url]
    if certs is not None:
        arguments += ["--ca-file", str(certs.ca_cert), "--cert-file", str(certs.server_cert)]
        arguments += ["--key-file", str(certs.server_key)]
    async with running_bbs(tmp_path, *arguments) as bbs:
        crowd = Crowd(bbs, client_tls)
        try:
            yield bbs, crowd
        finally:
            await crowd.leave()


@pytest.mark.parametrize("over", ["plain", "tls"])
async def test_all_subscribers_are_told_of_the_end_at_sigterm(
    tmp_path: Path,
    some_database: SomeDatabase,
    certs: DevelopmentCerts,
    client_tls: ssl.SSLContext,
    over: str,
    request: pytest.FixtureRequest,
) -> None:
    is_tls = over == "tls"
    count = request.config.getoption("--tls-subscribers" if is_tls else "--subscribers")
    of_server, of_clients = (certs, client_tls) if is_tls else (None, None)
    async with crowded(tmp_path, some_database, of_server, of_clients) as (bbs, crowd):
        await crowd.grow(count, sending=STREAM)
        ends = list[bytes]()

        async def read_to_end(wire: Wire) -> None:
            rest = bytearray()
            while data := await wire.stream.receive_some():
                rest += data
            ends.append(bytes(rest))

        began, cpu_before_s, cpu_of_ended_s = trio.current_time(), cpu_s(bbs), cpu_s_of_ended_children()
        async with trio.open_nursery() as nursery:
            for wire in crowd.wires:
                nursery.start_soon(read_to_end, wire)
            exit_code = await bbs.stop()
            ended_after_s = trio.current_time() - began
        its_cpu_s = cpu_s_of_ended_children() - cpu_of_ended_s - cpu_before_s
        print(
            f"{count:,} subscribers, {over}: the process had ended {ended_after_s:.1f} s after SIGTERM,"
            f" with {its_cpu_s:.1f} s of CPU"
        )
        assert exit_code == 0
        assert ends == [LAST_CHUNK] * count


async def test_idle_connections_are_cheap_and_are_forgotten(
    tmp_path: Path, some_database: SomeDatabase, request: pytest.FixtureRequest
) -> None:
    """Half of them have never sent anything. What is forgotten makes room for those who come next."""
    count = request.config.getoption("--idle-connections")
    async with crowded(tmp_path, some_database, None, None) as (bbs, crowd), bbs.client() as client:
        await client.ping()
        descriptors_before = descriptors_of(bbs)
        bytes_before = resident_bytes(bbs)
        grown_by = list[int]()
        for _ in range(2):
            await crowd.grow(count - count // 2, sending=post("/v1/ping"))
            await crowd.grow(count // 2, sending=b"")
            await wait_until(
                lambda: descriptors_of(bbs) >= descriptors_before + count - OTHERS,
                within_s=WAIT_MAX_S,
                what="all are accepted",
            )
            await client.upsert_domain("beside-them", ttl_s=0)
            grown_by.append(resident_bytes(bbs) - bytes_before)
            await crowd.leave()
            await wait_until(
                lambda: descriptors_of(bbs) <= descriptors_before + OTHERS,
                within_s=WAIT_MAX_S,
                what="all are gone",
            )
        first, second = grown_by
        print(
            f"{count:,} idle connections take {first / count / 1024:.1f} KiB each, of memory of the process"
        )
        assert first < count * IDLE_BYTES_MAX
        assert second < 1.5 * first
        assert await bbs.stop() == 0


def descriptors_of(bbs: RunningBBS) -> int:
    return len(os.listdir(f"/proc/{bbs.process.pid}/fd"))


def cpu_s(bbs: RunningBBS) -> float:
    fields = Path(f"/proc/{bbs.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_s_of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident_bytes(bbs: RunningBBS) -> int:
    pages = int(Path(f"/proc/{bbs.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()
