"""The health port: 200 and nothing else, to whatever is asked (spec: metrics-and-logs.md §6, config.md §5), but for the probes
that it is given, which say more.

That 200 tells that the process lives, and neither how the database is nor who holds the lock. So it must not fail with them:
it uses neither the server's HTTP lanes nor anything that serves the API, only h11, sockets, and a log that never blocks;
and nothing that a client does may end it. Each connection is a task with an h11 state machine.

However many connections there are, the next probe is answered: when the port is full, or no descriptor is left, the
connection that has been silent longest is closed for the new one.
"""

import errno
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import h11
import trio

from bbs.log import Logger
from bbs.ports import descriptors
from bbs.ports.listen import listen, port_of

CONNECTIONS_MAX: Final = descriptors.HEALTH
"""Open at once. A monitor needs one."""

IDLE_S: Final = 10.0
"""Longest silence of a client, and longest time that it may take to accept an answer: closed after that."""

HEADER_BYTES_MAX: Final = 64 * 1024
RECEIVE_BYTES: Final = 16 * 1024
BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"400 Bad Request"
)

ACCEPT_BACKOFF_S: Final = 0.1
"""Pause after a failed accept (no descriptors left, as a rule), so that others can free some."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """200 if ``yes``, else 503; ``says`` is the JSON object that goes with either."""

    yes: bool
    says: Mapping[str, object]


Probe: TypeAlias = Callable[[], Awaitable[ProbeAnswer]]
"""Has a second at most, since whoever asks waits no longer. Never raises."""


async def serve_health(
    address: str,
    probes: Mapping[str, Probe] | None = None,
    *,
    log: Logger,
    task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Answer until cancelled. Started, with the port, once the socket listens.

    GET and HEAD for a path of ``probes`` are answered by that probe, everything else by 200.

    Raises:
      AddressInvalid, PortUnknown, ListenFailed: it cannot listen there.
    """
    listeners = await listen(address)
    try:
        async with trio.open_nursery() as nursery:
            port = _Port(nursery, probes or {}, log)
            for listener in listeners:
                nursery.start_soon(port.accept, listener)
            task_status.started(port_of(listeners))
            await trio.sleep_forever()
    finally:
        for listener in listeners:
            listener.socket.close()


class _Port:
    """The open connections, in the order of their last byte, so that the first has been silent longest.

    A full port closes that one rather than turn the new one away: a monitor connects anew for each probe, and must not
    be kept out by connections that ask for nothing.
    """

    def __init__(self, nursery: trio.Nursery, probes: Mapping[str, Probe], log: Logger) -> None:
        self._nursery = nursery
        self._probes = probes
        self._log = log
        self._silent: OrderedDict[trio.SocketStream, None] = OrderedDict()

    async def accept(self, listener: trio.SocketListener) -> NoReturn:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                self._log.error("accept-failed", error=error)
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._close_most_silent()
                await trio.sleep(ACCEPT_BACKOFF_S)
                continue
            if len(self._silent) >= CONNECTIONS_MAX:
                self._close_most_silent()
            self._silent[stream] = None
            self._nursery.start_soon(self._serve, stream)

    def _close_most_silent(self) -> None:
        """Close its socket here and now, so that the descriptor is free for the next accept; its task then finds the
        connection gone and ends.
        """
        if self._silent:
            stream, _ = self._silent.popitem(last=False)
            stream.socket.close()

    def _heard(self, stream: trio.SocketStream) -> None:
        if stream in self._silent:
            self._silent.move_to_end(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        try:
            while await _answer(stream, connection, self._probes, lambda: self._heard(stream)):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client is gone, or as good as gone
        except h11.RemoteProtocolError:
            with trio.move_on_after(IDLE_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(BAD_REQUEST)
        except Exception as bug:
            # A bug, but of this connection only: the port must go on answering.
            self._log.error("health-connection-failed", error=bug)
        finally:
            self._silent.pop(stream, None)
            await trio.aclose_forcefully(stream)


async def _answer(
    stream: trio.SocketStream,
    connection: h11.Connection,
    probes: Mapping[str, Probe],
    heard: Callable[[], None],
) -> bool:
    """Read one request to its end, and answer it; False if the connection is done with."""
    probe: Probe | None = None
    is_head = False
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            probe, is_head = _probe_of(event, probes), event.method == b"HEAD"
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                await _send(stream, connection, h11.InformationalResponse(status_code=100, headers=[]))
            with trio.fail_after(IDLE_S):
                connection.receive_data(await stream.receive_some(RECEIVE_BYTES))
            heard()
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            break
    if connection.our_state is not h11.SEND_RESPONSE:
        return False
    if probe is None:
        response = h11.Response(status_code=200, reason=b"OK", headers=[("Content-Length", "0")])
        await _send(stream, connection, response)
    else:
        await _send_probed(stream, connection, await probe(), with_body=not is_head)
    if connection.states[h11.SERVER] is not h11.SEND_BODY:
        return False  # a CONNECT, whose client now expects a tunnel
    await _send(stream, connection, h11.EndOfMessage())
    return connection.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}


def _probe_of(request: h11.Request, probes: Mapping[str, Probe]) -> Probe | None:
    if request.method not in (b"GET", b"HEAD"):
        return None
    return probes.get(request.target.partition(b"?")[0].decode("latin-1"))


async def _send_probed(
    stream: trio.SocketStream, connection: h11.Connection, answer: ProbeAnswer, *, with_body: bool
) -> None:
    body = json.dumps(answer.says).encode() + b"\n"
    head = h11.Response(
        status_code=200 if answer.yes else 503,
        reason=b"OK" if answer.yes else b"Service Unavailable",
        headers=[
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("Content-Length", str(len(body))),
        ],
    )
    await _send(stream, connection, head)
    if with_body:
        await _send(stream, connection, h11.Data(data=body))


async def _send(
    stream: trio.SocketStream,
    connection: h11.Connection,
    event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage,
) -> None:
    data = connection.send(event)
    if data:
        with trio.fail_after(IDLE_S):
            await stream.send_all(data)
