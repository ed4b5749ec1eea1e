"""Fixtures for the whole suite: a Postgres of our own, and a fresh database in it for a test."""

import asyncio
from collections.abc import Iterator
from itertools import count

import asyncpg
import pytest

from bbs.embedded_postgres import EmbeddedPostgres, embedded_postgres_blocking

_database_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "postgres_server" in item.fixturenames:
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One Postgres for the whole session. It does not sync: no test cuts the power."""
    settings = {"fsync": "off", "full_page_writes": "off"}
    with embedded_postgres_blocking(tmp_path_factory.mktemp("postgres"), settings=settings) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database of the test's own, which is dropped whoever is still connected."""
    name = f"test_{next(_database_numbers)}"
    asyncio.run(_execute(postgres_server.dsn, f'CREATE DATABASE "{name}" TEMPLATE template0'))
    try:
        yield postgres_server.dsn_of(name)
    finally:
        asyncio.run(_execute(postgres_server.dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
