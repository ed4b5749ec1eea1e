"""The routes that ship, some of whose next requests go wrong."""

import math
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from http import HTTPStatus
from typing import Final

import trio

from bbs.http.endpoints import (
    Answer,
    Call,
    EventStream,
    Refusal,
    Route,
    RouteTable,
    StreamSource,
    Unary,
)
from bbs.routes.answers import error_response
from bbs.testing._faults import ConnectionCut, NoAnswer, NotReady, Refused, RouteFault
from bbs.testing._misuse import StageMisused

PING: Final = "Ping"


class ConnectionIsCut(Exception):
    """Raised where a handler or a stream is to have no end; the server then closes the connection, and says no more."""


class FaultyRoutes:
    """Outlives the servers whose routes it is given."""

    def __init__(self) -> None:
        self._no_streams_until_s = -math.inf
        self._waiting: defaultdict[str, deque[RouteFault]] = defaultdict(deque)
        self._streams: set[_Stream] = set()

    def applied_to(self, table: RouteTable) -> RouteTable:
        return RouteTable(map(self._faulty, table.routes))

    def befall_next(self, fault: RouteFault) -> None:
        self._waiting[fault.route] += [fault] * fault.times

    def refuse_streams(self, *, for_s: float) -> None:
        """Answer subscriptions with 503."""
        self._no_streams_until_s = max(self._no_streams_until_s, trio.current_time() + for_s)

    def cut_streams(self) -> None:
        for stream in self._streams:
            stream.cut()

    def stall_streams(self, for_s: float) -> None:
        until_s = trio.current_time() + for_s
        for stream in self._streams:
            stream.stall(until_s)

    def _faulty(self, route: Route) -> Route:
        match route.endpoint:
            case Unary(handle):
                return replace(route, endpoint=Unary(self._handler(route, handle)))
            case EventStream(open_stream):
                return replace(route, endpoint=EventStream(self._subscription(route, open_stream)))

    def _handler(
        self, route: Route, handle: Callable[[Call], Awaitable[Answer]]
    ) -> Callable[[Call], Awaitable[Answer]]:
        async def handle_or_fail(call: Call) -> Answer:
            fault = await self._befallen(route)
            if isinstance(fault, Refused):
                return error_response(fault.error)
            answer = await handle(call)
            if fault is not None:
                raise ConnectionIsCut
            return answer

        return handle_or_fail

    def _subscription(
        self, route: Route, open_stream: Callable[[Call], Awaitable[StreamSource]]
    ) -> Callable[[Call], Awaitable[StreamSource]]:
        async def open_or_fail(call: Call) -> StreamSource:
            if trio.current_time() < self._no_streams_until_s:
                raise _not_ready()
            fault = await self._befallen(route)
            stream = _Stream(await open_stream(call), leave=self._streams.discard)
            self._streams.add(stream)
            if fault is not None:
                stream.cut()
            return stream

        return open_or_fail

    async def _befallen(self, route: Route) -> Refused | ConnectionCut | None:
        """What befalls this request, as far as the handler has to see to it.

        Raises:
          ConnectionIsCut, Refusal: that was it.
        """
        waiting = self._waiting[route.name]
        match waiting.popleft() if waiting else None:
            case NotReady():
                raise _not_ready()
            case NoAnswer(for_s=for_s):
                await trio.sleep(for_s)
            case ConnectionCut(once_done=False):
                raise ConnectionIsCut
            case Refused() | ConnectionCut() as fault:
                return fault
        return None


def must_make_sense(fault: RouteFault, routes: Iterable[Route]) -> None:
    """
    Raises:
      StageMisused: no route has that name, or its answers have no place for an error.
    """
    by_name = {route.name: route for route in routes}
    if (route := by_name.get(fault.route)) is None:
        alike = get_close_matches(fault.route, by_name, n=5, cutoff=0.3)
        hint = f"did you mean {' or '.join(alike)}?" if alike else "`stage.routes` has them all"
        raise StageMisused(f"{type(fault).__name__}: no route is called {fault.route!r}; {hint}")
    if isinstance(fault, Refused) and (isinstance(route.endpoint, EventStream) or route.name == PING):
        raise StageMisused(
            f"Refused: an answer of {route.name} has no place for an error; take NotReady, or ConnectionCut"
        )


def _not_ready() -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")


class _Stream:
    """A subscription between the hub and the connection."""

    def __init__(self, source: StreamSource, *, leave: Callable[["_Stream"], None]) -> None:
        self._stalled_until_s = -math.inf
        self._source = source
        self._leave = leave
        self._is_cut = False
        self._waiting = trio.CancelScope()

    async def receive(self) -> bytes:
        with trio.CancelScope() as self._waiting:
            if not self._is_cut:
                await self._wait_while_stalled()
                received = await self._source.receive()
                await self._wait_while_stalled()  # it may have begun meanwhile
                return received
        if self._is_cut:
            raise ConnectionIsCut
        raise trio.EndOfChannel

    async def _wait_while_stalled(self) -> None:
        while trio.current_time() < self._stalled_until_s:  # noqa: ASYNC110  # which another stall may put off
            await trio.sleep_until(self._stalled_until_s)

    def stall(self, until_s: float) -> None:
        self._stalled_until_s = max(self._stalled_until_s, until_s)

    def cut(self) -> None:
        self._is_cut = True
        self._waiting.cancel()

    def close(self) -> None:
        self._source.close()
        self._waiting.cancel()
        self._leave(self)
