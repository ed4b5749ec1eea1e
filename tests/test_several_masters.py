"""Two or three servers want to be master, and everything that can go wrong about that does, under writes.

Whatever happens: no two processes' writes interleave, what was acknowledged is there, a write is whole or not there, and
nobody is answered from the memory of a master that has a successor. `tests/masters` has the parts: a Locket that the test
commands, servers under supervision, clients that note what they did, and a history that the database itself keeps.

By default what no other test does happens once, to two or to three servers. With `--masters-rounds`, so many things of all
kinds happen to either; `--masters-seed` repeats their order, though not the moments.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import pytest
import trio

from tests.daemons import WAIT_MAX_S, Surroundings
from tests.databases import ON_POSTGRES
from tests.masters.clients import registers
from tests.masters.fleet import WRITERS, Fleet, Launch
from tests.masters.history import Batch, Database, must_be_in_order, open_database, reigns
from tests.masters.locket import ObedientLocket
from tests.masters.promises import reads_must_be_fresh, writes_must_be_whole
from tests.records import desired_message
from tests.waiting import wait_until

pytestmark = [ON_POSTGRES, pytest.mark.slow]

Happening = Callable[[Launch], Awaitable[None]]

TTL_S = 2
WRITES = (20, 120)
"""How many writes a master acknowledges before the next thing happens."""


@dataclass
class Chaos:
    """What may happen to the master. Each ends when there is a master again, or one may come to be."""

    fleet: Fleet
    locket: ObedientLocket
    database: Database
    random: random.Random

    def once(self) -> list[Happening]:
        """What every run of the tests has to have."""
        return [
            self.is_killed,
            self.sleeps_in_a_batch_that_commits,
            self.sleeps_in_a_batch_that_is_broken_off,
            self.sleeps_through_a_whole_reign,
            self.loses_the_lock_to_another,
            self.is_refused_its_renewals,
            self.loses_locket,
            self.loses_its_sessions,
        ]

    def elsewhere(self) -> list[Happening]:
        """What is a lesser form of the above, or has a test of its own elsewhere."""
        return [self.is_stopped, self.sleeps, self.loses_the_lock_to_nobody]

    def wants_heirs(self, happens: Happening) -> bool:
        """Whether it is about a master whose successors are there already."""
        return happens in (
            self.sleeps,
            self.sleeps_in_a_batch_that_commits,
            self.sleeps_in_a_batch_that_is_broken_off,
            self.sleeps_through_a_whole_reign,
            self.loses_the_lock_to_another,
        )

    async def is_killed(self, master: Launch) -> None:
        self._interrupts(master)
        master.daemon.process.kill()

    async def is_stopped(self, master: Launch) -> None:
        master.daemon.process.terminate()
        await master.must_end(0)

    async def sleeps(self, master: Launch) -> None:
        self._interrupts(master)
        master.pause()
        await self._successor_writes_and_the_sleeper_wakes(master)

    async def sleeps_in_a_batch_that_commits(self, master: Launch) -> None:
        async with self.database.writes_held_up():
            await self._wait_for_held_up_write(master)
            master.pause()
        self._interrupts(master)
        await self._successor_writes_and_the_sleeper_wakes(master)

    async def sleeps_in_a_batch_that_is_broken_off(self, master: Launch) -> None:
        async with self.database.writes_held_up():
            await self._wait_for_held_up_write(master)
            master.pause()
            self._interrupts(master)
            await wait_until(
                lambda: self.locket.holder not in (None, master.name),
                within_s=WAIT_MAX_S,
                what="there is another master",
            )
            successor = self.fleet.named(self.locket.holder)
            assert successor is not None
            await successor.daemon.logs("loaded")
            assert not await self.database.is_held_up(master.name)
        await self._successor_writes_and_the_sleeper_wakes(master)

    async def sleeps_through_a_whole_reign(self, master: Launch) -> None:
        """When it wakes the lock is free, and Locket has nothing against its renewal."""
        self._interrupts(master)
        master.pause()
        await self.fleet.successor(master, writes=10)
        self.fleet.launch_none()
        for other in self.fleet.living():
            if other is not master:
                other.daemon.process.terminate()
        for other in self.fleet.living():
            if other is not master:
                await other.daemon.exit_code()
        assert self.locket.holder is None
        async with trio.open_nursery() as nursery:
            await self.fleet.ask_late(master, nursery)
            master.resume()
            await master.must_end(1)
        self.fleet.launch_again()

    async def loses_the_lock_to_another(self, master: Launch) -> None:
        heirs = [launch for launch in self.fleet.living() if launch is not master]
        self.locket.hand_over(self.random.choice(heirs).name, ttl_s=TTL_S)
        await master.must_end(1)

    async def loses_the_lock_to_nobody(self, master: Launch) -> None:
        """It may have it back, if it is the first to ask."""
        self.locket.hand_over(None, ttl_s=TTL_S)

    async def is_refused_its_renewals(self, master: Launch) -> None:
        self.locket.table.refuses = True
        await master.must_end(1)
        self.locket.table.refuses = False

    async def loses_locket(self, master: Launch) -> None:
        async with self.locket.gone():
            await master.must_end(1)

    async def loses_its_sessions(self, master: Launch) -> None:
        """Nobody else wants to be master: it goes on with another session."""
        await self.database.end_sessions(master.name)

    async def _successor_writes_and_the_sleeper_wakes(self, master: Launch) -> None:
        await self.fleet.successor(master, writes=10)
        async with trio.open_nursery() as nursery:
            await self.fleet.ask_late(master, nursery)
            master.resume()
            await master.must_end(1)

    async def _wait_for_held_up_write(self, master: Launch) -> None:
        async def is_held_up() -> bool:
            return await self.database.is_held_up(master.name)

        await wait_until(is_held_up, within_s=WAIT_MAX_S, what="a batch is in the middle of being written")

    def _interrupts(self, master: Launch) -> None:
        """What happens to it now happens in the middle of writes."""
        assert self.fleet.notes.under_way(master.name)


@pytest.mark.parametrize("slots", ["ab", "abc"])
async def test_no_two_processes_writes_interleave(
    around: Surroundings, slots: str, masters_rounds: int | None, masters_seed: int
) -> None:
    chance = random.Random(masters_seed)
    locket = ObedientLocket(around.tls())
    async with open_database(around.database_url) as database, locket.served():
        around.locket_address = locket.address
        settings = {"lock_ttl": f"{TTL_S}s", "converge_repeat_interval": "1s"}
        fleet = Fleet(around, locket, slots, chance, settings)
        chaos = Chaos(fleet, locket, database, chance)
        async with fleet.running():
            await begin(fleet, database)
            for happens in what_happens(chaos, slots, masters_rounds):
                find = fleet.master_with_heirs if chaos.wants_heirs(happens) else fleet.master
                master = await find(writes=chance.randint(*WRITES))
                print(f"{trio.current_time():.2f} {master.name} {happens.__name__}")
                await happens(master)
            await end(fleet, database)

        check(fleet, locket, await database.history())


def what_happens(chaos: Chaos, slots: str, rounds: int | None) -> Iterator[Happening]:
    """In a chance order: everything, again and again, or this test's share of what is to happen once."""
    if rounds is None:
        once = chaos.random.sample(chaos.once(), len(chaos.once()))
        half = len(once) // 2
        return iter(once[:half] if len(slots) == 2 else once[half:])
    everything = [*chaos.once(), *chaos.elsewhere()]
    return islice(cycle(chaos.random.sample(everything, len(everything))), rounds)


