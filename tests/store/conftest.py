"""All worlds as fixtures; ``world`` is each of them in turn, and ``sql`` each that is a real database."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.mysql.dsn import parse_mysql_dsn
from bbs.store.mysql.session import Session
from tests.store.worlds import MemoryWorld, MySQLWorld, PostgresWorld


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[PostgresWorld]:
    async with open_asyncio_loop(null_logger()):
        connection = await aio_as_trio(asyncpg.connect)(database_url)
        world = PostgresWorld(database_url, connection)
        yield world
        await world.close()
        await aio_as_trio(connection.close)()


@pytest.fixture
async def memory() -> AsyncIterator[MemoryWorld]:
    world = MemoryWorld()
    yield world
    await world.close()


@pytest.fixture
async def mysql(mysql_dsn: str) -> AsyncIterator[MySQLWorld]:
    async with open_asyncio_loop(null_logger()):
        session = await aio_as_trio(Session.open)(parse_mysql_dsn(mysql_dsn), connect_s=5, statement_s=10)
        world = MySQLWorld(mysql_dsn, session)
        yield world
        await world.close()
        await aio_as_trio(session.close)()


SQL = [
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mysql", marks=pytest.mark.mariadb),
]


@pytest.fixture(params=SQL)
def sql(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["memory", *SQL])
def world(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)
