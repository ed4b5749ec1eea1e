"""The server's own HTTP listener, on loopback in a thread: a command in this process has an event loop of its own."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread

import trio

from bbs.http.endpoints import Answer, Call, Refusal, Route, RouteTable, Unary
from bbs.http.limits import Limits
from bbs.http.listener import HTTPServer
from bbs.http.sockets import open_listeners
from bbs.models import pb
from tests.console.authority import Pair
from tests.http.serving import World

START_MAX_S = 30.0


@contextmanager
def listening(
    tls: ssl.SSLContext | None,
    *,
    refusal: Refusal | None = None,
    path: str = "/v1/domains/list",
    is_ready: bool = True,
) -> Iterator[int]:
    """A server that knows one path, and answers it with the domain ``d``, or with ``refusal``. Gives its port."""
    started: SimpleQueue[tuple[int, trio.CancelScope, trio.lowlevel.TrioToken]] = SimpleQueue()

    async def answer(_: Call) -> Answer:
        if refusal is not None:
            raise refusal
        return pb.DomainsResponse(domains=["d"]).SerializeToString()

    async def serve() -> None:
        listeners = await open_listeners("127.0.0.1:0")
        port = listeners[0].socket.getsockname()[1]
        table = RouteTable([Route("Domains", "POST", path, Unary(answer))])
        server = HTTPServer(
            table, tls=tls, gate=lambda: is_ready, hooks=World().hooks(), limits=Limits(linger_s=0.2)
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listeners)
            started.put((port, nursery.cancel_scope, trio.lowlevel.current_trio_token()))

    thread = Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    port, scope, token = started.get(timeout=START_MAX_S)
    try:
        yield port
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(START_MAX_S)


def server_tls(pair: Pair, ca: str, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """As `bbs.tls.contexts.server_context`, which would not take a certificate that is not valid now."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(pair.cert, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest
    return context
