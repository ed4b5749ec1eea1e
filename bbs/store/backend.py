"""What the store needs of a database, and the three ways in which it can fail.

A backend belongs to one process that holds the *writer lock*: nobody else can write while it does, and a process that
has lost the lock finds out before it writes again. `bbs.store.postgres` is the real one; `bbs.store.memory_backend`
keeps the same promises without a database.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence
from bbs.models.errors import BBSError
from bbs.models.outcome import Record, Row, RowKey
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values


class BackendUnavailable(Exception):
    """The database did not answer, or not yet. A write may or may not have happened.

    To write the same rows again is safe. To give up is not: if the connection broke during COMMIT the database may have
    the rows although everybody was told that the write failed, so the store writes the former versions back (it *mends*
    the rows) before it writes anything else.
    """


class StatementRejected(Exception):
    """The database rejected a statement for what is in it, and wrote nothing. ``error`` is the answer to the request."""

    def __init__(self, error: BBSError) -> None:
        super().__init__(str(error))
        self.error = error


class WriterLockLost(Exception):
    """Somebody else has held the writer lock since we did, so our memory may be stale. This backend writes nothing more."""


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that could not be read. ``deleted`` says that it is gone; else it stays in its table, unseen."""

    table: str
    key: Values
    reason: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Rows that were asked for by their keys; those that are not there have no record.

    ``left_out`` are those that are there and can't be read: the process does as if they were not.
    """

    rows: list[Row]
    left_out: list[RowKey]


FORGOTTEN_ROWS: int = 64
"""Rows that a standby drops from memory between two checkpoints."""


@dataclass(slots=True)
class Seen:
    """Which version of which row has been read, so that reading again costs what has changed since.

    A version is the row's ``xmin``: a transaction leaves at most one version of a row behind, so two versions of one
    row differ in it. (Transaction ids come around again after four billion; a standby looks every few seconds.)
    """

    versions: dict[type[Record], dict[Values, int]] = field(
        default_factory=lambda: {record_class: {} for record_class in CODECS}
    )
    server: str = ""
    """Where they were read. On another server, or on one that was restored from a backup, a transaction of the same number has
    written something else."""
    elsewhere: dict[type[Record], frozenset[Values]] = field(default_factory=dict)
    """Keys that were read on another server, by the tables that have not been read whole since."""

    def read_on(self, server: str) -> None:
        """What is read from now on comes from this server. If that is another one than before, all rows have to be read."""
        if self.server not in ("", server):
            for record_class, versions in self.versions.items():
                known = self.elsewhere.get(record_class, frozenset())
                self.elsewhere[record_class] = known.union(versions)
                versions.clear()
        self.server = server

    def gone_since_elsewhere(self, record_class: type[Record]) -> list[Row]:
        """Rows that were read on another server and that this one does not have: its table has been read whole by now."""
        versions = self.versions[record_class]
        keys = self.elsewhere.pop(record_class, frozenset())
        return [Row(row_key(record_class, key), None) for key in keys if key not in versions]

    def forget(self) -> Iterator[list[Row]]:
        """Forget that anything was seen. Yields the rows to drop from memory, in slices."""
        while self.elsewhere:
            record_class, known = self.elsewhere.popitem()
            self.versions[record_class] |= dict.fromkeys(known - self.versions[record_class].keys(), 0)
        for record_class, versions in self.versions.items():
            while keys := list(islice(versions, FORGOTTEN_ROWS)):
                yield [self.gone(record_class, key) for key in keys]

    def note(self, row: Row, version: int) -> None:
        """That this version of a row was seen, or that it is gone."""
        versions = self.versions[row.key.table]
        key = CODECS[row.key.table].key_values(row.key.key)
        if row.record is None:
            versions.pop(key, None)
        else:
            versions[key] = version

    def gone(self, record_class: type[Record], key: Values) -> Row:
        """Forget that one row was seen; returns it without a record, to be dropped from memory."""
        del self.versions[record_class][key]
        return Row(row_key(record_class, key), None)


def row_key(record_class: type[Record], key: Values) -> RowKey:
    """The key of a row, given the values of its table's key columns.

    Raises:
      ValueError: no record has such a key (its presence is none of ours).
    """
    if record_class is ActualLRP:
        process_guid, index, presence = key
        return RowKey(ActualLRP, ActualLRPKey(process_guid, index, Presence(presence)))
    return RowKey(record_class, key[0])


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where the log of a database server ends. ``system`` is made with its data, ``timeline`` counts its promotions, and
    everything that was committed stands before ``position``.
    """

    system: str
    timeline: int
    position: int


class Source(Protocol):
    """What a standby reads while another process writes."""

    def follow(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        """The rows that have changed since ``seen``, which is brought up to date as the slices are taken.

        Rows that can't be read are left out without a word: the writer deals with them.

        Raises:
          BackendUnavailable, StatementRejected: what was yielded is good; go on later.
        """


class Backend(Protocol):
    """One process' way to the database.

    Call `acquire_writer_lock` first and `load` once, then `write` as often as needed, one call at a time.
    """

    async def acquire_writer_lock(self) -> None:
        """Wait until nobody else holds the writer lock, and take it. Makes the schema ready if need be.

        Waits without a deadline: a standby has nothing else to do.

        Raises:
          BackendUnavailable: try again.
          SchemaError: the database can't be used as it is; trying again won't help.
          StatementRejected: nor will it here: the server does not let us make or read what we must.
          WriterLockLost: we held the lock before, and somebody else did since.

        Cancellation:
          Safe at any time; call again or close.
        """

    def load(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        """All rows of all tables but those ``seen``, in slices small enough to handle without a checkpoint.

        Rows that were ``seen`` and are gone now come without a record. Those that can't be read are left out, and reported
        as `DroppedRow` to the backend's ``on_dropped``.

        Raises:
          BackendUnavailable: what was yielded is good; call again.
          StatementRejected: a table can't be read.
        """

    async def write(self, rows: Sequence[Row]) -> int:
        """Write all ``rows`` or none. No two have the same key. Writing the same rows twice is writing them once.

        Returns the id of the transaction: later ones have greater ids.

        Raises:
          BackendUnavailable: it may have happened or not. Call again; the backend connects anew by itself.
          StatementRejected: it has not happened, and would not if tried again.
          WriterLockLost: it has not happened, and somebody else is master.

        Cancellation:
          It may have happened or not.
        """

    async def read(self, keys: Sequence[RowKey]) -> "ReadBack":
        """These rows as the database has them now.

        Raises:
          BackendUnavailable, StatementRejected: as `load`.
          WriterLockLost: somebody else is master.
        """

    def watch_session(self, on_lost: Callable[[], None]) -> None:
        """Have ``on_lost`` called as soon as the session that holds the writer lock ends, unless we ended it ourselves."""

    async def hold(self) -> None:
        """Make sure that the writer lock is ours, and was nobody else's: connect anew if need be.

        Raises:
          BackendUnavailable, StatementRejected: nobody can say; call again.
          WriterLockLost: somebody else is master.
        """

    async def aclose(self) -> None:
        """Give the writer lock back and close. A second call does nothing."""
