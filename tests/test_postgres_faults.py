"""A real Postgres fails under mixed writes in every way we know: nothing acknowledged is lost, nothing that failed is there.

The server is a process, and nobody helps it: when the fault is over it goes on by itself. Its writes give up after two
seconds here, so that what lasts longer makes them fail. What the writers know is `tests/acknowledged_writes.py`.
"""

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import pytest
import trio

from bbs.client import InternalBBSClient
from bbs.commands.local_keyring import local_keyring
from bbs.store.postgres import WRITER_LOCK
from tests.acknowledged_writes import Watcher, Writer, look
from tests.breakable_postgres import BreakablePostgres, breakable_postgres
from tests.databases import SomeDatabase
from tests.processes import RunningBBS, running_bbs
from tests.records import desired_message
from tests.waiting import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

WRITERS: Final = 8
WRITE_RETRY_S: Final = 2
HANGS_S: Final = 120.0
UNAVAILABLE: Final = "the database is unavailable; nothing was changed, try again: "

WRITER_PID = f"""
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
  AND classid = {WRITER_LOCK >> 32} AND objid = {WRITER_LOCK & 0xFFFFFFFF}"""


@dataclass
class Load:
    """What the writers have met so far. Faults wait for it to grow, so they happen under load, and last until they are felt."""

    writers: list[Writer]
    lasts_s: float
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def acknowledged(self) -> int:
        return sum(writer.acknowledged for writer in self.writers)

    @property
    def failed(self) -> int:
        return len(self.errors)

    @property
    def errors(self) -> list[str]:
        return [error for writer in self.writers for error in writer.errors]

    def answered(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def more(self, *, acknowledged: int = 0, failed: int = 0) -> None:
        """Wait until so many more requests have been answered, in either way."""
        enough = self.acknowledged + acknowledged, self.failed + failed
        while self.acknowledged < enough[0] or self.failed < enough[1]:
            await self._changed.wait()

    async def lasts(self) -> None:
        """Wait until the fault has lasted long enough, if it is to last longer than it takes to be felt."""
        await wait_until(
            partial(self._has_lasted, trio.current_time()), within_s=self.lasts_s + 10, what="time"
        )

    def _has_lasted(self, since: float) -> bool:
        return trio.current_time() >= since + self.lasts_s


Fault = Callable[[BreakablePostgres, Load], Awaitable[None]]


async def writer_pid(postgres: BreakablePostgres) -> int:
    pids: list[int] = []

    async def is_there() -> bool:
        pids[:] = [pid for (pid,) in await postgres.execute(WRITER_PID)]
        return bool(pids)

    await wait_until(is_there, within_s=HANGS_S, what="somebody holds the writer lock")
    return pids[0]


async def sessions_ended(postgres: BreakablePostgres, load: Load) -> None:
    for _ in range(10):
        await load.more(acknowledged=20)
        await postgres.execute(f"SELECT pg_terminate_backend(pid) FROM ({WRITER_PID}) AS writer")


async def backend_killed(postgres: BreakablePostgres, load: Load) -> None:
    """After which Postgres ends all sessions and recovers."""
    for _ in range(3):
        await load.more(acknowledged=50)
        os.kill(await writer_pid(postgres), signal.SIGKILL)


async def backend_panics(postgres: BreakablePostgres, load: Load) -> None:
    """In the middle of a commit: its process can't write the log any more."""
    for _ in range(2):
        await load.more(acknowledged=50)
        process = Path("/proc", str(pid := await writer_pid(postgres)))
        await postgres.forbid_files(pid)
        await wait_until(partial(is_gone, process), within_s=HANGS_S, what="it has ended")


def is_gone(path: Path) -> bool:
    return not path.exists()


async def postmaster_killed(postgres: BreakablePostgres, load: Load) -> None:
    for felt in (0, 1):
        await load.more(acknowledged=50)
        postgres.kill()
        await postgres.wait_ended()
        await load.more(failed=felt)
        await postgres.start_again()


async def disk_full(postgres: BreakablePostgres, load: Load) -> None:
    """Tables can't grow, and then the log can't: Postgres goes down and does not come up before there is room."""
    with postgres.full_disk():
        await load.more(failed=20)
    await load.more(acknowledged=50)
    with postgres.full_disk():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use_up_the_log, postgres)
            await postgres.wait_ended()
            nursery.cancel_scope.cancel()
        await load.more(failed=WRITERS)
    await postgres.start_again()


async def use_up_the_log(postgres: BreakablePostgres) -> None:
    """So that its next segment is wanted at once, and not after 16 MB of writes."""
    while True:
        try:
            await postgres.execute("SELECT pg_switch_wal(), pg_logical_emit_message(false, '', 'x')")
        except Exception:  # whatever it meets, the postmaster's end is waited for
            await trio.lowlevel.checkpoint()


async def read_only(postgres: BreakablePostgres, load: Load) -> None:
    async with setting(postgres, default_transaction_read_only="on"):
        await load.more(failed=WRITERS)
        await load.lasts()


