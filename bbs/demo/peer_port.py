"""The HTTPS port of a rep or an auctioneer: it takes JSON, and answers with a status, or with JSON."""

import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import h11
import trio

Answer = Callable[[str, str, Any], int | bytes]
"""Given method, path and the body's JSON (None if it has no body), the status to answer with, or the JSON of a 200. Does not block."""

BODY_BYTES_MAX: Final = 16 << 20
IDLE_MAX_S: Final = 90.0
READ_BYTES: Final = 65_536
CONNECTIONS_MAX: Final = 100


async def serve_peer(
    answer: Answer, tls: ssl.SSLContext, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve on a free port of 127.0.0.1 until cancelled; the port is what ``task_status`` is told."""
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def converse(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream, places:
            # The BBS has left, or it is somebody else who speaks no HTTP.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
                await _converse(stream, answer)

    sockets = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listeners = [trio.SSLListener(each, tls, https_compatible=True) for each in sockets]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, converse, listeners)
        task_status.started(sockets[0].socket.getsockname()[1])


async def _converse(stream: trio.SSLStream[trio.SocketStream], answer: Answer) -> None:
    connection = h11.Connection(h11.SERVER)
    while True:
        head, body = None, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                with trio.move_on_after(IDLE_MAX_S) as idle:
                    connection.receive_data(bytes(await stream.receive_some(READ_BYTES)))
                if idle.cancelled_caught:
                    return
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    return
            else:
                return  # the connection is closed
        if head is None:
            return
        try:
            answered = answer(head.method.decode(), head.target.decode(), json.loads(body) if body else None)
        except (ValueError, KeyError, TypeError):
            answered = 400
        status, content = (answered, b"") if isinstance(answered, int) else (200, answered)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        pieces = [
            connection.send(event)
            for event in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=content),
                h11.EndOfMessage(),
            )
        ]
        await stream.send_all(b"".join(piece or b"" for piece in pieces))
        if connection.our_state is not h11.DONE:
            return
        connection.start_next_cycle()
