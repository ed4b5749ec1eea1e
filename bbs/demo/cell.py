"""A simulated cell: a presence in Locket, a rep that the BBS calls, and containers that live, crash and move away."""

import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

import trio

from bbs.client import EvacuationFailed, InternalBBSClient, RunningReport, TransportError
from bbs.demo.behaviour import Behaviour
from bbs.demo.peer_port import serve_peer
from bbs.demo.presence import presence_of
from bbs.demo.program import SERVES, Program, program_of
from bbs.models import pb
from bbs.models.actual_lrp import Presence
from bbs.models.errors import BBSError
from bbs.sync.locket.client import Locket, LocketError, Resource

Tell = Callable[[str], None]

ACCEPTED: Final = 202
NOT_FOUND: Final = 404
LOCKET_MAX_S: Final = 5.0
EVACUATION_POLL_S: Final = 1.0
EVACUATION_MAX_S: Final = 60.0
"""Then the cell goes, whatever still runs on it."""
FIRST_PORT: Final = 61_000
MEMORY_MB: Final = 64
DISK_MB: Final = 128
"""What each instance and each task is desired with."""


@dataclass(eq=False, kw_only=True)
class Container:
    """What an instance runs in, from the moment that a cell takes it."""

    key: pb.ActualLRPKey
    instance: pb.ActualLRPInstanceKey
    report: RunningReport
    runs: bool = False
    ended: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Cancelled to stop it."""


class Cell:
    """One cell. `run` is its life, from boot until it was evacuated or lost; it may be run again, as after a repair."""

    def __init__(
        self,
        cell_id: str,
        *,
        zone: str,
        address: str,
        bbs: InternalBBSClient,
        locket: Locket,
        tls: ssl.SSLContext,
        behaviour: Behaviour,
        seed: str,
        tell: Tell,
    ) -> None:
        self.cell_id: Final = cell_id
        self.zone: Final = zone
        self.address: Final = address
        self.containers: dict[str, Container] = {}
        """By instance guid."""
        self.is_up = False
        self.is_evacuating = False
        self._bbs = bbs
        self._locket = locket
        self._tls = tls
        self._behaviour = behaviour
        self._random = Random(f"{seed} {cell_id}")
        self._tell = tell
        self._tasks: dict[str, trio.CancelScope] = {}
        self._programs: dict[str, Program] = {}
        """By process guid. What a process runs never changes, so the BBS is asked once."""
        self._power = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._at_a_time = trio.Lock()
        self._boots = self._created = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started once the cell is registered, for which it waits until an earlier run has ended. Ends when it was evacuated, or
        lost its power.
        """
        async with self._at_a_time:
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        self._boots += 1
        self._power = trio.CancelScope()
        self.is_evacuating = False
        try:
            with self._power:
                async with trio.open_nursery() as self._nursery:
                    port: int = await self._nursery.start(serve_peer, self._answer, self._tls)
                    presence = self._presence(port)
                    await self._nursery.start(self._keep_registered, presence)
                    self._nursery.start_soon(self._repeat_what_runs)
                    self.is_up = True
                    task_status.started()
        finally:
            self.is_up, self._nursery = False, None
            self.containers.clear()
            self._tasks.clear()
        if self.is_evacuating:
            await self._try(partial(self._locket.release, presence))

    def lose_power(self) -> None:
        """End at once, and tell nobody: the presence stays until it expires, and so do the rows."""
        self.is_up = False
        self._power.cancel()

    async def evacuate(self) -> None:
        """Have the BBS place elsewhere what runs here, and end when it does, or after `EVACUATION_MAX_S`."""
        self.is_evacuating = True
        with trio.move_on_after(EVACUATION_MAX_S):
            while self.containers and self.is_up:
                for container in list(self.containers.values()):
                    await self._evacuate(container)
                await trio.sleep(EVACUATION_POLL_S)
        self._power.cancel()

    def take(self, process_guid: str, index: int, domain: str) -> bool:
        """Make a container for an instance, as the auctioneer asks. False: there is no room, or the cell is leaving."""
        if self._nursery is None or self.is_evacuating or not self.is_up:
            return False
        if len(self.containers) >= self._behaviour.containers:
            return False
        self._created += 1
        guid = f"{process_guid}.{index}.{self.cell_id}.{self._boots}.{self._created}"
        container = Container(
            key=pb.ActualLRPKey(process_guid=process_guid, index=index, domain=domain),
            instance=pb.ActualLRPInstanceKey(instance_guid=guid, cell_id=self.cell_id),
            report=RunningReport(
                net_info=pb.ActualLRPNetInfo(
                    address=self.address,
                    instance_address="10.255.0.2",
                    ports=[pb.PortMapping(container_port=8080, host_port=FIRST_PORT + self._created % 4_000)],
                ),
                routable=True,
                availability_zone=self.zone,
            ),
        )
        self.containers[guid] = container
        self._nursery.start_soon(self._live, container)
        return True

    def take_task(self, task_guid: str) -> bool:
        """Run a task, as the auctioneer asks. False: the cell is leaving."""
        if self._nursery is None or self.is_evacuating or not self.is_up:
            return False
        # An auction may be asked for once more while the first one is under way.
        if task_guid not in self._tasks:
            self._tasks[task_guid] = trio.CancelScope()
            self._nursery.start_soon(self._run_task, task_guid, self._tasks[task_guid])
        return True

    # What the BBS asks

    def _answer(self, method: str, path: str, body: Any) -> int | bytes:
        match [method, *path.strip("/").split("/")]:
            case ["POST", "v1", "lrps", _, "instances", guid, "stop"]:
                return self._stop(guid)
            case ["PUT", "v1" | "v2", "lrps", _, "instances", guid]:
                return ACCEPTED if guid in self.containers else NOT_FOUND
            case ["POST", "v1", "tasks", guid, "cancel"]:
                if (task := self._tasks.get(guid)) is not None:
                    task.cancel()
                return ACCEPTED
            case ["GET", "state"]:
                return json.dumps(self._state()).encode()
        return NOT_FOUND

    def _state(self) -> dict[str, object]:
        """What ``bbs cell-state`` shows, by the names that real reps have."""
        behaviour, containers = self._behaviour, self.containers.values()
        used = len(containers) + len(self._tasks)
        return {
            "cell_id": self.cell_id,
            "Zone": self.zone,
            "Evacuating": self.is_evacuating,
            "RootFSProviders": {"preloaded": {"type": "fixed_set", "set": {"cflinuxfs4": {}}}},
            "TotalResources": {
                "MemoryMB": behaviour.memory_mb,
                "DiskMB": behaviour.disk_mb,
                "Containers": behaviour.containers,
            },
            "AvailableResources": {
                "MemoryMB": behaviour.memory_mb - used * MEMORY_MB,
                "DiskMB": behaviour.disk_mb - used * DISK_MB,
                "Containers": behaviour.containers - used,
            },
            "StartingContainerCount": sum(not each.runs for each in containers),
            "LRPs": [
                {
                    "process_guid": each.key.process_guid,
                    "index": each.key.index,
                    "domain": each.key.domain,
                    "instance_guid": each.instance.instance_guid,
                    "memory_mb": MEMORY_MB,
                    "disk_mb": DISK_MB,
                    "state": "RUNNING" if each.runs else "CLAIMED",
                }
                for each in containers
            ],
            "Tasks": [
                {"task_guid": guid, "memory_mb": MEMORY_MB, "disk_mb": DISK_MB} for guid in self._tasks
            ],
        }

    def _stop(self, guid: str) -> int:
        if (container := self.containers.get(guid)) is not None:
            container.ended.cancel()
        elif self._nursery is not None:
            self._nursery.start_soon(self._remove_unknown)
        return ACCEPTED

    # What it does by itself

    async def _live(self, container: Container) -> None:
        random, behaviour = self._random, self._behaviour
        creation_s = random.uniform(*behaviour.creation_s)
        fails = random.random() < behaviour.creation_failure_share
        mean_s = behaviour.instance_lifetime_s
        lifetime_s = random.expovariate(1 / mean_s) if mean_s else float("inf")
        key, instance = container.key, container.instance
        reason = ""
        with container.ended:
            if not await self._try(partial(self._bbs.claim_actual_lrp, key, instance)):
                del self.containers[container.instance.instance_guid]
                return
            program = await self._program(key.process_guid)
            await trio.sleep(creation_s)
            if fails:
                reason = "failed to create container: no space left on device"
            elif await self._try(partial(self._bbs.start_actual_lrp, key, instance, container.report)):
                container.runs = True
                await trio.sleep(min(program.lasts_s, lifetime_s))
                status = program.status if program.lasts_s <= lifetime_s else random.choice((1, 137, 255))
                reason = f"APP/PROC/WEB: exited with status {status}"
        self.containers.pop(instance.instance_guid, None)
        if reason:
            self._tell(f"{key.process_guid} index {key.index} crashes on {self.cell_id}: {reason}")
        if reason and self.is_evacuating:
            await self._try(
                partial(self._bbs.evacuate_crashed_actual_lrp, key, instance, error_message=reason)
            )
        elif reason:
            await self._try(partial(self._bbs.crash_actual_lrp, key, instance, error_message=reason))
        elif self.is_evacuating:
            await self._try(partial(self._bbs.evacuate_stopped_actual_lrp, key, instance))
        else:
            await self._try(partial(self._bbs.remove_actual_lrp, key, instance))

    async def _program(self, process_guid: str) -> Program:
        """What the process runs, as its DesiredLRP says. Where that can't be had, it serves: its row is about to go."""
        if process_guid not in self._programs:
            try:
                desired = await self._bbs.desired_lrp_by_process_guid(process_guid)
            except (BBSError, TransportError):
                return SERVES
            self._programs[process_guid] = program_of(desired.action)
        return self._programs[process_guid]

    async def _evacuate(self, container: Container) -> None:
        key, instance = container.key, container.instance
        try:
            if container.runs:
                keep = await self._bbs.evacuate_running_actual_lrp(key, instance, container.report)
            else:
                keep = await self._bbs.evacuate_claimed_actual_lrp(key, instance)
        except EvacuationFailed as failed:
            keep = failed.keep_container
        if not keep:
            container.ended.cancel()

    async def _run_task(self, task_guid: str, scope: trio.CancelScope) -> None:
        duration_s = self._random.uniform(*self._behaviour.task_duration_s)
        should_run = False
        with scope:
            # If not, the BBS asks the auctioneer again, or has no such task any more.
            with suppress(BBSError, TransportError):
                should_run = await self._bbs.start_task(task_guid=task_guid, cell_id=self.cell_id)
            if should_run:
                await trio.sleep(duration_s)
        del self._tasks[task_guid]
        was_cancelled = scope.cancelled_caught
        if should_run:
            await self._try(
                partial(
                    self._bbs.complete_task,
                    task_guid=task_guid,
                    cell_id=self.cell_id,
                    failed=was_cancelled,
                    failure_reason="cancelled" if was_cancelled else "",
                    result="" if was_cancelled else "done",
                )
            )

    async def _keep_registered(
        self, presence: Resource, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        ttl_s, is_known = self._behaviour.presence_ttl_s, False
        while True:
            try:
                await self._locket.lock(presence, ttl_s=ttl_s, deadline_s=LOCKET_MAX_S, wait_for_ready=True)
            except LocketError:
                pass  # tried again soon; until then it may seem to be missing
            else:
                if not is_known:
                    is_known = True
                    task_status.started()
            await trio.sleep(ttl_s / 3)

    async def _repeat_what_runs(self) -> None:
        """As real reps do: tell what runs here again, and remove rows of instances that do not."""
        while True:
            await self._remove_unknown()
            for container in list(self.containers.values()):
                if container.runs and not self.is_evacuating:
                    key, instance = container.key, container.instance
                    await self._try(partial(self._bbs.start_actual_lrp, key, instance, container.report))
            await trio.sleep(self._behaviour.bulk_every_s)

    async def _remove_unknown(self) -> None:
        known = set(self.containers)
        try:
            rows = await self._bbs.actual_lrps(cell_id=self.cell_id)
        except (BBSError, TransportError):
            return  # with the next round
        for row in rows:
            key, instance = row.actual_lrp_key, row.actual_lrp_instance_key
            if instance.instance_guid in known or instance.instance_guid in self.containers:
                continue
            if int(row.presence) == Presence.EVACUATING:
                await self._try(partial(self._bbs.remove_evacuating_actual_lrp, key, instance))
            else:
                await self._try(partial(self._bbs.remove_actual_lrp, key, instance))

    async def _try(self, ask: Callable[[], Awaitable[object]]) -> bool:
        """Whether it worked. What was refused or lost is made up for by the next bulk loop, here or in the BBS."""
        try:
            await ask()
        except (BBSError, TransportError, EvacuationFailed, LocketError):
            return False
        return True

    def _presence(self, port: int) -> Resource:
        behaviour = self._behaviour
        return presence_of(
            self.cell_id,
            owner=f"{self.cell_id}-boot-{self._boots}",
            rep_url=f"https://127.0.0.1:{port}",
            zone=self.zone,
            memory_mb=behaviour.memory_mb,
            disk_mb=behaviour.disk_mb,
            containers=behaviour.containers,
        )
