"""The port at which requests are answered: when it opens, and how it ends."""

import ssl
from collections.abc import Callable

import trio

from bbs.http.endpoints import RouteTable
from bbs.http.listener import Hooks, HTTPServer
from bbs.ports.listen import take
from bbs.process.settings import Settings
from bbs.service import Service


class APIPort:
    """Answers ``routes``, while ``gate()`` is true; each of its ``run_...`` coroutines is what a member does.

    It listens when ``may_listen`` is set: clients that are refused a connection try again, or elsewhere, and give a 503 back to
    their user. ``answer_head`` is that of `HTTPServer`.
    """

    def __init__(
        self,
        service: Service,
        routes: RouteTable,
        settings: Settings,
        *,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
        gate: Callable[[], bool],
        hooks: Hooks,
        may_listen: trio.Event,
        answer_head: Callable[[], bytes] | None = None,
    ) -> None:
        self.http = HTTPServer(
            routes,
            tls=tls,
            gate=gate,
            hooks=hooks,
            limits=settings.limits,
            fast_lane=settings.fast_lane,
            answer_head=answer_head,
        )
        self.port: int | None = None
        """Known once the address is taken, which is before anybody is answered."""
        self.is_open = False
        """Whether connections are accepted: from when it listens until it is stopped."""
        self._service = service
        self._address = settings.listen_address
        self._may_listen = may_listen

    async def run_connections(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep connections, and lists ready for them, from before the first to after the last answer."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._service.ready_lists.run)
            try:
                await self.http.keep_connections(task_status=task_status)
            finally:
                nursery.cancel_scope.cancel()

    async def run_server(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Answer requests, and when stopped, those that are under way.

        The address is taken at once, so that one in use ends this process before it has done anything else.

        Raises:
          AddressInvalid, PortUnknown, ListenFailed: there is no such address, or it can't be had.
        """
        taken = await take(self._address)
        try:
            self.port = taken.port
            with trio.CancelScope() as until_stopped:
                task_status.started(until_stopped)
                await self._may_listen.wait()
                listeners = taken.listen()
                self.is_open = True
                try:
                    await self.http.accept(listeners)
                finally:
                    self.is_open = False
            await self.http.finish()
        finally:
            taken.close()

    async def run_hubs(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Close the event streams when stopped: each is a request in flight that would never end by itself. To be stopped before
        the server, which waits for its last request.
        """
        with trio.CancelScope() as until_stopped:
            task_status.started(until_stopped)
            await trio.sleep_forever()
        self._service.hubs.close()
