"""The changes of our tables as they are committed, one transaction after another: what others use of this package.

    async with follow_changes(dsn) as stream:
        ...  # load all rows, in the snapshot stream.start.snapshot
        async for transaction in stream:
            ...

Nothing is missed between the load and the first transaction, and nothing comes twice: the snapshot shows just what was
committed before `Start.position`. A stream is never resumed. When it ends, load anew with a new one.

What it costs others is bounded:

* The server keeps its log from where we are. A consumer that does not come back for more within ``busy_max_s``, or for the
  first time within ``load_max_s``, loses its stream, and the server is free of it. (It would also wait for such a follower
  when it shuts down.)
* Nothing is read from the socket before the consumer asks for it, so a slow one costs no memory, here or there.
* What a stream does not tell is asked in a second session. Every ``survey_s``: whether the publication still has all of our
  tables. So long, at most, a follower goes on without noticing that an operator has taken one out of it. And every ``look_s``:
  how long the log is. When the stream has come as far, it shows all that was committed before that look (`caught_up_at`).
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import trio

from bbs.store.backend import BackendUnavailable
from bbs.store.changes.connecting import anybody, connect
from bbs.store.changes.errors import CannotFollow, StreamLost
from bbs.store.changes.pgoutput import BadMessage, decode
from bbs.store.changes.publication import (
    PUBLICATION,
    Survey,
    end_of_log,
    ensure_published,
    must_be_followable,
    must_not_be_before,
    no_replication,
    slot_refused,
    survey,
)
from bbs.store.changes.replication import (
    REPORT_S,
    REPORTS_IN_TIMEOUT,
    BadFrame,
    Data,
    Keepalive,
    Received,
    Replication,
    Slot,
)
from bbs.store.changes.session import CopyEnded, Notice, Refused, Session
from bbs.store.changes.transactions import Assembler, Transaction
from bbs.store.dsn import DSN

CONNECT_S: Final = 5.0
LOAD_MAX_S: Final = 600.0
BUSY_MAX_S: Final = 30.0
SURVEY_S: Final = 10.0

LOOK_S: Final = 0.25
"""Pause between two looks at the end of the log: how late a follower that is not behind may say so."""

LOOKS_MAX: Final = 10_000
"""Looks remembered that the stream has not reached, forty minutes of them. Later ones are left out until it has."""

ANSWERS_ALIKE: Final = 3
"""So often the server says that it is at the same place before it is believed to have nothing more."""

MESSAGES_IN_A_TURN: Final = 100
"""Messages that are decoded before others get a turn: about a millisecond."""

PUBLICATION_GONE: Final = "55000"
"""With this warning servers from version 18 on say that the publication is gone. Earlier ones end the stream."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: its first transaction is the first one that ``snapshot`` does not show.

    ``snapshot`` is a name for ``SET TRANSACTION SNAPSHOT``, in a ``REPEATABLE READ`` transaction of another session. It can be
    taken until the first transaction is asked for. ``system`` and ``timeline`` are the server's; a later primary has a greater
    timeline. ``server`` is where to load from: another server of the connection string has another log.
    """

    position: int
    snapshot: str
    system: str
    timeline: int
    server: DSN


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream has come. Positions are bytes of the server's log.

    All that was committed before ``position`` has been handed out. The server had decoded its log up to ``decoded`` when it
    said so last, and written it up to ``written`` at the last look.
    """

    position: int
    decoded: int
    written: int

    @property
    def behind_bytes(self) -> int:
        """How much of the log, as far as we know of it, is still to come."""
        return max(0, self.decoded - self.position, self.written - self.position)


