"""What the log says of a request while it is handled: sessions below `request` (spec: metrics-and-logs.md §3.1).

Nothing is made for lines that nobody wants: below its level, an operation costs a comparison.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from os import urandom
from typing import Any, Final

from bbs.log import Emit, Level, Logger
from bbs.models.errors import BBSError, InvalidRequest
from bbs.routes.http import Answer, Call, CannotOpenStream, EventStream, StreamEnded, StreamSource, Unary

Data = dict[str, object]

_HEX: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_LOW_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Ignored:
    """A request that is acknowledged and not carried out: one line instead of an operation's two."""

    action: str
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The sessions of one kind of request, what their lines say, and at which level.

    ``session`` is the handler's, ``db`` the one below it, or '' if the handler itself begins and ends.
    """

    session: str
    db: str = ""
    level: Level = Level.DEBUG
    begins: str = "starting"
    ends: str = "complete"
    about: Callable[[Any], Data] = lambda request: {}
    """The data of the lines, from the request message."""
    failures: Mapping[type[BBSError], str] = field(default_factory=dict)
    """What refusals of these classes are called, at error."""
    fails: str = ""
    """What other refusals are called; '' says nothing of them."""
    instead: "Callable[[Any], Operation | Ignored | None] | None" = None
    """Looks closer at a request: another operation's lines, or one line, or none."""
    news: Callable[[Any], str] | None = None
    """What is said of the request at info once it has succeeded; ''  is nothing."""

    @property
    def path(self) -> str:
        return f"request.{self.session}.{self.db}" if self.db else f"request.{self.session}"

    @property
    def numbers(self) -> str:
        """The numbers of the sessions below ``request``, each the first of its parent's."""
        return ".1" * self.path.count(".")


class Said:
    """The lines about one request, of which the log wants at least one."""

    __slots__ = ("_emit", "_news", "_operation", "_session")

    def __init__(self, session: Logger, operation: Operation, news: str) -> None:
        self._session = session
        self._operation = operation
        self._news = news
        self._emit: Emit = session.emitter()
        self._say(operation.level, operation.begins)

    def succeeded(self) -> None:
        if self._news:
            self._say(Level.INFO, self._news)

    def failed(self, action: str, error: BBSError) -> None:
        self._session.error(action, error=error)

    def ended(self) -> None:
        self._say(self._operation.level, self._operation.ends)

    def _say(self, level: Level, action: str) -> None:
        if self._session.enabled(level):
            self._emit(level, self._session.message(action))


class HandlerLog:
    """Tells of the requests to one route."""

    __slots__ = ("_log", "_operation")

    def __init__(self, log: Logger, operation: Operation) -> None:
        self._log = log
        self._operation = operation

    def begin(self, call: Call, request: Any) -> Said | None:
        """Tell that a request begins; `None` if its lines are not wanted."""
        operation = self._operation
        if not self._log.enabled(operation.level if operation.news is None else Level.INFO):
            return None
        if operation.instead is not None:
            match operation.instead(request):
                case None:
                    return None
                case Ignored(action, data):
                    self._session(call, operation.session).info(action, data)
                    return None
                case Operation() as operation:
                    pass
        news = "" if operation.news is None else operation.news(request)
        if not news and not self._log.enabled(operation.level):
            return None
        return Said(self._operation_session(call, request, operation), operation, news)

    def invalid(self, call: Call, error: BBSError) -> None:
        """Tell of a request that could not be read."""
        if self._log.enabled(Level.ERROR):
            undecodable = str(error) == InvalidRequest.canonical_text
            action = "failed-to-parse-request-body" if undecodable else "invalid-request"
            self._session(call, self._operation.session).error(action, error=error)

    def refused(self, call: Call, request: Any, error: BBSError, said: Said | None) -> None:
        """Tell why a request was refused."""
        operation = self._operation
        action = operation.failures.get(type(error), operation.fails)
        if not action or not self._log.enabled(Level.ERROR):
            return
        if said is not None:
            said.failed(action, error)
        else:
            self._operation_session(call, request, operation).error(action, error=error)

    def _session(self, call: Call, name: str) -> Logger:
        numbers = f"{call.session}{'.1' * (name.count('.') + 1)}"
        return self._log.descendant(f"request.{name}", numbers, trace_data_of(call))

    def _operation_session(self, call: Call, request: Any, operation: Operation) -> Logger:
        data = trace_data_of(call)
        data.update(operation.about(request))
        return self._log.descendant(operation.path, f"{call.session}{operation.numbers}", data)


def trace_data(trace_id: str) -> dict[str, str]:
    """What lines carry of the client's trace id, if it is one, and a number for this stretch of it (spec: api.md §4)."""
    if not trace_id:
        return {}
    digits = trace_id.replace("-", "")
    if not _HEX.fullmatch(digits):
        return {}
    number = int(digits, 16)
    width = 2 * _LOW_DIGITS if number >> (4 * _LOW_DIGITS) else _LOW_DIGITS
    return {"trace-id": f"{number:0{width}x}", "span-id": urandom(8).hex()}


def trace_data_of(call: Call) -> Data:
    """The same in all lines of a request, for the caller to keep."""
    if not call.trace_id:
        return {}
    if call.trace_data is None:
        call.trace_data = trace_data(call.trace_id)
    return dict(call.trace_data)


def handler_session(log: Logger, call: Call, name: str, data: Mapping[str, object]) -> Logger:
    """The session of a request's handler, for what it does beside its `Operation`: calling peers above all.

    With two names, dots between them, it is a controller's below the handler's.
    """
    numbers = f"{call.session}{'.1' * (name.count('.') + 1)}"
    session = log.descendant(f"request.{name}", numbers, {**trace_data_of(call), **data})
    session.next_number()  # the operation's session in the database has the first, see `Operation.numbers`
    return session


def logged_handler(handle: Callable[[Call], Awaitable[Answer]], log: HandlerLog) -> Unary:
    """A handler that reads no request message, with its lines around it."""

    async def logged(call: Call) -> Answer:
        said = log.begin(call, None)
        try:
            return await handle(call)
        finally:
            if said is not None:
                said.ended()

    return Unary(logged)


def logged_stream(
    open_stream: Callable[[Call], Awaitable[StreamSource]],
    log: Logger,
    *,
    session: str,
    action: str,
    about: Callable[[bytes], Data],
) -> EventStream:
    """An event stream whose subscription is told at info, and its end by the server at error.

    ``about`` gives the data of the former from the body of a request that was accepted.
    """

    async def logged_open(call: Call) -> StreamSource:
        subscription = log.descendant(f"request.{session}", f"{call.session}.1", trace_data_of(call))
        try:
            source = await open_stream(call)
        except CannotOpenStream as error:
            subscription.error("failed-parsing-request", error=error.__cause__ or error)
            raise
        if subscription.enabled(Level.INFO):
            subscription.info(action, about(call.body))
        return _LoggedSource(source, subscription)

    return EventStream(logged_open)


class _LoggedSource:
    """Notices whether a stream ended because we closed it, or because there is no more to come."""

    __slots__ = ("_closed", "_log", "_source")

    def __init__(self, source: StreamSource, log: Logger) -> None:
        self._source = source
        self._log = log
        self._closed = False

    async def receive(self) -> bytes:
        try:
            return await self._source.receive()
        except StreamEnded:
            if not self._closed:
                self._log.error("failed-to-get-next-event", error="read from closed source")
            raise

    def close(self) -> None:
        self._closed = True
        self._source.close()
