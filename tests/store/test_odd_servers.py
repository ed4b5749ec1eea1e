"""Servers, and proxies before them, that speak Postgres oddly: what the driver stumbles over is told in plain words."""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio

from bbs.log import null_logger
from bbs.models.outcome import put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.health_check import AttemptFailed
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_audit import PostgresAudit
from bbs.store.postgres_probe import postgres_probe
from bbs.store.primaries import Primaries
from tests.records import actual_lrp
from tests.store.worlds import KEYRING

# A connection that the driver gave up while making it complains when it is collected; nobody could have closed it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SSL_REQUEST = 80877103


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


def parameter(name: str, value: str) -> bytes:
    return message(b"S", f"{name}\0{value}\0".encode())


AUTHENTICATED = message(b"R", struct.pack("!i", 0))
KEY_DATA = message(b"K", struct.pack("!ii", 1, 1))
READY = message(b"Z", b"I")
VERSION = parameter("server_version", "18.0")
ENCODING = parameter("client_encoding", "UTF8")

GREETINGS = {
    "no version": AUTHENTICATED + ENCODING + KEY_DATA + READY,
    "an unknown version": AUTHENTICATED + parameter("server_version", "banana") + KEY_DATA + READY,
    "an empty version": AUTHENTICATED + parameter("server_version", "") + KEY_DATA + READY,
    "an empty ReadyForQuery": AUTHENTICATED + VERSION + KEY_DATA + message(b"Z"),
    "an unknown message": AUTHENTICATED + VERSION + message(b"?", b"what") + READY,
    "a parameter without an end": AUTHENTICATED + message(b"S", b"server_version") + READY,
    "an authentication cut short": message(b"R", b"\0"),
    "an unknown authentication": message(b"R", struct.pack("!i", 99)),
    "an error without fields": message(b"E", b"\0"),
    "an error of an unknown state": message(b"E", b"SFATAL\0C?????\0Mno\0\0"),
    "a refusal to let us in": message(b"E", b"SFATAL\0C28000\0Mno entry\0\0"),
    "a negative length": b"R" + struct.pack("!i", -5),
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "nothing": b"",
}


@asynccontextmanager
async def server_saying(greeting: bytes) -> AsyncIterator[DSN]:
    """Refuses TLS, answers the start of a session with ``greeting``, and then hangs up."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                start = await stream.receive_some()
                if len(start) == 8 and struct.unpack("!ii", start)[1] == SSL_REQUEST:
                    await stream.send_all(b"N")
                    await stream.receive_some()
                await stream.send_all(greeting)
                with trio.move_on_after(
                    0.2
                ):  # for a driver that thinks that it is connected, and asks something
                    await stream.receive_some()
            except trio.BrokenResourceError:
                pass  # the driver had enough

    async with open_asyncio_loop(null_logger()), trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        yield parse_dsn(f"postgres://diego@127.0.0.1:{port}/diego?connect_timeout=2", {})
        nursery.cancel_scope.cancel()


CALLS: dict[str, Callable[[PostgresBackend], Awaitable[object]]] = {
    "prepare": lambda backend: backend.prepare(),
    "acquire_writer_lock": lambda backend: backend.acquire_writer_lock(),
    "record_key_label": lambda backend: backend.record_key_label(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("greeting", GREETINGS)
async def test_what_the_driver_stumbles_over_is_a_database_that_is_unavailable(
    greeting: str, call: str
) -> None:
    async with server_saying(GREETINGS[greeting]) as dsn:
        backend = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
        with trio.fail_after(30), pytest.raises(BackendUnavailable) as unavailable:
            await CALLS[call](backend)
        await backend.aclose()

    assert str(unavailable.value).strip()


@pytest.mark.parametrize("greeting", GREETINGS)
async def test_a_health_check_on_it_is_an_attempt_that_failed(greeting: str) -> None:
    async with server_saying(GREETINGS[greeting]) as dsn:
        probe = postgres_probe(dsn, connect_s=2)
        with (
            trio.fail_after(30),
            pytest.raises(AttemptFailed, match=r"^failed upserting health check time: ."),
        ):
            await probe.attempt()
        await probe.aclose()


@pytest.mark.parametrize("greeting", GREETINGS)
async def test_an_audit_of_it_finds_a_database_that_is_unavailable(greeting: str) -> None:
    async with server_saying(GREETINGS[greeting]) as dsn:
        audit = PostgresAudit(dsn, Primaries(dsn))
        with trio.fail_after(30), pytest.raises(BackendUnavailable):
            await audit.now()
        await audit.aclose()


async def test_the_text_says_what_the_driver_met() -> None:
    async with server_saying(GREETINGS["no version"]) as dsn:
        backend = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
        with pytest.raises(BackendUnavailable, match="in a way that the driver does not understand"):
            await backend.prepare()
        await backend.aclose()


async def test_the_next_server_of_the_connection_string_is_tried(database_url: str) -> None:
    async with server_saying(GREETINGS["an unknown version"]) as odd:
        good = parse_dsn(database_url, {})
        both = replace(good, attempts=(*odd.attempts, *good.attempts))
        backend = PostgresBackend(both, KEYRING, on_dropped=lambda row: None)

        await backend.acquire_writer_lock()
        await backend.write([put(actual_lrp())])
        await backend.aclose()