class ChangeStream:
    """Transactions in the order of their commits, for ``async for``, by one task at a time. Made by `follow_changes`.

    Raises, when asked for a transaction:
      StreamLost: the stream has ended; load anew with a new one.
      BackendUnavailable: likewise, since the database does not answer.
    Cancellation:
      Ends the stream.
    """

    def __init__(
        self,
        replication: Replication,
        slot: Slot,
        start: Start,
        found: Survey,
        *,
        began_at: float,
        close: Callable[[], None],
    ) -> None:
        self.start = start
        self.on_moved: Callable[[], None] = lambda: None
        """Called when `position` has moved on without a transaction for us."""
        self._replication = replication
        self._slot = slot
        self._close = close
        self._found = found
        self._decoded = self._written = start.position
        self._caught_up_at = began_at
        self._looks: deque[tuple[float, int]] = deque()  # when, and how long the log was
        self._asked_at: float | None = None  # since the server said last where it is
        self._was_at = -1  # where it said it was
        self._said_so: deque[float] = deque(maxlen=ANSWERS_ALIKE)  # and when it was asked, each time
        self._assembler = Assembler(found.by_oid, found.schemas, start.position)
        self._has_begun = trio.Event()
        self._busy_since: float | None = trio.current_time()  # None while we are waited for
        self._end: StreamLost | BackendUnavailable | None = None

    @property
    def position(self) -> int:
        """All that was committed before has been handed out. It also moves on when other tables than ours change."""
        return self._assembler.position

    def progress(self) -> Progress:
        return Progress(self.position, self._decoded, self._written)

    @property
    def is_waited_for(self) -> bool:
        """Whether the consumer has done with all that was handed out."""
        return self._busy_since is None

    def caught_up_at(self, position: int) -> float:
        """The last moment, by Trio's clock, of which is known that all that was committed before it is before ``position``."""
        while self._looks and self._looks[0][1] <= position:
            self._caught_up_at, _ = self._looks.popleft()
        return self._caught_up_at

    def ask(self) -> None:
        """Have `position` move on to where the server is, also if it has nothing for us."""
        if self._asked_at is None:
            self._asked_at = trio.current_time()
        self._replication.ask()

    def __aiter__(self) -> "ChangeStream":
        return self

    async def __anext__(self) -> Transaction:
        self._busy_since = None
        try:
            return await self._next()
        except (BackendUnavailable, StreamLost, CopyEnded, Refused, BadFrame, BadMessage) as error:
            raise self.end(error) from error
        except BaseException:
            self.end(StreamLost("a wait for the next transaction was broken off"))
            raise
        finally:
            self._busy_since = trio.current_time()

    def end(self, error: Exception) -> StreamLost | BackendUnavailable:
        """End it. Returns what it has ended with, the first time that it did."""
        if self._end is None:
            self._end = (
                error if isinstance(error, StreamLost | BackendUnavailable) else StreamLost(str(error))
            )
        self._close()
        return type(self._end)(str(self._end))

    def heard(self, notice: Notice) -> None:
        """Told of what the server says beside the stream. Called by libpq, in the middle of its work."""
        if notice.state == PUBLICATION_GONE and self._end is None:
            self._end = StreamLost(f"the publication is not there any more: {notice.text}")

    async def keep_alive(self) -> None:
        """Speak up to the server, from the begin of the stream on, until cancelled or until the stream ends."""
        await self._has_begun.wait()
        try:
            await self._replication.keep_alive()
        except BackendUnavailable as error:
            self.end(error)

    async def watch_consumer(self, *, load_max_s: float, busy_max_s: float) -> None:
        """End the stream when its consumer does not come back."""
        while self._end is None:
            limit_s = busy_max_s if self._has_begun.is_set() else load_max_s
            since = trio.current_time() if self._busy_since is None else self._busy_since
            if trio.current_time() >= since + limit_s:
                self.end(StreamLost(f"nobody has asked for the next transaction for {limit_s:g} s"))
            else:
                # Once it has begun the other limit counts.
                with trio.move_on_at(since + limit_s):
                    if self._has_begun.is_set():
                        await trio.sleep_forever()
                    await self._has_begun.wait()

    async def watch_server(self, side: Session, *, survey_s: float, look_s: float) -> None:
        """Look how long the log is, and end the stream when it does not show all changes of our tables any more."""
        survey_at = trio.current_time() + survey_s
        while self._end is None:
            await trio.sleep(min(look_s, survey_s))
            try:
                now = trio.current_time()
                if now >= survey_at:
                    found = await survey(side, self._found.publication)
                    must_be_followable(found)
                    if found != self._found:
                        self.end(StreamLost("the publication or its tables are not those that they were"))
                    survey_at = trio.current_time() + survey_s
                else:
                    self._look_came(now, await end_of_log(side))
            except (BackendUnavailable, CannotFollow) as error:
                self.end(error)

    def _look_came(self, when: float, length: int) -> None:
        self._written = max(self._written, length)
        if len(self._looks) < LOOKS_MAX:
            self._looks.append((when, length))
        if self._has_begun.is_set() and length > self.position:
            self.ask()

    def _server_is_at(self, position: int) -> None:
        """Note when the server has nothing more to decode, though its log is longer: the log may have been written up to the middle
        of a record, which is whole only when somebody commits the next time. A commit is whole before anybody hears of it.

        So it is if it says again and again that it is at the same place, was asked in between each time, and has sent nothing else: it
        has looked for the next record then. Twice would do if it spoke only when it is asked.
        """
        if self._asked_at is None:
            return
        if position != self._was_at:
            self._said_so.clear()
        self._was_at = position
        self._said_so.append(self._asked_at)
        self._asked_at = None
        if len(self._said_so) == ANSWERS_ALIKE:
            known_at = self._said_so[0]
            while self._looks and self._looks[0][0] <= known_at:
                self._looks.popleft()
            self._looks.appendleft((known_at, position))

    async def _next(self) -> Transaction:
        await trio.lowlevel.checkpoint()
        if self._end is None and not self._has_begun.is_set():
            await self._replication.start(self._slot, self._found.publication)
            self._has_begun.set()
        fed = 0
        while True:
            received = None if self._end is not None else self._replication.receive_nowait()
            # Looked at last, since what the server says beside the stream is heard while something is received.
            if (end := self._end) is not None:
                raise end
            if received is None:
                await self._replication.wait_received()
                continue
            transaction = self._take(received)
            if transaction is not None:
                return transaction
            fed += 1
            if fed % MESSAGES_IN_A_TURN == 0:
                await trio.lowlevel.checkpoint()

    def _take(self, received: Received) -> Transaction | None:
        transaction = None
        match received:
            case Data(payload=payload):
                self._said_so.clear()
                transaction = self._assembler.feed(decode(payload), len(payload))
            case Keepalive(position=position):
                self._decoded = max(self._decoded, position)
                self._assembler.quiet_at(position)
                self._server_is_at(position)
                self.on_moved()
        # What has been received whole is not asked for again.
        self._replication.received = self._assembler.position
        return transaction


