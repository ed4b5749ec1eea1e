"""A Postgres of a test's own, to be killed, filled up and held up; the suite's would take the other tests along.

It lives in memory where we may mount a file system (root may), which is then small enough to be filled for real.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import trio
from trio_asyncio import aio_as_trio

from bbs.embedded_postgres.postmaster import PORT, SUPERUSER, Postmaster, Waits
from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from tests.made_once import copy_cluster
from tests.scratch import scratch_directory

DISK_MB: Final = 256
"""A fresh data directory takes 40, its log up to 80."""

SETTINGS: Final = {"fsync": "on", "min_wal_size": "32MB", "max_wal_size": "64MB", "log_statement": "none"}


class BreakablePostgres:
    """Made by `breakable_postgres`. ``is_small`` says that it has a disk of its own, which `full_disk` can fill."""

    def __init__(self, postmaster: Postmaster, home: Path, *, is_small: bool) -> None:
        self._postmaster = postmaster
        self._home = home
        self.is_small = is_small

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}@/postgres?host={self._postmaster.socket_directory}&port={PORT}"

    async def execute(self, *statements: str) -> list[asyncpg.Record]:
        """Each in a transaction of its own. Returns the rows of the last.

        Raises:
          asyncpg.PostgresError: one was rejected.
        """

        async def run() -> list[asyncpg.Record] | asyncpg.PostgresError:
            connection = await asyncpg.connect(self.url)
            try:
                for statement in statements:
                    rows = await connection.fetch(statement)
                return rows
            except asyncpg.PostgresError as error:
                return error  # raised in here it would come out in a group
            finally:
                await connection.close()

        # A loop of its own, since faults run beside one another.
        async with open_asyncio_loop(null_logger()):
            answer: list[asyncpg.Record] | asyncpg.PostgresError = await aio_as_trio(run)()
        if isinstance(answer, asyncpg.PostgresError):
            raise answer
        return answer

    def kill(self) -> None:
        """kill -9 of the postmaster. The processes it leaves behind end when they notice."""
        os.kill(self._postmaster.pid, signal.SIGKILL)

    async def forbid_files(self, pid: int) -> None:
        """Have every write to a file fail for one of its processes, the log's segments among them."""
        command = ["prlimit", f"--pid={pid}", "--fsize=0:"]
        if os.geteuid() == 0:
            # As its user: in a container the limits of others' processes are not root's to set.
            owner = await trio.Path(f"/proc/{pid}").stat()
            await trio.run_process(command, user=owner.st_uid, group=owner.st_gid, extra_groups=())
        else:
            await trio.run_process(command)

    async def wait_ended(self) -> str:
        """Wait for the postmaster's end; returns how it ended."""
        return await self._postmaster.wait_ended()

    async def start_again(self) -> None:
        """As an operator, or systemd, does it."""
        await _wait(self._postmaster.start_again())

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Not a byte is left until the context ends."""
        assert self.is_small
        filler = self._home / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                except OSError:
                    pass
            yield
        finally:
            filler.unlink()


@asynccontextmanager
async def breakable_postgres() -> AsyncIterator[BreakablePostgres]:
    with scratch_directory("bbs-breakable-") as home, _small_disk(home) as is_small:
        copy_cluster(home)
        postmaster = Postmaster(home, SETTINGS)
        try:
            await _wait(postmaster.start())
            yield BreakablePostgres(postmaster, home, is_small=is_small)
        finally:
            with trio.CancelScope(shield=True):
                await _wait(postmaster.stop())


async def _wait(waits: Waits[None]) -> None:
    for pause_s in waits:
        await trio.sleep(pause_s)


@contextmanager
def _small_disk(directory: Path) -> Iterator[bool]:
    """Mount one there if we may; whether we did."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(directory)]
    is_mounted = (
        shutil.which("mount") is not None
        and not subprocess.run(mount, check=False, capture_output=True).returncode
    )
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)
