"""A real Postgres fails under mixed writes in every way we know: see `tests/writes_through_faults.py`."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import trio

from bbs.store.postgres import WRITER_LOCK
from tests.breakable_postgres import BreakablePostgres, breakable_postgres
from tests.databases import SomeDatabase
from tests.records import desired_message
from tests.waiting import wait_until
from tests.writes_through_faults import HANGS_S, WRITERS, Load, served, write_through

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

WRITER_PID = f"""
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
  AND classid = {WRITER_LOCK >> 32} AND objid = {WRITER_LOCK & 0xFFFFFFFF}"""


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


@pytest.mark.parametrize("name", FAULTS)
async def test_what_was_acknowledged_is_there_and_what_failed_is_not(
    name: str, tmp_path: Path, kill_seed: int, faults_last_s: float
) -> None:
    async with breakable_postgres() as postgres:
        if name == "disk full" and not postgres.is_small:
            pytest.skip("to fill a disk we have to be allowed to mount a small one")
        await write_through(
            partial(FAULTS[name], postgres),
            tmp_path,
            SomeDatabase("postgres", postgres.url, postgres.url),
            seed=kill_seed,
            lasts_s=faults_last_s,
            answer="No space left on device" if name == "disk full" else None,
        )


async def test_a_session_that_is_ended_for_being_idle_is_made_again_before_anybody_writes(
    tmp_path: Path,
) -> None:
    async with breakable_postgres() as postgres, served(tmp_path, postgres.url) as (_, client):
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
