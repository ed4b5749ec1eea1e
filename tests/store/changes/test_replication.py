"""What a follower says to the server and when, in virtual time; what it makes of the server's frames."""

import struct
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.store.changes.replication import BadFrame, Data, Keepalive, Replication
from bbs.store.changes.session import Session


class ScriptedSession:
    """Stands in for a `Session` that is in the middle of a copy. ``said`` has what was sent, each with its time."""

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.said: list[tuple[float, bytes]] = []

    def receive_nowait(self) -> bytes | None:
        return self.frames.popleft() if self.frames else None

    async def send(self, message: bytes, *, within_s: float) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append((trio.current_time(), message))


@pytest.fixture
def session() -> ScriptedSession:
    return ScriptedSession()


@pytest.fixture
async def replication(session: ScriptedSession, nursery: trio.Nursery) -> AsyncIterator[Replication]:
    replication = Replication(cast(Session, session), report_s=10)
    nursery.start_soon(replication.keep_alive)
    yield replication
    nursery.cancel_scope.cancel()


def keepalive(position: int, *, wants_answer: bool) -> bytes:
    return struct.pack("!cQqB", b"k", position, 0, wants_answer)


def reports(session: ScriptedSession) -> list[tuple[float, int, bool]]:
    """When, up to where, and whether the server is to answer."""
    read = []
    for at, message in session.said:
        kind, written, flushed, applied, _, wants_answer = struct.unpack("!cQQQqB", message)
        assert kind == b"r"
        assert written == flushed == applied
        read.append((at, flushed, bool(wants_answer)))
    return read


async def test_it_speaks_up_by_itself_and_asks_for_an_answer(
    autojump_clock: MockClock, replication: Replication, session: ScriptedSession
) -> None:
    replication.received = 7
    await trio.sleep(15)
    replication.received = 9
    await trio.sleep(10)

    assert reports(session) == [(10, 7, True), (20, 9, True)]


async def test_it_answers_at_once_and_does_not_ask_back(
    autojump_clock: MockClock, replication: Replication, session: ScriptedSession
) -> None:
    """A server that shuts down waits for that answer, and for its position."""
    await trio.sleep(3)
    session.frames.append(keepalive(50, wants_answer=True))
    assert replication.receive_nowait() == Keepalive(50)
    replication.received = 50
    await wait_all_tasks_blocked()
    session.frames.append(keepalive(60, wants_answer=False))
    assert replication.receive_nowait() == Keepalive(60)
    await wait_all_tasks_blocked()

    assert reports(session) == [(3, 50, False)]


async def test_data_comes_without_its_frame(replication: Replication, session: ScriptedSession) -> None:
    session.frames.append(struct.pack("!cQQq", b"w", 1, 2, 3) + b"payload")

    assert replication.receive_nowait() == Data(b"payload")
    assert replication.receive_nowait() is None


@pytest.mark.parametrize(
    "frame", [b"", b"w", b"w" + bytes(23), b"k", keepalive(1, wants_answer=True) + b"x", b"x" + bytes(17)]
)
async def test_what_is_no_frame(replication: Replication, session: ScriptedSession, frame: bytes) -> None:
    session.frames.append(frame)

    with pytest.raises(BadFrame):
        replication.receive_nowait()
