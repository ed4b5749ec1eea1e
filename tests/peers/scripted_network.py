"""A network of our own, for what only timers decide: in virtual time."""

import ssl
from collections.abc import Iterable

import httpcore
import trio

from bbs.peers.http import HTTPClient
from tests.peers.peer_server import ACCEPTED


class Scripted(httpcore.AsyncNetworkBackend):
    """A network that needs ``dial_s`` to connect, and then ``answer_s`` to answer."""

    def __init__(self, *, dial_s: float = 0, answer_s: float = 0) -> None:
        self.dial_s = dial_s
        self.answer_s = answer_s
        self.closed = 0
        self.opened = 0
        self.open_at_most = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            await trio.sleep(self.dial_s)
            self.opened += 1
            self.open_at_most = max(self.open_at_most, self.opened - self.closed)
            return ScriptedStream(self)
        raise httpcore.ConnectTimeout


class ScriptedStream(httpcore.AsyncNetworkStream):
    def __init__(self, network: Scripted) -> None:
        self._network = network

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> bytes:
        await trio.sleep(self._network.answer_s)
        return ACCEPTED

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> None:
        await trio.lowlevel.checkpoint()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        with trio.fail_after(float("inf") if timeout is None else timeout):
            await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self._network.closed += 1

    def get_extra_info(self, info: str) -> object:
        return None


def scripted(client_tls: ssl.SSLContext, network: Scripted, *, timeout_s: float) -> HTTPClient:
    return HTTPClient(tls=client_tls, timeout_s=timeout_s, network=network)
