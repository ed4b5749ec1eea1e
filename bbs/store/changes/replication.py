"""Postgres' streaming replication protocol, as far as a follower of logical changes needs it.

A *slot* is what makes the server keep the log that a follower has not read. Ours is temporary: the server drops it when our
session ends, however it ends. So a follower that dies leaves nothing behind, and a stream that breaks is not resumed.

What we report as flushed lets the server drop the log before it. Since nothing is ever resumed, that is whatever we have
received whole, and no consumer can forget to confirm. What a consumer can do is not to read; `bbs.store.changes.stream` ends
its stream then.

The server ends a session that is silent for its ``wal_sender_timeout``. It asks for an answer before, but a consumer that is
busy does not read that. So `Replication.keep_alive` speaks up by itself several times in that time. It asks the server to
answer, so that whoever reads notices a dead connection.
"""

import secrets
import struct
import time
from struct import Struct
from typing import Final, NamedTuple, NoReturn, TypeAlias

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.store.changes.session import Session
from bbs.store.positions import position_of, postgres_us

COMMAND_S: Final = 10.0

SLOT_S: Final = 60.0
"""A new slot begins where no older transaction is under way, so the server waits for those that are."""

REPORT_S: Final = 10.0
"""How often we speak up."""

REPORTS_IN_TIMEOUT: Final = 4
"""How often we do within the server's ``wal_sender_timeout``, if that is short."""

SILENCE_S: Final = 60.0
"""How long the server may be silent while somebody waits for it. It answers each of our reports."""

SEND_S: Final = 30.0

TRANSACTION_TIMEOUT: Final = 17_00_00
"""The first version with that setting."""

_DATA: Final = Struct("!cQQq")
_KEEPALIVE: Final = Struct("!cQqB")
_REPORT: Final = Struct("!cQQQqB")


class Identity(NamedTuple):
    """Which server this is: ``system`` is made with its data, ``timeline`` counts its promotions."""

    system: str
    timeline: int


class Slot(NamedTuple):
    """All that was committed before ``position`` is in ``snapshot``, and what is committed later is streamed.

    The snapshot's name is for ``SET TRANSACTION SNAPSHOT``, which another session can do until the stream begins.
    """

    name: str
    position: int
    snapshot: str


class Data(NamedTuple):
    """A message of the output plugin."""

    payload: bytes


class Keepalive(NamedTuple):
    """The server has decoded its log up to ``position``, and has sent what it found."""

    position: int


Received: TypeAlias = Data | Keepalive


class BadFrame(Exception):
    """What was received is no message of the replication protocol."""


class Replication:
    """One session for replication, opened as such. `create_slot` first, then `start`, then `receive` again and again, beside
    `keep_alive`.

    Raises, in each of its methods:
      BackendUnavailable, Refused, CopyEnded: as `Session`.
    Cancellation:
      Ends the session, and with it the slot.
    """

    def __init__(self, session: Session, *, report_s: float = REPORT_S, silence_s: float = SILENCE_S) -> None:
        self.received = 0
        self._session = session
        self._report_s = report_s
        self._silence_s = silence_s
        self._is_report_due = ClearableEvent()
        self._asks = False

    async def identify(self) -> Identity:
        [(system, timeline, *_)] = await self._session.fetch("IDENTIFY_SYSTEM", within_s=COMMAND_S)
        assert system is not None
        assert timeline is not None
        return Identity(system, int(timeline))

    async def create_slot(self) -> Slot:
        # While it exports a snapshot the session is in a transaction, and a load may take a while.
        limits = ["idle_in_transaction_session_timeout"]
        if self._session.server_version >= TRANSACTION_TIMEOUT:
            limits.append("transaction_timeout")
        for limit in limits:
            await self._session.fetch(f"SET {limit} = 0", within_s=COMMAND_S)
        # For what `bbs.store.changes.stream` has to hear.
        await self._session.fetch("SET client_min_messages = warning", within_s=COMMAND_S)
        name = f"bbs_changes_{secrets.token_hex(8)}"
        # In the words of versions up to 14, which later ones understand as well.
        statement = f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"
        [(_, position, snapshot, _)] = await self._session.fetch(statement, within_s=SLOT_S)
        assert position is not None
        assert snapshot is not None
        self.received = position_of(position)
        return Slot(name, self.received, snapshot)

    async def start(self, slot: Slot, publication: str) -> None:
        """Begin to stream what the publication publishes. The slot's snapshot is over."""
        names = self._session.quoted(publication).replace("'", "''")
        await self._session.start_copy(
            f"START_REPLICATION SLOT {slot.name} LOGICAL 0/0 (proto_version '1', publication_names '{names}')",
            within_s=SLOT_S,
        )

    def receive_nowait(self) -> Received | None:
        """What has come, if it has.

        Raises:
          BadFrame: it makes no sense.
        """
        message = self._session.receive_nowait()
        if message is None:
            return None
        try:
            if message.startswith(b"w"):
                _DATA.unpack_from(message)
                return Data(message[_DATA.size :])
            kind, position, _, wants_answer = _KEEPALIVE.unpack(message)
        except struct.error as error:
            raise BadFrame(f"a message of {len(message)} bytes beginning with {message[:1]!r}") from error
        if kind != b"k":
            raise BadFrame(f"a message beginning with {kind!r}")
        if wants_answer:
            self._is_report_due.set()
        return Keepalive(position)

    async def wait_received(self) -> None:
        await self._session.wait_received(within_s=self._silence_s)

    def ask(self) -> None:
        """Have the server say how far it has decoded its log: when it is done it says so once, and then no more."""
        self._asks = True
        self._is_report_due.set()

    async def keep_alive(self) -> NoReturn:
        """Tell the server that we are there, and what we have ``received``, when it is time to, whenever it asks, and to `ask`."""
        while True:
            with trio.move_on_after(self._report_s) as pause:
                await self._is_report_due.wait()
            self._is_report_due.clear()
            # Asked back only if it has not asked.
            wants_answer, self._asks = self._asks or pause.cancelled_caught, False
            await self._session.send(self._report(wants_answer=wants_answer), within_s=SEND_S)

    def _report(self, *, wants_answer: bool) -> bytes:
        done = self.received
        return _REPORT.pack(b"r", done, done, done, postgres_us(time.time_ns()), wants_answer)
