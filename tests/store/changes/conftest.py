"""Servers of these tests' own: the suite's has no limits to run into, listens on no port, and can be followed."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.postgres import PostgresBackend
from tests.daemons import free_port
from tests.made_once import copy_cluster
from tests.scratch import scratch_directory
from tests.store.worlds import PostgresWorld


class OwnServer(NamedTuple):
    """``url`` is the administrator's, over the ``socket``. It also listens at ``port`` of 127.0.0.1."""

    url: str
    socket: Path
    port: int
    directory: Path


@pytest.fixture(scope="session")
def small_server() -> Iterator[OwnServer]:
    """For one follower and not for two."""
    port = free_port()
    settings = {
        "fsync": "off",
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "max_wal_senders": "1",
        "max_replication_slots": "1",
    }
    with scratch_directory() as directory:
        copy_cluster(directory)
        with embedded_postgres_blocking(directory, settings=settings) as server:
            url = f"postgresql://postgres@/postgres?host={server.socket_directory}&port={port}"
            socket = server.socket_directory / f".s.PGSQL.{port}"
            yield OwnServer(url, socket, port, directory / "postgres")


@pytest.fixture(scope="session")
def physical_server() -> Iterator[str]:
    """Its log is not for followers."""
    settings = {"fsync": "off", "wal_level": "replica"}
    with scratch_directory() as directory:
        copy_cluster(directory)
        with embedded_postgres_blocking(directory, settings=settings) as server:
            yield server.dsn


@pytest.fixture
def dsn(database_url: str) -> DSN:
    return parse_dsn(database_url, {})


@pytest.fixture
async def writer(postgres: PostgresWorld) -> PostgresBackend:
    """It has made the tables."""
    writer: PostgresBackend = await postgres.open_writer()
    return writer
