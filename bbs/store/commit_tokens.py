"""Where in Postgres' log the writer's last commit is.

Postgres does not tell a session where its commit record is. But once the commit has been answered, the log has been written
at least so far, so the end of the log just then is a place that nobody can have come to without the commit. With
``synchronous_commit = off`` a commit is answered before it is written, and only the end of what is *inserted* is behind it.
That may take longer to come to: others may have inserted what is not written before somebody commits, up to the 15 seconds
after which Postgres writes by itself.

It has to be asked in a statement of its own, after the commit, which costs a batch a third of its CPU again. So it is not asked
while nobody follows, as the batch itself finds out. Nothing is lost by that: whoever begins to follow after it has looked waits
for the transactions that run, so the batch is in what he begins with. Turned down: several statements in one text, whose last result
alone the driver gives, and which takes no parameters; a procedure that commits and then looks, since the database may be
shared with upstream's server and has no procedures of ours; the end of the log when the next batch begins, since the
answer to the write is out by then.
"""

from typing import Any, Final

import asyncpg

from bbs.store.backend import StatementRejected
from bbs.store.driver_errors import meaning
from bbs.store.primaries import timeline_of
from bbs.store.statements import IS_FOLLOWED
from bbs.store.tokens import Token

PAGE_BYTES: Final = 8192
PAGE_HEADER_BYTES: Final = 24
"""Of a page of the log, but for the first one of a file, which has more."""

_IS_LOGICAL: Final = "SELECT current_setting('wal_level', true) = 'logical'"

_POSITIONS: Final = """
SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint, (pg_current_wal_insert_lsn() - '0/0')::bigint,
       current_setting('synchronous_commit') = 'off'"""


class CommitTokens:
    """The token of what one writer's sessions have committed. Runs under asyncio."""

    def __init__(self) -> None:
        self.latest: Token | None = None
        """Of the last commit that was answered, or a later place; None while nobody follows the log."""
        self._timeline: int | None = None

    @property
    def can_be_told(self) -> bool:
        """Whether batches are to look whether somebody follows, and `committed` is to be called."""
        return self._timeline is not None

    async def begin(self, connection: "asyncpg.Connection[Any]") -> None:
        """Look at a session that is the writer's from now on. What it finds in the database is behind `latest`, too."""
        self._timeline = self.latest = None
        if await connection.fetchval(_IS_LOGICAL):
            self._timeline = await timeline_of(connection)
            is_followed = await connection.fetchval(f"SELECT {IS_FOLLOWED}")
            if self._timeline is not None:
                await self.committed(connection, asynchronously=False, is_followed=is_followed)

    async def committed(
        self, connection: "asyncpg.Connection[Any]", *, asynchronously: bool, is_followed: bool
    ) -> None:
        """Bring `latest` up to date: the session has just committed, ``asynchronously`` if it was told so before it was written.

        Raises:
          Exception: the session is broken, so the commit had better be done again: without a token it would be no use to
            clients that wait for one.
        """
        assert self._timeline is not None, "it can't be told"
        if not is_followed:
            self.latest = None
            return
        try:
            row = await connection.fetchrow(_POSITIONS)
        except asyncpg.PostgresError as refusal:
            if not isinstance(meaning(refusal), StatementRejected):
                raise
            # Not every service that speaks Postgres says. As a rejection this would be taken for one of the commit.
            self._timeline = self.latest = None
            return
        assert row is not None
        flushed, inserted, is_asynchronous = row
        # The setting may have been changed since the commit.
        is_written = not (asynchronously or is_asynchronous)
        self.latest = Token(self._timeline, flushed if is_written else end_of_records(inserted))


def end_of_records(inserted: int) -> int:
    """Where the last record ends, if the next one is going to begin at ``inserted``: these differ by a page's header, and
    nobody comes to the end of a header before there is a record behind it.

    The longer header of a file's first page is not taken off: behind as many bytes of another page there may be a record's
    end. Whoever waits for such a place waits for the next record.
    """
    return inserted - PAGE_HEADER_BYTES if inserted % PAGE_BYTES == PAGE_HEADER_BYTES else inserted
