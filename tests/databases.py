"""A database of one kind or the other, for tests that hold on both: they ask for ``some_database``, or for what stands on it.

Those that are marked `ON_BOTH` run on both. The others run on Postgres, and with ``--database mariadb`` there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import trio
import trio_asyncio

from bbs.embedded_postgres import EmbeddedPostgres, embedded_postgres_blocking
from bbs.embedded_postgres.postmaster import PORT, SUPERUSER
from bbs.log import null_logger
from bbs.models.outcome import Record
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import DroppedRow
from bbs.store.codecs import CODECS
from bbs.store.crypto import Keyring
from bbs.store.database import Database, database_at
from bbs.store.dsn import parse_dsn
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.mysql.dsn import parse_mysql_url
from bbs.store.postgres import WRITER_LOCK, PostgresBackend
from perf.mariadb import NO_MARIADB, MariaDB, running_mariadb
from perf.programs import program
from tests.made_once import copy_cluster, copy_mariadb_data

KINDS: Final = ("postgres", "mariadb")
ON_BOTH: Final = pytest.mark.parametrize("database_kind", KINDS, indirect=True)
ON_POSTGRES: Final = pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
"""Also with ``--database mariadb``."""

WRITER_SESSIONS: Final = {
    "postgres": f"""
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = {WRITER_LOCK >> 32} AND objid = {WRITER_LOCK & 0xFFFFFFFF}
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    "mysql": "SELECT id FROM information_schema.processlist WHERE id = IS_USED_LOCK(CONCAT('bbs_writer ', MD5(DATABASE())))",
}


def _nobody(statement: str) -> object:
    raise RuntimeError(f"this database is on no server of the suite, so nobody can run {statement}")


@dataclass(frozen=True, slots=True)
class SomeDatabase:
    """A database of the test's own. ``connection_string`` is upstream's for its ``driver``, and ``url`` is for
    ``bbs serve --database-url``.

    Of one on a server of the suite the ``name`` is known, the ``socket`` where the server listens, and how to
    ``administer`` it: that has the administrator run a statement outside of the database, and blocks. On MariaDB the
    connection strings are not the administrator's, but of a user by the name of the database, who has the rights that
    docs/databases.md asks for.
    """

    driver: str
    connection_string: str
    url: str
    name: str = ""
    socket: Path = Path("/nowhere")
    administer: Callable[[str], object] = _nobody

    @property
    def on_postgres(self) -> bool:
        return self.driver == "postgres"

    @property
    def database(self) -> Database:
        return database_at(self.url)

    def over_tcp(self, port: int) -> "SomeDatabase":
        """The same by way of a proxy, which listens at ``port`` on 127.0.0.1 and leads to the ``socket``."""
        if self.on_postgres:
            url = string = f"postgresql://{SUPERUSER}@127.0.0.1:{port}/{self.name}"
        else:
            url = f"mysql://{self.name}@127.0.0.1:{port}/{self.name}"
            string = f"{self.name}@tcp(127.0.0.1:{port})/{self.name}"
        return replace(self, url=url, connection_string=string)

    def backend(
        self,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None] = lambda row: None,
        **settings: Any,
    ) -> Any:
        """As `bbs.store.database.Database` makes it, with ``settings`` that only tests change."""
        if self.on_postgres:
            return PostgresBackend(parse_dsn(self.url, {}), keyring, on_dropped=on_dropped, **settings)
        return MySQLBackend(parse_mysql_url(self.url), keyring, on_dropped=on_dropped, **settings)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Callable[[str], Awaitable[list[Any]]]]:
        """Somebody else's: it runs statements, and returns their rows. An open transaction is undone in the end."""
        async with _asyncio_loop():
            audit: Any = self.database.audit()
            try:
                yield partial(audit.connection.run, _fetch)
            finally:
                await audit.aclose()

    async def execute(self, statement: str) -> list[Any]:
        """Run one statement; its rows."""
        async with self.session() as execute:
            return await execute(statement)

    async def writer_sessions(self) -> list[int]:
        """Of whoever holds the writer lock: one, or none."""
        return [session for (session,) in await self.execute(WRITER_SESSIONS[self.driver])]

    async def end_writer_session(self) -> None:
        """As an administrator would. There has to be one."""
        [session] = await self.writer_sessions()
        await self.execute(
            f"SELECT pg_terminate_backend({session})" if self.on_postgres else f"KILL {session}"
        )

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Nobody is let into the database, and everybody who was in is out."""
        await self._let_in(False)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):  # it blocks for some milliseconds
                await self._let_in(True)

    async def _let_in(self, everybody: bool) -> None:
        if self.on_postgres:
            statements = [f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS {everybody}']
            end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'"
        else:
            lock = "UNLOCK" if everybody else "LOCK"
            statements = [f"ALTER USER {self.name}@localhost ACCOUNT {lock}"]
            end = f"KILL USER {self.name}@localhost"
        for statement in statements if everybody else [*statements, end]:
            await trio.to_thread.run_sync(self.administer, statement)

    async def records(self, record_class: type[Record], keyring: Keyring) -> list[Record]:
        """All records of a class, as another server would read them."""
        codec = CODECS[record_class]
        async with _asyncio_loop():
            audit = self.database.audit()
            try:
                stored = await audit.page(record_class, after=(), rows=1_000_000, whole=True)
            finally:
                await audit.aclose()
        return [codec.decode(tuple(row)[:-1], keyring) for row in stored]


@asynccontextmanager
async def _asyncio_loop() -> AsyncIterator[None]:
    """The test's own, if it has one: what it does meanwhile must not find itself in another."""
    if trio_asyncio.current_loop.get() is not None:
        yield
        return
    async with open_asyncio_loop(null_logger()):
        yield


