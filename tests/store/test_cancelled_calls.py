"""Every call of the backend, cancelled at every step of its way: it can be made again, and nothing else ends.

The way to Postgres is TCP, where the driver asks for TLS first (sslmode=prefer, the default): what it leaves behind when
it is cancelled there once ended the whole process.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from bbs.embedded_postgres import EmbeddedPostgres
from bbs.log import Level
from bbs.models.outcome import put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import Seen
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_probe import postgres_probe
from tests.cancelling import at_every_step, cancelled_at
from tests.log_lines import Lines
from tests.records import actual_lrp
from tests.store.tcp_proxy import tcp_proxy
from tests.store.worlds import KEYRING

pytestmark = pytest.mark.postgres

Make = Callable[[PostgresBackend], Awaitable[object]]


async def load(backend: PostgresBackend) -> None:
    async for _ in backend.load(Seen()):
        pass


async def follow(backend: PostgresBackend) -> None:
    async for _ in backend.follow(Seen()):
        pass


async def nothing(backend: PostgresBackend) -> None:
    pass


CALLS: dict[str, tuple[Make, Make]] = {
    # The call, and what has to come before it.
    "prepare": (lambda backend: backend.prepare(), nothing),
    "acquire_writer_lock": (lambda backend: backend.acquire_writer_lock(), nothing),
    "take_writer_lock": (lambda backend: backend.take_writer_lock(), nothing),
    "follow": (follow, lambda backend: backend.prepare()),
    "end_writer_session": (lambda backend: backend.end_writer_session(), nothing),
    "stored_key_label": (
        lambda backend: backend.stored_key_label(),
        lambda backend: backend.acquire_writer_lock(),
    ),
    "record_key_label": (
        lambda backend: backend.record_key_label(),
        lambda backend: backend.acquire_writer_lock(),
    ),
    "load": (load, lambda backend: backend.acquire_writer_lock()),
    "hold": (lambda backend: backend.hold(), lambda backend: backend.acquire_writer_lock()),
    "write": (
        lambda backend: backend.write([put(actual_lrp())]),
        lambda backend: backend.acquire_writer_lock(),
    ),
}

OPEN_A_SESSION = {
    "prepare", "acquire_writer_lock", "take_writer_lock", "follow", "end_writer_session", "load",
}  # fmt: skip
"""Some 150 steps of each of these are the start of a session."""
STEPS_BETWEEN = 3
"""Of those calls each third step is tried unless ``--every-step`` is given. Each call begins at a step of its own, so that
between them every step of a session's start has its turn.
"""


@asynccontextmanager
async def over_tcp(server: EmbeddedPostgres, database_url: str, lines: Lines) -> AsyncIterator[DSN]:
    database = database_url.split("@/")[1].split("?")[0]
    async with (
        tcp_proxy(server) as port,
        open_asyncio_loop(lines.logger(Level.ERROR)),
    ):
        yield parse_dsn(f"postgres://postgres@127.0.0.1:{port}/{database}", {})


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_is_cancelled_anywhere_can_be_made_again(
    name: str, pytestconfig: pytest.Config, postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    call, before = CALLS[name]
    every = STEPS_BETWEEN if name in OPEN_A_SESSION and not pytestconfig.getoption("--every-step") else 1
    async with over_tcp(postgres_server, database_url, Lines()) as dsn:
        first = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
        await first.acquire_writer_lock()  # makes the schema
        await first.aclose()

        async def attempt(step: int) -> bool:
            backend: Any = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None, lock_poll_s=0.01)
            await before(backend)
            was_cancelled = await cancelled_at(step, partial(call, backend))
            with trio.fail_after(10):
                await call(backend)
                await backend.acquire_writer_lock()
                await backend.write([put(actual_lrp(index=step))])
            await backend.aclose()
            return was_cancelled

        await at_every_step(attempt, first=list(CALLS).index(name) % every, every=every)


@pytest.mark.slow
async def test_a_health_check_that_is_cancelled_anywhere_can_be_made_again(
    postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    lines = Lines()
    async with over_tcp(postgres_server, database_url, lines) as dsn:
        first = PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)
        await first.acquire_writer_lock()
        await first.aclose()

        async def attempt(step: int) -> bool:
            probe = postgres_probe(dsn, connect_s=5)
            was_cancelled = await cancelled_at(step, probe.attempt)
            with trio.fail_after(10):
                await probe.attempt()
            await probe.aclose()
            return was_cancelled

        await at_every_step(attempt)

    # The driver's loose end was there, and was told once each time, with what it was about.
    assert set(lines.messages) == {"bbs.asyncio-error-without-an-owner"}
    assert any("unexpected connection_lost() call" in line for line in lines.writes)
