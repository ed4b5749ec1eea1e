"""Mixed writes while a database fails: nothing acknowledged is lost, nothing that failed is there.

The server is a process, and nobody helps it: when the fault is over it goes on by itself. Its writes give up after two
seconds here, so that what lasts longer makes them fail. What the writers know is `tests/acknowledged_writes.py`.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from bbs.client import InternalBBSClient
from bbs.commands.local_keyring import local_keyring
from tests.acknowledged_writes import Watcher, Writer, look
from tests.databases import SomeDatabase
from tests.processes import RunningBBS, running_bbs
from tests.waiting import wait_until

WRITERS: Final = 8
WRITE_RETRY_S: Final = 2
HANGS_S: Final = 120.0
UNAVAILABLE: Final = "the database is unavailable; nothing was changed, try again: "


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


@asynccontextmanager
async def served(tmp_path: Path, url: str) -> AsyncIterator[tuple[RunningBBS, InternalBBSClient]]:
    """A server, which must neither end by itself nor stumble, whatever becomes of its database."""
    arguments = ("--database-url", url, "--write-retry-s", str(WRITE_RETRY_S))
    async with running_bbs(tmp_path, *arguments) as bbs, bbs.client() as client:
        yield bbs, client
        assert bbs.process.poll() is None
        assert await bbs.stop() == 0
    assert "Traceback" not in (tmp_path / "bbs.log").read_text()


async def write_through(
    fault: Callable[[Load], Awaitable[None]],
    tmp_path: Path,
    database: SomeDatabase,
    *,
    seed: int,
    lasts_s: float,
    answer: str | None = None,
) -> None:
    """Write before, during and after ``fault``, and look at what is there then: in the server, after its end in the database, and
    in what was told of it.

    ``answer`` is the database's word about the fault that requests are refused with. Without it the database is away:
    that is tried again first.
    """
    chance = random.Random(seed)
    writers = [Writer(f"w{number}", random.Random(chance.random())) for number in range(WRITERS)]
    load = Load(writers, lasts_s)
    watcher = Watcher()
    ends = [trio.Event() for _ in writers]
    async with served(tmp_path, database.url) as (_, client), trio.open_nursery() as watching:
        await watching.start(watcher.watch, client)
        with trio.fail_after(HANGS_S + lasts_s):
            async with trio.open_nursery() as writing:
                for writer, is_over in zip(writers, ends, strict=True):
                    writing.start_soon(_write_on, writer, client, load, is_over)
                await load.more(acknowledged=20)
                await fault(load)
                await load.more(acknowledged=50)
                for is_over in ends:
                    is_over.set()
        watching.cancel_scope.cancel()
        refusals = {error for error in load.errors if UNAVAILABLE not in error}
        assert all(answer is not None and answer in refusal for refusal in refusals), refusals
        assert bool(refusals) == (answer is not None)
        await look(client, writers, watcher, database, local_keyring(tmp_path / "data"))


async def _write_on(writer: Writer, client: InternalBBSClient, load: Load, is_over: trio.Event) -> None:
    """Half of them stop at their first error, so that nothing of theirs overwrites what it may have left behind."""
    gives_up = load.writers.index(writer) % 2 == 0

    def answered() -> None:
        load.answered()
        if gives_up and writer.errors:
            is_over.set()

    await writer.write(client, answered, is_over=is_over, may_fail=True)
    assert writer.under_way is None, "the server is there all the time, so each request is answered"