async def table_locked(postgres: BreakablePostgres, load: Load) -> None:
    """For longer than a statement may take (10 s)."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock_table, postgres)
        await load.more(failed=WRITERS)
        await load.lasts()
        await postgres.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = $$" + LOCK + "$$"
        )


LOCK = "DO 'BEGIN LOCK TABLE actual_lrps IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(3600); END'"


async def lock_table(postgres: BreakablePostgres) -> None:
    with suppress(asyncpg.QueryCanceledError):
        await postgres.execute(LOCK)


async def slow_disk(postgres: BreakablePostgres, load: Load) -> None:
    """Each commit waits a tenth of a second more for the disk: Postgres sleeps so long before it syncs its log."""
    async with setting(postgres, commit_siblings="0", commit_delay="100000"):
        await load.more(acknowledged=100)
        await load.lasts()


async def disk_hangs(postgres: BreakablePostgres, load: Load) -> None:
    """As a process that waits for a disk the writer's backend hears no signal, and when it goes on it carries its commit
    through, although we have long given it up. Nearly all its time is spent before the sync of a commit here.
    """
    async with setting(postgres, commit_siblings="0", commit_delay="100000"):
        await load.more(acknowledged=8)
        pid = await writer_pid(postgres)
        os.kill(pid, signal.SIGSTOP)
        await load.more(failed=WRITERS)
        await load.lasts()
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def setting(postgres: BreakablePostgres, **settings: str) -> AsyncIterator[None]:
    """Server settings, for all sessions, also those that are open."""
    for name, value in settings.items():
        await postgres.execute(f"ALTER SYSTEM SET {name} = {value}")
    await postgres.execute("SELECT pg_reload_conf()")
    yield
    for name in settings:
        # Maintenance has to be possible on a server that is read-only.
        await postgres.execute(f"ALTER SYSTEM RESET {name}")
    await postgres.execute("SELECT pg_reload_conf()")


FAULTS: dict[str, Fault] = {
    "sessions ended": sessions_ended,
    "backend killed": backend_killed,
    "backend panics": backend_panics,
    "postmaster killed": postmaster_killed,
    "disk full": disk_full,
    "read only": read_only,
    "table locked": table_locked,
    "disk hangs": disk_hangs,
    "slow disk": slow_disk,
}


@asynccontextmanager
async def served(
    tmp_path: Path, postgres: BreakablePostgres
) -> AsyncIterator[tuple[RunningBBS, InternalBBSClient]]:
    """A server, which must neither end by itself nor stumble, whatever becomes of its Postgres."""
    arguments = ("--database-url", postgres.url, "--write-retry-s", str(WRITE_RETRY_S))
    async with running_bbs(tmp_path, *arguments) as bbs, bbs.client() as client:
        yield bbs, client
        assert bbs.process.poll() is None
        assert await bbs.stop() == 0
    assert "Traceback" not in (tmp_path / "bbs.log").read_text()


@pytest.mark.parametrize("name", FAULTS)
async def test_what_was_acknowledged_is_there_and_what_failed_is_not(
    name: str, tmp_path: Path, kill_seed: int, faults_last_s: float
) -> None:
    chance = random.Random(kill_seed)
    writers = [Writer(f"w{number}", random.Random(chance.random())) for number in range(WRITERS)]
    load = Load(writers, faults_last_s)
    watcher = Watcher()
    ends = [trio.Event() for _ in writers]
    async with breakable_postgres() as postgres:
        if name == "disk full" and not postgres.is_small:
            pytest.skip("to fill a disk we have to be allowed to mount a small one")
        async with served(tmp_path, postgres) as (_, client), trio.open_nursery() as watching:
            await watching.start(watcher.watch, client)
            with trio.fail_after(HANGS_S + faults_last_s):
                async with trio.open_nursery() as writing:
                    for writer, is_over in zip(writers, ends, strict=True):
                        writing.start_soon(write_on, writer, client, load, is_over)
                    await load.more(acknowledged=20)
                    await FAULTS[name](postgres, load)
                    await load.more(acknowledged=50)
                    for is_over in ends:
                        is_over.set()
            watching.cancel_scope.cancel()
            # A disk that is full is an answer; all else is a database that is away, and was tried again first.
            refusals = {error for error in load.errors if UNAVAILABLE not in error}
            assert all("No space left on device" in refusal for refusal in refusals), refusals
            assert bool(refusals) == (name == "disk full")
            database = SomeDatabase("postgres", postgres.url, postgres.url)
            await look(client, writers, watcher, database, local_keyring(tmp_path / "data"))


async def write_on(writer: Writer, client: InternalBBSClient, load: Load, is_over: trio.Event) -> None:
    """Half of them stop at their first error, so that nothing of theirs overwrites what it may have left behind."""
    gives_up = load.writers.index(writer) % 2 == 0

    def answered() -> None:
        load.answered()
        if gives_up and writer.errors:
            is_over.set()

    await writer.write(client, answered, is_over=is_over, may_fail=True)
    assert writer.under_way is None, "the server is there all the time, so each request is answered"


async def test_a_session_that_is_ended_for_being_idle_is_made_again_before_anybody_writes(
    tmp_path: Path,
) -> None:
    async with breakable_postgres() as postgres, served(tmp_path, postgres) as (_, client):
        pids = set()

        async def is_another() -> bool:
            pids.add(await writer_pid(postgres))
            return len(pids) > 3

        async with setting(postgres, idle_session_timeout="200"):
            # What is idle by now is not looked at before it has done something.
            await client.desire_lrp(desired_message("before"))
            await wait_until(is_another, within_s=HANGS_S, what="three more sessions")
            await client.desire_lrp(desired_message("after"))
        assert len(await client.desired_lrps()) == 2
