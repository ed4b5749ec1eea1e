"""The fleet: everything together, and what can go wrong in it.

A scenario is an async function of a `World`. It desires, breaks and heals; `World.settle` waits until nothing is left to
be done, and says what is if it takes too long. What must hold at every moment is looked at once a second meanwhile, and
with every event.
"""

import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import trio

from bbs.models.actual_lrp import ActualLRP, Presence
from bbs.store.backend import BackendUnavailable
from bbs.store.memory_backend import Disk, Faults
from bbs.store.tables import Tables
from bbs.sync.locket.table import LocalLocket, LocketTable, expire_on_time
from bbs.testing._auctioneer import Auctioneer, Reps
from bbs.testing._cell import CAPACITY, HEARTBEAT, Cell
from bbs.testing._network import Network
from tests.simulation import invariants
from tests.simulation.cloud_controller import CREATION_S, CloudController
from tests.simulation.database import Hang
from tests.simulation.determinism import generator, run_in_virtual_time
from tests.simulation.machine import Machine
from tests.simulation.promises import Broken, Promises
from tests.simulation.reader import Reader
from tests.simulation.route_emitter import GroupListener, RouteEmitter
from tests.simulation.server import BBS, Observer, Surroundings
from tests.simulation.task_client import TaskClient
from tests.simulation.watcher import Watcher

EPOCH_NS: Final = 1_700_000_000_000_000_000
TRACE_SHOWN: Final = 60
PROBLEMS_SHOWN: Final = 8
LASTING_S: Final = 70
"""What is quiet must stay so: longer than a pass of convergence and a rep's bulk loop take to come round."""

AFTERMATH_S: Final = 30
"""For so long after all has been put right a process may still find out that its lock is lost."""

Scenario = Callable[["World"], Awaitable[None]]


