"""A backend without a database, for simulations: what it keeps survives a restart, and it fails as it is told to.

A `Disk` outlives the backends that open it, as a database outlives its clients. Rows lie on it encoded and sealed, so a
restart reads through the same codecs as a real one. All waiting is in Trio's time, so it is virtual under a test's clock. It
does not serve standbys: a load reads everything, whatever was seen.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import trio

from bbs.concurrency.turns import in_turns
from bbs.models.errors import BBSError, UnknownError
from bbs.models.outcome import Row, RowKey
from bbs.store.backend import (
    BackendUnavailable,
    DroppedRow,
    ReadBack,
    Seen,
    StatementRejected,
    WriterLockLost,
)
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Policy
from bbs.store.codecs.columns import Values
from bbs.store.crypto import Keyring

SLICE_ROWS = 64


class Fault(Enum):
    """What goes wrong with one write, if anything."""

    NONE = auto()
    LOST_BEFORE = auto()
    """The connection breaks, and nothing was written."""
    LOST_AFTER = auto()
    """The connection breaks, and all was written. The caller can't tell it from `LOST_BEFORE`."""
    REJECTED = auto()


@dataclass(frozen=True, slots=True)
class Outage:
    """The database is away from ``begin_s`` until before ``end_s``, in Trio's time."""

    begin_s: float
    end_s: float


@dataclass(slots=True, kw_only=True)
class Faults:
    """The troubles that a `MemoryBackend` is to have. ``next_writes`` are used up, one per write; ``outages`` apply at
    their time.

    ``write_s`` is how long a write takes, and ``rejection`` makes the error of a rejected one.
    """

    write_s: float = 0.0
    next_writes: deque[Fault] = field(default_factory=deque)
    outages: Sequence[Outage] = ()
    rejection: Callable[[], BBSError] = UnknownError

    def out_of_order(self) -> bool:
        now_s = trio.current_time()
        return any(outage.begin_s <= now_s < outage.end_s for outage in self.outages)


def _ignore(writer: object, rows: Sequence[Row]) -> None:
    pass


@dataclass(eq=False, slots=True)
class Disk:
    """What is durable: encoded rows by table name and key, and who holds the writer lock or was the last to take it.

    ``on_commit`` hears of each transaction once it is durable, whether or not its writer hears of it: the backend that
    wrote it, and the rows.
    """

    rows: dict[str, dict[Values, Values]] = field(
        default_factory=lambda: {codec.table: {} for codec in CODECS.values()}
    )
    holder: "MemoryBackend | None" = None
    last_writer: "MemoryBackend | None" = None
    transactions: int = 0
    on_commit: Callable[[object, Sequence[Row]], None] = _ignore


class MemoryBackend:
    """A `bbs.store.backend.Backend` on a `Disk`."""

    def __init__(
        self,
        disk: Disk,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None],
        faults: Faults | None = None,
        lock_poll_s: float = 0.5,
    ) -> None:
        self.faults = Faults() if faults is None else faults
        self._disk = disk
        self._keyring = keyring
        self._on_dropped = on_dropped
        self._lock_poll_s = lock_poll_s
        self._became_writer = False
        self._closed = False
        self._fenced: str | None = None
        self._on_session_lost: Callable[[], None] = lambda: None

    async def acquire_writer_lock(self) -> None:
        await trio.lowlevel.checkpoint()
        while True:
            if self._try_to_become_writer():
                return
            await trio.sleep(self._lock_poll_s)

    async def take_writer_lock(self) -> None:
        """As `acquire_writer_lock`, for a process that Locket says is master: the session of whoever still holds the lock
        is ended.
        """
        await trio.lowlevel.checkpoint()
        holder = self._disk.holder
        if holder is not None and holder is not self and not self.faults.out_of_order():
            # Before its session ends, as it will try to take the lock again, and must find that it is not the last any more.
            self._disk.last_writer = self
            holder.lose_session()
        await self.acquire_writer_lock()

    def fence(self, reason: str) -> None:
        """Write nothing from now on. Every later call raises `WriterLockLost` with ``reason``."""
        self._fenced = reason
        if self._disk.holder is self:
            self._disk.holder = None

    async def load(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        for codec in CODECS.values():
            stored = self._disk.rows[codec.table]
            async for some in in_turns(list(stored.values()), SLICE_ROWS):
                self._require_lock()
                rows, undecodable = codec.decode_rows(some, self._keyring)
                for error in undecodable:
                    deleted = error.policy is Policy.DELETE
                    if deleted:
                        del stored[error.key]
                    self._on_dropped(DroppedRow(codec.table, error.key, error.reason, deleted))
                yield rows

    async def write(self, rows: Sequence[Row]) -> int:
        fault = self.faults.next_writes.popleft() if self.faults.next_writes else Fault.NONE
        await trio.sleep(self.faults.write_s)
        self._require_lock()
        if fault is Fault.REJECTED:
            raise StatementRejected(self.faults.rejection())
        if fault is not Fault.LOST_BEFORE:
            self._apply(rows)
        if fault is not Fault.NONE:
            self.lose_session()
            raise BackendUnavailable("the connection broke")
        self._disk.transactions += 1
        return self._disk.transactions

    async def read(self, keys: Sequence[RowKey]) -> ReadBack:
        await trio.lowlevel.checkpoint()
        self._require_lock()
        found, left_out = [], []
        for key in keys:
            codec = CODECS[key.table]
            values = self._disk.rows[codec.table].get(codec.key_values(key.key))
            rows, undecodable = codec.decode_rows([values] if values else [], self._keyring)
            found.append(rows[0] if rows else Row(key, None))
            left_out += [key] * len(undecodable)
        return ReadBack(found, left_out)

    def watch_session(self, on_lost: Callable[[], None]) -> None:
        self._on_session_lost = on_lost

    async def hold(self) -> None:
        await trio.lowlevel.checkpoint()
        self._require_lock()

    async def aclose(self) -> None:
        self._closed = True
        self.lose_session()
        await trio.lowlevel.checkpoint()

    def lose_session(self) -> None:
        """Let go of the lock, as when the connection breaks or the process dies. The next write tries to take it again."""
        if self._disk.holder is self:
            self._disk.holder = None
            if not self._closed:
                self._on_session_lost()

    def _apply(self, rows: Sequence[Row]) -> None:
        for (record_class, key), record in rows:
            codec = CODECS[record_class]
            stored = self._disk.rows[codec.table]
            if record is None:
                stored.pop(codec.key_values(key), None)
            else:
                stored[codec.key_values(key)] = codec.encode(record, self._keyring)
        self._disk.on_commit(self, rows)

    def _require_lock(self) -> None:
        if self._disk.holder is not self or self.faults.out_of_order() or self._fenced is not None:
            assert self._became_writer, "acquire_writer_lock comes first"
            if not self._try_to_become_writer():
                raise BackendUnavailable("another session holds the writer lock")

    def _try_to_become_writer(self) -> bool:
        if self._closed:
            raise trio.ClosedResourceError
        if self._fenced is not None:
            raise WriterLockLost(self._fenced)
        if self.faults.out_of_order():
            self.lose_session()
            raise BackendUnavailable("the database is away")
        if self._became_writer and self._disk.last_writer is not self:
            raise WriterLockLost("another process was the writer since the connection broke")
        if self._disk.holder not in (None, self):
            return False
        self._disk.holder = self._disk.last_writer = self
        self._became_writer = True
        return True
