"""What happens in a run, as data: who asks for what, what breaks, when, and for how long.

A `Schedule` is a seed and its steps. The seed draws everything else: latencies, the order of tasks, what is lost. The same
schedule does the same again; its text, as Python or JSON, is all that has to be kept of a run. Times are seconds of virtual
time since the fleet has come to rest after its start; a `Fault` is undone after ``for_s``.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import trio

from bbs.models import pb
from bbs.store.memory_backend import Fault as WriteFault
from bbs.store.memory_backend import Outage

if TYPE_CHECKING:
    from tests.simulation.world import World

LATENCY_S: Final = (0.0005, 0.01)
WRITE_S: Final = 0.002


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    at_s: float

    @abstractmethod
    async def happen(self, world: "World") -> None: ...


@dataclass(frozen=True, kw_only=True)
class Fault(Step):
    for_s: float

    async def happen(self, world: "World") -> None:
        world.tell(f"fault: {self}")
        await self.begin(world)
        await trio.sleep(self.for_s)
        await self.end(world)
        world.tell(f"over: {self}")

    @abstractmethod
    async def begin(self, world: "World") -> None: ...

    async def end(self, world: "World") -> None:
        """Also when all faults are to end, whether or not it has begun."""


# What is asked for. A step about an app that is not there at the time does nothing.


@dataclass(frozen=True, kw_only=True)
class Desire(Step):
    """``recreate``: when a cell drains, an instance is given up before its replacement runs."""

    app: str
    instances: int
    recreate: bool = False

    async def happen(self, world: "World") -> None:
        strategy = pb.DesiredLRP.RECREATE if self.recreate else pb.DesiredLRP.ROLLING
        async with world.cloud.turns[self.app]:
            if self.app not in world.cloud.apps:
                await world.cloud.desire(self.app, self.instances, update_strategy=strategy)


@dataclass(frozen=True, kw_only=True)
class Scale(Step):
    app: str
    instances: int

    async def happen(self, world: "World") -> None:
        async with world.cloud.turns[self.app]:
            if self.app in world.cloud.apps:
                await world.cloud.scale(self.app, self.instances)


@dataclass(frozen=True, kw_only=True)
class Reroute(Step):
    """Other internal routes, and an annotation that says which."""

    app: str
    to: str

    async def happen(self, world: "World") -> None:
        routes = {"internal-router": json.dumps([{"hostname": f"{self.to}.internal"}]).encode()}
        update = pb.DesiredLRPUpdate(annotation=self.to, routes=pb.ProtoRoutes(routes=routes))
        async with world.cloud.turns[self.app]:
            if self.app in world.cloud.apps:
                await world.cloud.update(self.app, update)


@dataclass(frozen=True, kw_only=True)
class Remove(Step):
    app: str

    async def happen(self, world: "World") -> None:
        async with world.cloud.turns[self.app]:
            if self.app in world.cloud.apps:
                await world.cloud.remove(self.app)


@dataclass(frozen=True, kw_only=True)
class Crash(Step):
    """All instances of an app crash."""

    app: str

    async def happen(self, world: "World") -> None:
        for cell in world.cells.values():
            cell.crash(self.app)


@dataclass(frozen=True, kw_only=True)
class DesireTask(Step):
    task: str
    duration_s: float

    async def happen(self, world: "World") -> None:
        await world.task_client.desire(self.task, self.duration_s)


@dataclass(frozen=True, kw_only=True)
class CancelTask(Step):
    task: str

    async def happen(self, world: "World") -> None:
        await world.task_client.cancel(self.task)


# Cells


@dataclass(frozen=True, kw_only=True)
class CellDies(Fault):
    """Without a word; after a while it boots again, empty."""

    cell: str

    async def begin(self, world: "World") -> None:
        if world.cells[self.cell].is_up:
            await world.kill(self.cell)

    async def end(self, world: "World") -> None:
        await _boot(world, self.cell)


@dataclass(frozen=True, kw_only=True)
class CellLeaves(Step):
    """It dies and does not come back."""

    cell: str

    async def happen(self, world: "World") -> None:
        world.gone.add(self.cell)
        if world.cells[self.cell].is_up:
            await world.kill(self.cell)


@dataclass(frozen=True, kw_only=True)
class CellDrains(Fault):
    """It is evacuated, and boots again when it is empty, or after its time at the earliest."""

    cell: str

    async def begin(self, world: "World") -> None:
        world.cells[self.cell].evacuate()

    async def end(self, world: "World") -> None:
        while world.cells[self.cell].is_evacuating and world.cells[self.cell].is_up:  # noqa: ASYNC110 - virtual time, and nobody tells
            await trio.sleep(1)
        await _boot(world, self.cell)


# Partitions


@dataclass(frozen=True, kw_only=True)
class CutFromBBS(Fault):
    """What a host sends to the BBS, and back, waits; its calls run into their deadlines."""

    host: str

    async def begin(self, world: "World") -> None:
        world.cut_from_bbs(self.host)

    async def end(self, world: "World") -> None:
        world.reconnect_to_bbs(self.host)


@dataclass(frozen=True, kw_only=True)
class CutFromLocket(Fault):
    """A cell, or one of the BBSs, does not reach Locket."""

    host: str

    async def begin(self, world: "World") -> None:
        world.cut_from_locket(self.host)

    async def end(self, world: "World") -> None:
        world.reconnect_to_locket(self.host)


@dataclass(frozen=True, kw_only=True)
class AuctioneerAway(Fault):
    """The BBS does not reach it, and it has forgotten what it was asked."""

    async def begin(self, world: "World") -> None:
        world.auctioneer.is_away = True

    async def end(self, world: "World") -> None:
        world.auctioneer.is_away = False


@dataclass(frozen=True, kw_only=True)
class CallbacksUnanswered(Fault):
    """Whoever is told that a task is over answers ``status``; 0: nobody answers."""

    status: int

    async def begin(self, world: "World") -> None:
        world.task_client.status = self.status

    async def end(self, world: "World") -> None:
        world.task_client.status = 200


# Messages


@dataclass(frozen=True, kw_only=True)
class MessagesLost(Fault):
    """A share of what is sent breaks its connection: requests that were never heard, answers that never came."""

    share: float

    async def begin(self, world: "World") -> None:
        world.network.lost_share = self.share

    async def end(self, world: "World") -> None:
        world.network.lost_share = 0.0


@dataclass(frozen=True, kw_only=True)
class MessagesDelayed(Fault):
    """Each message takes up to so long, so those on different connections overtake one another."""

    max_s: float

    async def begin(self, world: "World") -> None:
        world.network.latency_s = (LATENCY_S[0], self.max_s)

    async def end(self, world: "World") -> None:
        world.network.latency_s = LATENCY_S


@dataclass(frozen=True, kw_only=True)
class CallsDoubled(Fault):
    """A share of the calls to auctioneer and reps is heard twice, as when a client tries again."""

    share: float

    async def begin(self, world: "World") -> None:
        world.auctioneer.mishaps.doubled_share = world.reps.mishaps.doubled_share = self.share

    async def end(self, world: "World") -> None:
        world.auctioneer.mishaps.doubled_share = world.reps.mishaps.doubled_share = 0.0


@dataclass(frozen=True, kw_only=True)
class CallsUnanswered(Fault):
    """A share of the calls to auctioneer and reps does what it should, and the answer is lost."""

    share: float

    async def begin(self, world: "World") -> None:
        world.auctioneer.mishaps.unanswered_share = world.reps.mishaps.unanswered_share = self.share

    async def end(self, world: "World") -> None:
        world.auctioneer.mishaps.unanswered_share = world.reps.mishaps.unanswered_share = 0.0


@dataclass(frozen=True, kw_only=True)
class ConnectionsBreak(Step):
    host: str

    async def happen(self, world: "World") -> None:
        world.tell(f"the connections of {self.host} break")
        world.break_connections(self.host)


@dataclass(frozen=True, kw_only=True)
class PlacementsFail(Fault):
    share: float

    async def begin(self, world: "World") -> None:
        world.auctioneer.failing_placements = self.share

    async def end(self, world: "World") -> None:
        world.auctioneer.failing_placements = 0.0


# The database


@dataclass(frozen=True, kw_only=True)
class DatabaseAway(Fault):
    async def begin(self, world: "World") -> None:
        now_s = trio.current_time()
        world.faults.outages = [Outage(now_s, now_s + self.for_s)]

    async def end(self, world: "World") -> None:
        world.faults.outages = []


@dataclass(frozen=True, kw_only=True)
class DatabaseHangs(Fault):
    """Statements have no answer. Those that wait for longer than a statement may take break the session."""

    async def begin(self, world: "World") -> None:
        world.hang.until_s = trio.current_time() + self.for_s

    async def end(self, world: "World") -> None:
        world.hang.until_s = 0.0


@dataclass(frozen=True, kw_only=True)
class DatabaseSlow(Fault):
    write_s: float

    async def begin(self, world: "World") -> None:
        world.faults.write_s = self.write_s

    async def end(self, world: "World") -> None:
        world.faults.write_s = WRITE_S


@dataclass(frozen=True, kw_only=True)
class CommitsFail(Step):
    """The next COMMITs, one by one: ``lost``, the connection breaks and it was carried out; ``missed``, it breaks and it was
    not; ``refused``, the database says no; or nothing is wrong (``ok``). Then the database is away for ``away_s``.
    """

    commits: tuple[str, ...]
    away_s: float

    async def happen(self, world: "World") -> None:
        world.tell(f"fault: {self}")
        world.faults.next_writes.extend(_WRITE_FAULTS[commit] for commit in self.commits)
        if self.away_s:
            for _ in range(2000):
                if not world.faults.next_writes:
                    break
                await trio.sleep(0.05)
            now_s = trio.current_time()
            world.faults.outages = [Outage(now_s, now_s + self.away_s)]


_WRITE_FAULTS: Final = {
    "ok": WriteFault.NONE,
    "lost": WriteFault.LOST_AFTER,
    "missed": WriteFault.LOST_BEFORE,
    "refused": WriteFault.REJECTED,
}


# The server


@dataclass(frozen=True, kw_only=True)
class MasterDies(Step):
    """SIGKILL. Its supervisor starts another process, and so does another machine become master, whoever is first."""

    async def happen(self, world: "World") -> None:
        world.master.kill()


@dataclass(frozen=True, kw_only=True)
class AllServersDie(Step):
    async def happen(self, world: "World") -> None:
        for machine in world.machines:
            machine.kill()


@dataclass(frozen=True, kw_only=True)
class MasterSleeps(Fault):
    """SIGSTOP, and SIGCONT. When it sleeps for long enough another one is master when it wakes up."""

    async def happen(self, world: "World") -> None:
        # It is this process that goes on, whoever is master by then.
        machine = world.master
        process = machine.bbs
        machine.stop()
        await trio.sleep(self.for_s)
        if machine.bbs is process:
            machine.go_on()

    async def begin(self, world: "World") -> None:
        raise AssertionError("see `happen`")


STEPS: Final[Mapping[str, type[Step]]] = {
    step.__name__: step
    for step in (
        Desire, Scale, Reroute, Remove, Crash, DesireTask, CancelTask, CellDies, CellDrains, CellLeaves, CutFromBBS,
        CutFromLocket, AuctioneerAway, CallbacksUnanswered, MessagesLost, MessagesDelayed, CallsDoubled,
        CallsUnanswered, ConnectionsBreak, PlacementsFail, DatabaseAway, DatabaseHangs, DatabaseSlow,
        CommitsFail, MasterDies, AllServersDie, MasterSleeps,
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Schedule:
    seed: int
    cells: int
    machines: int
    steps: tuple[Step, ...]

    def without(self, steps: "set[int]") -> "Schedule":
        """The same without the steps of those numbers."""
        left = tuple(step for number, step in enumerate(self.steps) if number not in steps)
        return replace(self, steps=left)

    def to_json(self) -> str:
        """One line for each step, so that a line can be taken out by hand."""
        steps = ",\n    ".join(
            json.dumps({"step": type(step).__name__, **asdict(step)}) for step in self.steps
        )
        head = f'"seed": {self.seed}, "cells": {self.cells}, "machines": {self.machines}'
        return f'{{{head}, "steps": [\n    {steps}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> "Schedule":
        """Raises: ValueError, KeyError, TypeError: it is none that `to_json` writes."""
        given: dict[str, Any] = json.loads(text)
        return cls(**given | {"steps": tuple(map(_step, given["steps"]))})

    def to_python(self) -> str:
        """Lines for a test, with ``from tests.simulation.schedule import *``."""
        steps = "".join(f"        {step!r},\n" for step in self.steps)
        head = f"seed={self.seed}, cells={self.cells}, machines={self.machines}"
        return f"Schedule(\n    {head},\n    steps=(\n{steps}    ),\n)"


def _step(given: dict[str, Any]) -> Step:
    step = STEPS[given.pop("step")]
    for field in fields(step):
        if isinstance(given.get(field.name), list):
            given[field.name] = tuple(given[field.name])
    return step(**given)


async def _boot(world: "World", cell: str) -> None:
    if not world.cells[cell].is_up and cell not in world.gone | world.booting:
        world.booting.add(cell)  # two faults of one cell may end together
        await world.boot(cell)
        world.booting.remove(cell)
