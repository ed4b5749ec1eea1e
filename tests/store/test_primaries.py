"""Whether a session is with the primary, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import asyncpg
import pytest
import trio
from trio.testing import MockClock
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.dsn import DSN, parse_dsn
from bbs.store.primaries import LOOK_S, PATIENCE_S, Primaries, Superseded


class Session:
    """One with a server on ``timeline``; None: it does not know what that is."""

    def __init__(self, timeline: int | None) -> None:
        self.timeline = timeline
        self.is_open = True

    async def fetchval(self, statement: str, *, timeout: float) -> str:  # noqa: ASYNC109 - the driver's
        if self.timeline is None:
            raise asyncpg.UndefinedFunctionError("function pg_current_wal_lsn() does not exist")
        return f"{self.timeline:08X}"

    def terminate(self) -> None:
        self.is_open = False


class Cluster:
    """Stands for a connection string. ``primary`` is the timeline of whoever lets us in."""

    def __init__(self, *, has_standbys: bool = True) -> None:
        self.has_standbys = has_standbys
        self.primary = 1
        self.looks: list[Session] = []

    async def open_session(self, *, timeout_s: float, admit: Any) -> Session:
        self.looks.append(session := Session(self.primary))
        try:
            await admit(session)
        except BaseException:
            session.terminate()
            raise
        return session


async def statement(duration_s: float) -> str:
    await asyncio.sleep(duration_s)
    return "done"


async def admit(primaries: Primaries, timeline: int | None) -> None:
    await aio_as_trio(primaries.admit)(Session(timeline))


async def work(primaries: Primaries, duration_s: float, *, in_session: bool = True) -> str:
    async def while_primary() -> str:
        return await primaries.while_primary(lambda: statement(duration_s), in_session=lambda: in_session)

    done: str = await aio_as_trio(while_primary)()
    return done


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with open_asyncio_loop(null_logger()):
        yield Cluster()


def of(cluster: Cluster) -> Primaries:
    return Primaries(cast(DSN, cluster))


async def test_a_statement_that_hangs_is_broken_off_soon_after_another_server_is_the_primary(
    cluster: Cluster, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    primaries = of(cluster)
    await admit(primaries, 1)
    began_s = trio.current_time()

    async def promote() -> None:
        await trio.sleep(20)
        cluster.primary = 2

    nursery.start_soon(promote)
    with pytest.raises(Superseded):
        await work(primaries, 3600)

    assert 20 <= trio.current_time() - began_s <= 20 + LOOK_S
    assert not any(look.is_open for look in cluster.looks)


async def test_a_slow_statement_goes_on_when_there_is_no_later_primary(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    """The look finds the server that runs the statement."""
    primaries = of(cluster)
    await admit(primaries, 1)

    assert await work(primaries, 9.0) == "done"
    assert cluster.looks
    assert not any(look.is_open for look in cluster.looks)


async def test_nobody_is_asked_while_statements_are_fast(cluster: Cluster, autojump_clock: MockClock) -> None:
    primaries = of(cluster)
    await admit(primaries, 1)
    cluster.primary = 2

    assert await work(primaries, PATIENCE_S * 0.9) == "done"
    assert cluster.looks == []


async def test_an_attempt_to_connect_is_left_alone(cluster: Cluster, autojump_clock: MockClock) -> None:
    primaries = of(cluster)
    await admit(primaries, 1)
    cluster.primary = 2

    assert await work(primaries, 9.0, in_session=False) == "done"


async def test_a_session_beside_the_writers_is_with_no_former_primary(cluster: Cluster) -> None:
    primaries = of(cluster)
    await admit(primaries, 2)

    await aio_as_trio(primaries.admit_beside)(Session(2))
    with pytest.raises(Superseded, match="primary on timeline 1; there has been one on 2 since"):
        await aio_as_trio(primaries.admit_beside)(Session(1))


async def test_a_session_beside_the_writers_that_is_ahead_does_not_hide_that_it_is_superseded(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    primaries = of(cluster)
    await admit(primaries, 1)
    cluster.primary = 2

    await aio_as_trio(primaries.admit_beside)(Session(2))

    with pytest.raises(Superseded):
        await work(primaries, 3600)


async def test_without_standbys_nobody_is_asked(cluster: Cluster, autojump_clock: MockClock) -> None:
    primaries = of(lonely := Cluster(has_standbys=False))
    await admit(primaries, 1)
    lonely.primary = 2

    assert await work(primaries, 9.0) == "done"
    assert lonely.looks == []


async def test_whoever_gives_up_leaves_nothing_behind(cluster: Cluster, autojump_clock: MockClock) -> None:
    primaries = of(cluster)
    await admit(primaries, 1)

    with trio.move_on_after(3) as gave_up:
        await work(primaries, 3600)

    assert gave_up.cancelled_caught
    assert not any(look.is_open for look in cluster.looks)


async def test_a_former_primary_is_not_admitted(cluster: Cluster, autojump_clock: MockClock) -> None:
    primaries = of(cluster)
    await admit(primaries, 3)
    await admit(primaries, 3)
    await admit(primaries, 0x1F)

    with pytest.raises(Superseded, match="on timeline 3; there has been one on 31"):
        await admit(primaries, 3)


async def test_a_server_that_has_no_timelines_is_taken_as_it_is(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    primaries = of(cluster)
    await admit(primaries, 3)
    await admit(primaries, None)


@pytest.mark.parametrize(
    ("text", "has_standbys"),
    [
        ("host=a,b target_session_attrs=read-write", True),
        ("host=a,b target_session_attrs=primary", True),
        ("host=a,b", False),
        ("host=a target_session_attrs=read-write", False),
        ("host=a,b target_session_attrs=standby", False),
    ],
)
def test_what_a_connection_string_says_of_standbys(text: str, has_standbys: bool) -> None:
    assert parse_dsn(text, {}).has_standbys == has_standbys
