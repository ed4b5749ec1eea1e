"""Rows of MySQL as they are stored, for a copy to another database."""

from collections.abc import Sequence
from typing import Final

from bbs.models.outcome import Record
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import Values
from bbs.store.copying import PAGE_ROWS
from bbs.store.mysql import schema
from bbs.store.mysql.chunks import chunks
from bbs.store.mysql.dsn import MySQLDSN
from bbs.store.mysql.literals import row
from bbs.store.mysql.rows import with_booleans
from bbs.store.mysql.session import Session, side_session
from bbs.store.mysql.statements import booleans, delete_statement, page_statement, put_statements
from bbs.store.postgres_tables import CONNECT_S, NO_KEYS, STATEMENT_S
from bbs.store.statements import TableWrite

BYTES_MAX: Final = {"placement_tags": 65_535, "internal_routes": 16_777_215, "metric_tags": 16_777_215}
"""What the columns hold that are narrower than Postgres' (spec: mysql.md §2.1)."""

ROW_BYTES_MAX: Final = 1_000_000
"""Rows are sent in texts of about this size; a larger row is one of its own."""


class MySQLTables:
    """A `bbs.store.copying.Tables`."""

    def __init__(self, dsn: MySQLDSN) -> None:
        place = dsn.socket or f"{dsn.host}:{dsn.port}"
        self.name = f"MySQL database {dsn.database} at {place}"
        self._session = side_session(dsn, connect_s=CONNECT_S, statement_s=STATEMENT_S)

    async def server_version(self) -> str:
        return f"MySQL {await self._session.run(Session.value, 'SELECT VERSION()')}"

    async def others(self) -> list[str]:
        rows = await self._session.run(
            Session.fetch,
            "SELECT user, host FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        )
        return [f"{user} from {host or 'a socket'}" for user, host in rows]

    async def make_schema(self) -> None:
        async def migrate(session: Session) -> None:
            await schema.migrate(session, NO_KEYS, tell=lambda action, data: None)

        await self._session.run(migrate)

    async def configuration(self, row_id: str) -> str | None:
        there = await self._session.run(
            Session.value,
            "SELECT COUNT(*) FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = 'configurations'",
        )
        return await self._session.run(schema.configured, row_id) if there else None

    async def configure(self, row_id: str, value: str) -> None:
        await self._session.run(schema.configure, row_id, value)

    async def count(self, codec: Codec) -> int:
        return int(await self._session.run(Session.value, f"SELECT COUNT(*) FROM {codec.table}"))

    async def page(self, record_class: type[Record], after: Values) -> Sequence[Values]:
        codec = CODECS[record_class]
        rows = await self._session.run(Session.fetch, page_statement(codec, after, PAGE_ROWS, whole=True))
        return [with_booleans(values, booleans(codec))[:-1] for values in rows]

    async def put(self, codec: Codec, rows: Sequence[Values]) -> None:
        for some in chunks(list(map(row, rows)), ROW_BYTES_MAX):
            # Bytewise: whether two keys have met is seen when all rows are compared.
            [statement] = put_statements(TableWrite(codec, deletes=False), some, (), bytewise=True)
            await self._session.run(Session.fetch, statement)

    async def delete(self, codec: Codec, keys: Sequence[Values]) -> None:
        statement = delete_statement(TableWrite(codec, deletes=True), keys, bytewise=False)
        await self._session.run(Session.fetch, statement)

    def refusal(self, codec: Codec, row: Values) -> str | None:
        for value, column in zip(row, codec.columns, strict=True):
            bytes_max = BYTES_MAX.get(column.name)
            if bytes_max is not None and value is not None and len(value.encode()) > bytes_max:
                return f"{column.name} has more than {bytes_max} bytes, which MySQL's column holds"
        return None

    async def aclose(self) -> None:
        await self._session.aclose()
