"""A schedule, carried out. What is found ends the run with `Broken`."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import trio

from tests.simulation.determinism import run_in_virtual_time
from tests.simulation.promises import AtRest, Broken
from tests.simulation.schedule import Fault, MasterSleeps, Schedule, Step
from tests.simulation.world import World

SETTLES_WITHIN_S: Final = 300
LASTING_S: Final = 35
"""What is quiet must stay so for as long as a pass of convergence and a rep's bulk loop take to come round."""
RECOVERS_WITHIN_S: Final = 30
WATCHES_SETTLE_WITHIN_S: Final = 90
"""The longest pause between two connections of a watch, twice, and what its consumer may sleep."""
PROBLEMS_SHOWN: Final = 8
CREATION_S: Final = (0.5, 6.0)


@dataclass(frozen=True)
class Run:
    """What has happened: the trace, line by line, and what was found, if anything."""

    trace: list[str]
    broken: Broken | None

    @property
    def digest(self) -> str:
        """Of all that has happened."""
        return sha256("\n".join(self.trace).encode()).hexdigest()


def run(schedule: Schedule) -> Run:
    """Carry out a schedule, heal what it has broken, wait until all is at rest, and start the server anew."""
    trace: list[str] = []

    async def main() -> None:
        nonlocal trace
        async with trio.open_nursery() as nursery:
            world = World(
                schedule.seed,
                nursery,
                cells=schedule.cells,
                machines=schedule.machines,
                creation_s=CREATION_S,
            )
            trace = world.trace
            trio.lowlevel.add_instrument(instrument := AtRest(world.promises))
            try:
                await _carry_out(schedule, world)
            finally:
                trio.lowlevel.remove_instrument(instrument)
            nursery.cancel_scope.cancel()

    try:
        run_in_virtual_time(main, seed=schedule.seed)
    except BaseException as failures:
        broken = _first_broken(failures)
        if broken is None:
            if not isinstance(failures, Exception):
                raise
            broken = Broken("bugs", f"the simulation ended: {_innermost(failures)!r}")
            broken.__cause__ = failures
        return Run(trace, broken)
    return Run(trace, None)


async def _carry_out(schedule: Schedule, world: World) -> None:
    await world.start()
    async with trio.open_nursery() as steps:
        for step in schedule.steps:
            steps.start_soon(_in_time, step, world)
    world.tell("all is well again")
    await _heal(schedule, world)
    world.well_since_s = trio.current_time()
    await _settle(world)
    await world.watches_settle(within_s=WATCHES_SETTLE_WITHIN_S)
    world.well_since_s = None
    for machine in world.machines:
        machine.kill()
    await trio.sleep(RECOVERS_WITHIN_S)
    await world.settle(within_s=SETTLES_WITHIN_S, lasting_s=0)
    await world.watches_settle(within_s=WATCHES_SETTLE_WITHIN_S)
    world.check()


async def _settle(world: World) -> None:
    """Wait until nothing is left to be done, for long enough. What has only just begun, a crash, may show a little later."""
    deadline_s = trio.current_time() + SETTLES_WITHIN_S
    quiet_since_s = None
    while quiet_since_s is None or trio.current_time() - quiet_since_s < LASTING_S:
        await trio.sleep(1)
        problems = world.problems()
        if not problems:
            quiet_since_s = quiet_since_s or trio.current_time()
        elif trio.current_time() > deadline_s:
            raise Broken("convergence", "\n  ".join(["not at rest:", *problems[:PROBLEMS_SHOWN]]))
        else:
            # Heartbeats and new versions of the mirror are under way now and then, never for long.
            await trio.sleep(1)
            if world.problems():
                quiet_since_s = None


async def _in_time(step: Step, world: World) -> None:
    await trio.sleep(step.at_s)
    await step.happen(world)


async def _heal(schedule: Schedule, world: World) -> None:
    """Undo all faults, also those that others have come upon: a cell that has died while it was drained."""
    world.faults.next_writes.clear()
    world.faults.outages = []
    for step in schedule.steps:
        if isinstance(step, Fault) and not isinstance(step, MasterSleeps):
            await step.end(world)
    for cell_id, cell in world.cells.items():
        if not cell.is_up and cell_id not in world.gone:
            await world.boot(cell_id)


def _first_broken(failures: BaseException) -> Broken | None:
    if isinstance(failures, Broken):
        return failures
    if isinstance(failures, BaseExceptionGroup):
        return next((found for failure in failures.exceptions if (found := _first_broken(failure))), None)
    return None


def _innermost(failures: BaseException) -> BaseException:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures
