"""A cell: its rep, which answers for what runs there, and its containers.

The rep announces the cell in Locket, takes what the auctioneer places, and tells the BBS what becomes of each container:
claim, start, crash, remove. Every 30 s it goes over everything (its *bulk loop*): what it runs is claimed or started
again, what the BBS says belongs to somebody else is stopped, and rows of containers that it does not have are removed.
While it evacuates it asks for each container, every 10 s, whether it may go, lets its tasks come to their end, and gives up after
ten minutes.

With a `TaskBehaviour` it also starts and completes tasks, and goes over those in its bulk loop, too: what the BBS takes for
running here, and is not, has failed.

What happens to its containers and tasks, and after which time, is not the cell's to say: it asks its behaviours.
"""

from collections.abc import Awaitable, Callable, Sized
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, Protocol

import trio

from bbs.client import (
    ClientConfig,
    EvacuationFailed,
    InternalBBSClient,
    TransportError,
)
from bbs.demo.presence import presence_of
from bbs.models import pb
from bbs.models.actual_lrp import Presence
from bbs.models.errors import ActualLRPCannotBeClaimed, ActualLRPCannotBeStarted, BBSError, ResourceNotFound
from bbs.models.task import TaskState
from bbs.sync.locket.client import Locket, LocketError, Resource
from bbs.testing._container import Container, ContainerState
from bbs.testing._network import Network

PRESENCE_TTL_S: Final = 15
PRESENCE_RENEWAL_S: Final = 5.0
MEMORY_MB: Final = 16_384
DISK_MB: Final = 65_536
BULK_INTERVAL_S: Final = 30.0
EVACUATION_POLL_S: Final = 10.0
EVACUATION_S_MAX: Final = 600.0
"""Then the cell ends, whatever it still keeps up."""
GRACE_S: Final = 2.0
"""How long a container that is told to stop goes on serving."""
CAPACITY: Final = 250

URL: Final = "http://bbs:8889"
CONFIG: Final = ClientConfig(url=URL, request_timeout_s=10.0)

HEARTBEAT: Final = "beat"
"""What the trace calls a start that most likely brings no news."""


CRASHED: Final = "APP/PROC/WEB: exited with status 1"
NOT_CREATED: Final = "failed to create container"
TASK_FAILED: Final = "it failed"


@dataclass(frozen=True, slots=True)
class Life:
    """How long a container lives that has just started (infinitely, if it does not crash), and what it crashes with."""

    lasts_s: float = float("inf")
    crash_reason: str = CRASHED


@dataclass(frozen=True, slots=True)
class TaskRun:
    """How long a task takes, and how it ends: with a result, or, if there is a reason, in failure."""

    takes_s: float
    result: str = ""
    failure_reason: str = ""


class Behaviour(Protocol):
    """How a cell and the instances on it behave."""

    @property
    def answers(self) -> bool:
        """Whether its rep answers anybody who asks it for something."""

    @property
    def takes(self) -> bool:
        """Whether it has room for what the auctioneer wants to place."""

    def creation_s(self, random: Random) -> float:
        """How long the next container takes to be created."""

    def creation_failure(self, process_guid: str) -> str:
        """Why a container could not be created, after that time; '' if it could."""

    def life(self, process_guid: str, index: int) -> Life:
        """That of a container that has just started."""


class TaskBehaviour(Protocol):
    """How tasks behave, and who wants to know what became of them."""

    def run(self, task_guid: str, cell_id: str) -> TaskRun:
        """What is to become of a task that has just started."""

    def completed(self, task_guid: str, *, failed: bool, result: str) -> None:
        """The BBS has acknowledged that."""


Tell = Callable[[str], None]
Acknowledged = Callable[[str, Container], None]
"""Is told what was answered without an error, and about which container."""


