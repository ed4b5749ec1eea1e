"""A database of one kind or the other, for tests that hold on both: mark them `ON_BOTH`, and ask for ``some_database``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.log import null_logger
from bbs.models.outcome import Record
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.codecs import CODECS
from bbs.store.crypto import Keyring
from bbs.store.database import Database, database_at
from perf.mariadb import NO_MARIADB, running_mariadb
from perf.programs import program

ON_BOTH: Final = pytest.mark.parametrize(
    "some_database", ["postgres", pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True
)


@dataclass(frozen=True, slots=True)
class SomeDatabase:
    """An empty database of the test's own. ``connection_string`` is upstream's for its ``driver``, and ``url`` is for
    ``bbs serve --database-url``.
    """

    driver: str
    connection_string: str
    url: str

    @property
    def database(self) -> Database:
        return database_at(self.url)

    async def execute(self, statement: str) -> list[Any]:
        """Run a statement that both kinds understand; its rows."""
        async with open_asyncio_loop(null_logger()):
            audit: Any = self.database.audit()
            try:
                rows: list[Any] = await audit.connection.run(_fetch, statement)
                return rows
            finally:
                await audit.aclose()

    async def records(self, record_class: type[Record], keyring: Keyring) -> list[Record]:
        """All records of a class, as another server would read them."""
        codec = CODECS[record_class]
        async with open_asyncio_loop(null_logger()):
            audit = self.database.audit()
            try:
                stored = await audit.page(record_class, after=(), rows=1_000_000, whole=True)
            finally:
                await audit.aclose()
        return [codec.decode(tuple(row)[:-1], keyring) for row in stored]


async def _fetch(connection: Any, statement: str) -> list[Any]:
    return [tuple(row) for row in await connection.fetch(statement)]


@contextmanager
def running_postgres(directory: Path) -> Iterator[SomeDatabase]:
    """The same database in ``directory`` whenever it is entered, under one URL."""
    with embedded_postgres_blocking(directory):
        # The symlink names the socket's directory of the day.
        url = f"postgresql://postgres@/postgres?host={directory / 'postgres.socket'}"
        yield SomeDatabase("postgres", url, url)


@contextmanager
def running_mysql(directory: Path) -> Iterator[SomeDatabase]:
    """The same on MariaDB."""
    if program("mariadbd") is None:
        pytest.skip(NO_MARIADB)
    with running_mariadb(directory) as server:
        server.execute("CREATE DATABASE IF NOT EXISTS d")
        yield SomeDatabase("mysql", server.dsn_of("d"), server.url_of("d"))
