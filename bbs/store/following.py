"""Keeps memory what the database is, while another process writes there: what standbys and followers do.

As a rule by the stream of changes that the database has for us (`bbs.store.changes`): all rows are loaded in the snapshot with
which the stream begins, and then its transactions are taken over as they come. A stream that ends is not resumed. A new one is
begun, and in its snapshot only those rows are read that have another version than the one that was seen last.

Where there is no such stream, the database is looked through again and again for rows with another version.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import inf
from typing import Final, NoReturn

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRPKey
from bbs.models.outcome import Record, Row
from bbs.store.backend import BackendUnavailable, LogEnd, Source, StatementRejected
from bbs.store.changes import (
    CannotFollow,
    Change,
    ChangeStream,
    Clear,
    Decoded,
    Delete,
    Put,
    StreamLost,
    Transaction,
    decode_changes,
)
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Undecodable
from bbs.store.codecs.columns import Values
from bbs.store.foreign_changes import Announce, silently
from bbs.store.key_check import KeysDoNotFit
from bbs.store.postgres_changes import PostgresChanges
from bbs.store.schema import SchemaError
from bbs.store.store import LANDED_IN_A_TURN, Store
from bbs.store.tokens import Token

LOOK_INTERVAL_S: Final = 10.0
"""Pause between two looks through the database, where its changes can't be followed."""

CANNOT_FOLLOW_S: Final = 60.0
"""How long it is looked through then, before following is tried again: somebody may have done what was wanted."""

PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 5.0
"""Pauses between a stream that has ended and the next one."""

STEADY_S: Final = 60.0
"""A stream that has lasted for so long has not failed for what the one before it did."""

READ_AGAIN_S: Final = 60.0
"""How long after its start a stream is given up for rows of which it has shown only a part."""

TOLD_MAX: Final = 100
"""Rows that can't be read, named in the log. All are counted."""