class World:
    def __init__(
        self,
        seed: int,
        nursery: trio.Nursery,
        *,
        cells: int,
        zones: int = 2,
        emitters: int = 1,
        capacity: int = CAPACITY,
        creation_s: tuple[float, float] = CREATION_S,
        latency_s: tuple[float, float] = (0.0005, 0.01),
        machines: int = 0,
    ) -> None:
        """``machines`` take turns in being master, beside tasks, and with all promises looked at. With 0 there is one process,
        which `restart_bbs` starts anew.
        """
        self.seed: Final = seed
        self.random: Final = generator(seed, "scenario")
        self.trace: list[str] = []
        self.disk = Disk()
        self.faults = Faults(write_s=0.002)
        self.hang = Hang()
        self.presences = LocketTable(trio.current_time)
        self.network = Network(generator(seed, "network"), latency_s=latency_s)
        machine_names = [f"bbs-{number}" for number in range(machines)]
        self.lockets = {
            name: LocalLocket(self.presences) for name in ["bbs", *machine_names, *_cell_ids(cells)]
        }
        self.cloud = CloudController(self.network, generator(seed, "cloud"), self.tell, creation_s=creation_s)
        self.task_client = TaskClient(self.network, generator(seed, "tasks"), self.tell)
        self.promises = Promises(self.cloud.ledger, self.task_client, self.now_ns)
        self.cells: dict[str, Cell] = {}
        for number, cell_id in enumerate(_cell_ids(cells)):
            self.cells[cell_id] = Cell(
                cell_id,
                zone=f"z{number % zones}",
                network=self.network,
                locket=self.lockets[cell_id],
                behaviour=self.cloud,
                random=generator(seed, cell_id),
                tell=self.tell,
                capacity=capacity,
                task_behaviour=self.task_client if machines else None,
                on_acknowledged=self.promises.acknowledged_to_cell if machines else lambda *about: None,
            )
        self.auctioneer = Auctioneer(
            self.cells, self.presences, self.network, generator(seed, "auctioneer"), self.tell
        )
        self.reps = Reps(self.cells, self.network, generator(seed, "reps"), self.tell)
        self.emitters = [
            RouteEmitter(f"emitter-{n}", self.network, self.tell, on_event=self._on_event)
            for n in range(emitters)
        ]
        self.listener = GroupListener(self.network)
        self.fleet_watchers = (
            [Watcher("watcher", self.network, generator(seed, "watcher"), self.tell)] if machines else []
        )
        self.well_since_s: float | None = None
        """When all that was wrong had been put right, if nothing more is to go wrong."""
        self.booting: set[str] = set()
        self.gone: set[str] = set()
        """Cells that do not come back."""
        self.watchers: list[Callable[[], Iterator[str]]] = []
        """What a scenario wants to hold all the time besides: gives what is wrong."""
        self._nursery = nursery
        self._bbs_scope = trio.CancelScope()
        guids = count(1)
        self._around = Surroundings(
            disk=self.disk,
            faults=self.faults,
            hang=self.hang,
            chance=generator(seed, "database"),
            locket=self.lockets["bbs"],
            auctioneer=self.auctioneer,
            reps=self.reps,
            now_ns=self.now_ns,
            new_guid=lambda: f"g{next(guids)}",
            callback_http=self.task_client if machines else None,
            observer=self.promises if machines else Observer(),
        )
        self.bbs = BBS(self._around)  # not yet running
        self.machines = [
            Machine(
                name,
                self._around,
                locket=self.lockets[name],
                network=self.network,
                random=generator(seed, name),
                tell=self.tell,
                on_ended=self._process_has_ended,
            )
            for name in machine_names
        ]
        if machines:
            self.disk.on_commit = self.promises.committed
            self.cloud.on_acknowledged = self.promises.acknowledged_to_client
            self.promises.on_loaded = self._has_loaded

    async def start(self) -> None:
        start = self._nursery.start_soon
        start(expire_on_time, self.presences)
        if self.machines:
            for machine in self.machines:
                start(machine.run)
            reader = Reader(self.network, generator(self.seed, "reader"), self.cloud.ledger, self.promises)
            start(reader.run)
        else:
            await self.start_bbs()
        await self._nursery.start(self.cloud.run)
        start(self.auctioneer.run)
        for emitter in self.emitters:
            start(emitter.run)
        start(self.listener.run)
        for watcher in self.fleet_watchers:
            start(watcher.run)
        for cell_id in self.cells:
            await self.boot(cell_id)
        start(self._look_all_the_time)

    # What is known

    def now_ns(self) -> int:
        return EPOCH_NS + int(trio.current_time() * 1e9)

    def tell(self, what: str) -> None:
        """Put a line into the trace."""
        self.trace.append(f"{trio.current_time():.4f} {what}")

    @property
    def tables(self) -> Tables:
        return self.bbs.store.committed

    def rows(
        self, process_guid: str | None = None, *, presence: Presence | None = None, state: str | None = None
    ) -> list[ActualLRP]:
        return [
            lrp
            for lrp in self.tables.actual_lrps.rows.values()
            if process_guid in (None, lrp.process_guid)
            and presence in (None, lrp.presence)
            and state in (None, lrp.state)
        ]

    def container_guids(self) -> set[str]:
        return {guid for cell in self.cells.values() for guid in cell.containers}

    @property
    def master(self) -> Machine:
        """The machine whose process was the last to become master."""
        return next((machine for machine in self.machines if machine.bbs is self.bbs), self.machines[0])

    def _has_loaded(self, bbs: BBS) -> None:
        self.tell("another master" if bbs is not self.bbs else "master")
        self.bbs = bbs

    def _process_has_ended(self, why: str) -> None:
        if self.well_since_s is not None and trio.current_time() > self.well_since_s + AFTERMATH_S:
            raise Broken("bugs", f"nothing was wrong, and {why}")

    # What goes wrong, and right again

    async def start_bbs(self) -> None:
        """Start a process, again and again until the database is there, as its supervisor does."""
        while True:
            self.bbs = BBS(self._around)
            self._bbs_scope = trio.CancelScope()
            try:
                await self._nursery.start(self._run_bbs, self._bbs_scope)
            except BaseExceptionGroup as ended:
                if ended.split(BackendUnavailable)[1] is not None:
                    raise
                self.tell("bbs not up: the database is away")
                await trio.sleep(1)
            else:
                self.tell("bbs up")
                return

    async def kill_bbs(self) -> None:
        self.tell("bbs killed")
        self.break_connections()
        self._bbs_scope.cancel()
        await trio.sleep(1)
        self.break_connections()

    async def restart_bbs(self) -> None:
        """Another process loads what the one before has left; nothing that was visible may be lost."""
        before = dict(self.tables.actual_lrps.rows)
        settled = self.bbs.store.statistics().staged_rows == 0
        await self.kill_bbs()
        await self.start_bbs()
        if settled:
            assert before == self.tables.actual_lrps.rows, "a restart has changed rows"

    async def boot(self, cell_id: str) -> None:
        self.tell(f"{cell_id} boots")
        await self._nursery.start(self.cells[cell_id].run)

    async def kill(self, *cell_ids: str) -> None:
        for cell_id in cell_ids:
            self.tell(f"{cell_id} dies")
            self.cells[cell_id].die()
            self.break_connections(cell_id)
        await trio.sleep(0.1)

    def break_connections(self, host: str | None = None) -> None:
        """Break those of ``host``, or all there are."""
        self.network.break_connections(host)
        for emitter in self.emitters:
            if host in (None, emitter.name):
                emitter.is_in_step = False  # it will notice with its next read

    def cut_from_locket(self, *names: str) -> None:
        for name in names:
            self.tell(f"{name} is cut off from Locket")
            self.lockets[name].unreachable = True

    def reconnect_to_locket(self, *names: str) -> None:
        for name in names:
            self.tell(f"{name} reaches Locket again")
            self.lockets[name].unreachable = False

    def cut_from_bbs(self, *hosts: str) -> None:
        for host in hosts:
            self.tell(f"{host} is cut off from the BBS")
            self.network.cut(host)

    def reconnect_to_bbs(self, *hosts: str) -> None:
        for host in hosts:
            self.tell(f"{host} reaches the BBS again")
            self.network.heal(host)

    # What must be

    async def settle(self, *, within_s: float, lasting_s: float = LASTING_S) -> float:
        """Wait until nothing is left to be done, and see that it stays so. Returns how long it took, in seconds.

        Raises:
          AssertionError: it takes longer than ``within_s``, or does not last.
        """
        began = trio.current_time()
        while problems := self.problems():
            if trio.current_time() - began >= within_s:
                raise Broken("convergence", _text(f"not settled within {within_s} s", problems))
            await trio.sleep(1)
        took = trio.current_time() - began
        self.tell(f"settled after {took:.0f} s")
        for _ in range(int(lasting_s)):
            await trio.sleep(1)
            # Heartbeats and new versions of the mirror are under way now and then, never for long.
            if problems := self.problems():
                await trio.sleep(1)
                if problems := self.problems():
                    raise Broken("convergence", _text("it did not last", problems))
        return took

    async def watches_settle(self, *, within_s: float) -> None:
        """Wait until who watches knows what the server has. To be called when all is at rest.

        Raises:
          Broken: it takes longer than that.
        """
        deadline_s = trio.current_time() + within_s
        while problems := [
            problem for watcher in self.fleet_watchers for problem in watcher.differences(self.tables)
        ]:
            if trio.current_time() > deadline_s:
                raise Broken("watches", _text(f"not caught up within {within_s} s", problems))
            await trio.sleep(1)

    async def until(
        self, holds: Callable[[], bool], *, within_s: float, what: str, every_s: float = 1.0
    ) -> None:
        with trio.move_on_after(within_s):
            while not holds():  # noqa: ASYNC110  # virtual time, and nobody tells of rows
                await trio.sleep(every_s)
            return
        raise AssertionError(_text(f"not {what} within {within_s} s", self.problems()))

    def check(self) -> None:
        """Look at what must hold at every moment.

        Raises:
          AssertionError: it does not.
        """
        self.promises.check()
        for bug in self._around.bugs:
            raise Broken("bugs", f"the server says that it has a bug: {bug!r}") from bug
        wrong = list(invariants.always(self.tables))
        for emitter in self.emitters:
            if emitter.violations:
                raise Broken("streams", _text("broken", emitter.violations))
        for watcher in self.fleet_watchers:
            if watcher.violations:
                raise Broken("watches", _text("broken", watcher.violations))
        for watch in self.watchers:
            wrong += watch()
        assert not wrong, _text("broken", wrong)
        assert not self.bbs.hubs.statistics().ended_untold, "events could not be told"

    def problems(self) -> list[str]:
        """What is not yet as it is to be in the end."""
        return [
            *invariants.quiet(self.tables, self.cells.values(), set(self.cloud.instances()), self.emitters),
            *self.promises.tasks_left(),
        ]

    async def _look_all_the_time(self) -> None:
        while True:
            self.check()
            await trio.sleep(1)

    def _on_event(self) -> None:
        for watch in self.watchers:
            assert not (wrong := list(watch())), _text("broken", wrong)

    async def _run_bbs(
        self, scope: trio.CancelScope, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        with scope:
            await self.bbs.run(self.network.listen, task_status=task_status)


def simulate(scenario: Scenario, *, seed: int, settle_s: float | None = 300, **fleet: object) -> list[str]:
    """Run a scenario on a new fleet, and wait until the fleet is at rest. Returns the trace.

    Raises:
      AssertionError: something is not as it must be; its notes tell how to replay it.
    """
    trace: list[str] = []

    async def main() -> None:
        nonlocal trace
        async with trio.open_nursery() as nursery:
            world = World(seed, nursery, **fleet)  # type: ignore[arg-type]  # as the scenario has it
            trace = world.trace
            await world.start()
            await scenario(world)
            if settle_s is not None:
                await world.settle(within_s=settle_s)
            world.check()
            nursery.cancel_scope.cancel()

    try:
        run_in_virtual_time(main, seed=seed)
    except BaseException as failures:
        failure = failures
        while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
            failure = failure.exceptions[0]
        name = getattr(scenario, "__name__", "")
        failure.add_note(f"replay with: make sim SEED={seed} ONLY={name}")
        failure.add_note("\n".join(["the last of the trace:", *_news(trace)]))
        raise failure from failure.__cause__
    finally:
        if path := os.environ.get("SIM_TRACE"):
            Path(path).write_text("\n".join(trace) + "\n")
    return trace


def _news(trace: list[str]) -> Iterable[str]:
    """The end of a trace, without what happens all the time."""
    beat = f" {HEARTBEAT} "
    return deque(
        (line for line in trace if beat not in line or not line.endswith(": ok")), maxlen=TRACE_SHOWN
    )


def _cell_ids(cells: int) -> list[str]:
    return [f"cell-{number}" for number in range(cells)]


def _text(what: str, problems: list[str]) -> str:
    shown = [*problems[:PROBLEMS_SHOWN], *(["…"] if len(problems) > PROBLEMS_SHOWN else [])]
    return "\n  ".join([f"{what}:", *shown])
