"""Servers and clients for peers: plain and TLS, over loopback."""

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bbs.certs import DevelopmentCerts, make_development_certs
from bbs.log import LagerSink, Level, Logger, root_logger
from bbs.peers.http import HTTPClient
from bbs.tls import client_context, server_context
from tests.peers.peer_server import WAIT_S, PeerServer, peer_server

Said = tuple[str, str, dict[str, Any]]
"""A line: its level and message without the component's name, its session, and the rest of its data."""

NOT_SAID = {"session", "error", "duration", "trace-id", "span-id"}


def said(what: str, session: str = "", *data: dict[str, Any], **more: Any) -> Said:
    whole: dict[str, Any] = {}
    for part in (*data, more):
        whole |= part
    return what, session, whole


@dataclass
class Lines:
    """A log in memory."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def write(self, data: bytes, /) -> int:
        self.lines.append(json.loads(data))
        return len(data)

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    def said(self) -> list[Said]:
        """Each line, without errors, durations and traces in its data."""
        return [
            (
                f"{Level(line['log_level']).name.lower()} {line['message'].removeprefix('bbs.')}",
                line["data"].get("session", ""),
                {key: value for key, value in line["data"].items() if key not in NOT_SAID},
            )
            for line in self.lines
        ]

    def data_of(self, message: str) -> dict[str, Any]:
        [data] = [line["data"] for line in self.lines if line["message"] == message]
        assert isinstance(data, dict)
        return data


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> Logger:
    return root_logger("bbs", LagerSink(lines, min_level=Level.INFO))


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCerts:
    return make_development_certs(tmp_path_factory.mktemp("peer-certs"))


@pytest.fixture(scope="session")
def server_tls(certs: DevelopmentCerts) -> ssl.SSLContext:
    return server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)


@pytest.fixture(scope="session")
def client_tls(certs: DevelopmentCerts) -> ssl.SSLContext:
    return client_context(ca_file=certs.ca_cert, cert_file=certs.client_cert, key_file=certs.client_key)


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
