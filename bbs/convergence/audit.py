"""Keeps memory what the database is, whoever has written there.

The server holds the writer lock, but nobody can keep an operator from repairing rows by hand, or a fail-over from losing
the last commits. So before each convergence pass the database is asked what differs from what we wrote. What does is
taken over as if it had been a change of ours: readers see it, subscribers hear of it, convergence acts on it. Each finding
is only a suspicion until the committer, between two batches, has compared the row itself (`Store.reconcile`).

It asks three questions:

1. Which rows have been written since the last audit, by none of our transactions? A row remembers its transaction.
2. Are there as many rows as we know of? If not, keys are compared: a row that somebody deleted leaves nothing behind.
3. Do the next few thousand rows say what memory says? That finds what the others can't, in turns around all tables; and
   everything soon after a lost session, since behind the connection there may be another Postgres now. If one of them is a
   row that memory did not have, another one must have gone, or the numbers would not have been the same: keys are compared.

MySQL has no answer to the first question. There the third one finds what somebody has changed.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from bbs.concurrency.turns import in_turns, sliced
from bbs.convergence.taken_over import announcements_of
from bbs.log import Logger
from bbs.models.outcome import Record, Row, RowKey
from bbs.store.backend import BackendUnavailable, StatementRejected, row_key
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.crypto import Keyring
from bbs.store.foreign_changes import LOW_32_BITS, DatabaseAudit, Foreign, Look
from bbs.store.store import Store

RECONCILED_ROWS: Final = 100
"""Rows that the committer compares between two batches: 5 ms, for which writes wait."""

COMPARED_ROWS: Final = 4_000
"""Rows read and compared per audit by turns: 0.25 s of CPU in slices."""

COMPARED_ROWS_AFTER_LOSS: Final = 50_000
"""The same after a lost session, until all have been compared: 3 s of CPU in slices."""

PAGE_ROWS: Final = 250
PAGE_KEYS: Final = 4_000

LOOKED_UP_IN_A_TURN: Final = 4_000
"""Keys of one side looked up in the other between two checkpoints: 2 ms."""

SLICE_ROWS: Final = 32
"""Rows decoded between two checkpoints: 2 ms, if they are DesiredLRPs."""

TOLD_MAX: Final = 100
"""Rows named in the log per audit. All are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStatistics:
    """``audits``, those of them that ``failed``, and rows ``taken_over`` count since the start. ``seconds`` is how long the
    last audit took.
    """

    audits: int = 0
    failed: int = 0
    taken_over: int = 0
    seconds: float = 0.0


