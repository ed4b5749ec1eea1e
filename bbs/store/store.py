"""Group-committed write-through: the one place where a decision becomes a fact.

A mutation reads `head`, decides, and stages its rows, all without a checkpoint in between, so it is atomic without a
lock. One batch is being written while the next gathers. When a batch is durable, and only then, and in the order in
which its outcomes were staged, the rows become visible in `committed`, the announcements are published, and the
callers of `commit` go on.

When a batch fails for good, `head` falls back to `committed` and everybody who waits on a staged outcome gets an error,
also those behind the failed batch: they were decided on rows that never came to be. Whether the database has the rows
of a batch whose connection broke during COMMIT is unknown, and stays so if the next attempt is refused; so before anything
else is written, the committed version of every such row is written again (`_mend`), as soon as the database is back, and
what was reported as failed stays undone.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NoReturn

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.models.errors import Failure, Trouble, UnknownError
from bbs.models.outcome import Announcement, Outcome, Record, Row, RowKey
from bbs.store.backend import Backend, BackendUnavailable, Seen, Source, StatementRejected
from bbs.store.foreign_changes import Announce, Comparison, Reconciled, Written, silently
from bbs.store.head import Head
from bbs.store.scopes import DomainScope, ProcessScope, Scope, TaskScope
from bbs.store.storable import must_be_storable
from bbs.store.tables import Tables

BATCH_ROWS_MAX: Final = 500
"""Rows written in one transaction: 35 ms, of which the event loop is held for 2 to 3 while they are sent."""

STAGED_ROWS_MAX: Final = 100_000
"""Rows waiting to be written; beyond it writes are refused. At about 2 kB a row, 200 MB."""

WRITE_RETRY_S: Final = 20.0
"""How long a write waits for a database that is away. Below the 30 s after which Diego's own clients give up."""

RETRY_PAUSE_MAX_S: Final = 1.0

LANDED_IN_A_TURN: Final = 100
"""Rows of a batch that become visible before others get a turn: 1 ms, or 5 if there are subscribers to tell."""

WRITTEN_MAX: Final = 50_000
"""Transactions remembered for the audit: half an hour of writes without a pause, of which it needs a minute's. A transaction
that is forgotten too early does no harm: the audit takes its rows for somebody else's, compares them, and finds no difference."""

ENDED: Final = "the server is stopping; whether this was written is not known"

assert BATCH_ROWS_MAX <= STAGED_ROWS_MAX


class StoreUnavailable(Trouble):
    """A write was given up, and may be tried again: the database is away, too much waits for it, or the server is stopping.

    In the first two cases it did not happen, or is undone before anything else is written. When the server stops nobody
    knows whether the last batch was written; the next process finds out when it loads.
    """


class SettledByOther(UnknownError):
    """The write built upon another one, staged before it in the same scope, that the database rejected.

    It is a refusal and not `Trouble`: the database is there and has answered, and all other writes go on. A convergence
    pass that met trouble of the store would give up the rest of its work (`bbs.convergence.lrp_pass`); this ends one item.
    """


