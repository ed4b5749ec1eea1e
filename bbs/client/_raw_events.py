"""The raw event stream of a server, reopened when it breaks (spec: events.md §10.1).

A source is open, ended or closed. While open it has a connection, or gets one with the next read. It is *ended* when the
server has ended the stream in an orderly way, *closed* when we have; it is never opened again after either. Events that
are published while a broken stream is opened again are lost, since the server does not keep them.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import trio

from bbs.client._errors import BadEventSourceResponse, EndOfStream, SourceClosed, TransportError
from bbs.client._http import Lease, Request, Response, Transport
from bbs.client._sse import EventParser, RawEvent

TRY_AGAIN_STATUSES: Final = frozenset({500, 502, 503, 504})


@dataclass(slots=True)
class _Connected:
    response: Response
    lease: Lease
    parser: EventParser


class RawEventSource:
    """Events as they come, over as many connections as it takes. Made connected by `open`; close it in the end.

    Use from one task; only `aclose` may be called from another one.
    """

    def __init__(self, transport: Transport, request: Request, *, reconnects: int, pause_s: float) -> None:
        self._transport = transport
        self._request = request
        self._reconnects = reconnects
        self._pause_s = pause_s
        self._last_id = ""
        self._parsed: deque[RawEvent] = deque()
        self._connected: _Connected | None = None
        self._ended = False
        self._closed = False
        self._reading = trio.CancelScope()

    async def open(self) -> None:
        """Connect. What the server publishes from now on will be read.

        Raises:
          BadEventSourceResponse: the server does not offer this stream.
          TransportError: it could not be reached, that many times.
        """
        await self._connect()

    async def next(self) -> RawEvent:
        """The next event. A quiet stream is a healthy one, unless `ClientConfig.stream_idle_timeout_s` says otherwise.

        Raises:
          EndOfStream: the server ended the stream.
          SourceClosed: `aclose` was called, maybe meanwhile.
          BadEventSourceResponse, TransportError: the stream broke and could not be opened again.
        Cancellation:
          Loses no event.
        """
        if self._closed:
            raise SourceClosed
        with trio.CancelScope() as self._reading:
            return await self._next()
        raise SourceClosed

    async def aclose(self) -> None:
        """Close the stream, ending a `next` that waits. Closing twice is harmless."""
        self._closed = True
        self._reading.cancel()
        self._parsed.clear()
        await self._disconnect()

    async def _next(self) -> RawEvent:
        await trio.lowlevel.checkpoint()
        while not self._parsed:
            if self._ended:
                raise EndOfStream
            if self._connected is None:
                await self._connect()
            await self._read_some()
        event = self._parsed.popleft()
        if event.id:
            self._last_id = event.id
        if event.retry_s is not None:
            self._pause_s = event.retry_s
        return event

    async def _read_some(self) -> None:
        """Read events, or learn that the stream has ended or broken. A broken one is dropped after a pause."""
        assert self._connected is not None
        try:
            piece = await self._connected.response.read_some()
        except TransportError:
            await self._disconnect()
            await trio.sleep(self._pause_s)
            return
        self._parsed += self._connected.parser.feed(piece)
        if not piece:
            self._ended = True
            await self._disconnect()

    async def _connect(self) -> None:
        reconnects_left = self._reconnects
        while True:
            try:
                response, lease = await self._transport.open(self._with_last_id())
            except TransportError:
                if not reconnects_left:
                    raise
                reconnects_left -= 1
            else:
                if response.status == 200:
                    self._connected = _Connected(response, lease, EventParser(last_id=self._last_id))
                    return
                await lease.discard()
                if response.status not in TRY_AGAIN_STATUSES:
                    raise BadEventSourceResponse(response.status, response.reason)
            await trio.sleep(self._pause_s)

    async def _disconnect(self) -> None:
        if self._connected is not None:
            connected, self._connected = self._connected, None
            await connected.lease.discard()

    def _with_last_id(self) -> Request:
        if not self._last_id:
            return self._request
        return replace(self._request, headers=(*self._request.headers, ("Last-Event-ID", self._last_id)))
