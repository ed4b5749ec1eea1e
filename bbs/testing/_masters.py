"""The BBS as its clients know it: one master after another, on the same database and behind the same door."""

from collections.abc import Callable
from typing import NoReturn, cast

import trio

from bbs.http.sockets import open_listeners
from bbs.peers.interfaces import Peers
from bbs.service import Service, ServiceSettings
from bbs.store.backend import BackendUnavailable
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.testing._cell import URL
from bbs.testing._faulty_routes import FaultyRoutes
from bbs.testing._network import Network
from bbs.testing._server import KEYRING, Server, must_be_readable

DATABASE_RETRY_S = 0.5


class Masters:
    """``peers`` makes those of a new master. With a ``port``, 0 for any, each listens on it, too; ``url`` has it then.

    ``database`` are the faults of the database.
    """

    def __init__(
        self,
        *,
        network: Network,
        port: int | None,
        peers: Callable[[], Peers],
        settings: ServiceSettings,
        now_ns: Callable[[], int],
        new_guid: Callable[[], str],
        routes: FaultyRoutes,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self.url = URL
        self.port = port
        self.database = Faults()
        self._disk = Disk()
        self._network = network
        self._peers = peers
        self._settings = settings
        self._now_ns = now_ns
        self._new_guid = new_guid
        self._routes = routes
        self._on_bug = on_bug
        self._back_at_s = trio.current_time()
        self._life = trio.CancelScope()
        self._backend, self._server = self._new_server()
        self.service: Service = self._server.service
        """That of the master, or of the last one until the next has read what there is."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Have one process after another be master, until cancelled. Started once the first one answers."""
        while True:
            with trio.CancelScope() as self._life:
                await self._server.run(
                    self._become_writer, self._listen, on_loaded=self._take_over, task_status=task_status
                )
            task_status = trio.TASK_STATUS_IGNORED
            while trio.current_time() < self._back_at_s:  # noqa: ASYNC110  # which a later kill may put off
                await trio.sleep_until(self._back_at_s)
            self._backend, self._server = self._new_server()

    def kill(self, *, back_after_s: float) -> None:
        """Kill the master, if there is one. There is another one no sooner than after that time."""
        self._back_at_s = max(self._back_at_s, trio.current_time() + back_after_s)
        self._network.break_connections()
        self._routes.cut_streams()
        self._life.cancel()

    def _new_server(self) -> tuple[MemoryBackend, Server]:
        on_dropped = must_be_readable(self._on_bug)
        backend = MemoryBackend(self._disk, KEYRING, on_dropped=on_dropped, faults=self.database)
        server = Server(
            backend,
            peers=self._peers(),
            settings=self._settings,
            now_ns=self._now_ns,
            new_guid=self._new_guid,
            on_bug=self._on_bug,
            answered_as=self._routes.applied_to,
        )
        return backend, server

    def _take_over(self) -> None:
        self.service = self._server.service

    async def _become_writer(self, _: trio.Nursery) -> None:
        """Wait for the database, as a process does that its supervisor starts again and again."""
        while True:
            try:
                await self._backend.take_writer_lock()
            except BackendUnavailable:
                await trio.sleep(DATABASE_RETRY_S)
            else:
                return

    async def _listen(self) -> list[trio.SocketListener]:
        listeners = [cast(trio.SocketListener, self._network.listen())]
        if self.port is not None:
            listeners += await open_listeners(f"127.0.0.1:{self.port}")
            self.port = listeners[-1].socket.getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
        return listeners
