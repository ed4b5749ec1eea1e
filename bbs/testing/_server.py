"""The service that ships, behind the HTTP server that ships, on a database in memory and without a process around it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from bbs.http.endpoints import RouteTable
from bbs.http.limits import Limits
from bbs.http.listener import Hooks, HTTPServer
from bbs.log import null_logger
from bbs.models.outcome import Announcement
from bbs.peers.interfaces import Peers
from bbs.service import Service, ServiceSettings
from bbs.store.backend import DroppedRow
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import MemoryBackend

KEYRING: Final = Keyring({"label": "key"}, "label")

LIMITS: Final = Limits(stop_grace_s=0.5)
"""A process that is killed answers nobody: its requests in flight get no time."""


class Server:
    """``on_bug`` is told of failures that should never be. ``answered_as`` is given the routes, and returns those to serve; while
    ``may_answer()`` is false every request is answered 503.
    """

    def __init__(
        self,
        backend: MemoryBackend,
        *,
        peers: Peers,
        settings: ServiceSettings,
        now_ns: Callable[[], int],
        new_guid: Callable[[], str],
        on_bug: Callable[[BaseException], None],
        on_published: Callable[[tuple[Announcement, ...]], None] | None = None,
        may_answer: Callable[[], bool] = lambda: True,
        answered_as: Callable[[RouteTable], RouteTable] = lambda table: table,
    ) -> None:
        self.is_loaded = trio.Event()
        self._backend = backend
        self._may_answer = may_answer
        self.service = Service(
            backend,
            peers=peers,
            log=null_logger(),
            settings=settings,
            now_ns=now_ns,
            new_guid=new_guid,
            on_unrecoverable=on_bug,
            on_published=on_published,
        )
        self._http = HTTPServer(
            answered_as(self.service.routes),
            tls=None,
            gate=lambda: self.is_loaded.is_set() and self._may_answer(),
            hooks=Hooks(
                on_bug=lambda bug, call: on_bug(bug),
                on_connection_failed=lambda failure, peer: on_bug(failure),
                on_accept_failed=on_bug,
            ),
            limits=LIMITS,
        )

    async def run(
        self,
        become_writer: Callable[[trio.Nursery], Awaitable[None]],
        listen: Callable[[], Awaitable[Sequence[trio.SocketListener]]],
        *,
        on_loaded: Callable[[], None] = lambda: None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be a server until cancelled, which is to be killed. Started when it answers.

        ``become_writer`` returns once the backend has the writer lock; the nursery is for what has to run from then on.
        ``listen`` is called last, and the listeners are closed in the end.

        Raises:
          WriterLockLost: it is master no longer; in groups.
          BackendUnavailable: the database is away.
        """
        try:
            async with trio.open_nursery() as root:
                await become_writer(root)
                await self.service.store.load()
                self.is_loaded.set()
                on_loaded()
                await root.start(self.service.write)
                await root.start(self._call_back)
                await root.start(self.service.converge)
                await root.start(self._http.serve, await listen())
                task_status.started()
        finally:
            self._backend.lose_session()

    async def _call_back(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.service.call_back(log=null_logger(), task_status=task_status)


def must_be_readable(on_bug: Callable[[BaseException], None]) -> Callable[[DroppedRow], None]:
    """For backends: that a row can't be read is a bug, since it was written here."""

    def on_dropped(row: DroppedRow) -> None:
        on_bug(AssertionError(f"a row that we wrote could not be read: {row}"))

    return on_dropped