async def begin(fleet: Fleet, database: Database) -> None:
    """Have the history kept, and make the registers."""
    await wait_until(
        lambda: fleet.named(fleet.locket.holder), within_s=WAIT_MAX_S, what="there is a first master"
    )
    first = fleet.named(fleet.locket.holder)
    assert first is not None
    await first.daemon.logs("loaded")
    await database.keep_history()
    async with first.daemon.client() as client:
        for register in registers(WRITERS):
            await client.desire_lrp(desired_message(register))
    fleet.clients_may_start.set()


async def end(fleet: Fleet, database: Database) -> None:
    """Let all be written, and compare what the last master has with the database."""
    master = await fleet.master(writes=10)
    fleet.notes.is_over = True
    await wait_until(
        lambda: not fleet.notes.under_way(master.name), within_s=WAIT_MAX_S, what="all is written"
    )
    async with master.daemon.client() as client:
        desired = {(lrp.process_guid, lrp.annotation) for lrp in await client.desired_lrps()}
        actual = {
            (lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index) for lrp in await client.actual_lrps()
        }
    assert desired == set(
        map(tuple, await database.fetch("SELECT process_guid, annotation FROM desired_lrps"))
    )
    assert actual == set(
        map(tuple, await database.fetch("SELECT process_guid, instance_index FROM actual_lrps"))
    )


def check(fleet: Fleet, locket: ObedientLocket, batches: list[Batch]) -> None:
    notes = fleet.notes
    must_be_in_order(reigns(batches), locket.grants)
    writes_must_be_whole(notes.writes, batches)
    reads_must_be_fresh(registers(WRITERS), notes.reads, notes.writes, batches, excused=locket.robbed)
    for launch in fleet.launches:
        # A master that took over before its predecessor's last write would find that out at a pass of convergence.
        assert "database-audit.memory-differed-from-database" not in launch.daemon.messages(), launch.name
