"""The raw events of one connection. Where `RawEventSource` reconnects and goes on, this one ends, so that nothing is missed
unnoticed.
"""

from collections import deque

import trio

from bbs.client._at_least import HEADER
from bbs.client._errors import BadEventSourceResponse, EndOfStream, SourceClosed, TransportError
from bbs.client._http import Lease, Request, Response, Transport
from bbs.client._sse import EventParser, RawEvent


class SingleStream:
    """Made by `open`, for one task. Close it in the end."""

    def __init__(self, response: Response, lease: Lease) -> None:
        self._response = response
        self._lease = lease
        self._parser = EventParser()
        self._parsed: deque[RawEvent] = deque()
        self._ended = self._closed = False

    @classmethod
    async def open(cls, transport: Transport, request: Request) -> "SingleStream":
        """Subscribed when this returns.

        Raises:
          BadEventSourceResponse: the server answers with another status than 200.
          TransportError: there is no answer, or a router in between gives one of its own.
        """
        response, lease = await transport.open(request)
        if response.status == 200:
            return cls(response, lease)
        await lease.discard()
        if (router_error := response.header("X-Cf-Routererror")) is not None:
            raise TransportError(f'{request.verb} "{request.url}": {router_error}')
        raise BadEventSourceResponse(response.status, response.reason)

    @property
    def token(self) -> str:
        """The token of the stream's head, which stands for what had happened when it began; empty if it has none."""
        return self._response.header(HEADER) or ""

    async def next(self) -> RawEvent:
        """The next event. A quiet stream is a healthy one, unless `ClientConfig.stream_idle_timeout_s` says otherwise.

        Raises:
          EndOfStream: the server ended the stream.
          SourceClosed: it was closed on our side.
          TransportError: it broke.
        Cancellation:
          Loses no event.
        """
        await trio.lowlevel.checkpoint()
        while not self._parsed:
            if self._closed:
                raise SourceClosed
            if self._ended:
                raise EndOfStream
            piece = await self._response.read_some()
            self._parsed += self._parser.feed(piece)
            self._ended = not piece
        return self._parsed.popleft()

    async def aclose(self) -> None:
        """Close the connection at once. Closing twice is harmless. Safe in a cancelled scope."""
        self._closed = True
        self._parsed.clear()
        await self._lease.discard()