class Cell:
    def __init__(
        self,
        cell_id: str,
        *,
        zone: str,
        network: Network,
        locket: Locket,
        behaviour: Behaviour,
        random: Random,
        tell: Tell,
        capacity: int = CAPACITY,
        task_behaviour: TaskBehaviour | None = None,
        on_acknowledged: Acknowledged = lambda what, container: None,
    ) -> None:
        self.cell_id: Final = cell_id
        self.zone: Final = zone
        self.address: Final = f"10.0.0.{cell_id}"
        self.capacity = capacity
        self.behaviour = behaviour
        self.containers: dict[str, Container] = {}
        self.tasks: dict[str, trio.Event] = {}
        """Those that run here; the event is set to have one stop."""
        self._task_behaviour = task_behaviour
        self._on_acknowledged = on_acknowledged
        self.is_up = False
        self.is_evacuating = False
        self.is_announced = False
        """Whether the last try to renew its presence worked."""
        self._network = network
        self._locket = locket
        self._random = random
        self._tell = tell
        self._power = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._drained = trio.Event()
        self._boots = 0
        self._created = 0

    # Its life

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Boot the cell and be it until it is killed or has been evacuated."""
        assert not self.is_up
        self._boots += 1
        self._power, self._drained = trio.CancelScope(), trio.Event()
        self.is_up, self.is_evacuating, self.is_announced = True, False, False
        presence = self._presence()
        try:
            with self._power:
                connector = self._network.connector(self.cell_id)
                async with (
                    InternalBBSClient.connect(CONFIG, connector=connector) as self._bbs,
                    trio.open_nursery() as self._nursery,
                ):
                    self._nursery.start_soon(self._announce, presence)
                    self._nursery.start_soon(self._bulk_loop)
                    task_status.started()
                    await self._drained.wait()
                    self._nursery.cancel_scope.cancel()
                await self._withdraw(presence)
        finally:
            self.is_up = False
            self._nursery = None
            self.containers.clear()
            self.tasks.clear()

    def die(self) -> None:
        """Lose the power: everything stops at once, and nobody is told."""
        self.is_up = False
        self._nursery = None
        self.containers.clear()
        self.tasks.clear()
        self._power.cancel()

    def evacuate(self) -> None:
        """Drain, then end."""
        if self.is_up and not self.is_evacuating and self._nursery is not None:
            self.is_evacuating = True
            self._nursery.start_soon(self._evacuate)

    def crash(self, process_guid: str, index: int | None = None, *, reason: str = CRASHED) -> None:
        """Have the containers of a process crash that run here, or the one of an instance."""
        for container in self.containers.values():
            if container.key.process_guid == process_guid and index in (None, container.key.index):
                container.crash_reason = reason
                container.crashed.set()

    # What it is asked to do

    def take(self, process_guid: str, index: int, domain: str) -> bool:
        """Make room for an instance that the auctioneer has placed here, and create it. False: it can't."""
        if not self._has_room(self.containers):
            return False
        self._created += 1
        container = Container(
            key=pb.ActualLRPKey(process_guid=process_guid, index=index, domain=domain),
            instance=pb.ActualLRPInstanceKey(
                instance_guid=f"{process_guid}.{index}.{self.cell_id}.{self._boots}.{self._created}",
                cell_id=self.cell_id,
            ),
            port=60_000 + self._created,
        )
        self.containers[container.guid] = container
        self._start_soon(self._be_container, container)
        return True

    def stop(self, instance_guid: str) -> bool:
        container = self.containers.get(instance_guid)
        if container is not None:
            container.stop_wanted.set()
        return container is not None

    def update(
        self,
        instance_guid: str,
        *,
        internal_routes: tuple[str, ...] | None,
        metric_tags: tuple[tuple[str, str], ...] | None,
    ) -> bool:
        container = self.containers.get(instance_guid)
        if container is None:
            return False
        if internal_routes is not None:
            container.internal_routes = internal_routes
        if metric_tags is not None:
            container.metric_tags = dict(metric_tags)
        if container.state is ContainerState.RUNNING and self._nursery is not None:
            self._nursery.start_soon(self._start, container)
        return True

    def take_task(self, task_guid: str) -> bool:
        """Run a task that the auctioneer has placed here. False: it can't."""
        if not self._has_room(self.tasks):
            return False
        if task_guid not in self.tasks:
            self.tasks[task_guid] = trio.Event()
            self._start_soon(self._be_task, task_guid, self.tasks[task_guid])
        return True

    def _has_room(self, taken: Sized) -> bool:
        is_there = self._nursery is not None and not self.is_evacuating
        return is_there and self.behaviour.takes and len(taken) < self.capacity

    def _start_soon(self, live: Callable[..., Awaitable[None]], *about: object) -> None:
        assert self._nursery is not None, "asked while it has room"
        self._nursery.start_soon(live, *about)

    def cancel_task(self, task_guid: str) -> None:
        if (stop_wanted := self.tasks.get(task_guid)) is not None:
            stop_wanted.set()

    # Its tasks

    async def _be_task(self, task_guid: str, stop_wanted: trio.Event) -> None:
        """Start, run and complete it. What goes wrong is made up for by the bulk loop."""
        assert self._task_behaviour is not None
        try:
            should_run = await self._bbs.start_task(task_guid=task_guid, cell_id=self.cell_id)
        except (BBSError, TransportError) as error:
            self._tell(f"start-task {task_guid} on {self.cell_id}: {error}")
            should_run = False
        if should_run:
            run = self._task_behaviour.run(task_guid, self.cell_id)
            with trio.move_on_after(run.takes_s):
                await stop_wanted.wait()
        del self.tasks[task_guid]
        if should_run:
            failure_reason = run.failure_reason or (TASK_FAILED if stop_wanted.is_set() else "")
            await self._complete_task(task_guid, failure_reason=failure_reason, result=run.result)

    async def _complete_task(self, task_guid: str, *, failure_reason: str, result: str) -> None:
        assert self._task_behaviour is not None
        try:
            await self._bbs.complete_task(
                task_guid=task_guid,
                cell_id=self.cell_id,
                failed=bool(failure_reason),
                failure_reason=failure_reason,
                result=result,
            )
        except (BBSError, TransportError) as error:
            self._tell(f"complete-task {task_guid} on {self.cell_id}: {error}")
        else:
            self._tell(f"complete-task {task_guid} on {self.cell_id}: ok")
            self._task_behaviour.completed(task_guid, failed=bool(failure_reason), result=result)

    async def _go_over_tasks(self) -> None:
        try:
            tasks = await self._bbs.tasks(cell_id=self.cell_id)
        except (BBSError, TransportError) as error:
            self._tell(f"{self.cell_id} list of tasks: {error}")
            return
        for task in tasks:
            if int(task.state) == TaskState.Running and task.task_guid not in self.tasks:
                await self._complete_task(task.task_guid, failure_reason=TASK_FAILED, result="")

    # Its containers

    async def _be_container(self, container: Container) -> None:
        """Claim, create, start, and run until it crashes or is to stop."""
        if not await self._claim(container):
            self._forget(container)
            return
        with trio.move_on_after(self.behaviour.creation_s(self._random)):
            await container.stop_wanted.wait()
        if container.stop_wanted.is_set():
            await self._end(container)
            return
        if failure := self.behaviour.creation_failure(container.key.process_guid):
            await self._crash(container, failure)
            return
        container.state = ContainerState.RUNNING
        life = self.behaviour.life(container.key.process_guid, container.key.index)
        with trio.move_on_after(life.lasts_s):
            await self._start(container)
            await container.wait_for_its_end()
        if container.stop_wanted.is_set():
            container.state = ContainerState.STOPPING
            await trio.sleep(GRACE_S)
            await self._end(container)
        else:
            await self._crash(container, container.crash_reason or life.crash_reason)

    async def _claim(self, container: Container) -> bool:
        """False: it is not ours to run. Without an answer it is tried again with the next bulk loop."""
        while container.guid in self.containers and not container.stop_wanted.is_set():
            outcome = await self._say_claimed(container)
            if outcome is None:
                return True
            if isinstance(outcome, ActualLRPCannotBeClaimed | ResourceNotFound):
                return False
            with trio.move_on_after(BULK_INTERVAL_S):
                await container.stop_wanted.wait()
        return False

    async def _say_claimed(self, container: Container) -> BBSError | TransportError | None:
        async with container.talking:
            if container.state is not ContainerState.RESERVED:
                return None  # it would undo the start
            return await self._try(
                "claim", container, partial(self._bbs.claim_actual_lrp, container.key, container.instance)
            )

    async def _claim_again(self, container: Container) -> None:
        if isinstance(await self._say_claimed(container), ActualLRPCannotBeClaimed):
            container.stop_wanted.set()

    async def _start(self, container: Container, what: str = "start") -> None:
        """Say that it runs. If it belongs to another one, it stops."""
        report = container.report(self.address, self.zone)
        async with container.talking:
            if container.stop_wanted.is_set() or self.is_evacuating:
                return  # a draining cell asks about what runs, and says nothing else of it
            outcome = await self._try(
                what,
                container,
                partial(self._bbs.start_actual_lrp, container.key, container.instance, report),
            )
            if isinstance(outcome, ActualLRPCannotBeStarted):
                container.stop_wanted.set()

    async def _end(self, container: Container) -> None:
        """It has stopped, because it was told to."""
        self._forget(container)
        if self.is_evacuating:
            await self._try_evacuation(
                "evacuate-stopped",
                container,
                partial(self._bbs.evacuate_stopped_actual_lrp, container.key, container.instance),
            )
        else:
            await self._try(
                "remove", container, partial(self._bbs.remove_actual_lrp, container.key, container.instance)
            )

    async def _crash(self, container: Container, reason: str) -> None:
        self._forget(container)
        key, instance = container.key, container.instance
        if self.is_evacuating:
            await self._try_evacuation(
                "evacuate-crashed",
                container,
                partial(self._bbs.evacuate_crashed_actual_lrp, key, instance, error_message=reason),
            )
        else:
            await self._try(
                "crash",
                container,
                partial(self._bbs.crash_actual_lrp, key, instance, error_message=reason),
            )

    def _forget(self, container: Container) -> None:
        self.containers.pop(container.guid, None)

    # Its loops

    async def _announce(self, presence: Resource) -> None:
        while True:
            try:
                await self._locket.lock(
                    presence, ttl_s=PRESENCE_TTL_S, deadline_s=PRESENCE_RENEWAL_S, wait_for_ready=False
                )
            except LocketError as error:
                self.is_announced = False
                self._tell(f"{self.cell_id} presence: {error.code}")
            else:
                self.is_announced = True
            await trio.sleep(PRESENCE_RENEWAL_S)

    async def _withdraw(self, presence: Resource) -> None:
        try:
            await self._locket.release(presence)
        except LocketError as error:
            self._tell(f"{self.cell_id} presence not released: {error.code}")

    async def _bulk_loop(self) -> None:
        await trio.sleep(self._random.uniform(0, 3))
        while True:
            await self._go_over_everything()
            if self._task_behaviour is not None:
                await self._go_over_tasks()
            await trio.sleep(BULK_INTERVAL_S)

    async def _go_over_everything(self) -> None:
        try:
            rows = await self._bbs.actual_lrps(cell_id=self.cell_id)
        except (BBSError, TransportError) as error:
            self._tell(f"{self.cell_id} list: {error}")
            return
        for row in rows:
            if row.actual_lrp_instance_key.instance_guid not in self.containers:
                await self._remove_row(row)
        if not self.is_evacuating:
            for container in list(self.containers.values()):
                if container.state is ContainerState.RUNNING:
                    await self._start(container, HEARTBEAT)
                elif container.state is ContainerState.RESERVED:
                    await self._claim_again(container)

    async def _remove_row(self, row: pb.ActualLRP) -> None:
        key, instance = row.actual_lrp_key, row.actual_lrp_instance_key
        gone = Container(key=key, instance=instance, port=0)
        if int(row.presence) == Presence.EVACUATING:
            await self._try(
                "remove-evacuating", gone, partial(self._bbs.remove_evacuating_actual_lrp, key, instance)
            )
        else:
            await self._try("remove-row", gone, partial(self._bbs.remove_actual_lrp, key, instance))

    async def _evacuate(self) -> None:
        self._tell(f"{self.cell_id} evacuates {len(self.containers)} containers")
        with trio.move_on_after(EVACUATION_S_MAX):
            while self.containers or self.tasks:
                for container in list(self.containers.values()):
                    await self._evacuate_container(container)
                await trio.sleep(EVACUATION_POLL_S)
        self._tell(f"{self.cell_id} ends with {len(self.containers)} containers")
        self._drained.set()

    async def _evacuate_container(self, container: Container) -> None:
        key, instance = container.key, container.instance
        async with container.talking:
            if container.guid not in self.containers or container.stop_wanted.is_set():
                return
            if container.state is ContainerState.RESERVED:
                what, ask = "evacuate-claimed", partial(self._bbs.evacuate_claimed_actual_lrp, key, instance)
            else:
                report = container.report(self.address, self.zone)
                what = "evacuate-running"
                ask = partial(self._bbs.evacuate_running_actual_lrp, key, instance, report)
            if not await self._try_evacuation(what, container, ask):
                container.stop_wanted.set()

    # Asking the BBS

    async def _try(
        self, what: str, container: Container, ask: Callable[[], Awaitable[None]]
    ) -> BBSError | TransportError | None:
        """Ask, and note how it went."""
        try:
            await ask()
        except (BBSError, TransportError) as error:
            self._tell(f"{what} {container.guid}: {error}")
            return error
        self._tell(f"{what} {container.guid}: ok")
        self._on_acknowledged(what, container)
        return None

    async def _try_evacuation(
        self, what: str, container: Container, ask: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Whether to keep the container."""
        try:
            keep = await ask()
        except EvacuationFailed as failed:
            self._tell(f"{what} {container.guid}: {failed}, keep {failed.keep_container}")
            return failed.keep_container
        self._tell(f"{what} {container.guid}: keep {keep}")
        return keep

    def _presence(self) -> Resource:
        return presence_of(
            self.cell_id,
            owner=f"{self.cell_id}-boot-{self._boots}",
            rep_url=f"https://{self.cell_id}.cell.service.internal:1801",
            zone=self.zone,
            memory_mb=MEMORY_MB,
            disk_mb=DISK_MB,
            containers=self.capacity,
        )