@asynccontextmanager
async def follow_changes(
    dsn: DSN,
    *,
    publication: str = PUBLICATION,
    timeline_min: int = 0,
    connect_s: float = CONNECT_S,
    load_max_s: float = LOAD_MAX_S,
    busy_max_s: float = BUSY_MAX_S,
    survey_s: float = SURVEY_S,
    look_s: float = LOOK_S,
) -> AsyncIterator[ChangeStream]:
    """Follow the changes of our four tables from now on, for as long as the context is entered.

    Takes two of the server's sessions, one of its ``max_wal_senders`` and one of its ``max_replication_slots``. All times are in
    seconds: for an attempt to connect, for the load, for what the consumer does between two transactions, between two
    looks at the publication, and between two at the end of the log. A server on a timeline before ``timeline_min`` is not
    followed: another one has been the primary since.

    Raises:
      CannotFollow: it can't be done here; what to do.
      BackendUnavailable: no server of the connection string answers.
    Cancellation:
      Closes both sessions at once. The server then drops the slot.
    """
    admit = partial(must_not_be_before, timeline=timeline_min) if timeline_min else anybody
    side, server = await connect(dsn, replication=False, attempt_s=connect_s, admit=admit)
    try:
        found = await ensure_published(side, publication)
        try:
            # The same server: another one has another log.
            session, _ = await connect(
                replace(dsn, attempts=tuple(server)), replication=True, attempt_s=connect_s
            )
        except BackendUnavailable as refusal:
            raise no_replication(await survey(side, publication), refusal) from refusal
        try:
            stream = await _opened(session, found, replace(dsn, attempts=tuple(server)))
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.keep_alive)
                nursery.start_soon(
                    partial(stream.watch_consumer, load_max_s=load_max_s, busy_max_s=busy_max_s)
                )
                nursery.start_soon(partial(stream.watch_server, side, survey_s=survey_s, look_s=look_s))
                try:
                    yield stream
                except Exception as error:
                    # Raised behind the nursery, which would make a group of it.
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            session.close()
    finally:
        side.close()


async def _opened(session: Session, found: Survey, server: DSN) -> ChangeStream:
    report_s = REPORT_S
    if found.wal_sender_timeout_s:
        report_s = min(report_s, found.wal_sender_timeout_s / REPORTS_IN_TIMEOUT)
    replication = Replication(session, report_s=report_s)
    try:
        identity = await replication.identify()
        began_at = trio.current_time()
        slot = await replication.create_slot()
    except Refused as refusal:
        raise slot_refused(refusal) from refusal
    start = Start(slot.position, slot.snapshot, identity.system, identity.timeline, server)
    stream = ChangeStream(replication, slot, start, found, began_at=began_at, close=session.close)
    session.on_notice = stream.heard
    return stream
