"""When a stream is known to show all that was committed, although the log goes on: it may end in the middle of a record."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from bbs.store.changes.replication import Data, Keepalive, Received
from bbs.store.changes.stream import ChangeStream, Start
from tests.store.changes import messages

LENGTH = 200
"""Of the log, at each look."""


def new_stream() -> ChangeStream:
    """It has begun at 100."""
    replication = SimpleNamespace(ask=lambda: None, received=0)
    found = SimpleNamespace(by_oid={}, schemas=frozenset())
    start = Start(100, "snapshot", "system", 1, cast(Any, None))
    stream = ChangeStream(
        cast(Any, replication),
        cast(Any, None),
        start,
        cast(Any, found),
        began_at=trio.current_time(),
        close=lambda: None,
    )
    stream._has_begun.set()
    return stream


OTHERS = Data(messages.begin()), Data(messages.commit(140, 150))
"""A transaction that has changed none of our tables."""


@pytest.mark.parametrize(
    ("answers", "known_at_s"),
    [
        # Each look asks the server where it is. What is known is as old as the first of three questions with the same answer.
        (((Keepalive(200),),), 1),
        (((Keepalive(150),),), 0),
        (((Keepalive(150),), (Keepalive(150),)), 0),
        (((Keepalive(150),), (Keepalive(150),), (Keepalive(150),)), 1),
        (((Keepalive(150),), (Keepalive(150),), (Keepalive(150),), (Keepalive(150),)), 2),
        # It has come further in between, so there may be more.
        (((Keepalive(150),), (Keepalive(150),), (Keepalive(160),)), 0),
        # It has sent something in between.
        (((Keepalive(150),), (Keepalive(150),), (*OTHERS, Keepalive(150))), 0),
        # Not asked in between, it may have said both times where it was before it looked.
        (((Keepalive(150), Keepalive(150), Keepalive(150)),), 0),
        # It has not answered.
        (((), (), ()), 0),
    ],
)
async def test_what_is_known_of_a_server_that_does_not_come_to_the_end_of_its_log(
    autojump_clock: MockClock, answers: tuple[tuple[Received, ...], ...], known_at_s: int
) -> None:
    stream = new_stream()
    began = trio.current_time()
    for received in answers:
        await trio.sleep(1)
        stream._look_came(trio.current_time(), LENGTH)
        await trio.sleep(0.1)
        for each in received:
            stream._take(each)

    known_at = stream.caught_up_at(stream.position) - began
    assert int(known_at + 0.5) == known_at_s
