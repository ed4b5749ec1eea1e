"""Every call of the backend, cancelled at every step of its way: it can be made again, and nothing else ends.

The way is TCP, where Postgres' driver asks for TLS first (sslmode=prefer, the default): what it leaves behind when it is
cancelled there once ended the whole process.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from bbs.log import Level
from bbs.models.outcome import put
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import Backend, Seen, Source
from tests.cancelling import at_every_step, cancelled_at
from tests.databases import KINDS, ON_BOTH, SomeDatabase
from tests.log_lines import Lines
from tests.records import actual_lrp
from tests.store.tcp_proxy import tcp_proxy
from tests.store.worlds import KEYRING

Make = Callable[[Any], Awaitable[object]]


async def load(backend: Backend) -> None:
    async for _ in backend.load(Seen()):
        pass


async def follow(backend: Source) -> None:
    async for _ in backend.follow(Seen()):
        pass


async def nothing(backend: Backend) -> None:
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
"""Some 150 steps of each of these are the start of a session. Unless ``--every-step`` is given, each is cancelled at some of its
steps only. It begins at a step of its own, and as many lie between two of its steps as there are calls, so that between them
every step of a session's start has its turn.
"""
OF_POSTGRES = ("follow", "end_writer_session")
"""MySQL has nothing that could be followed, and a new master ends nobody's session before it has written its token."""


@asynccontextmanager
async def over_tcp(database: SomeDatabase, lines: Lines) -> AsyncIterator[SomeDatabase]:
    """With the schema made."""
    async with (
        tcp_proxy(database.socket) as port,
        open_asyncio_loop(lines.logger(Level.ERROR)),
    ):
        proxied = database.over_tcp(port)
        first = proxied.backend(KEYRING)
        await first.acquire_writer_lock()
        await first.aclose()
        yield proxied


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_kind", "name"),
    [(kind, name) for kind in KINDS for name in CALLS if kind == "postgres" or name not in OF_POSTGRES],
    indirect=["database_kind"],
)
async def test_a_call_that_is_cancelled_anywhere_can_be_made_again(
    name: str, pytestconfig: pytest.Config, some_database: SomeDatabase
) -> None:
    call, before = CALLS[name]
    first, every = 0, 1
    if name in OPEN_A_SESSION and not pytestconfig.getoption("--every-step"):
        alike = sorted(OPEN_A_SESSION if some_database.on_postgres else OPEN_A_SESSION - {*OF_POSTGRES})
        first, every = alike.index(name), len(alike)
    async with over_tcp(some_database, Lines()) as database:

        async def attempt(step: int) -> bool:
            backend = database.backend(KEYRING, lock_poll_s=0.01)
            await before(backend)
            was_cancelled = await cancelled_at(step, partial(call, backend))
            with trio.fail_after(10):
                await call(backend)
                await backend.acquire_writer_lock()
                await backend.write([put(actual_lrp(index=step))])
            await backend.aclose()
            return was_cancelled

        await at_every_step(attempt, first=first, every=every)


@pytest.mark.slow
@ON_BOTH
async def test_a_health_check_that_is_cancelled_anywhere_can_be_made_again(
    some_database: SomeDatabase,
) -> None:
    lines = Lines()
    async with over_tcp(some_database, lines) as database:

        async def attempt(step: int) -> bool:
            probe = database.database.probe(connect_s=5)
            was_cancelled = await cancelled_at(step, probe.attempt)
            with trio.fail_after(10):
                await probe.attempt()
            await probe.aclose()
            return was_cancelled

        await at_every_step(attempt)

    if not some_database.on_postgres:  # whose driver leaves no loose ends
        assert lines.messages == []
        return
    # The driver's loose end was there, and was told once each time, with what it was about.
    assert set(lines.messages) == {"bbs.asyncio-error-without-an-owner"}
    assert any("unexpected connection_lost() call" in line for line in lines.writes)
