"""What an audit and the committer exchange: which transactions were ours, and which rows to compare.

`bbs.convergence.audit` describes the whole way of a change that somebody else made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from bbs.models.outcome import Announcement, Record, Row, RowKey


@dataclass(frozen=True, slots=True)
class Written:
    """A transaction of ours: its id, and by how many rows each table grew through it."""

    transaction: int
    grown: Mapping[type[Record], int]


Announce = Callable[[Sequence[Row]], tuple[Announcement, ...]]
"""Gives the announcements of rows that are about to be taken over from the database. When it is called `committed` still has
the rows as they were before."""


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
