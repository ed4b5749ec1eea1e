"""Where a backend lives while it is tested: a real Postgres, or the fake's disk; and what the tests put there."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import asyncpg
from trio_asyncio import aio_as_trio

from bbs.models.actual_lrp import (
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.domain import Domain
from bbs.models.outcome import Record, Row, RowKey, put
from bbs.models.task import TaskState
from bbs.store.backend import Backend, BackendUnavailable, DroppedRow, Seen
from bbs.store.codecs import CODECS
from bbs.store.crypto import Keyring
from bbs.store.dsn import parse_dsn
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.mysql.dsn import parse_mysql_dsn
from bbs.store.mysql.literals import literal
from bbs.store.mysql.session import Session
from bbs.store.postgres import PostgresBackend
from tests.records import actual_lrp, desired_lrp, task
from tests.waiting import wait_until

KEYRING = Keyring({"label": "key"}, "label")
RUNNING = actual_lrp(
    "running",
    7,
    Presence.SUSPECT,
    state=ActualLRPState.RUNNING,
    instance=InstanceKey(instance_guid="i", cell_id="c"),
    net_info=b"\x0a\x01a",
    internal_routes=("é.apps.internal",),
    metric_tags=(("k", "v"),),
    routable=True,
    availability_zone="z1",
    crash_count=3,
    crash_reason="oom",
    placement_error="none",
    since_ns=2**62,
    tag=ModificationTag(epoch="epoch", index=9),
)
RECORDS: list[Record] = [
    actual_lrp(),
    actual_lrp("null", internal_routes=None, metric_tags=None),
    RUNNING,
    desired_lrp(annotation="two\nlines", PlacementTags=["a", 'b"c'], ports=[1, 2]),
    Domain(name="cf-apps", expire_time_ns=2**63 - 1),
    task(state=TaskState.Completed, result="r\n" * 2000, failed=True, failure_reason="é", cell_id="c"),
    task("unreadable", definition=b"", unreadable="02!", rejection_count=2, rejection_reason="no"),
]


class World:
    """What backends share, and how to break it. ``open`` gives another process' backend."""

    def __init__(self, open_backend: Callable[..., Any]) -> None:
        self._open = open_backend
        self._opened: list[Backend] = []
        self.dropped: list[DroppedRow] = []

    def open(self, keyring: Keyring = KEYRING, **settings: Any) -> Any:
        backend = self._open(keyring, on_dropped=self.dropped.append, lock_poll_s=0.02, **settings)
        self._opened.append(backend)
        return backend

    async def open_writer(self, keyring: Keyring = KEYRING, **settings: Any) -> Any:
        backend = self.open(keyring, **settings)
        await backend.acquire_writer_lock()
        return backend

    async def close(self) -> None:
        for backend in self._opened:
            await backend.aclose()

    async def break_connection(self, backend: Any) -> None:
        raise NotImplementedError

    async def spoil(self, record: Record, **columns: Any) -> None:
        raise NotImplementedError

    async def count(self, record_class: type[Record]) -> int:
        raise NotImplementedError


class SQLWorld(World):
    """On a real database. ``execute``, ``fetch`` and ``fetchval`` are somebody else's session."""

    execute: Callable[..., Awaitable[Any]]
    fetch: Callable[..., Awaitable[Any]]
    fetchval: Callable[..., Awaitable[Any]]

    async def count(self, record_class: type[Record]) -> int:
        count: int = await self.fetchval(f"SELECT count(*) FROM {CODECS[record_class].table}")
        return count


class PostgresWorld(SQLWorld):
    def __init__(self, database_url: str, connection: "asyncpg.Connection[Any]") -> None:
        dsn = parse_dsn(database_url)
        super().__init__(lambda keyring, **settings: PostgresBackend(dsn, keyring, **settings))
        self.execute = aio_as_trio(connection.execute)
        self.fetch = aio_as_trio(connection.fetch)
        self.fetchval = aio_as_trio(connection.fetchval)

    async def break_connection(self, backend: Any) -> None:
        pid = backend._connection.get_server_pid()
        await self.execute("SELECT pg_terminate_backend($1)", pid)
        await wait_until(
            lambda: self.fetchval("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid),
            within_s=10,
            what="the session has ended",
        )

    async def spoil(self, record: Record, **columns: Any) -> None:
        codec = CODECS[type(record)]
        for name, value in columns.items():
            values = codec.key_values(record.key)
            matches = " AND ".join(f"{key.name} = ${i}" for i, key in enumerate(codec.key, 2))
            await self.execute(f"UPDATE {codec.table} SET {name} = $1 WHERE {matches}", value, *values)


class MySQLWorld(SQLWorld):
    def __init__(self, dsn: str, session: Session) -> None:
        super().__init__(lambda keyring, **settings: MySQLBackend(parse_mysql_dsn(dsn), keyring, **settings))
        self.execute = self.fetch = aio_as_trio(session.fetch)
        self.fetchval = aio_as_trio(session.value)

    async def break_connection(self, backend: Any) -> None:
        number = backend._session.id
        await self.execute(f"KILL {number}")

        async def has_ended() -> bool:
            there = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number}"
            return bool(await self.fetchval(there) == 0)

        await wait_until(has_ended, within_s=10, what="the session has ended")

    async def spoil(self, record: Record, **columns: Any) -> None:
        codec = CODECS[type(record)]
        key = codec.key_values(record.key)
        matches = " AND ".join(
            f"{column.name} = {literal(value)}" for column, value in zip(codec.key, key, strict=True)
        )
        for name, value in columns.items():
            await self.execute(f"UPDATE {codec.table} SET {name} = {literal(value)} WHERE {matches}")


class MemoryWorld(World):
    def __init__(self) -> None:
        self.disk = Disk()
        super().__init__(lambda keyring, **settings: MemoryBackend(self.disk, keyring, **settings))

    async def break_connection(self, backend: Any) -> None:
        backend.lose_session()

    async def spoil(self, record: Record, **columns: Any) -> None:
        codec = CODECS[type(record)]
        rows, key = self.disk.rows[codec.table], codec.key_values(record.key)
        names = [column.name for column in codec.columns]
        rows[key] = tuple((dict(zip(names, rows[key], strict=True)) | columns).values())

    async def count(self, record_class: type[Record]) -> int:
        return len(self.disk.rows[CODECS[record_class].table])


async def load(backend: Backend) -> list[Record]:
    records = []
    async for rows in backend.load(Seen()):
        for row in rows:
            assert row.record is not None
            assert row == put(row.record)
            records.append(row.record)
    return records


def by_key(records: Iterable[Record]) -> dict[RowKey, Record]:
    return {put(record).key: record for record in records}


async def write_until_done(backend: Backend, rows: list[Row]) -> None:
    while True:
        try:
            await backend.write(rows)
        except BackendUnavailable:
            continue
        return
