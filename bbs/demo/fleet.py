"""The whole simulated fleet, in one nursery."""

import math
import ssl
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Final

import trio

from bbs.client import InternalBBSClient, TransportError
from bbs.demo.auctioneer import Auctioneer
from bbs.demo.behaviour import Behaviour
from bbs.demo.cell import DISK_MB, MEMORY_MB, Cell, Tell
from bbs.demo.route_emitter import RouteEmitter
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, Presence
from bbs.models.errors import BBSError, ResourceExists
from bbs.sync.locket.client import Locket

DOMAIN: Final = "demo"
DOMAIN_TTL_S: Final = 120.0
FRESH_EVERY_S: Final = 30.0
ZONES: Final = ("z1", "z2", "z3")


def running_by_cell(lrps: Iterable[pb.ActualLRP]) -> Counter[str]:
    """How many instances run on each cell, without those that are being replaced."""
    return Counter(
        lrp.actual_lrp_instance_key.cell_id
        for lrp in lrps
        if lrp.state == ActualLRPState.RUNNING and int(lrp.presence) == Presence.ORDINARY
    )


class Fleet:
    """``count`` cells, an auctioneer, a route-emitter, and whoever desires ``apps`` (process guid and number of instances).

    Make it, have ``auctioneer.listen`` run so that the BBS has an address for it, then `run`.
    """

    def __init__(
        self,
        *,
        count: int,
        apps: Iterable[tuple[str, int]],
        behaviour: Behaviour,
        tls: ssl.SSLContext,
        seed: str,
        tell: Tell,
    ) -> None:
        self.cells: dict[str, Cell] = {}
        self.auctioneer = Auctioneer(self.cells, seed=seed)
        self.route_emitter = RouteEmitter()
        self._count = count
        self._apps = tuple(apps)
        self._behaviour = behaviour
        self._tls = tls
        self._seed = seed
        self._random = Random(f"{seed} fleet")
        self._tell = tell

    async def run(
        self,
        bbs: InternalBBSClient,
        locket: Locket,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Live until cancelled. Started once all cells are registered and the apps desired.

        Raises:
          BBSError, TransportError, WatchFailed: the BBS does not take part in the beginning.
        """
        for number in range(self._count):
            cell_id = f"cell-{number}"
            self.cells[cell_id] = Cell(
                cell_id,
                zone=ZONES[number % len(ZONES)],
                address=f"10.0.{number // 250}.{number % 250 + 1}",
                bbs=bbs,
                locket=locket,
                tls=self._tls,
                behaviour=self._behaviour,
                seed=self._seed,
                tell=self._tell,
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.auctioneer.place, bbs)
            nursery.start_soon(self.route_emitter.run, bbs)
            for cell in self.cells.values():
                await nursery.start(cell.run)
            await bbs.upsert_domain(DOMAIN, ttl_s=DOMAIN_TTL_S)
            for process_guid, instances in self._apps:
                await self._desire(bbs, process_guid, instances)
            nursery.start_soon(self._keep_domain_fresh, bbs)
            nursery.start_soon(self._desire_tasks, bbs)
            nursery.start_soon(self._evacuate_cells, nursery)
            nursery.start_soon(self._lose_cells, nursery)
            task_status.started()

    async def _desire(self, bbs: InternalBBSClient, process_guid: str, instances: int) -> None:
        lrp = pb.DesiredLRP(
            process_guid=process_guid,
            domain=DOMAIN,
            root_fs="preloaded:cflinuxfs4",
            instances=instances,
            memory_mb=MEMORY_MB,
            disk_mb=DISK_MB,
            ports=[8080],
            log_guid=process_guid,
            action=pb.Action(run_action=pb.RunAction(path="/bin/app", user="vcap")),
        )
        lrp.metric_tags["source_id"].static = process_guid
        with suppress(ResourceExists):  # from an earlier run on the same data
            await bbs.desire_lrp(lrp)

    async def _keep_domain_fresh(self, bbs: InternalBBSClient) -> None:
        while True:
            await trio.sleep(FRESH_EVERY_S)
            try:
                await bbs.upsert_domain(DOMAIN, ttl_s=DOMAIN_TTL_S)
            except (BBSError, TransportError) as error:
                self._tell(f"the domain is not kept fresh: {error}")

    async def _desire_tasks(self, bbs: InternalBBSClient) -> None:
        definition = pb.TaskDefinition(
            root_fs="preloaded:cflinuxfs4",
            memory_mb=MEMORY_MB,
            disk_mb=DISK_MB,
            action=pb.Action(run_action=pb.RunAction(path="/bin/work", user="vcap")),
        )
        while True:
            await self._pause(self._behaviour.task_every_s)
            try:
                await bbs.desire_task(
                    task_guid=f"task-{self._random.getrandbits(32):08x}", domain=DOMAIN, definition=definition
                )
            except (BBSError, TransportError) as error:
                self._tell(f"no task is desired: {error}")

    async def _evacuate_cells(self, nursery: trio.Nursery) -> None:
        while True:
            await self._pause(self._behaviour.evacuation_every_s)
            if (cell := self._any_cell()) is not None:
                self._tell(f"{cell.cell_id} is evacuated: {len(cell.containers)} instances move")
                await cell.evacuate()
                nursery.start_soon(self._boot_again, cell, self._behaviour.evacuated_for_s)

    async def _lose_cells(self, nursery: trio.Nursery) -> None:
        while True:
            await self._pause(self._behaviour.loss_every_s)
            if (cell := self._any_cell()) is not None:
                self._tell(f"{cell.cell_id} loses its power, with {len(cell.containers)} instances")
                cell.lose_power()
                nursery.start_soon(self._boot_again, cell, self._behaviour.lost_for_s)

    async def _boot_again(self, cell: Cell, after_s: float) -> None:
        await trio.sleep(after_s)
        self._tell(f"{cell.cell_id} is back")
        await cell.run()

    def _any_cell(self) -> Cell | None:
        """One that may be taken away: up, not leaving, and not the last one."""
        up = [cell for cell in self.cells.values() if cell.is_up and not cell.is_evacuating]
        return self._random.choice(up) if len(up) > 1 else None

    async def _pause(self, mean_s: float) -> None:
        """Between half and one and a half of ``mean_s``; for ever if that is 0."""
        await trio.sleep(self._random.uniform(0.5, 1.5) * mean_s if mean_s else math.inf)