class Audit:
    """Call `begin` before the store is loaded and `run` afterwards, as often as wanted.

    ``sessions`` counts the connections that the store's backend has made: one more is a lost session.
    """

    def __init__(
        self,
        store: Store,
        database: DatabaseAudit,
        keyring: Keyring,
        *,
        sessions: Callable[[], int],
        log: Logger,
        compared_rows: int = COMPARED_ROWS,
    ) -> None:
        self._store = store
        self._database = database
        self._keyring = keyring
        self._sessions = sessions
        self._log = log.session("database-audit")
        self._compared_rows = compared_rows
        self._since = 0
        self._left_out: set[tuple[type[Record], Values]] = set()
        self._turns = _Turns()
        self._sessions_seen = 0
        self._rows_to_go = 0
        self._statistics = AuditStatistics()

    def statistics(self) -> AuditStatistics:
        return self._statistics

    async def begin(self) -> None:
        """Note which transactions are over: all that are not will be looked at by the first `run`. Before the load, so that
        nothing which somebody else writes during the load is missed.

        Raises:
          BackendUnavailable, StatementRejected: nothing was noted; call again.
        """
        self._since = await self._database.now()
        self._sessions_seen = self._sessions()

    async def run(self) -> None:
        """One audit. If the database does not answer that is logged, and the next audit looks from the same transaction on.

        Cancellation:
          Gives up the audit; rows may be taken over all the same.
        """
        began = trio.current_time()
        failed, taken_over = 0, 0
        try:
            taken_over = await self._audit()
        except (BackendUnavailable, StatementRejected) as trouble:
            failed = 1
            self._log.error("failed", error=trouble)
        before = self._statistics
        self._statistics = AuditStatistics(
            audits=before.audits + 1,
            failed=before.failed + failed,
            taken_over=before.taken_over + taken_over,
            seconds=trio.current_time() - began,
        )

    async def _audit(self) -> int:
        store = self._store
        if self._sessions() != self._sessions_seen:
            # Another server may be the primary now, and the one that was may go on as if it still were.
            self._database.leave()
        look = await self._database.look(
            since=self._since, ours=[written.transaction for written in store.written]
        )
        # The look may have seen a transaction of ours whose batch had not landed in memory yet: it was not in `written`, so
        # its rows look foreign, and memory lacks them. When this returns, every batch that was durable then has landed, so
        # `written` and the sizes of the tables below are no older than the look.
        await store.reconcile((), announcements_of(store.committed))
        ours = {written.transaction & LOW_32_BITS for written in store.written}
        foreign = [self._row_key(each) for each in look.foreign if each.version not in ours]
        suspects = {key: None for key in foreign if key is not None}
        compared = set(self._classes_of_another_size(look, suspects))
        for record_class in compared:
            suspects |= dict.fromkeys(await self._keys_of_one_side(record_class))
        turn = await self._next_rows_that_differ()
        came = {key for key in turn.keys if key not in suspects and store.committed.get(key) is None}
        suspects |= dict.fromkeys(turn.keys)
        taken_over: list[Row] = []
        try:
            await self._take_over(list(suspects), taken_over)
            replaced = turn.without_key | {row.key.table for row in taken_over if row.key in came}
            for record_class in replaced - compared:
                await self._take_over(await self._keys_of_one_side(record_class), taken_over)
        finally:
            self._tell(taken_over)
        # Every transaction before `oldest` was over when we looked, and has been seen. One that was running then may be older
        # than others that were seen already, so the next look begins with it and sees some rows twice.
        self._since = look.snapshot.oldest
        while store.written and store.written[0].transaction < self._since:
            store.written.popleft()
        return len(taken_over)

    def _row_key(self, foreign: Foreign) -> RowKey | None:
        try:
            return row_key(foreign.record_class, foreign.key)
        except ValueError:
            self._left_out.add((foreign.record_class, foreign.key))
            return None

    def _classes_of_another_size(self, look: Look, suspects: Collection[RowKey]) -> Iterator[type[Record]]:
        """Tables that had another number of rows in the look than they should have had.

        The number they should have had is that of memory, less what our transactions have added since the look, plus the
        ``suspects`` that memory does not have, plus the rows that are there and can't be read. If it is not the same, somebody
        has deleted rows, which leaves nothing that the first question could find.
        """
        for record_class, size in self._store.committed.sizes().items():
            later = sum(
                written.grown.get(record_class, 0)
                for written in self._store.written
                if not look.snapshot.shows(written.transaction)
            )
            unseen = sum(left_out_class is record_class for left_out_class, _ in self._left_out)
            known = self._store.committed.keys(record_class)
            new = sum(key.table is record_class and key.key not in known for key in suspects)
            if look.counts[record_class] != size - later + new + unseen:
                yield record_class

    async def _keys_of_one_side(self, record_class: type[Record]) -> list[RowKey]:
        """Keys that only memory or only the database has. Rows whose key is no record's are noted anew."""
        self._left_out = {each for each in self._left_out if each[0] is not record_class}
        stored: set[RowKey] = set()
        after: Values = ()
        codec = CODECS[record_class]
        while page := await self._database.page(record_class, after=after, rows=PAGE_KEYS, whole=False):
            after = tuple(page[-1][: codec.key_columns])
            for row in page:
                values = tuple(row[: codec.key_columns])
                try:
                    stored.add(row_key(record_class, values))
                except ValueError:
                    self._left_out.add((record_class, values))
        known = self._store.committed.keys(record_class)
        only: list[RowKey] = []
        async for keys in in_turns(list(stored), LOOKED_UP_IN_A_TURN):
            only += [key for key in keys if key.key not in known]
        async for some in in_turns(list(known), LOOKED_UP_IN_A_TURN):
            only += [key for key in (RowKey(record_class, each) for each in some) if key not in stored]
        return only

    async def _next_rows_that_differ(self) -> "_Turn":
        """Compare the rows whose turn it is."""
        if self._sessions() != self._sessions_seen:
            self._sessions_seen = self._sessions()
            self._rows_to_go = sum(self._store.committed.sizes().values())
        rows_left = COMPARED_ROWS_AFTER_LOSS if self._rows_to_go else self._compared_rows
        turn = _Turn()
        for _ in CODECS:  # each table at most once: small ones must not be compared over and over
            while rows_left > 0:
                record_class = self._turns.record_class
                page = await self._database.page(
                    record_class, after=self._turns.after, rows=min(PAGE_ROWS, rows_left), whole=True
                )
                if not page:
                    break
                self._turns.after = tuple(page[-1][: CODECS[record_class].key_columns])
                rows_left -= len(page)
                self._rows_to_go = max(0, self._rows_to_go - len(page))
                await self._compare(record_class, page, turn)
            if rows_left <= 0:
                break
            self._turns.next_table()
        else:
            self._rows_to_go = 0
        return turn

    async def _compare(
        self, record_class: type[Record], page: Sequence[Sequence[object]], turn: "_Turn"
    ) -> None:
        """Add to ``turn`` what differs in ``page``. A row that can't be read is one that memory must not have."""
        committed = self._store.committed
        async for some in in_turns(page, SLICE_ROWS):
            stored = [tuple(row)[:-1] for row in some]
            rows, undecodable = CODECS[record_class].decode_rows(stored, self._keyring)
            turn.keys += [row.key for row in rows if committed.get(row.key) != row.record]
            for each in undecodable:
                try:
                    key = row_key(record_class, each.key)
                except ValueError:
                    if (record_class, each.key) not in self._left_out:
                        turn.without_key.add(record_class)
                    continue
                if committed.get(key) is not None:
                    turn.keys.append(key)

    async def _take_over(self, suspects: Sequence[RowKey], taken_over: list[Row]) -> None:
        """Adds to ``taken_over``, also if it fails."""
        announce = announcements_of(self._store.committed)
        for some in sliced(suspects, RECONCILED_ROWS):
            found = await self._store.reconcile(some, announce)
            self._left_out |= {(key.table, CODECS[key.table].key_values(key.key)) for key in found.left_out}
            taken_over += found.taken_over

    def _tell(self, taken_over: Sequence[Row]) -> None:
        for row in taken_over[:TOLD_MAX]:
            self._log.info(
                "took-over-row",
                table=CODECS[row.key.table].table,
                key=list(CODECS[row.key.table].key_values(row.key.key)),
                there=row.record is not None,
            )
        if taken_over:
            self._log.error("memory-differed-from-database", rows=len(taken_over))


@dataclass(slots=True)
class _Turn:
    """What one comparison by turns has found: ``keys`` of rows that are not what memory has, and classes in whose tables there
    are rows ``without_key`` that had not been seen before.
    """

    keys: list[RowKey] = field(default_factory=list)
    without_key: set[type[Record]] = field(default_factory=set)


@dataclass(slots=True)
class _Turns:
    """Where the comparison by turns has got to."""

    number: int = 0
    after: Values = ()

    @property
    def record_class(self) -> type[Record]:
        return list(CODECS)[self.number]

    def next_table(self) -> None:
        self.number = (self.number + 1) % len(CODECS)
        self.after = ()
