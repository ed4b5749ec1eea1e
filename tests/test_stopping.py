"""A process that is told to stop, beside clients of every kind: how long it takes, and who is answered.

spec: config.md §6
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from bbs.client import TransportError
from tests.daemons import WAIT_MAX_S, Daemon, Surroundings, daemon, free_port
from tests.databases import ON_BOTH, SomeDatabase
from tests.http.serving import Wire, post
from tests.listening import is_all_read
from tests.processes import running_bbs
from tests.records import desired_message
from tests.test_daemon import domains, upsert
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SOON_S = 4.0
"""A stop that waits for nobody takes a fraction of it; one that waits for a client takes 5 s or more."""

PATIENT_S = 9.0
"""And one that waits for what a client owes us, 5 s."""


class Clients:
    """Connections that are closed in the end. Their buffers in the kernel are small: what is not read stays behind."""

    def __init__(self) -> None:
        self._streams: list[trio.SocketStream] = []

    async def plain(self, address: str) -> Wire:
        host, _, port = address.rpartition(":")
        connected = trio.socket.socket()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._streams.append(trio.SocketStream(connected))
        await connected.connect((host, int(port)))
        return Wire(self._streams[-1])

    async def secured(self, bbs: Daemon) -> Wire:
        wire = await self.plain(bbs.config["listen_address"])
        context = ssl.create_default_context(cafile=bbs.certs.ca_cert)
        context.load_cert_chain(bbs.certs.client_cert, bbs.certs.client_key)
        secured = trio.SSLStream(wire.stream, context, server_hostname="127.0.0.1", https_compatible=True)
        await secured.do_handshake()
        return Wire(secured)

    def close(self) -> None:
        for stream in self._streams:
            stream.socket.close()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    clients.close()


async def until_read(address: str) -> None:
    """Wait until whoever listens there has everything that was sent to it."""
    port = int(address.rpartition(":")[2])
    await wait_until(lambda: is_all_read(port), within_s=WAIT_MAX_S, what=f"{address} has read all")


# In the fast lane, and in the other one.
OWES = {
    "one byte": (b"P", SOON_S),
    "a letter that begins no request": (b"p", SOON_S),
    "half a head": (b"POST /v1/ping HTTP/1.1\r\nHost: a\r\n", SOON_S),
    "an unfinished body": (post("/v1/domains/list", b"three")[:-1], PATIENT_S),
    "an unfinished body in the slow lane": (post("/v1/domains/list?", b"three")[:-1], PATIENT_S),
    "an unfinished body of no known path": (post("/nope", b"three")[:-1], SOON_S),
    "the preface of HTTP/2": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        SOON_S,
    ),
}


@pytest.mark.parametrize("case", OWES)
async def test_a_stop_beside_a_client_that_owes_us_something(
    around: Surroundings, clients: Clients, case: str
) -> None:
    sent, bound_s = OWES[case]
    config = around.config("a", debug_address=f"127.0.0.1:{free_port()}")
    async with daemon(around, config) as bbs:
        await bbs.logs("started")
        wire = await clients.secured(bbs)
        await wire.send(sent)
        silent = await clients.plain(config["listen_address"])
        halfway = await clients.plain(config["listen_address"])
        await halfway.send(b"\x16\x03\x01")
        debug = await clients.plain(config["debug_address"])
        await debug.send(sent)
        health = await clients.plain(config["health_address"])
        await health.send(sent[:1])
        for name in ("listen_address", "debug_address", "health_address"):
            await until_read(config[name])
        began = trio.current_time()

        assert await bbs.stop() == 0
        assert trio.current_time() - began < bound_s
        assert bbs.other == []
        assert await silent.count_to_end() == 0


async def test_a_stalled_event_stream_is_left_after_five_seconds(
    around: Surroundings, clients: Clients
) -> None:
    async with daemon(around, around.config("a", log_level="info")) as bbs:
        await bbs.logs("started")
        wire = await clients.secured(bbs)
        await wire.send(post("/v1/events/lrp_instances.r1"))
        await wire.read_until(b"\r\n\r\n")
        async with bbs.client() as client:
            for number in range(500):
                await client.desire_lrp(desired_message(f"p{number}", annotation="x" * 9_000))
        began = trio.current_time()

        assert await bbs.stop() == 0
        assert trio.current_time() - began < PATIENT_S


async def test_a_slow_reader_gets_its_answer_while_another_process_is_master(
    around: Surroundings, clients: Clients
) -> None:
    async with daemon(around, around.config("a", log_level="info")) as first:
        await first.logs("started")
        async with first.client() as client:
            for number in range(1000):
                await client.desire_lrp(desired_message(f"p{number}", annotation="x" * 9_000))
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")
            wire = await clients.secured(first)
            await wire.send(post("/v1/desired_lrps/list.r3"))
            head = await wire.read_until(b"\r\n\r\n")
            first.process.terminate()

            await first.logs("locket-lock.released-lock")
            await second.logs("started")
            await upsert(second, "by-the-second")
            assert not first.ended
            assert await first.health_status() == 200
            assert not first.api_is_open()

            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            assert length > 9_000_000
            assert await wire.count_to_end() == length
            assert await first.exit_code() == 0


@ON_BOTH
async def test_a_write_in_flight_is_durable_and_answered_before_the_lock_is_free(
    around: Surroundings,
) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        async with daemon(around, around.config("b")) as second:
            await second.logs("read-ahead")
            answered: list[str] = []

            async def write(number: int) -> None:
                async with first.client() as client:
                    await client.ping()  # the connection is there
                    ready.append(number)
                    with suppress(TransportError):
                        while True:
                            domain = f"d{number}-{len(answered)}"
                            await client.upsert_domain(domain, ttl_s=0)
                            answered.append(domain)

            ready: list[int] = []
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(write, number)
                await wait_until(
                    lambda: len(ready) == 8 and len(answered) >= 100,
                    within_s=WAIT_MAX_S,
                    what="all are writing",
                )
                first.process.terminate()
            assert await first.exit_code() == 0
            await second.logs("started")

            assert set(answered) <= set(await domains(second))


@pytest.mark.parametrize("lane", ["fast", "slow"])
async def test_bbs_serve_stops_beside_clients_that_owe_it_something(
    tmp_path: Path, some_database: SomeDatabase, clients: Clients, lane: str
) -> None:
    arguments = ["--no-fast-lane"] if lane == "slow" else []
    async with running_bbs(tmp_path, "--database-url", some_database.url, *arguments) as bbs:
        wires = [await clients.plain(bbs.url.removeprefix("http://")) for _ in range(4)]
        for wire, sent in zip(wires, [b"P", b"p", b"POST /v1/ping HTTP/1.1\r\n", b""], strict=True):
            await wire.send(sent)
        await until_read(bbs.url)
        began = trio.current_time()

        assert await bbs.stop() == 0
        assert trio.current_time() - began < SOON_S
