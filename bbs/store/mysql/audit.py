"""What an audit asks MySQL, on a session of its own.

Rows do not remember here who wrote them, so of an audit's three questions (`bbs.convergence.audit`) the first has no answer: a
row that somebody else has written is found when it is its turn to be compared, and rows that came or went by their number.
"""

from collections.abc import Sequence
from typing import Any

from bbs.models.errors import UnknownError
from bbs.models.outcome import Record
from bbs.store.backend import StatementRejected
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.foreign_changes import Look, Snapshot
from bbs.store.mysql.dsn import MySQLDSN
from bbs.store.mysql.literals import literal
from bbs.store.mysql.rows import with_booleans
from bbs.store.mysql.session import Session, side_session
from bbs.store.mysql.statements import WRITER_TOKEN_ID, booleans, number_in, page_statement

_TRANSACTION = f"SELECT value FROM configurations WHERE id = {literal(WRITER_TOKEN_ID)}"


class MySQLAudit:
    """A `bbs.store.foreign_changes.DatabaseAudit`. ``statement_s`` and ``connect_s`` bound a statement and an attempt to
    connect, in seconds.
    """

    def __init__(self, dsn: MySQLDSN, *, statement_s: float = 10.0, connect_s: float = 5.0) -> None:
        self.connection = side_session(dsn, connect_s=connect_s, statement_s=statement_s)

    async def now(self) -> int:
        return await self.connection.run(_now)

    async def look(self, *, since: int, ours: Sequence[int]) -> Look:
        return await self.connection.run(_look)

    async def page(
        self, record_class: type[Record], *, after: Values, rows: int, whole: bool
    ) -> list[Sequence[Any]]:
        codec = CODECS[record_class]
        page = await self.connection.run(Session.fetch, page_statement(codec, after, rows, whole=whole))
        return [with_booleans(row, booleans(codec, whole=whole)) for row in page]

    def leave(self) -> None:
        self.connection.abandon()

    async def aclose(self) -> None:
        await self.connection.aclose()


async def _now(session: Session) -> int:
    return _number(await session.fetch(_TRANSACTION)) + 1


async def _look(session: Session) -> Look:
    # One moment for all of it: the writer's last transaction, and the numbers of rows it has left.
    _, _, transaction, *counts, _ = await session.run(
        [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            _TRANSACTION,
            *(f"SELECT COUNT(*) FROM {codec.table}" for codec in CODECS.values()),
            "COMMIT",
        ]
    )
    next_ = _number(transaction) + 1
    return Look(
        Snapshot(next_, next_, frozenset()),
        {record_class: count for record_class, [(count,)] in zip(CODECS, counts, strict=True)},
        foreign=(),
    )


def _number(rows: Sequence[Sequence[Any]]) -> int:
    number = number_in(rows[0][0] or "") if rows else None
    if number is None:
        raise StatementRejected(UnknownError("the writer's row in the table configurations is gone"))
    return number
