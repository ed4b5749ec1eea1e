"""The same route table as a Quart application: the slow lane, and the place for pages that are no RPC."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import trio
from quart import request
from quart.wrappers import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import RequestEntityTooLarge

from bbs.http.endpoints import (
    AT_LEAST_HEADER,
    Answer,
    Call,
    CannotOpenStream,
    EventStream,
    Refusal,
    Route,
    RouteTable,
    StreamSource,
    Unary,
    WrongMethod,
)
from bbs.http.error_answers import (
    BODY_TOO_LARGE,
    CANNOT_OPEN_STREAM,
    NOT_FOUND,
    NOT_READY,
    PROTOBUF,
    REQUEST_TIMEOUT,
    STREAM_HEADERS,
    ErrorAnswer,
    answer_bytes,
    refused,
    slices,
    wrong_method,
)
from bbs.http.header_lines import pairs
from bbs.http.limits import Limits
from bbs.http.page_guard import Asked, PageGuard
from bbs.http.slow_lane import STATE_KEY, SlowConnection

TRACE_ID_HEADER: Final = "X-Vcap-Request-Id"

Headers = tuple[tuple[str, str], ...]


def build_app(
    table: RouteTable,
    *,
    limits: Limits,
    gate: Callable[[], bool],
    on_bug: Callable[[Exception, Call], None],
    on_request: Callable[[], None] = lambda: None,
    answer_head: Callable[[], bytes] | None = None,
    guard: PageGuard | None = None,
) -> QuartTrio:
    """Make the application. Pages may be added to it with ``app.route``; the table's paths come first, and before all of them
    ``guard``, which hears of every request while the gate is open.

    Must run under `slow_lane.SlowLane`, whose connections it needs. ``on_request`` is called for each request to a route
    of the table, and ``answer_head`` for each that is answered 200, by these routes alone.
    """
    app = QuartTrio(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes_max
    app.config["BODY_TIMEOUT"] = None  # bounds the whole body; ours bounds its pauses
    app.config["RESPONSE_TIMEOUT"] = None

    def more_headers() -> Headers:
        return () if answer_head is None else pairs(answer_head())

    # Runs before Quart looks at its own routes, with the path as the client wrote it.
    @app.before_request
    async def answer_from_the_table() -> Response | None:
        # Quart has looked for a route of its own by now, and keeps that it found none with the request. Through that error's
        # traceback the two would refer to each other, and the request stay in memory until a garbage collection.
        request.routing_exception = None
        if not gate():
            return _answer_error(NOT_READY)
        if guard is not None:
            try:
                guard(_asked())
            except Refusal as refusal:
                return _answer_error(refused(refusal), close=True)
        found = table.find(request.method, _raw_path())
        if found is None:
            if request.url_rule is None:
                return _answer_error(NOT_FOUND)
            _connection().may_be_abandoned()
            return None
        if isinstance(found, WrongMethod):
            return _answer_error(wrong_method(found.allow))
        try:
            body = await _read_body(limits)
        except RequestEntityTooLarge:
            return _answer_error(BODY_TOO_LARGE, close=True)
        except trio.TooSlowError:
            return _answer_error(REQUEST_TIMEOUT, close=True)
        on_request()
        return await _answer(found, body)

    async def _answer(route: Route, body: bytes) -> Response:
        connection = _connection()
        query = request.scope["query_string"]
        target = route.path + (f"?{query.decode('latin-1')}" if query else "")
        call = Call(
            body,
            request.headers.get(TRACE_ID_HEADER, ""),
            target,
            connection.peer,
            # The first of several would promise less than was asked for.
            ", ".join(request.headers.getlist(AT_LEAST_HEADER)),
        )
        try:
            match route.endpoint:
                case Unary(handle):
                    answer = await handle(call)
                    if not gate():  # shut meanwhile: what the handler read may not be the truth any more
                        return _answer_error(NOT_READY, close=True)
                    return _unary(answer, limits, more_headers())
                case EventStream(open_stream):
                    return _event_stream(await open_stream(call), call)
        except CannotOpenStream:
            return _answer_error(CANNOT_OPEN_STREAM)
        except Refusal as refusal:
            return _answer_error(refused(refusal))
        except Exception as bug:
            # As in the fast lane: one request's end, and no answer.
            on_bug(bug, call)
            connection.drop()
            return _answer_error(CANNOT_OPEN_STREAM)

    def _event_stream(source: StreamSource, call: Call) -> Response:
        call.body = b""
        return stream_of(
            source, lambda: (*STREAM_HEADERS, *more_headers()), on_bug=lambda bug: on_bug(bug, call)
        )

    return app


def stream_of(
    source: StreamSource, headers: Callable[[], Headers], *, on_bug: Callable[[Exception], None]
) -> Response:
    """An answer that goes on until ``source`` ends or the client leaves. Of ``source``'s bugs ``on_bug`` is told. What ``headers``
    raises is the caller's, and ``source`` is closed with the request.
    """
    connection = _connection()
    connection.add_stream(source)  # before anything that can fail, since it closes the source in the end
    given = headers()

    async def frames() -> AsyncIterator[bytes]:
        try:
            while True:
                if received := await source.receive():
                    yield received
        except trio.EndOfChannel:
            connection.close_after_answer()
        except Exception as bug:
            # Without the final chunk, so that the client knows that this is no regular end.
            on_bug(bug)
            connection.drop()
        finally:
            connection.end_stream(source)

    return _response(200, given, frames())


def _connection() -> SlowConnection:
    connection = request.scope["state"][STATE_KEY]
    assert isinstance(connection, SlowConnection)
    return connection


def _asked() -> Asked:
    return Asked(
        method=request.method,
        path=request.path,
        headers=[
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in request.scope["headers"]
        ],
        peer=_connection().peer,
    )


def _raw_path() -> bytes:
    return request.scope["raw_path"]


async def _read_body(limits: Limits) -> bytes:
    """Read the whole body.

    Raises:
      trio.TooSlowError: a pause in it was too long, or the server stops and can't wait for it any longer.
      RequestEntityTooLarge: it is longer than ``body_bytes_max``.
    """
    body = bytearray()  # and no list: see `ChunkedBody`
    with trio.fail_after(limits.body_timeout_s) as progress:
        _connection().reads_body(progress)
        async for piece in request.body:
            # Quart bounds what has not been taken from it, and that is never much here.
            body += piece
            if len(body) > limits.body_bytes_max:
                raise RequestEntityTooLarge
            progress.deadline = trio.current_time() + limits.body_timeout_s
    return bytes(body)


def _unary(answer: Answer, limits: Limits, more_headers: Headers) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for data in slices(answer, limits.send_slice_bytes):
            yield bytes(data)

    headers = (("Content-Length", str(answer_bytes(answer))), ("Content-Type", PROTOBUF), *more_headers)
    return _response(200, headers, body())


def _answer_error(error: ErrorAnswer, *, close: bool = False) -> Response:
    headers = (("Content-Length", str(len(error.body))), *error.headers)
    if close:
        headers = (*headers, ("Connection", "close"))
    return _response(error.status, headers, error.body)


def _response(status: int, headers: Headers, body: Any) -> Response:
    """A response with exactly these headers: Quart adds a content type and a length of its own."""
    response = QuartTrio.response_class(body, status)
    response.headers.clear()
    response.headers.extend(headers)
    response.timeout = None
    return response
