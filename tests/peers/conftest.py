"""Servers and clients for peers: plain and TLS, over loopback."""

import ssl
from collections.abc import AsyncIterator

import pytest

from bbs.peers.http import HTTPClient
from tests.peers.peer_server import WAIT_S, PeerServer, peer_server


@pytest.fixture
async def http(client_tls: ssl.SSLContext) -> AsyncIterator[HTTPClient]:
    client = HTTPClient(tls=client_tls, timeout_s=WAIT_S)
    yield client
    await client.aclose()


@pytest.fixture
async def impatient(client_tls: ssl.SSLContext) -> AsyncIterator[HTTPClient]:
    """For peers that hang."""
    client = HTTPClient(tls=client_tls, timeout_s=0.2)
    yield client
    await client.aclose()


@pytest.fixture
async def server() -> AsyncIterator[PeerServer]:
    async with peer_server() as running:
        yield running


@pytest.fixture
async def tls_server(server_tls: ssl.SSLContext) -> AsyncIterator[PeerServer]:
    async with peer_server(server_tls) as running:
        yield running
