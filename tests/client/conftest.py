from collections.abc import AsyncIterator

import pytest
import trio

from bbs.client import ClientConfig, InternalBBSClient
from tests.client.scripted_server import ScriptedServer


@pytest.fixture
def server(nursery: trio.Nursery) -> ScriptedServer:
    """A test that uses it takes the autojump clock itself: pytest-trio looks for a clock nowhere else."""
    return ScriptedServer(nursery)


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[InternalBBSClient]:
    """A client of ``server`` with upstream's defaults: three attempts, no timeout."""
    config = ClientConfig(url="http://bbs.test:8889")
    async with InternalBBSClient.connect(config, connector=server.connect) as client:
        yield client
