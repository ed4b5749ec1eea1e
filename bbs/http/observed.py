"""Tells observers when a request begins and ends, around the handlers, so that both lanes do it alike.

Requests that reach no handler (404, 405, 503 while the gate is shut, a body that never came) are not told of.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter_ns

from bbs.http.endpoints import (
    Answer,
    Call,
    EventStream,
    Route,
    RouteTable,
    StreamSource,
    Unary,
)

RequestBegin = Callable[[Route, Call], None]
RequestEnd = Callable[[Route, Call, int], None]


def observed(table: RouteTable, *, begin: RequestBegin | None, end: RequestEnd | None) -> RouteTable:
    """``table`` with ``begin`` called before each handler and ``end`` after it, with the nanoseconds between them.

    A unary request ends when its handler does, whatever came of it; how long the client takes to read the answer is no
    part of it. An event stream ends when it is closed, or could not be opened. Without observers it is the same table.
    """
    if begin is None and end is None:
        return table

    def unobserved_begin(route: Route, call: Call) -> None:
        pass

    def unobserved_end(route: Route, call: Call, duration_ns: int) -> None:
        pass

    begin, end = begin or unobserved_begin, end or unobserved_end
    return RouteTable(_observed(route, begin, end) for route in table.routes)


def _observed(route: Route, begin: RequestBegin, end: RequestEnd) -> Route:
    endpoint: Unary | EventStream
    match route.endpoint:
        case Unary(handle):
            endpoint = Unary(_observed_handler(route, handle, begin, end))
        case EventStream(open_stream):
            endpoint = EventStream(_observed_stream(route, open_stream, begin, end))
    return Route(route.name, route.method, route.path, endpoint)


def _observed_handler(
    route: Route, handle: Callable[[Call], Awaitable[Answer]], begin: RequestBegin, end: RequestEnd
) -> Callable[[Call], Awaitable[Answer]]:
    async def observed_handle(call: Call) -> Answer:
        begin(route, call)
        began_ns = perf_counter_ns()
        try:
            return await handle(call)
        finally:
            end(route, call, perf_counter_ns() - began_ns)

    return observed_handle


def _observed_stream(
    route: Route, open_stream: Callable[[Call], Awaitable[StreamSource]], begin: RequestBegin, end: RequestEnd
) -> Callable[[Call], Awaitable[StreamSource]]:
    async def observed_open(call: Call) -> StreamSource:
        begin(route, call)
        began_ns = perf_counter_ns()
        try:
            source = await open_stream(call)
        except BaseException:
            end(route, call, perf_counter_ns() - began_ns)
            raise
        return _ObservedSource(source, lambda: end(route, call, perf_counter_ns() - began_ns))

    return observed_open


class _ObservedSource:
    """A stream source whose end is told once, however often it is closed."""

    __slots__ = ("_on_end", "_source", "receive")

    def __init__(self, source: StreamSource, on_end: Callable[[], None]) -> None:
        self._source = source
        self._on_end: Callable[[], None] | None = on_end
        self.receive = source.receive

    def close(self) -> None:
        self._source.close()
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()
