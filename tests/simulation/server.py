"""One BBS process: the service that ships, on a memory backend and connections in memory.

With a lock it does what `bbs/process` does about it, with the parts that ship: it waits for Locket's lock, ends the session
of whoever wrote before, loads, answers while the lock is good, and is fenced when it is lost.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from bbs.log import null_logger
from bbs.models.outcome import Announcement, Row
from bbs.peers.callbacks import HTTPTaskCallbacks
from bbs.peers.http import HTTPClient, NoResponse
from bbs.peers.interfaces import Auctioneer, Peers, Reps, TaskCallbacks
from bbs.peers.stub import StubPeers
from bbs.process.mastership import LocketMastership
from bbs.service import ServiceSettings
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.sync.locket.client import Code, Locket, LocketError
from bbs.sync.locket.lock import Lock
from bbs.sync.locket.presences import Presences
from bbs.testing._cpu import CPU
from bbs.testing._server import KEYRING, Server, must_be_readable
from tests.simulation.cpu import ThroughCPU
from tests.simulation.database import Hang, SimulatedDatabase

if TYPE_CHECKING:
    from bbs.testing._network import Listener

LOCK_TTL_S: Final = 15
LOCK_RETRY_S: Final = 5.0
LOCKET_LATENCY_S: Final = (0.0005, 0.01)
CALLBACK_WORKERS: Final = 4


class Observer:
    """Is told what happens in the processes. This one does nothing about it."""

    def loaded(self, bbs: "BBS") -> None:
        """Memory has all rows."""

    def published(self, bbs: "BBS", announcements: tuple[Announcement, ...]) -> None:
        """An outcome has become visible, and has been told of."""

    def unknown(self, backend: MemoryBackend, rows: Sequence[Row]) -> None:
        """A write ended without its writer knowing how."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What outlives a BBS process, or is none of it. ``bugs`` are failures that should never be."""

    disk: Disk
    faults: Faults
    hang: Hang
    chance: Random
    locket: Locket
    auctioneer: Auctioneer
    reps: Reps
    now_ns: Callable[[], int]
    new_guid: Callable[[], str]
    repeat_interval_s: float = 30.0
    presence_poll_s: float = 5.0
    workers: int = 20
    callback_http: object | None = None
    """A stand-in for `HTTPClient`; ``None``: nobody is called back."""
    observer: Observer = field(default_factory=Observer)
    bugs: list[BaseException] = field(default_factory=list)


class BBS:
    """``owner`` is what it calls itself in Locket's lock; ``None``: it asks for no lock, and is master at once."""

    def __init__(
        self, around: Surroundings, *, locket: Locket | None = None, owner: str | None = None
    ) -> None:
        self._around = around
        self.cpu = CPU()
        self._mastership: LocketMastership | None = None
        self._locket = cast(
            Locket,
            ThroughCPU(
                around.locket if locket is None else locket,
                self.cpu,
                no_answer=_locket_away,
                latency_s=lambda: around.chance.uniform(*LOCKET_LATENCY_S) if owner else 0.0,
            ),
        )
        self.backend = SimulatedDatabase(
            around.disk,
            KEYRING,
            on_dropped=must_be_readable(around.bugs.append),
            faults=around.faults,
            hang=around.hang,
            cpu=self.cpu,
            random=around.chance,
            on_unknown=around.observer.unknown,
        )
        self._lock = owner and Lock(
            self._locket, owner=owner, ttl_s=LOCK_TTL_S, retry_interval_s=LOCK_RETRY_S, log=null_logger()
        )
        self._server = Server(
            self.backend,
            peers=Peers(
                auctioneer=cast(Auctioneer, ThroughCPU(around.auctioneer, self.cpu, no_answer=_no_response)),
                reps=cast(Reps, ThroughCPU(around.reps, self.cpu, no_answer=_no_response)),
                cells=Presences(self._locket, deadline_s=10.0),
                callbacks=self._callbacks(),
            ),
            settings=ServiceSettings(
                convergence_workers=around.workers,
                converge_repeat_interval_s=around.repeat_interval_s,
                presence_poll_s=around.presence_poll_s,
            ),
            now_ns=around.now_ns,
            new_guid=around.new_guid,
            on_bug=around.bugs.append,
            on_published=lambda announcements: around.observer.published(self, announcements),
            may_answer=lambda: self._mastership is None or self._mastership.is_certain,
        )
        self.is_loaded = self._server.is_loaded
        self.hubs = self._server.service.hubs
        self.store = self._server.service.store

    async def run(
        self,
        listen: "Callable[[CPU], Listener]",
        *,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be a server until cancelled, which is to be killed. Started when it answers.

        Raises:
          LockLost, WriterLockLost: it is master no longer; in groups.
          BackendUnavailable: the database is away.
        """

        async def at_its_door() -> list[trio.SocketListener]:
            return cast("list[trio.SocketListener]", [listen(self.cpu)])

        await self._server.run(
            self._become_writer,
            at_its_door,
            on_loaded=lambda: self._around.observer.loaded(self),
            task_status=task_status,
        )

    async def _become_writer(self, root: trio.Nursery) -> None:
        if not self._lock:
            await self.backend.acquire_writer_lock()
            return
        self._mastership = LocketMastership(
            self._lock, cast(Any, self.backend), cast(Any, _NoStandby()), confirm=self._confirm
        )
        await root.start(self._mastership.run)
        await self.backend.take_writer_lock()

    async def _confirm(self) -> None:
        await self.is_loaded.wait()
        await self.store.confirm()

    def _callbacks(self) -> TaskCallbacks:
        if self._around.callback_http is None:
            return StubPeers()
        http = cast(HTTPClient, ThroughCPU(self._around.callback_http, self.cpu, no_answer=_no_response))
        return HTTPTaskCallbacks(http=http, workers=CALLBACK_WORKERS)


def _locket_away() -> LocketError:
    return LocketError(Code.UNAVAILABLE, "the process was killed")


def _no_response() -> NoResponse:
    return NoResponse("the process was killed")


class _NoStandby:
    """Reads nothing ahead: a new master loads everything."""

    @asynccontextmanager
    async def reading_ahead(self) -> "AsyncIterator[None]":
        yield
