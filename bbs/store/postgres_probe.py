"""How the health check asks Postgres."""

from typing import Any

import asyncpg

from bbs.store.driver_errors import words
from bbs.store.dsn import DSN
from bbs.store.health_check import Probe


def postgres_probe(dsn: DSN, *, connect_s: float) -> "Probe[asyncpg.Connection[Any]]":
    """A probe whose attempts to connect take ``connect_s`` seconds at most."""
    return Probe(dsn.side_connection(connect_s=connect_s), note=_note, read=_read, words=words)


async def _note(connection: "asyncpg.Connection[Any]", now_ns: int) -> None:
    await connection.execute(
        "INSERT INTO bbs_health_check (id, time) VALUES (1, $1)"
        " ON CONFLICT (id) DO UPDATE SET time = excluded.time",
        now_ns,
    )


async def _read(connection: "asyncpg.Connection[Any]") -> object:
    return await connection.fetchval("SELECT time FROM bbs_health_check WHERE id = 1")
