"""Whether a session of ours is a session of Postgres, and not one that a pooler lends out anew with each transaction.

The writer lock belongs to a session. A pooler in transaction mode (PgBouncer's ``pool_mode = transaction``, and others of the
kind) gives the server's session to somebody else between two transactions: the lock would be taken in one session and relied
upon in another, so that two processes could hold it. Such a connection must be refused, whatever the pooler's name is.

Postgres tells a client the process id of its backend when a session begins. A pooler begins a session with its clients
before it has one with Postgres, so it makes an id up; if the id is right, there is none. If it is not, a second connection
looks whether it is given the backend that the first one has just used. In session mode it never is, as the first one keeps
its backend until it closes.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from bbs.store.driver_errors import words

OTHERS_MAX: Final = 8
"""How many more connections are opened at most, each with a transaction, to find out to whom a pooler lends a backend. One is
enough for PgBouncer, which lends the one that was used last."""

ANSWER_S: Final = 3.0
"""How long one more connection is waited for: a pool may have no backend left for it."""

Open = Callable[[], Awaitable["asyncpg.Connection[Any]"]]


class SessionNotKept(ConnectionError):
    """Our session is lent to others between two transactions."""


class _Backend(NamedTuple):
    pid: int
    started: datetime  # ids are used again
    now: datetime

    def is_same(self, other: "_Backend") -> bool:
        return (self.pid, self.started) == (other.pid, other.started)


async def session_must_be_kept(
    connection: "asyncpg.Connection[Any]", open_another: Open, *, where: str
) -> None:
    """Look whether ``connection``, which is new, has a backend of its own. Runs under asyncio. Costs one statement where there
    is no pooler. ``open_another`` connects to the same place; ``where`` says which that is.

    Raises:
      SessionNotKept: it has not.
      Exception: whatever the driver failed with.
    """
    try:
        own = await _backend(connection)
    except asyncpg.PostgresConnectionError as refusal:
        if not isinstance(refusal, asyncpg.ProtocolViolationError) and not isinstance(
            refusal.__cause__, asyncpg.ProtocolViolationError
        ):
            raise
        # No Postgres refuses a transaction; PgBouncer in statement mode does, and hangs up.
        raise SessionNotKept(_advice(where, f"it does not allow transactions: {words(refusal)}")) from refusal
    if own.pid == connection.get_server_pid():
        return
    lent = "a session's backend is given to others between two transactions"
    async with AsyncExitStack() as stack:
        for _ in range(OTHERS_MAX):
            other = await open_another()
            stack.callback(other.terminate)
            try:
                await other.execute("BEGIN", timeout=ANSWER_S)  # so that it keeps what it is given
                given = await _current_backend(other)
            except TimeoutError:
                break  # the pool has no other backend, and does not lend ours
            if given.is_same(own):
                raise SessionNotKept(_advice(where, lent))
            if given.started > own.now:
                break  # the pool had to make a new one, so it had none to lend
        try:
            again = await _backend(connection)
        except TimeoutError as busy:
            raise SessionNotKept(_advice(where, lent)) from busy
        if not again.is_same(own):
            raise SessionNotKept(_advice(where, lent))


async def _backend(connection: "asyncpg.Connection[Any]") -> _Backend:
    """In a transaction, since a statement is prepared and run in two steps."""
    await connection.execute("BEGIN", timeout=ANSWER_S)
    backend = await _current_backend(connection)
    await connection.execute("COMMIT", timeout=ANSWER_S)
    return backend


async def _current_backend(connection: "asyncpg.Connection[Any]") -> _Backend:
    # Without a name: a backend that others use as well may know another statement by a name of ours.
    statement = await connection.prepare(
        "SELECT pid, backend_start, clock_timestamp() FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        name="",
        timeout=ANSWER_S,
    )
    row = await statement.fetchrow(timeout=ANSWER_S)
    assert row is not None, "each backend sees itself"
    return _Backend(*row)


def _advice(where: str, found: str) -> str:
    return (
        f"the connection to {where} goes through a pooler that keeps no sessions ({found}). The lock that makes this server "
        "the only writer belongs to a session, so it would be worthless there. Connect to Postgres itself, or to a pool in "
        "session mode (PgBouncer: pool_mode = session)"
    )
