from collections.abc import AsyncIterator

import pytest

from tests.http.serving import LANES, Contexts, Served, World, serving_lane, tls_contexts


@pytest.fixture(scope="session")
def contexts() -> Contexts:
    return tls_contexts()


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def served(lane: str, world: World, contexts: Contexts) -> AsyncIterator[Served]:
    """A server to be tested through either lane, with and without TLS."""
    async with serving_lane(world, lane, contexts) as it:
        yield it


@pytest.fixture
def every_byte(request: pytest.FixtureRequest) -> bool:
    """Whether to try every place to cut at, and not those that differ most and some between them."""
    return bool(request.config.getoption("--every-byte"))
