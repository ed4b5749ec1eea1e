"""What an audit and the committer exchange: which transactions were ours, and which rows to compare.

`bbs.convergence.audit` describes the whole way of a change that somebody else made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import trio

from bbs.models.outcome import Announcement, Record, Row, RowKey
from bbs.store.codecs.columns import Values

LOW_32_BITS: Final = 0xFFFF_FFFF
"""A row's ``xmin`` holds only these bits of the id of the transaction that wrote it; ids themselves have 64. So ids are cut
down before they are compared with rows. That is safe because an audit compares only what is a few minutes old, and the lower
bits come around again after four billion transactions; Postgres' ``age`` takes that turn into account."""


@dataclass(frozen=True, slots=True)
class Written:
    """A transaction of ours: its id, and by how many rows each table grew through it."""

    transaction: int
    grown: Mapping[type[Record], int]


Announce = Callable[[Sequence[Row]], tuple[Announcement, ...]]
"""Gives the announcements of rows that are about to be taken over from the database. When it is called `committed` still has
the rows as they were before."""


def silently(rows: Sequence[Row]) -> tuple[Announcement, ...]:
    """An `Announce` that tells nobody."""
    return ()


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of a comparison: rows that were taken over, and keys of those that can't be read."""

    taken_over: list[Row]
    left_out: list[RowKey]


@dataclass(eq=False, slots=True)
class Comparison:
    """A call of `Store.reconcile` that waits for the committer, which sets ``result`` and then ``done``.

    ``confirms``: the committer also makes sure that the writer lock is still ours, which is all that `Store.confirm` wants.
    """

    keys: Sequence[RowKey]
    announce: Announce
    confirms: bool = False
    done: trio.Event = field(default_factory=trio.Event)
    result: Reconciled | BaseException | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions can be seen: all before ``oldest``, none from ``next_`` on, and not those ``running``."""

    oldest: int
    next_: int
    running: frozenset[int]

    def shows(self, transaction: int) -> bool:
        return transaction < self.oldest or (transaction < self.next_ and transaction not in self.running)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A row that none of our transactions has written: its key columns, and the transaction's lower 32 bits."""

    record_class: type[Record]
    key: Values
    version: int


@dataclass(frozen=True, slots=True)
class Look:
    """All tables at one moment: how many rows each has, and those that somebody else has written."""

    snapshot: Snapshot
    counts: Mapping[type[Record], int]
    foreign: tuple[Foreign, ...]


class DatabaseAudit(Protocol):
    """What an audit asks the database. Every call raises `BackendUnavailable` or `StatementRejected`; the next one connects
    anew.
    """

    async def now(self) -> int:
        """The oldest transaction that somebody may still be writing in. What is read later has all before it."""

    async def look(self, *, since: int, ours: Sequence[int]) -> Look:
        """Look for rows written since transaction ``since`` by none of ``ours``, where rows remember who wrote them; and count
        all rows.
        """

    async def page(
        self, record_class: type[Record], *, after: Values, rows: int, whole: bool
    ) -> list[Sequence[Any]]:
        """At most ``rows`` rows behind the key ``after`` (``()``: from the first), in the order of keys. Each has all its
        columns if ``whole``, else those of its key, and its version as the last value.
        """

    def leave(self) -> None:
        """Have the next call connect anew."""

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
