"""A real MariaDB fails under mixed writes: see `tests/writes_through_faults.py`."""

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from perf.mariadb import MariaDB, running_mariadb
from tests.databases import SomeDatabase, on_mariadb, require_mariadb
from tests.made_once import copy_mariadb_data
from tests.scratch import scratch_directory
from tests.writes_through_faults import WRITERS, Load, write_through

pytestmark = [pytest.mark.mariadb, pytest.mark.slow]

NAME = "faults"


class BreakableMariaDB:
    """A MariaDB of a test's own, that syncs what it commits, with a database and a user of that name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()
        self.server = self._start()
        self.server.execute(
            f"CREATE DATABASE {NAME}; CREATE USER {NAME}@localhost; GRANT ALL ON {NAME}.* TO {NAME}@localhost"
        )

    @property
    def database(self) -> SomeDatabase:
        return on_mariadb(self.server, NAME, user=NAME)

    async def execute(self, statement: str) -> str:
        """As the administrator."""
        return await trio.to_thread.run_sync(self.server.execute, statement)

    async def kill(self) -> None:
        """kill -9, and wait for its end."""
        os.kill(self.server.pid, signal.SIGKILL)
        await trio.to_thread.run_sync(self.close)

    async def start_again(self) -> None:
        self.server = await trio.to_thread.run_sync(self._start)

    def close(self) -> None:
        self._running.close()

    def _start(self) -> MariaDB:
        (self._directory / "socket").unlink(missing_ok=True)
        options = ("--innodb-flush-log-at-trx-commit=1",)
        return self._running.enter_context(running_mariadb(self._directory, *options))


@contextmanager
def breakable_mariadb() -> Iterator[BreakableMariaDB]:
    require_mariadb()
    with scratch_directory() as directory:
        copy_mariadb_data(directory)
        mariadb = BreakableMariaDB(directory)
        try:
            yield mariadb
        finally:
            mariadb.close()


async def sessions_ended(mariadb: BreakableMariaDB, load: Load) -> None:
    for _ in range(10):
        await load.more(acknowledged=20)
        await mariadb.execute(f"KILL USER {NAME}@localhost")


async def server_killed(mariadb: BreakableMariaDB, load: Load) -> None:
    for felt in (0, 1):
        await load.more(acknowledged=50)
        await mariadb.kill()
        await load.more(failed=felt)
        await mariadb.start_again()


async def read_only(mariadb: BreakableMariaDB, load: Load) -> None:
    """As a primary is that has just become a replica."""
    await mariadb.execute("SET GLOBAL read_only = ON")
    await load.more(failed=WRITERS)
    await load.lasts()
    await mariadb.execute("SET GLOBAL read_only = OFF")


async def table_locked(mariadb: BreakableMariaDB, load: Load) -> None:
    """For longer than a statement may take (10 s)."""
    lock = f"LOCK TABLES {NAME}.actual_lrps WRITE; DO SLEEP(3600)"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_ended, mariadb, lock)
        await load.more(failed=WRITERS)
        await load.lasts()
        sleeper = "SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'"
        await mariadb.execute(f"KILL {await mariadb.execute(sleeper)}")


async def _until_ended(mariadb: BreakableMariaDB, statements: str) -> None:
    """Run them on a session that is going to be ended."""
    with pytest.raises(Exception, match="returned non-zero"):
        await trio.to_thread.run_sync(partial(mariadb.server.execute, statements, max_s=3600))


async def server_hangs(mariadb: BreakableMariaDB, load: Load) -> None:
    """It answers nobody, and carries through what it has begun when it goes on, although we have long given that up."""
    await load.more(acknowledged=50)
    os.kill(mariadb.server.pid, signal.SIGSTOP)
    await load.more(failed=WRITERS)
    await load.lasts()
    os.kill(mariadb.server.pid, signal.SIGCONT)


FAULTS: dict[str, Callable[[BreakableMariaDB, Load], Awaitable[None]]] = {
    "sessions ended": sessions_ended,
    "server killed": server_killed,
    "read only": read_only,
    "table locked": table_locked,
    "server hangs": server_hangs,
}


@pytest.mark.parametrize("name", FAULTS)
async def test_what_was_acknowledged_is_there_and_what_failed_is_not(
    name: str, tmp_path: Path, kill_seed: int, faults_last_s: float
) -> None:
    with breakable_mariadb() as mariadb:
        await write_through(
            partial(FAULTS[name], mariadb),
            tmp_path,
            mariadb.database,
            seed=kill_seed,
            lasts_s=faults_last_s,
        )
