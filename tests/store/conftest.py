"""Both worlds as fixtures; ``world`` is each of them in turn."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from tests.store.worlds import MemoryWorld, PostgresWorld


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


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)
