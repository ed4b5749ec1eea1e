"""The BBS without a process: all that decides and acts, put together once.

It takes a backend, peers, a clock, a source of guids and a log, and opens no port, no database and no signal handler. So
whatever wants a BBS is made from it: the process that operators run (`bbs.process`), the simulated server, the tests of
routes and passes, the benches.

Nothing runs until somebody starts it: `write` before the first change, then `call_back` and `converge`; and
`ready_lists.run`, at any time, so that the first lists cost no more than later ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from os import urandom
from time import time_ns
from typing import Final, NoReturn

import trio

from bbs.acts.effects import Effects
from bbs.acts.resolution import TaskResolution
from bbs.convergence.loop import Converge, ConvergenceLoop, nothing
from bbs.convergence.lrps import LRPConvergence
from bbs.convergence.tasks import TaskConvergence
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.lifecycle.task_convergence import TaskLimits
from bbs.log import Logger
from bbs.models.errors import BBSError, Unrecoverable
from bbs.models.outcome import Announcement
from bbs.peers.interfaces import Peers
from bbs.routes.context import Context
from bbs.routes.ready_lists import ReadyLists
from bbs.routes.table import route_table
from bbs.store.backend import Backend
from bbs.store.store import BATCH_ROWS_MAX, WRITE_RETRY_S, Batch, Store
from bbs.sync.hubs.hub import EventHubs
from bbs.sync.locket.watch import PresenceWatch

PRESENCE_POLL_S: Final = 5.0
"""Pause between looks for cells that are gone, besides those of convergence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What an operator may set: mostly upstream's settings of these names (spec: config.md §2).

    Times ending in ``_s`` are seconds. No process may be desired with more than ``desired_lrp_instances_max`` instances.
    """

    write_retry_s: float = WRITE_RETRY_S
    batch_rows_max: int = BATCH_ROWS_MAX
    update_workers: int = 1000
    convergence_workers: int = 20
    converge_repeat_interval_s: float = 30.0
    presence_poll_s: float = PRESENCE_POLL_S
    desired_lrp_instances_max: int = INSTANCES_MAX
    max_task_retries: int = 3
    task_limits: TaskLimits = field(default_factory=TaskLimits)
    debug_lrp_start_heartbeats: bool = False


def new_guid() -> str:
    """A random UUID (version 4) as text; `uuid.uuid4` makes an object first, which takes four times as long."""
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class Service:
    """``now_ns`` is the wall clock, in Unix nanoseconds; ``new_guid`` makes the text of a new uuid.

    ``app_log`` is given a process guid and the refusal of a request about it, to tell the app's developers; it returns
    whether it could. ``on_unrecoverable`` is told when the database is not what it should be, so that the process must end.
    ``on_published`` is given all announcements, after the hubs. ``on_batch`` and ``on_trouble`` are those of `Store`.
    ``before_passes`` is awaited before each convergence pass.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        peers: Peers,
        log: Logger,
        settings: ServiceSettings = ServiceSettings(),  # frozen
        now_ns: Callable[[], int] = time_ns,
        new_guid: Callable[[], str] = new_guid,
        app_log: Callable[[str, BBSError], bool] = lambda process_guid, error: True,
        on_unrecoverable: Callable[[Unrecoverable], None],
        on_published: Callable[[tuple[Announcement, ...]], None] | None = None,
        on_batch: Callable[[Batch], None] = lambda batch: None,
        on_trouble: Callable[[BaseException], None] = lambda trouble: None,
        before_passes: Converge = nothing,
    ) -> None:
        self.log = log
        self.hubs = EventHubs(log=log)
        self._on_published = on_published
        self.store = Store(
            backend,
            publish=self.hubs.publish if on_published is None else self._publish,
            write_retry_s=settings.write_retry_s,
            batch_rows_max=settings.batch_rows_max,
            on_trouble=on_trouble,
            on_batch=on_batch,
        )
        self.effects = Effects(
            self.store,
            auctioneer=peers.auctioneer,
            reps=peers.reps,
            cells=peers.cells,
            callbacks=peers.callbacks,
        )
        self.callbacks = peers.callbacks
        self.ready_lists = ReadyLists(self.store)
        self.context = Context(
            store=self.store,
            ready_lists=self.ready_lists,
            hubs=self.hubs,
            effects=self.effects,
            resolution=TaskResolution(self.store, now_ns=now_ns),
            cells=peers.cells,
            log=log,
            app_log=app_log,
            update_workers=settings.update_workers,
            desired_lrp_instances_max=settings.desired_lrp_instances_max,
            max_task_retries=settings.max_task_retries,
            now_ns=now_ns,
            new_guid=new_guid,
        )
        self.routes = route_table(
            self.context,
            on_unrecoverable=on_unrecoverable,
            debug_lrp_start_heartbeats=settings.debug_lrp_start_heartbeats,
        )
        self.lrp_convergence = LRPConvergence(
            self.store,
            peers.cells.present_cells,
            effects=self.effects,
            convergence_workers=settings.convergence_workers,
            log=log,
            now_ns=now_ns,
            new_guid=new_guid,
            instances_max=settings.desired_lrp_instances_max,
        )
        self.task_convergence = TaskConvergence(
            self.store,
            peers.cells.present_cells,
            effects=self.effects,
            limits=settings.task_limits,
            log=log,
            now_ns=now_ns,
        )
        self.passes = ConvergenceLoop(
            {"lrps": self.lrp_convergence.converge, "tasks": self.task_convergence.converge},
            repeat_interval_s=settings.converge_repeat_interval_s,
            log=log,
            first=before_passes,
        )
        self.presence_watch = PresenceWatch(
            peers.cells, poll_interval_s=settings.presence_poll_s, on_change=self._cells_changed, log=log
        )

    async def write(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write what is staged, and make the queued calls to cells, until cancelled.

        Raises:
          WriterLockLost: another process has become master. It comes in the nursery's group of exceptions.
        Cancellation:
          Fails what is still staged, and drops calls that wait. `Store.drain` before it waits until nothing is staged.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.store.run)
            await nursery.start(self.effects.run)
            task_status.started()
            await trio.sleep_forever()

    async def call_back(
        self, *, log: Logger, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Tell clients that their tasks are over, until cancelled. ``log`` is the pool's session.

        Cancellation:
          Drops what waits and breaks calls off; convergence hands such tasks over again.
        """
        resolution = self.context.resolution
        await self.callbacks.run(
            resolving=resolution.resolving, delete=resolution.delete, log=log, task_status=task_status
        )

    async def converge(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Run convergence passes, and watch for cells that come and go, until cancelled.

        Cancellation:
          Abandons passes where they are; what they have staged is written if `write` goes on.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.passes.run)
            nursery.start_soon(self.presence_watch.run)
            task_status.started()
            await trio.sleep_forever()

    def _publish(self, announcements: tuple[Announcement, ...]) -> None:
        self.hubs.publish(announcements)
        assert self._on_published is not None
        self._on_published(announcements)

    def _cells_changed(self, came: frozenset[str], went: frozenset[str]) -> None:
        """Run a pass at once if a cell is gone: its instances serve nobody until they are placed elsewhere. A cell that comes
        can wait for the next pass, since nothing is lost meanwhile.
        """
        if went:
            self.passes.wake()
