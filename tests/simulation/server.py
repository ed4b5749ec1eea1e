"""One BBS process: the service that ships, on a memory backend and connections in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import trio

from bbs.http.limits import Limits
from bbs.http.listener import Hooks, HTTPServer
from bbs.log import null_logger
from bbs.peers.interfaces import Auctioneer, Peers, Reps
from bbs.peers.stub import StubPeers
from bbs.service import Service, ServiceSettings
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.sync.locket.client import Locket
from bbs.sync.locket.presences import Presences

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
        self._around = around
        self._backend = MemoryBackend(around.disk, KEYRING, on_dropped=self._on_dropped, faults=around.faults)
        self.service = Service(
            self._backend,
            peers=Peers(
                auctioneer=around.auctioneer,
                reps=around.reps,
                cells=Presences(around.locket, deadline_s=10.0),
                callbacks=StubPeers(),
            ),
            log=null_logger(),
            settings=ServiceSettings(
                convergence_workers=around.workers,
                converge_repeat_interval_s=around.repeat_interval_s,
                presence_poll_s=around.presence_poll_s,
            ),
            now_ns=around.now_ns,
            new_guid=around.new_guid,
            on_unrecoverable=around.bugs.append,
        )
        self.hubs = self.service.hubs
        self.store = self.service.store
        self._http = HTTPServer(
            self.service.routes,
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
                await root.start(self.service.write)
                await root.start(self.service.converge)
                listeners = cast("list[trio.SocketListener]", [listen()])
                await root.start(self._http.serve, listeners)
                task_status.started()
        finally:
            self._backend.lose_session()

    def _on_dropped(self, row: DroppedRow) -> None:
        self._around.bugs.append(AssertionError(f"a row that we wrote could not be read: {row}"))
