"""A database on MySQL or MariaDB, and the ways to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.health_check import Probe
from bbs.store.mysql.audit import MySQLAudit
from bbs.store.mysql.backend import MySQLBackend
from bbs.store.mysql.dsn import MySQLDSN
from bbs.store.mysql.errors import words
from bbs.store.mysql.session import Session, side_session
from bbs.store.mysql.tables import MySQLTables
from bbs.store.schema import OnMigration


@dataclass(frozen=True, slots=True)
class MySQLDatabase:
    """A `bbs.store.database.Database` on MySQL or MariaDB. ``connect_s`` bounds an attempt to connect and ``statement_s`` each
    crossing, in seconds.
    """

    dsn: MySQLDSN
    connect_s: float = 5.0
    statement_s: float = 10.0

    def backend(
        self,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None] = lambda row: None,
        on_migration: OnMigration = lambda action, data: None,
    ) -> MySQLBackend:
        return MySQLBackend(
            self.dsn,
            keyring,
            on_dropped=on_dropped,
            on_migration=on_migration,
            connect_s=self.connect_s,
            statement_s=self.statement_s,
        )

    def changes(self, keyring: Keyring) -> None:
        """MySQL's log can't be followed here."""

    def audit(self) -> MySQLAudit:
        return MySQLAudit(self.dsn, connect_s=self.connect_s, statement_s=self.statement_s)

    def probe(self, *, connect_s: float) -> Probe[Any]:
        return Probe(side_session(self.dsn, connect_s=connect_s), note=_note, read=_read, words=words)

    def tables(self) -> MySQLTables:
        return MySQLTables(self.dsn)


async def _note(session: Session, now_ns: int) -> None:
    await session.fetch(
        f"INSERT INTO bbs_health_check (id, time) VALUES (1, {now_ns})"
        " ON DUPLICATE KEY UPDATE time = VALUES(time)"
    )


async def _read(session: Session) -> object:
    return await session.value("SELECT time FROM bbs_health_check WHERE id = 1")
