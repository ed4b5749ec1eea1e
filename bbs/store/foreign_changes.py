"""What an audit and the committer tell each other: which transactions were ours, and which rows to compare.

See `bbs.convergence.audit` for the whole way of a change that somebody else made.
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
"""What to tell of rows that are about to be taken over from the database; `committed` still has what was before."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of a comparison: rows that were taken over, and keys of those that can't be read."""

    taken_over: list[Row]
    left_out: list[RowKey]


@dataclass(eq=False, slots=True)
class Comparison:
    """A call of `reconcile` on its way to the committer."""

    keys: Sequence[RowKey]
    announce: Announce
    done: trio.Event = field(default_factory=trio.Event)
    result: Reconciled | BaseException | None = None