@dataclass(eq=False, slots=True)
class _Staged:
    """An outcome on its way to the database."""

    about: Hashable
    """The key of the scope in which it was decided."""
    outcome: Outcome
    staged_at: float
    done: trio.Event = field(default_factory=trio.Event)
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction that has become durable. Seconds: ``waited_s`` until it was begun, by the outcome staged first
    in it, and ``took_s`` until it was durable, with whatever tries that needed.
    """

    outcomes: int
    rows: int
    waited_s: float
    took_s: float


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """``staged_rows`` wait or are being written, the first of them for ``waiting_s`` seconds; the others count since the start."""

    staged_rows: int
    waiting_s: float
    batches: int
    rows_written: int
    outcomes_written: int
    retries: int
    failed_outcomes: int


class Store:
    """Both views of all rows, and the way from one to the other.

    ``publish`` is called with the announcements of each outcome once it is durable, in the order of commits. It must
    not block and must not raise. Nor must ``on_batch``, which hears of every durable transaction, and ``on_trouble``,
    which hears of every failure that is to be tried again.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        publish: Callable[[tuple[Announcement, ...]], None],
        write_retry_s: float = WRITE_RETRY_S,
        batch_rows_max: int = BATCH_ROWS_MAX,
        staged_rows_max: int = STAGED_ROWS_MAX,
        on_trouble: Callable[[BaseException], None] = lambda trouble: None,
        on_batch: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        assert 0 < batch_rows_max <= staged_rows_max
        self.committed = Tables()
        self.head = Head(self.committed)
        self._backend = backend
        self.seen = Seen()
        """What was read of rows while another process writes them."""
        self._publish = publish
        self._write_retry_s = write_retry_s
        self._batch_rows_max = batch_rows_max
        self._staged_rows_max = staged_rows_max
        self._on_trouble = on_trouble
        self._on_batch = on_batch
        self._queue: deque[_Staged] = deque()
        self._in_flight: list[_Staged] = []
        self._staged_rows = 0
        # The newest staged outcome of each scope, by its key, for those whose answer rests on it.
        self._newest: dict[Hashable, _Staged] = {}
        self._mend: set[RowKey] = set()
        self._comparisons: deque[Comparison] = deque()
        self.written: deque[Written] = deque(maxlen=WRITTEN_MAX)
        """The last transactions, the oldest first. What writes of others are told from ours by."""
        self._session_is_lost = False
        backend.watch_session(self._session_was_lost)
        self._has_ended = False
        self._work = ClearableEvent()
        self._idle = ClearableEvent()
        self._idle.set()
        self._batches = self._rows_written = self._outcomes_written = self._retries = self._failed = 0

    async def follow(self, source: Source, *, announce: Announce = silently) -> int:
        """Bring `committed` closer to what another process has written, and tell of it.

        Returns the number of rows that had changed since the last time.

        Raises:
          BackendUnavailable, StatementRejected: some had been read; follow again, or load.
        """
        return await self._take_over_all(source.follow(self.seen), announce)

    async def load(self) -> int:
        """Make `committed` what the backend has, which nobody else writes to. Returns how many rows that took.

        Raises:
          BackendUnavailable: load again.
          StatementRejected: a table can't be read.
        """
        count = await self._take_over_all(self._backend.load(self.seen), silently)
        self.forget_seen()
        return count

    def forget_seen(self) -> None:
        """From now on we know of every change."""
        self.seen = Seen()

    async def _take_over_all(self, slices: AsyncGenerator[list[Row], None], announce: Announce) -> int:
        count = 0
        async with aclosing(slices):
            async for rows in slices:
                self.take_over(rows, announce)
                count += len(rows)
        return count

    def take_over(self, rows: Sequence[Row], announce: Announce) -> None:
        """Make rows visible that somebody else has written, and tell of them. Those that memory has just so are passed over."""
        differing = [row for row in rows if self.committed.get(row.key) != row.record]
        # Before `apply`: the announcements compare with what memory had.
        announcements = announce(differing)
        self.committed.apply(differing)
        self._publish(announcements)

    def process(self, process_guid: str) -> ProcessScope:
        return ProcessScope(self, process_guid)

    def task(self, task_guid: str) -> TaskScope:
        return TaskScope(self, task_guid)

    def domain(self, name: str) -> DomainScope:
        return DomainScope(self, name)

    async def commit(self, outcome: Outcome, scope: Scope) -> None:
        """Make ``outcome`` durable, then visible, then announced. Called by `bbs.acts.change` only.

        ``scope`` is what the decision read. An outcome without rows waits for what is staged in that scope, since it may
        rest on a row that is not durable yet; then its announcements are published.

        Raises:
          StoreUnavailable: it failed for good, or too much is waiting already. `head` does not show it. Without rows: what
            it rests on failed, for whatever reason.
          BBSError: a record cannot be stored (`must_be_storable`; nothing was staged), the database rejected the rows, or
            it rejected a change in the same scope that was staged before (`SettledByOther`).

        Cancellation:
          Gives up the wait, not the write: rows are staged before the first checkpoint.
        """
        if not outcome.rows:
            # Also the order of events asks for this: what is told here must not overtake what it rests on.
            await self.settle(scope)
            self._publish(outcome.announcements)
            return
        if self._has_ended:
            raise StoreUnavailable(ENDED)
        if self._staged_rows + len(outcome.rows) > self._staged_rows_max:
            raise StoreUnavailable(
                f"too many writes are waiting for the database ({self._staged_rows} rows); nothing was changed, try again"
            )
        # All rows are looked at before any is staged: an outcome is written whole or not at all.
        for row in outcome.rows:
            assert scope.holds(row.key), (scope.key, row.key)
            if row.record is not None:
                must_be_storable(row.record)
        staged = _Staged(scope.key, outcome, trio.current_time())
        self._queue.append(staged)
        self._newest[scope.key] = staged
        self._staged_rows += len(outcome.rows)
        self.head.stage(outcome.rows)
        self._work.set()
        self._idle.clear()
        await staged.done.wait()
        if staged.error is not None:
            raise staged.error

    def announce(self, announcement: Announcement) -> None:
        """Tell of a change that is durable already, after everything that has been told so far."""
        self._publish((announcement,))

    async def reconcile(self, keys: Sequence[RowKey], announce: Announce) -> Reconciled:
        """Compare these rows with the database's between two batches, and take over those that differ.

        A row with a change of ours on its way is left alone: that change will be what the database has.

        Raises:
          BackendUnavailable, StatementRejected: nothing was compared.
        Cancellation:
          Gives up the wait; rows may be taken over all the same.
        """
        return await self._between_batches(Comparison(keys, announce))

    async def _between_batches(self, comparison: Comparison) -> Reconciled:
        if self._has_ended:
            raise BackendUnavailable(ENDED)
        self._comparisons.append(comparison)
        self._work.set()
        await comparison.done.wait()
        assert comparison.result is not None
        if isinstance(comparison.result, BaseException):
            raise comparison.result
        return comparison.result

    async def landed(self) -> None:
        """Wait until the batch that is being written, if any, is visible.

        Raises:
          BackendUnavailable: nothing is written any more.
        """
        await self.reconcile((), silently)

    async def confirm(self) -> None:
        """Have the database asked, between two batches, whether the writer lock has been ours since the rows were loaded.

        Raises:
          BackendUnavailable, StatementRejected: nobody can say; ask again. If the lock was somebody else's, `run` ends with
            `WriterLockLost`, and whoever asks has this, too.
        """
        await self._between_batches(Comparison((), silently, confirms=True))

    async def settle(self, scope: Scope) -> None:
        """Wait until everything staged so far in ``scope`` is durable; a checkpoint only if something is staged.

        Raises:
          StoreUnavailable: a staged change, which the caller may have seen in `head`, failed.
        Cancellation:
          Gives up the wait only.
        """
        # Outcomes land in the order in which they were staged, so the newest one's end is the end of all of the scope.
        staged = self._newest.get(scope.key)
        if staged is not None:
            await staged.done.wait()
            if staged.error is not None:
                raise StoreUnavailable(
                    f"this rests on a change that failed, try again: {staged.error}"
                ) from staged.error

    async def drain(self) -> None:
        """Wait until nothing is staged, so that `run` can be cancelled without a loss. Ends, since every write has a deadline.

        New outcomes may still be staged meanwhile; whoever stops the server stops taking requests first.
        """
        await self._idle.wait()

    def statistics(self) -> StoreStatistics:
        oldest = self._in_flight[0] if self._in_flight else self._queue[0] if self._queue else None
        return StoreStatistics(
            staged_rows=self._staged_rows,
            waiting_s=0.0 if oldest is None else trio.current_time() - oldest.staged_at,
            batches=self._batches,
            rows_written=self._rows_written,
            outcomes_written=self._outcomes_written,
            retries=self._retries,
            failed_outcomes=self._failed,
        )

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write what is staged, batch after batch, until cancelled.

        Raises:
          WriterLockLost: another process has become master; this one's memory can't be trusted any more.
        """
        task_status.started()
        try:
            while True:
                # Between two batches, so that no write of ours can change the rows while they are being compared.
                while self._comparisons:
                    await self._compare(self._comparisons.popleft())
                if not self._queue:
                    await self._wait_for_work()
                    continue
                self._in_flight = self._take_batch()
                await self._write_or_fail()
                self._in_flight = []
        finally:
            # Nobody will write what is still staged, so nobody may go on waiting for it.
            self._has_ended = True
            self._fail([*self._in_flight, *self._queue], lambda: StoreUnavailable(ENDED))
            for comparison in self._comparisons:
                comparison.result = BackendUnavailable(ENDED)
                comparison.done.set()

    def _session_was_lost(self) -> None:
        """Find out at once, not at the next write, whether somebody else has become master: until then this process would
        answer reads from memory that may be stale.
        """
        self._session_is_lost = True
        self._work.set()

    async def _wait_for_work(self) -> None:
        """Wait until something is staged or to be compared. First mend rows, or see whether the writer lock is still ours, if
        need be: an idle server must not put these off until somebody writes.
        """
        self._work.clear()
        self._idle.set()
        if not (self._mend or self._session_is_lost):
            await self._work.wait()
            return
        try:
            if self._mend:
                transaction = await self._backend.write(self._latest(()))
                self._note(transaction, self.committed.sizes())
            else:
                await self._backend.hold()
        except (BackendUnavailable, StatementRejected) as trouble:
            self._on_trouble(trouble)
            # A write that comes meanwhile takes the rows to be mended along, so it need not wait for the pause to end.
            with trio.move_on_after(RETRY_PAUSE_MAX_S):
                await self._work.wait()
        else:
            self._mend.clear()
            self._session_is_lost = False

    async def _compare(self, comparison: Comparison) -> None:
        comparison.result = BackendUnavailable(ENDED)  # should this be cancelled
        try:
            comparison.result = await self._reconciled(comparison)
        except (BackendUnavailable, StatementRejected) as trouble:
            comparison.result = trouble
        finally:
            comparison.done.set()

    async def _reconciled(self, comparison: Comparison) -> Reconciled:
        if comparison.confirms:
            await self._backend.hold()
        if not comparison.keys:
            return Reconciled([], [])
        # Rows that are staged, or to be mended, are about to be overwritten with what memory has. To take over the
        # database's version of them would tell subscribers of a change that is undone a moment later.
        found = await self._backend.read(comparison.keys)
        differing = [
            row
            for row in found.rows
            if self.committed.get(row.key) != row.record
            and row.key not in self._mend
            and not self.head.is_staged(row.key)
        ]
        self.take_over(differing, comparison.announce)
        return Reconciled(differing, found.left_out)

    def _take_batch(self) -> list[_Staged]:
        """The outcomes staged first, as many as fit. The first is taken whatever its size: its rows are written together."""
        batch = [self._queue.popleft()]
        rows = len(batch[0].outcome.rows)
        while self._queue and rows + len(self._queue[0].outcome.rows) <= self._batch_rows_max:
            rows += len(self._queue[0].outcome.rows)
            batch.append(self._queue.popleft())
        return batch

    async def _write_or_fail(self) -> None:
        batch = self._in_flight
        try:
            await self._write_within_deadline(batch)
        except BackendUnavailable as trouble:
            # If the connection broke during COMMIT the database may have these rows, and now everybody is told that they
            # were not written. So they have to be written again as they were (see `_latest`).
            self._mend.update(row.key for staged in batch for row in staged.outcome.rows)
            text = f"the database is unavailable; nothing was changed, try again: {trouble}"
            # What is queued behind fails as well, though its own deadline is later: any of it may have been decided on rows
            # of this batch, which are undone now, and `head` can only fall back as a whole.
            self._fail([*batch, *self._queue], lambda: StoreUnavailable(text))
        except StatementRejected as rejection:
            if len(batch) == 1:
                self._reject(batch[0], rejection.error)
            else:
                # The database says what it does not like, but not whose row it is. So each outcome is written in a
                # transaction of its own: only the one with that row is refused, and with it those that build upon it.
                self._queue.extendleft(reversed(batch[1:]))
                self._in_flight = batch[:1]
                await self._write_or_fail()
                for _ in batch[1:]:
                    # A failure takes others out of the queue, so there may be fewer left than the batch had. Those behind
                    # the batch are then written singly, too, which is slower and no less right.
                    if not self._queue:
                        break
                    self._in_flight = [self._queue.popleft()]
                    await self._write_or_fail()

    async def _write_within_deadline(self, batch: list[_Staged]) -> None:
        """Try until the batch is durable, then land it.

        Raises:
          BackendUnavailable: the outcome staged first has waited for ``write_retry_s``, counted from its staging.
          StatementRejected: this was refused. What an earlier attempt may have left is going to be mended.
          WriterLockLost: nothing was written, and this process may not write any more.
        """
        began = trio.current_time()
        deadline = batch[0].staged_at + self._write_retry_s
        pause_s = 0.05
        may_be_there = False
        while True:
            rows = self._latest(batch)
            try:
                transaction = await self._backend.write(rows)
            except StatementRejected:
                if may_be_there:
                    # Refused now, but an attempt before this one may have been carried out: a disk that is full by now, say.
                    self._mend.update(row.key for staged in batch for row in staged.outcome.rows)
                raise
            except BackendUnavailable as trouble:
                may_be_there = True
                self._on_trouble(trouble)
                if trio.current_time() + pause_s >= deadline:
                    raise
                self._retries += 1
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_PAUSE_MAX_S)
            else:
                break
        self._mend.clear()
        self._batches += 1
        self._rows_written += len(rows)
        self._on_batch(Batch(len(batch), len(rows), began - batch[0].staged_at, trio.current_time() - began))
        before = self.committed.sizes()
        await self._land_all(batch)
        self._note(transaction, before)

    async def _land_all(self, batch: list[_Staged]) -> None:
        """Make the outcomes of a durable batch visible, one by one, and tell of each.

        With many subscribers that takes a while, so others get turns in between. A cancellation waits until all is done:
        `run` would report the outcomes that are left as failed, and the database has them.
        """
        rows = 0
        for staged in batch:
            self._land(staged)
            rows += len(staged.outcome.rows)
            if rows >= LANDED_IN_A_TURN:
                await trio.lowlevel.cancel_shielded_checkpoint()
                rows = 0

    def _note(self, transaction: int, before: Mapping[type[Record], int]) -> None:
        after = self.committed.sizes()
        grown = {
            record_class: size - before[record_class]
            for record_class, size in after.items()
            if size != before[record_class]
        }
        self.written.append(Written(transaction, grown))

    def _latest(self, batch: Iterable[_Staged]) -> list[Row]:
        """The rows of ``batch``, the last version of each, and those to be mended as `committed` has them.

        Rows are mended in the very next transaction, whatever it is for. If the process ended after a later batch and before
        they were mended, its successor would load rows whose writers were told that nothing was changed, and on which
        nothing that was written later rests.
        """
        rows = {key: Row(key, self.committed.get(key)) for key in self._mend}
        for staged in batch:
            for row in staged.outcome.rows:
                rows[row.key] = row
        return list(rows.values())

    def _land(self, staged: _Staged) -> None:
        # Visible first, then told of: whoever lists after an event finds at least what the event said.
        rows = staged.outcome.rows
        self.committed.apply(rows)
        self.head.unstage(rows)
        self._outcomes_written += 1
        self._forget(staged)
        self._publish(staged.outcome.announcements)
        staged.done.set()

    def _reject(self, rejected: _Staged, error: Failure) -> None:
        """Fail one outcome, and those staged after it in the same scope, which were decided on its rows. Others stay: a
        decision reads nothing outside its scope.
        """
        doomed = [staged for staged in self._queue if staged.about == rejected.about]
        text = f"the change this one builds upon was refused, try again: {error}"
        self._fail([rejected], lambda: error)
        self._fail(doomed, lambda: SettledByOther(text))

    def _fail(self, doomed: list[_Staged], make_error: Callable[[], Failure]) -> None:
        for staged in doomed:
            # An error of its own for each: a raised exception collects the traceback of whoever raises it.
            staged.error = make_error()
            self._failed += 1
            self._forget(staged)
        # The overlay does not know which row is whose, so it is made anew from what is left.
        failed = set(map(id, doomed))
        self._queue = deque(staged for staged in self._queue if id(staged) not in failed)
        self.head.reset()
        for staged in self._queue:
            self.head.stage(staged.outcome.rows)
        # Last, so that whoever tries again at once decides on what is left.
        for staged in doomed:
            staged.done.set()

    def _forget(self, staged: _Staged) -> None:
        self._staged_rows -= len(staged.outcome.rows)
        if self._newest.get(staged.about) is staged:
            del self._newest[staged.about]