TROUBLE: Final = (BackendUnavailable, StatementRejected, SchemaError, KeysDoNotFit, StreamLost)
"""What may be better when it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingStatistics:
    """``is_streaming``: changes come as they are committed. ``streams`` that were begun, ``transactions`` and ``rows`` that they
    showed count since the start. ``unreadable`` rows are in the database and not in memory. ``behind_bytes`` of the database's
    log are still to come, as far as is known.
    """

    is_streaming: bool
    streams: int
    transactions: int
    rows: int
    unreadable: int
    behind_bytes: int


class Following:
    """Brings ``store.committed`` to what the database has, and keeps it there, in `run`.

    ``changes`` is the way to a stream, if there may be one; ``source`` is looked through, every ``look_interval_s``, if there is
    none. ``announce`` makes the announcements of rows that are about to be taken over. ``loading`` is entered while all rows are
    read.

    ``has_loaded`` is set when memory has been what the database was, for the first time.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        changes: PostgresChanges | None,
        *,
        announce: Announce = silently,
        look_interval_s: float = LOOK_INTERVAL_S,
        loading: Callable[[], AbstractContextManager[None]] = nullcontext,
        log: Logger,
    ) -> None:
        self.has_loaded = trio.Event()
        self._store = store
        self._source = source
        self._changes = changes
        self._announce = announce
        self._look_interval_s = look_interval_s
        self._loading = loading
        self._log = log
        self._stream: ChangeStream | None = None  # once all rows are loaded
        self._applied = Token(0, 0)
        self._as_of = -inf
        self._timeline = 0  # the latest that was seen
        self._moved = ClearableEvent()
        self._unreadable: set[tuple[type[Record], Values]] = set()
        self._told = ""
        self._streams = self._transactions = self._rows = 0

    @property
    def as_of(self) -> float:
        """A moment, by Trio's clock: all that was committed before it is in memory. Minus infinity before the first load."""
        if self._stream is not None:
            self._as_of = max(self._as_of, self._stream.caught_up_at(self.position.position))
        return self._as_of

    @property
    def position(self) -> Token:
        """What has come of the database's log. Zero where it can't be followed."""
        stream = self._stream
        if stream is not None and stream.is_waited_for:
            self._applied = Token(stream.start.timeline, stream.position)
        return self._applied

    def statistics(self) -> FollowingStatistics:
        stream = self._stream
        return FollowingStatistics(
            is_streaming=stream is not None,
            streams=self._streams,
            transactions=self._transactions,
            rows=self._rows,
            unreadable=len(self._unreadable),
            behind_bytes=0 if stream is None else stream.progress().behind_bytes,
        )

    async def wait_for(self, token: Token) -> None:
        """Wait until what ``token`` stands for is in memory. For ever, maybe: bring a deadline."""
        asked_at = trio.current_time()

        def is_there() -> bool:
            here = self.position
            return token.is_reached_by(here.timeline, here.position) or (
                token.timeline == here.timeline and self._has_come_to(token.position, since=asked_at)
            )

        while not is_there():
            await self._wait_moved()

    async def has_come_to(self, end: LogEnd) -> bool:
        """Wait until all that was committed before ``end`` is in memory. False, maybe after a while, if that can't be said, or if
        memory lacks rows that can't be read.

        There is no deadline as long as the stream goes on: bring one.
        """
        asked_at, stream = trio.current_time(), self._stream
        if stream is None or (stream.start.system, stream.start.timeline) != (end.system, end.timeline):
            return False
        while self._stream is stream:
            if self.position.position >= end.position or self._has_come_to(end.position, since=asked_at):
                return not self._unreadable
            await self._wait_moved()
        return False

    async def _wait_moved(self) -> None:
        """Wait until more is known of where we are, and have the server say where it is."""
        self._moved.clear()
        if self._stream is not None:
            self._stream.ask()
        await self._moved.wait()

    def _has_come_to(self, position: int, *, since: float) -> bool:
        """Whether all is in memory that was committed before ``position``, which was the end of the log before ``since``: it may be
        in the middle of a record, to which no stream comes before somebody commits the next time.
        """
        stream = self._stream
        return stream is not None and position <= stream.progress().written and self.as_of > since

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        pause_s = PAUSE_MIN_S
        while True:
            began, streams = trio.current_time(), self._streams
            try:
                if self._changes is None:
                    await self._look_through(for_s=inf)
                else:
                    await self._follow(self._changes)
            except CannotFollow as reason:
                self._tell("cannot-follow-changes", reason)
                await self._look_through(for_s=CANNOT_FOLLOW_S)
                continue
            except TROUBLE as trouble:
                self._tell("lost-changes", trouble)
                if self._streams == streams:
                    # The server may let us read all the same: a new stream waits for every transaction that is under way.
                    await self._look_through_once()
            if trio.current_time() - began > STEADY_S:
                pause_s = PAUSE_MIN_S
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _follow(self, changes: PostgresChanges) -> NoReturn:
        """Follow one stream to its end, which it raises."""
        began = trio.current_time()
        async with changes.stream(timeline_min=self._timeline) as stream:
            self._timeline = max(self._timeline, stream.start.timeline)
            self._unreadable.clear()
            snapshot = changes.snapshot(stream.start, on_unreadable=self._cannot_read)
            try:
                with self._loading():
                    rows = await self._store.follow(snapshot, announce=self._announce)
            finally:
                snapshot.close()
            self._log.debug("read-ahead", rows=rows)
            self._streams += 1
            self._applied = Token(stream.start.timeline, stream.start.position)
            with self._streaming(stream):
                self._told = ""
                self._log.info(
                    "following-changes", rows=rows, duration=int((trio.current_time() - began) * 1e9)
                )
                self.has_loaded.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_primaries, stream, changes)
                    try:
                        await self._take_all(stream, changes, read_again_at=began + READ_AGAIN_S)
                    except TROUBLE as trouble:
                        end = trouble  # raised behind the nursery, which would make a group of it
                    nursery.cancel_scope.cancel()
            raise end

    @contextmanager
    def _streaming(self, stream: ChangeStream) -> Iterator[None]:
        self._stream = stream
        stream.on_moved = self._moved.set
        try:
            yield
        finally:
            self._as_of = self.as_of
            self._stream = None
            self._moved.set()

    async def _watch_primaries(self, stream: ChangeStream, changes: PostgresChanges) -> None:
        self._timeline = await changes.later_primary(self._timeline)
        stream.end(StreamLost(f"another server is the primary now, on timeline {self._timeline}"))

    async def _take_all(
        self, stream: ChangeStream, changes: PostgresChanges, *, read_again_at: float
    ) -> NoReturn:
        """Take over all transactions; until ``read_again_at`` at the most, if there are rows of which only a part has come."""
        until = inf
        while trio.current_time() < until:
            transaction = None
            with trio.move_on_at(until):  # which ends the stream
                transaction = await anext(stream)
            if transaction is not None and await self._take(transaction, changes):
                until = read_again_at
        raise StreamLost("there are rows of which only a part has come")

    async def _take(self, transaction: Transaction, changes: PostgresChanges) -> bool:
        """Make a transaction visible, 100 rows at a time, as a batch of our own. Returns whether there are rows that have to be
        read, since only a part of them came.
        """
        decoded = await decode_changes(transaction.changes, self._store.committed, changes.keyring)
        self._note_unreadable(transaction.changes, decoded)
        rows = {row.key: row for row in decoded.rows}  # the last version of each
        for some in _by_instance(rows.values()):
            self._store.take_over(some, self._announce)
            for row in some:
                self._store.seen.note(row, transaction.number)
            await trio.lowlevel.checkpoint()
        self._rows += len(rows)
        if not transaction.goes_on:
            self._transactions += 1
            self._applied = Token(self._applied.timeline, transaction.position)
            self._moved.set()
        return bool(decoded.to_read)

    def _note_unreadable(self, changes: Sequence[Change], decoded: Decoded) -> None:
        if self._unreadable:
            for change in changes:
                match change:
                    case Put(record_class, values):
                        self._unreadable.discard((record_class, values[: CODECS[record_class].key_columns]))
                    case Delete(record_class, key):
                        self._unreadable.discard((record_class, key))
                    case Clear(record_class):
                        self._unreadable = {each for each in self._unreadable if each[0] is not record_class}
        for error in decoded.undecodable:
            self._cannot_read(error)
        for key in decoded.to_read:
            self._unreadable.add((key.table, CODECS[key.table].key_values(key.key)))

    def _cannot_read(self, error: Undecodable) -> None:
        record_class = next(each for each, codec in CODECS.items() if codec.table == error.table)
        if len(self._unreadable) < TOLD_MAX:
            self._log.info("left-out-row", table=error.table, key=list(error.key), reason=error.reason)
        self._unreadable.add((record_class, error.key))

    async def _look_through(self, *, for_s: float) -> None:
        """Look through the database again and again."""
        until = trio.current_time() + for_s
        while trio.current_time() < until:
            await self._look_through_once()
            await trio.sleep(self._look_interval_s)

    async def _look_through_once(self) -> None:
        began = trio.current_time()
        try:
            with self._loading():
                rows = await self._store.follow(self._source, announce=self._announce)
        except TROUBLE as trouble:
            self._log.debug("failed-to-read-ahead", error=trouble)
        else:
            self._log.debug("read-ahead", rows=rows)
            self._as_of = began
            self.has_loaded.set()

    def _tell(self, action: str, reason: Exception) -> None:
        """Once, until there is something else to tell."""
        if self._told != (told := f"{action}: {reason}"):
            self._told = told
            self._log.info(action, error=reason)


def _by_instance(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Slices of about `LANDED_IN_A_TURN` rows. All rows of one instance are in one: the group hub tells of them as one."""
    together: dict[Hashable, list[Row]] = {}
    for row in rows:
        key = row.key.key
        instance = (key.process_guid, key.instance_index) if isinstance(key, ActualLRPKey) else row.key
        together.setdefault(instance, []).append(row)
    slice_: list[Row] = []
    for some in together.values():
        slice_ += some
        if len(slice_) >= LANDED_IN_A_TURN:
            yield slice_
            slice_ = []
    if slice_:
        yield slice_
