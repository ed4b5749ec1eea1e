"""What the store needs of a database, and the three ways in which it can fail.

A backend belongs to one process that holds the *writer lock*: nobody else can write while it does, and a process that
has lost the lock finds out before it writes again. `bbs.store.postgres` is the real one; `bbs.store.memory_backend`
keeps the same promises without a database.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bbs.models.errors import BBSError
from bbs.models.outcome import Row
from bbs.store.codec import Values


class BackendUnavailable(Exception):
    """The database did not answer, or not yet. A write may or may not have happened; writing the same again is safe."""


class BatchRefused(Exception):
    """The database refused a write for what is in it, and wrote nothing. ``error`` is the answer to the request."""

    def __init__(self, error: BBSError) -> None:
        super().__init__(str(error))
        self.error = error


class WriterLockLost(Exception):
    """Somebody else has held the writer lock since we did, so our memory may be stale. Nothing can be written again."""


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that could not be read. ``deleted`` says that it is gone; else it stays in its table, unseen."""

    table: str
    key: Values
    reason: str
    deleted: bool


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
          BatchRefused: nor will it here: the server does not let us make or read what we must.
          WriterLockLost: we held the lock before, and somebody else did since.

        Cancellation:
          Safe at any time; call again or close.
        """

    def load(self) -> AsyncIterator[list[Row]]:
        """All rows of all tables, in slices; a slice is small enough to handle without a checkpoint.

        Rows that can't be read are left out, and reported as `DroppedRow` to whom the backend was told to.

        Raises:
          BackendUnavailable: begin anew, with empty tables.
          BatchRefused: a table can't be read.
        """

    async def write(self, rows: Sequence[Row]) -> None:
        """Write all ``rows`` or none. No two have the same key. Writing the same rows twice is writing them once.

        Raises:
          BackendUnavailable: it may have happened or not. Call again; the backend connects anew by itself.
          BatchRefused: it has not happened, and would not if tried again.
          WriterLockLost: it has not happened, and somebody else is master.

        Cancellation:
          It may have happened or not.
        """

    async def aclose(self) -> None:
        """Give the writer lock back and close. A second call does nothing."""
