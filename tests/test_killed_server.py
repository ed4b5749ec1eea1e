"""kill -9 at random moments under mixed writes: what was acknowledged is there, and nothing is half there.

What the writers know, and what is compared with it, is `tests/acknowledged_writes.py`. `--kill-rounds` says how often;
`--kill-seed` repeats a run's choices, though not the moments at which the server dies.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import trio

from bbs.commands.local_keyring import local_keyring
from tests.acknowledged_writes import Watcher, Writer, look
from tests.databases import ON_BOTH, SomeDatabase
from tests.forked import Process
from tests.processes import running_bbs

WRITERS: Final = 16
LIFE: Final = (1, 300)
"""How many requests a server answers before it is killed, in the middle of fifteen others."""
LIFE_MAX_S: Final = 60.0


@dataclass
class KillAfter:
    """Kills the server when it has answered so many requests."""

    answers: int
    server: Process

    def answered(self) -> None:
        self.answers -= 1
        if self.answers == 0:
            self.server.kill()


@ON_BOTH
@pytest.mark.slow
async def test_what_was_acknowledged_outlives_a_kill(
    tmp_path: Path, some_database: SomeDatabase, kill_rounds: int, kill_seed: int
) -> None:
    # On MariaDB only what depends on the database is different, so a quarter of them has to do.
    rounds = kill_rounds if some_database.driver == "postgres" else max(1, kill_rounds // 4)
    chance = random.Random(kill_seed)
    writers = [Writer(f"w{number}", random.Random(chance.random())) for number in range(WRITERS)]
    watcher = Watcher()
    keyring = local_keyring(tmp_path / "data")
    interrupted = 0
    for _ in range(rounds):
        async with running_bbs(tmp_path, "--database-url", some_database.url) as bbs, bbs.client() as client:
            await look(client, writers, watcher, some_database, keyring)
            watcher = Watcher()
            kill = KillAfter(chance.randint(*LIFE), bbs.process)
            with trio.fail_after(LIFE_MAX_S):
                async with trio.open_nursery() as nursery:
                    await nursery.start(watcher.watch, client)
                    for writer in writers:
                        nursery.start_soon(writer.write, client, kill.answered)
            interrupted += sum(writer.under_way is not None for writer in writers)
    async with running_bbs(tmp_path, "--database-url", some_database.url) as bbs, bbs.client() as client:
        await look(client, writers, watcher, some_database, keyring)

    # Else the rounds have shown nothing.
    assert min(writer.acknowledged for writer in writers) > rounds // 2
    assert interrupted > rounds
