"""One BBS process: put together as `bbs/process/process.py` does it, on a memory backend and connections in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import trio

from bbs.acts.effects import Effects
from bbs.acts.task_effects import NoCallbacks, TaskEffects
from bbs.convergence.loop import ConvergenceLoop
from bbs.convergence.lrps import LRPConvergence
from bbs.convergence.tasks import TaskConvergence
from bbs.http.limits import Limits
from bbs.http.listener import Hooks, HTTPServer
from bbs.lifecycle.task_convergence import TaskLimits
from bbs.log import null_logger
from bbs.peers.interfaces import Auctioneer, Reps
from bbs.routes.context import Context
from bbs.routes.table import route_table
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.store.store import Store
from bbs.sync.hubs.hub import EventHubs
from bbs.sync.locket.client import Locket
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.watch import PresenceWatch

if TYPE_CHECKING:
    from tests.simulation.network import Listener

KEYRING: Final = Keyring({"label": "key"}, "label")

LIMITS: Final = Limits(stop_grace_s=0.5)
"""A process that is killed answers nobody: its requests in flight get no time."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What outlives a BBS process, or is none of it. ``bugs`` are failures that should never be."""

    disk: Disk
    faults: Faults
    locket: Locket
    auctioneer: Auctioneer
    reps: Reps
    now_ns: Callable[[], int]
    new_guid: Callable[[], str]
    repeat_interval_s: float = 30.0
    presence_poll_s: float = 5.0
    workers: int = 20
    bugs: list[BaseException] = field(default_factory=list)


class BBS:
    def __init__(self, around: Surroundings) -> None:
        log = null_logger()
        self._around = around
        self.hubs = EventHubs(log=log)
        self._backend = MemoryBackend(around.disk, KEYRING, on_dropped=self._on_dropped, faults=around.faults)
        self.store = Store(self._backend, publish=self.hubs.publish)
        cells = Presences(around.locket, deadline_s=10.0)
        effects = Effects(auctioneer=around.auctioneer, reps=around.reps, cells=cells)
        context = Context(
            store=self.store,
            hubs=self.hubs,
            effects=effects,
            log=log,
            now_ns=around.now_ns,
            new_guid=around.new_guid,
        )
        lrps = LRPConvergence(
            self.store,
            cells.present_cells,
            effects=effects,
            convergence_workers=around.workers,
            log=log,
            now_ns=around.now_ns,
            new_guid=around.new_guid,
        )
        tasks = TaskConvergence(
            self.store,
            cells.present_cells,
            effects=TaskEffects(
                auctioneer=around.auctioneer,
                reps=around.reps,
                cells=cells,
                callbacks=NoCallbacks(),
            ),
            limits=TaskLimits(),
            log=log,
            now_ns=around.now_ns,
        )
        self._effects = effects
        self._loop = ConvergenceLoop(
            {"lrps": lrps.converge, "tasks": tasks.converge},
            repeat_interval_s=around.repeat_interval_s,
            log=log,
        )
        self._watch = PresenceWatch(
            cells, poll_interval_s=around.presence_poll_s, on_change=self._cells_changed, log=log
        )
        self._http = HTTPServer(
            route_table(context, on_unrecoverable=around.bugs.append),
            tls=None,
            gate=lambda: True,
            hooks=Hooks(
                on_bug=lambda bug, call: around.bugs.append(bug),
                on_connection_failed=lambda failure, peer: around.bugs.append(failure),
                on_accept_failed=around.bugs.append,
            ),
            limits=LIMITS,
        )

    async def run(
        self,
        listen: "Callable[[], Listener]",
        *,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be a server until cancelled, which is to be killed."""
        try:
            await self._backend.acquire_writer_lock()
            await self.store.load()
            async with trio.open_nursery() as root:
                await root.start(self.store.run)
                await root.start(self._effects.run)
                await root.start(self._loop.run)
                root.start_soon(self._watch.run)
                listeners = cast("list[trio.SocketListener]", [listen()])
                await root.start(self._http.serve, listeners)
                task_status.started()
        finally:
            self._backend.lose_session()

    def _cells_changed(self, came: frozenset[str], went: frozenset[str]) -> None:
        if went:
            self._loop.wake()

    def _on_dropped(self, row: DroppedRow) -> None:
        self._around.bugs.append(AssertionError(f"a row that we wrote could not be read: {row}"))