async def _fetch(connection: Any, statement: str) -> list[Any]:
    return [tuple(row) for row in await connection.fetch(statement)]


def on_postgres(server: EmbeddedPostgres, name: str, url: str | None = None) -> SomeDatabase:
    """A database that is there. ``url`` is a better one than the server's own."""
    url = url or server.dsn_of(name)
    socket = server.socket_directory / f".s.PGSQL.{PORT}"
    return SomeDatabase("postgres", url, url, name, socket, partial(execute_on_postgres, server.dsn))


def execute_on_postgres(dsn: str, statement: str) -> None:
    """Blocks."""

    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())


def require_mariadb() -> None:
    """Skip the test, by name, where MariaDB is not installed."""
    if program("mariadbd") is None:
        pytest.skip(NO_MARIADB)


@contextmanager
def new_on_mariadb(server: MariaDB, name: str) -> Iterator[SomeDatabase]:
    """A database and its user, who has no rights elsewhere."""
    server.execute(
        f"CREATE DATABASE {name}; CREATE USER {name}@localhost; GRANT ALL ON {name}.* TO {name}@localhost;"
        f" REVOKE LOCK TABLES ON {name}.* FROM {name}@localhost"
    )
    try:
        yield on_mariadb(server, name, user=name)
    finally:
        server.execute(f"DROP DATABASE {name}; DROP USER {name}@localhost")


def on_mariadb(server: MariaDB, name: str, *, user: str) -> SomeDatabase:
    """A database that is there."""
    return SomeDatabase(
        "mysql", server.dsn_of(name, user), server.url_of(name, user), name, server.socket, server.execute
    )


@contextmanager
def running_postgres(directory: Path) -> Iterator[SomeDatabase]:
    """The same database in ``directory`` whenever it is entered, under one URL."""
    if not (directory / "postgres").exists():
        copy_cluster(directory)
    with embedded_postgres_blocking(directory) as server:
        # The symlink names the socket's directory of the day.
        url = f"postgresql://postgres@/postgres?host={directory / 'postgres.socket'}"
        yield on_postgres(server, "postgres", url)


@contextmanager
def running_mysql(directory: Path) -> Iterator[SomeDatabase]:
    """The same on MariaDB."""
    require_mariadb()
    if not (directory / "data").exists():
        copy_mariadb_data(directory)
    with running_mariadb(directory) as server:
        server.execute("CREATE DATABASE IF NOT EXISTS d")
        yield on_mariadb(server, "d", user="root")
