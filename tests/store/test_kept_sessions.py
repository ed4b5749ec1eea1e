"""A pooler that lends sessions out is refused, one that keeps them is not. With a real PgBouncer, where there is one."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import asyncpg
import pytest
import trio
from trio_asyncio import aio_as_trio

from bbs.embedded_postgres import EmbeddedPostgres
from bbs.embedded_postgres.postmaster import PORT
from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable
from bbs.store.dsn import parse_dsn
from bbs.store.kept_sessions import OTHERS_MAX, SessionNotKept, session_must_be_kept
from bbs.store.postgres import PostgresBackend
from perf.programs import program
from tests.cluster.rights import Rights, found
from tests.daemons import Surroundings, daemon, free_port
from tests.store.worlds import KEYRING
from tests.waiting import wait_until

START_MAX_S = 30.0
ADVICE = r"127\.0\.0\.1:\d+ goes through a pooler that keeps no sessions .*pool_mode = session"

needs_pgbouncer = pytest.mark.skipif(
    program("pgbouncer") is None or program("setpriv") is None,
    reason="not installed: pgbouncer (Debian's package of that name)",
)


@asynccontextmanager
async def pgbouncer(server: EmbeddedPostgres, mode: str) -> AsyncIterator[str]:
    """The place, ``host:port``, of a PgBouncer before ``server``."""
    port = free_port()
    # Not in pytest's own folder, which is closed to Postgres' user.
    with TemporaryDirectory(prefix="bbs-pgbouncer-") as folder:
        home = Path(folder)
        rights = Rights(home)
        rights.give(home)
        settings = home / "pgbouncer.ini"
        settings.write_text(
            "[databases]\n"
            f"* = host={server.socket_directory} port={PORT} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )
        rights.give(settings)
        log = home / "log"
        process = rights.start([found("pgbouncer"), str(settings)], log=log)

        async def listens() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                return False
            await stream.aclose()
            return True

        try:
            await wait_until(listens, within_s=START_MAX_S, what="PgBouncer")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def backend(place: str, database_url: str) -> PostgresBackend:
    name = parse_dsn(database_url, {}).database
    dsn = parse_dsn(f"postgresql://postgres@{place}/{name}?sslmode=disable", {})
    return PostgresBackend(dsn, KEYRING, on_dropped=lambda row: None)


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_pgbouncer_that_lends_sessions_out_is_refused(
    postgres_server: EmbeddedPostgres, database_url: str, mode: str
) -> None:
    async with (
        open_asyncio_loop(null_logger()),
        pgbouncer(postgres_server, mode) as place,
        # Others use it as well, so it has more backends than one to lend.
        kept_busy(place, database_url, connections=4),
    ):
        for call in ("prepare", "acquire_writer_lock"):
            refused = backend(place, database_url)
            with trio.fail_after(60), pytest.raises(BackendUnavailable, match=ADVICE):
                await getattr(refused, call)()
            await refused.aclose()


@needs_pgbouncer
async def test_pgbouncer_that_keeps_sessions_is_as_good_as_postgres(
    postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    async with open_asyncio_loop(null_logger()), pgbouncer(postgres_server, "session") as place:
        first, second = backend(place, database_url), backend(place, database_url)
        with trio.fail_after(60):
            await first.prepare()
            await first.acquire_writer_lock()
            await second.prepare()
        with trio.move_on_after(2) as gave_up:
            await second.acquire_writer_lock()
        await first.aclose()
        await second.aclose()

    assert gave_up.cancelled_caught


@pytest.mark.slow
@needs_pgbouncer
async def test_the_daemon_says_so_and_does_not_start(
    postgres_server: EmbeddedPostgres, around: Surroundings
) -> None:
    async with pgbouncer(postgres_server, "transaction") as place:
        name = parse_dsn(around.database_url, {}).database
        config = around.config("a", database_connection_string=f"postgresql://postgres@{place}/{name}")
        async with daemon(around, config) as bbs:
            assert (await bbs.logs("sql-failed-to-connect"))["error"].startswith(
                f"the connection to {place} goes through a pooler that keeps no sessions"
            )
            assert await bbs.exit_code() == 2


@asynccontextmanager
async def kept_busy(place: str, database_url: str, *, connections: int) -> AsyncIterator[None]:
    """Leave the pool with as many backends that nobody uses."""
    name = parse_dsn(database_url, {}).database

    async def connect() -> "list[asyncpg.Connection[Any]]":
        opened = [
            await asyncpg.connect(f"postgresql://postgres@{place}/{name}?sslmode=disable")
            for _ in range(connections)
        ]
        try:
            for connection in opened:
                await connection.execute("BEGIN")
            for connection in opened:
                await connection.execute("COMMIT")
        except asyncpg.PostgresConnectionError:
            pass  # no transactions in statement mode
        return opened

    opened = await aio_as_trio(connect)()
    yield
    for connection in opened:
        connection.terminate()


BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Way:
    """How a pooler chooses: the backend that was used ``last`` or first; ``faithful``: what the client had before, if nobody
    has it; ``eager``: a new one, as long as it may make one.
    """

    last: bool = False
    faithful: bool = False
    eager: bool = False


class Pool:
    """Lends a backend to whoever begins a transaction. It makes at most ``backends_max``, and has ``idle`` already."""

    def __init__(self, way: Way, *, keeps: bool, idle: int, backends_max: int) -> None:
        self.way = way
        self.keeps = keeps
        self.backends_max = backends_max
        self.now = BEGAN
        self.backends: dict[int, datetime] = {}
        self.idle: deque[int] = deque()
        self.opened: list[Client] = []
        for _ in range(idle):
            self.idle.append(self.make())

    def make(self) -> int:
        pid = 100 + len(self.backends)
        self.backends[pid] = self.tick()
        return pid

    def tick(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def lend(self, before: int | None) -> int:
        may_make = len(self.backends) < self.backends_max
        if self.way.faithful and before is not None and before in self.idle:
            self.idle.remove(before)
            return before
        if self.idle and not (self.way.eager and may_make):
            return self.idle.pop() if self.way.last else self.idle.popleft()
        if not may_make:
            raise TimeoutError
        return self.make()

    async def open(self) -> "asyncpg.Connection[Any]":
        self.opened.append(Client(self))
        return cast("asyncpg.Connection[Any]", self.opened[-1])


class Client:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.backend: int | None = None
        self.before: int | None = None
        self.is_open = True

    def get_server_pid(self) -> int:
        return 7  # made up

    async def execute(self, statement: str, **_: object) -> None:
        if statement == "BEGIN" and self.backend is None:
            self.backend = self.before = self.pool.lend(self.before)
        if statement == "COMMIT" and not self.pool.keeps:
            self.give_back()

    async def prepare(self, statement: str, **_: object) -> "Client":
        return self

    async def fetchrow(self, **_: object) -> tuple[int, datetime, datetime]:
        assert self.backend is not None
        return self.backend, self.pool.backends[self.backend], self.pool.tick()

    def give_back(self) -> None:
        if self.backend is not None:
            self.pool.idle.append(self.backend)
            self.backend = None

    def terminate(self) -> None:
        self.is_open = False
        self.give_back()


def pools(*, keeps: bool) -> Iterator[Pool]:
    for way in (Way(), Way(last=True), Way(faithful=True), Way(eager=True)):
        for idle in (0, 1, OTHERS_MAX - 1):
            yield Pool(way, keeps=keeps, idle=idle, backends_max=20)
            yield Pool(way, keeps=keeps, idle=idle, backends_max=max(1, idle))


def name_of(pool: Pool) -> str:
    return f"{len(pool.idle)} idle of {pool.backends_max}, {pool.way}"


@pytest.mark.parametrize("pool", list(pools(keeps=False)), ids=name_of)
async def test_a_pooler_that_lends_sessions_out_is_found_whatever_it_has_to_lend(pool: Pool) -> None:
    connection = await pool.open()

    with pytest.raises(SessionNotKept, match="connection to there goes"):
        await session_must_be_kept(connection, pool.open, where="there")
    assert not any(client.is_open for client in pool.opened[1:])


@pytest.mark.parametrize("pool", list(pools(keeps=True)), ids=name_of)
async def test_a_pooler_that_keeps_sessions_is_not_taken_for_one_that_does_not(pool: Pool) -> None:
    connection = await pool.open()

    await session_must_be_kept(connection, pool.open, where="there")
    assert not any(client.is_open for client in pool.opened[1:])


async def test_without_a_pooler_no_other_connection_is_made(database_url: str) -> None:
    async def must_not_be_called() -> "asyncpg.Connection[Any]":
        raise AssertionError

    async def look() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            await session_must_be_kept(connection, must_not_be_called, where="here")
        finally:
            await connection.close()

    async with open_asyncio_loop(null_logger()):
        await aio_as_trio(look)()
