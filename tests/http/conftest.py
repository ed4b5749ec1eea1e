import ssl
from collections.abc import AsyncIterator

import pytest

from tests.http.serving import Served, World, serving, tls_contexts


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return tls_contexts()


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture(params=["fast", "slow", "fast-tls", "slow-tls"])
async def served(
    request: pytest.FixtureRequest, world: World, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[Served]:
    """A server to be tested through either lane, with and without TLS."""
    lane, _, tls = request.param.partition("-")
    server_tls, client_tls = contexts if tls else (None, None)
    async with serving(world, fast_lane=lane == "fast", server_tls=server_tls, client_tls=client_tls) as it:
        yield it
