"""Hypercorn's HTTP/1.1 for one connection, and none of its other protocols.

Hypercorn's own entry point, ``TCPServer``, puts a ``ProtocolWrapper`` before it, which goes over to HTTP/2 when a client
sends its preface or asks for ``h2c``; and HTTP/1.1 turns itself into a WebSocket when asked to. Upstream does none of
this, and our limits know nothing of it. Here nobody is left who could switch: the wrapper is not used, and the two
methods that choose a protocol are replaced by ones that have no choice.
"""

import time
from typing import Any, Final, cast
from wsgiref.handlers import format_date_time

import h11
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from bbs.http.limits import Limits
from bbs.http.strict_h11 import StrictConnection


class _HTTP1(H11Protocol):
    def __init__(self, limits: Limits, *of_hypercorn: Any) -> None:
        super().__init__(*of_hypercorn)
        self.connection = StrictConnection(limits)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Do nothing, where Hypercorn looks for an upgrade: whatever a request asks for, this stays HTTP/1.1."""

    async def _create_stream(self, request: h11.Request) -> None:
        """As Hypercorn's, without the WebSocket. After a stop no request begins, not even one that was read before."""
        if self.context.terminated.is_set():
            await self.send(Closed())
            return
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1


class HypercornHTTP1(TCPServer):
    """Serves requests on ``stream``, which stands for a Trio stream whose TLS, if any, is set up already."""

    def __init__(
        self,
        app: Any,
        config: Config,
        context: WorkerContext,
        stream: Any,
        *,
        limits: Limits,
        is_tls: bool,
        state: dict[str, Any],
    ) -> None:
        super().__init__(cast(AppWrapper, app), config, context, state, stream)
        self._task_group = TaskGroup()
        family = stream.socket.family
        self._http1: Final = _HTTP1(
            limits,
            self.app,
            config,
            context,
            self._task_group,
            ConnectionState(self.state),
            is_tls,
            parse_socket_addr(family, stream.socket.getpeername()),
            parse_socket_addr(family, stream.socket.getsockname()),
            self.protocol_send,
        )
        self.protocol = cast(ProtocolWrapper, self._http1)

    @property
    def h11(self) -> h11.Connection:
        """Its state is how far the present request has come."""
        connection = self._http1.connection
        assert isinstance(connection, h11.Connection)
        return connection

    async def serve(self) -> None:
        """Serve to the end of the connection, and close ``stream``."""
        try:
            async with self._task_group:
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                await self._read_data()
                # Hypercorn would keep the closed connection for the rest of its idle time.
                await self.idle_task.stop()
        except OSError:
            pass  # the peer is gone
        finally:
            await self._close()


class _Config(Config):
    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """As in Hypercorn, but spelt as Go spells it."""
        return [(b"Date", format_date_time(time.time()).encode("ascii"))]


def hypercorn_config(limits: Limits, *, keep_alive_requests_max: int) -> Config:
    config = _Config()
    config.include_server_header = False
    config.keep_alive_timeout = limits.idle_timeout_s
    config.keep_alive_max_requests = keep_alive_requests_max
    # Bounds every read, also while a handler runs or a stream is quiet: `SlowConnection` and the app know better.
    config.read_timeout = None
    config.accesslog = None
    return config
