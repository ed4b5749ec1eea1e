"""Which server of a cluster is the primary, and whether it still is.

When Postgres fails over, the former primary may be gone without a word, or hang: nothing tells us that our session there is
over, and a statement waits until its time is up. Meanwhile another server may have been made the primary. So while a
statement is slow, the servers that the connection string names are asked whether one of them is on a *later timeline*:
Postgres counts the timeline up with each promotion, so that one has taken over from ours.

The former primary may also go on as if nothing had happened, when it was cut off from whatever demotes it. With synchronous
replication it can't commit any more; but to go back to it would be in vain. So a session on an earlier timeline than one we
have seen is not admitted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg

from bbs.store.dsn import DSN
from bbs.store.log_queries import TIMELINE

PATIENCE_S: Final = 0.5
"""How long a statement may take before the other servers are asked. It costs nothing but a few connections."""

LOOK_S: Final = 1.0
"""How long a server may take to answer then, and the pause between two looks."""

FOLLOWED_LOOK_S: Final = 2.0
"""The pause where nothing is slow: whoever follows a server's log asks all the time."""

TIMELINE_S: Final = 3.0

T = TypeVar("T")


class Superseded(ConnectionError):
    """Another server is the primary now."""


class Primaries:
    """What the writer's session has seen of them. Runs under asyncio. Does nothing if ``dsn`` names no standbys."""

    def __init__(self, dsn: DSN) -> None:
        self._dsn = dsn
        self._timeline = 0  # the latest we have seen

    async def admit(self, connection: "asyncpg.Connection[Any]") -> None:
        """Look at a new session.

        Raises:
          Superseded: its server was the primary before one that we have seen.
        """
        if not self._dsn.has_standbys:
            return
        timeline = await self._admitted_timeline(connection)
        if timeline is not None:
            self._timeline = timeline

    async def admit_beside(self, connection: "asyncpg.Connection[Any]") -> None:
        """Look at a new session that is not the writer's. That it is ahead of the writer's, which may be about to notice, is not
        held against that one: its timeline is not noted.

        Raises:
          Superseded: as `admit`.
        """
        if self._dsn.has_standbys:
            await self._admitted_timeline(connection)

    async def _admitted_timeline(self, connection: "asyncpg.Connection[Any]") -> int | None:
        timeline = await timeline_of(connection)
        if timeline is not None and timeline < self._timeline:
            raise Superseded(
                f"this server was the primary on timeline {timeline}; there has been one on {self._timeline} since"
            )
        return timeline

    async def while_primary(self, work: Callable[[], Awaitable[T]], *, in_session: Callable[[], bool]) -> T:
        """Do ``work`` in a session. It is broken off when another server turns out to be the primary. ``in_session`` says
        whether there is a session just now.

        Raises:
          Superseded: so it was.
          Exception: whatever ``work`` failed with.
        """
        if not self._dsn.has_standbys:
            return await work()
        working = asyncio.ensure_future(work())
        tasks: list[asyncio.Future[Any]] = [working]
        try:
            done, _ = await asyncio.wait(tasks, timeout=PATIENCE_S)
            if not done:
                looking = asyncio.ensure_future(self._find_successor(in_session))
                tasks.append(looking)
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if not working.done():
                    raise Superseded("another server has become the primary")
            return working.result()
        finally:
            unfinished = [task for task in tasks if not task.done()]
            for task in unfinished:
                task.cancel()
            if unfinished:
                await asyncio.wait(unfinished)

    async def _find_successor(self, in_session: Callable[[], bool]) -> None:
        """Return when some server is the primary on a later timeline than our session's."""
        while True:
            if in_session() and self._timeline:
                found = await _look_for_later(self._dsn, lambda: self._timeline)
                if found is not None and in_session():
                    return
            await asyncio.sleep(LOOK_S)


async def later_primary(dsn: DSN, timeline: int) -> int:
    """Wait until one of the servers is the primary on a later timeline; returns that. Runs under asyncio, for ever maybe."""
    while True:
        found = await _look_for_later(dsn, lambda: timeline)
        if found is not None:
            return found
        await asyncio.sleep(FOLLOWED_LOOK_S)


async def _look_for_later(dsn: DSN, known: Callable[[], int]) -> int | None:
    """The timeline of a server that is the primary on a later one than the one ``known`` when it answers."""
    found = 0

    async def must_be_later(connection: "asyncpg.Connection[Any]") -> None:
        nonlocal found
        found = await timeline_of(connection) or 0
        if found <= known():
            raise ConnectionError("this is no later primary")

    try:
        connection = await dsn.open_session(timeout_s=LOOK_S, admit=must_be_later)
    except Exception:
        # Whatever keeps us from asking, the server that we know is all that we have.
        return None
    connection.terminate()
    return found


async def timeline_of(connection: "asyncpg.Connection[Any]") -> int | None:
    """The timeline of a session's server. None if the server does not say: not every service that speaks Postgres has a log of this kind."""
    try:
        timeline = await connection.fetchval(f"SELECT {TIMELINE}", timeout=TIMELINE_S)
    except asyncpg.PostgresError:
        return None
    return None if timeline is None else int(timeline, 16)
