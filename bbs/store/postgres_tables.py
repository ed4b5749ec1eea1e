"""Rows of Postgres as they are stored, for a copy to another database."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from bbs.models.outcome import Record
from bbs.store import schema
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import SQLType, Values
from bbs.store.copying import PAGE_ROWS
from bbs.store.crypto import Keyring
from bbs.store.dsn import DSN
from bbs.store.statements import TableWrite, batch_statement, page_statement

STATEMENT_S = 60.0
CONNECT_S = 10.0

NO_KEYS = Keyring({"none": ""}, "none")
"""For a migration of an empty database, in which there is nothing to open or to seal."""


class PostgresTables:
    """A `bbs.store.copying.Tables`."""

    def __init__(self, dsn: DSN) -> None:
        self.name = f"Postgres database {dsn.database} at {dsn.where}"
        self._connection = dsn.side_connection(connect_s=CONNECT_S, statement_s=STATEMENT_S)

    async def server_version(self) -> str:
        [(version,)] = await self._connection.run(_fetch, "SHOW server_version")
        return f"Postgres {version}"

    async def others(self) -> list[str]:
        rows = await self._connection.run(
            _fetch,
            "SELECT coalesce(nullif(application_name, ''), usename) || ' from ' || coalesce(host(client_addr), 'a socket')"
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        )
        return [who for (who,) in rows]

    async def make_schema(self) -> None:
        await self._connection.run(schema.migrate, NO_KEYS)

    async def configuration(self, row_id: str) -> str | None:
        [(there,)] = await self._connection.run(_fetch, "SELECT to_regclass('configurations') IS NOT NULL")
        if not there:
            return None
        rows = await self._connection.run(_fetch, "SELECT value FROM configurations WHERE id = $1", row_id)
        return rows[0][0] if rows else None

    async def configure(self, row_id: str, value: str) -> None:
        await self._connection.run(schema.configure, row_id, value)

    async def count(self, codec: Codec) -> int:
        [(count,)] = await self._connection.run(_fetch, f"SELECT count(*) FROM {codec.table}")
        return int(count)

    async def page(self, record_class: type[Record], after: Values) -> Sequence[Values]:
        statement = page_statement(CODECS[record_class], first=not after, whole=True)
        rows = await self._connection.run(_fetch, statement, *after, PAGE_ROWS)
        return [tuple(row)[:-1] for row in rows]

    async def put(self, codec: Codec, rows: Sequence[Values]) -> None:
        arrays = [list(column) for column in zip(*rows, strict=True)]
        await self._connection.run(_fetch, batch_statement((TableWrite(codec, deletes=False),)), *arrays)

    async def delete(self, codec: Codec, keys: Sequence[Values]) -> None:
        arrays = [list(column) for column in zip(*keys, strict=True)]
        await self._connection.run(_fetch, batch_statement((TableWrite(codec, deletes=True),)), *arrays)

    def refusal(self, codec: Codec, row: Values) -> str | None:
        for value, column in zip(row, codec.columns, strict=True):
            if column.type is SQLType.TEXT and value is not None and "\0" in value:
                return f"{column.name} has a NUL character, which Postgres does not store"
        return None

    async def aclose(self) -> None:
        await self._connection.aclose()


async def _fetch(connection: "asyncpg.Connection[Any]", statement: str, *parameters: object) -> list[Any]:
    return await connection.fetch(statement, *parameters)
