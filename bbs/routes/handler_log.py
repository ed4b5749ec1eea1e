"""Tells the log of requests while they are handled: sessions below `request` (spec: metrics-and-logs.md §3.1).

What it tells is a `Story`. Nothing is made for lines that nobody wants: below its level, an operation costs a comparison.

In the order of events: `HandlerLog.begin` makes the story from the rows as they are before the decision and writes what
comes first; `tell_decided` opens the session of the change, or says that the request is ignored; `tell_committed` closes
it, and adds what depends on the outcome; `HandlerLog.refused` takes their place if it came to that; `Said.end` has the
last word, whatever came before. Each may be told twice or not at all, since reads decide nothing and refusals may come at
any point; `Said` then closes what is open.
"""

import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from os import urandom
from typing import Any, Final

import trio

from bbs.http.endpoints import Answer, Call, CannotOpenStream, EventStream, StreamSource, Unary
from bbs.log import Data, Emit, Level, Logger
from bbs.models.errors import BBSError, InvalidRequest
from bbs.models.outcome import Outcome
from bbs.routes.stories.story import HANDLER, NOTHING, Line, Session, Story

_HEX: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_LOW_DIGITS: Final = 16

_SAY: Final = {Level.DEBUG: Logger.debug, Level.INFO: Logger.info, Level.ERROR: Logger.error}


def _silent(request: Any, is_debug: bool) -> Story:
    return NOTHING


def _no_more(request: Any, error: BBSError) -> Data:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The handler's own two lines."""

    level: Level = Level.DEBUG
    begins: str = "starting"
    ends: str = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is said of one kind of request, below ``session``."""

    session: str
    level: Level = Level.DEBUG
    """The highest level of what is said when all goes well."""
    story: Callable[[Any, bool], Story] = _silent
    """Makes the story of a request that is about to be handled. The second argument says whether lines at debug are wanted;
    if not, they may be left out, but no session may have another number for it.
    """
    around: Around | None = None
    unreadable: str = ""
    """What else is said, at error, of a request that cannot be read."""
    why: Callable[[Any, BBSError], Data] = _no_more
    """More data for the line that tells of a refusal."""


# Found through the task and not handed from call to call: between `RPC`, which begins it, and `Context.change`, which knows
# when rows are durable, lie the handlers, and none of them has anything to do with it.
_CURRENT: Final[ContextVar["Said | None"]] = ContextVar("the request that this task handles", default=None)


def tell_decided(outcome: Outcome) -> None:
    """Tell the log what has been decided about the request that this task handles, before it is durable."""
    said = _CURRENT.get()
    if said is not None:
        said.decided(outcome)


def tell_committed(outcome: Outcome) -> None:
    """Tell the log that the work of the request that this task handles is durable, before anything else is done."""
    said = _CURRENT.get()
    if said is not None:
        said.committed(outcome)


def tell(*lines: Line) -> None:
    """Have the request that this task handles say something more."""
    said = _CURRENT.get()
    if said is not None:
        said.say(*lines)


class Said:
    """The lines about one request. `begin` it, and in the end `end` it, in the same task: a connection's task handles one
    request after the other, and the next one must not find this one.
    """

    __slots__ = (
        "_at_last",
        "_call",
        "_emit",
        "_is_open",
        "_is_over",
        "_log",
        "_logger",
        "_operation",
        "_session",
        "_story",
        "_trace",
    )

    def __init__(self, log: Logger, call: Call, operation: Operation, story: Story) -> None:
        self._log = log
        self._call = call
        self._operation = operation
        self._story = story
        # Taken once: every line of a request has the same span id.
        self._trace = trace_data_of(call)
        self._at_last = story.at_last
        self._is_open = False  # the first lines of the work are written
        self._is_over = False  # the work is done, or refused
        # Lines of one session follow each other, and their data is rendered once.
        self._session: Session | None = None
        self._logger: Logger | None = None
        self._emit: Emit | None = None

    def begin(self) -> None:
        _CURRENT.set(self)
        around = self._operation.around
        if around is not None and self._log.enabled(around.level):
            self._say(Line(around.level, around.begins))
        for line in self._story.before:
            self._say(line)

    def say(self, *lines: Line) -> None:
        for line in lines:
            self._say(line)

    def decided(self, outcome: Outcome) -> None:
        """The work begins, unless there is none since the request is ignored; may be told more than once."""
        if outcome.ignored is not None and self._story.ignored is not None:
            self.say(self._story.ignored(outcome.ignored))
            self._is_over = True
        else:
            self._begin_work()

    def committed(self, outcome: Outcome | None = None) -> None:
        """The work is done; may be told more than once."""
        if self._is_over:
            return
        self._end_work()
        self.say(*self._story.after)
        if outcome is not None and self._story.sequel is not None:
            sequel = self._story.sequel(outcome)
            self._at_last = (*sequel.at_last, *self._at_last)
            self.say(*sequel.after)

    def refused(self, error: BBSError, why: Data) -> None:
        story = self._story
        if not self._is_over:
            self._begin_work()
        if story.work is not None and not self._is_over:
            is_late = story.late is not None and type(error) in story.late
            action = (story.failures or {}).get(type(error), "" if is_late else story.fails)
            if action:
                self._say(Line(Level.ERROR, action, story.work, why, str(error)))
        self._end_work()
        if story.late is not None and (late := story.late.get(type(error))):
            self._say(Line(Level.ERROR, late, HANDLER, None, str(error)))
        elif story.further is not None:
            level, action = story.further
            self._say(Line(level, action, story.further_at, None, str(error) if level is Level.ERROR else ""))

    def end(self) -> None:
        self._end_work()
        self.say(*self._at_last)
        around = self._operation.around
        if around is not None and self._log.enabled(around.level):
            self._say(Line(around.level, around.ends))
        _CURRENT.set(None)

    def _begin_work(self) -> None:
        if not self._is_open:
            self._is_open = True
            self.say(*self._story.opening)

    def _end_work(self) -> None:
        if not self._is_over:
            self._begin_work()
            self._is_over = True
            if self._story.ends is not None:
                self._say(self._story.ends)

    def _say(self, line: Line) -> None:
        level, action, session, data, error = line
        if not self._log.enabled(level):
            return
        if session is not self._session or self._logger is None:
            self._session, self._logger, self._emit = session, self._logger_of(session), None
        if data or error:
            _SAY[level](self._logger, action, data, error=error or None)
            return
        if self._emit is None:
            self._emit = self._logger.emitter()
        self._emit(level, self._logger.message(action))

    def _logger_of(self, session: Session) -> Logger:
        below = f".{session.name}" if session.name else ""
        numbers = f".{session.numbers}" if session.numbers else ""
        return self._log.descendant(
            f"request.{self._operation.session}{below}",
            f"{self._call.session}.1{numbers}",
            {**self._trace, **session.data},
        )


class HandlerLog:
    """Tells of the requests to one route."""

    __slots__ = ("_log", "_operation")

    def __init__(self, log: Logger, operation: Operation) -> None:
        self._log = log
        self._operation = operation

    def begin(self, call: Call, request: Any) -> Said | None:
        """Tell that a request begins; `None` if its lines are not wanted."""
        log, operation = self._log, self._operation
        if not log.enabled(operation.level):
            return None
        said = Said(log, call, operation, operation.story(request, log.enabled(Level.DEBUG)))
        said.begin()
        return said

    def invalid(self, call: Call, error: BBSError, *, app_is_told: bool = True) -> None:
        """Tell of a request that could not be read, and whether its app's developers could not be told of it."""
        if not self._log.enabled(Level.ERROR):
            return
        undecodable = str(error) == InvalidRequest.canonical_text
        lines = [
            Line(
                Level.ERROR,
                "failed-to-parse-request-body" if undecodable else "invalid-request",
                error=str(error),
            )
        ]
        if self._operation.unreadable:
            lines.append(Line(Level.ERROR, self._operation.unreadable, error=str(error)))
        if not app_is_told:
            lines.append(Line(Level.ERROR, "failed-sending-app-logs", error="app guid is empty"))
        said = Said(self._log, call, self._operation, NOTHING)
        said.begin()
        said.say(*lines)
        said.end()

    def refused(self, call: Call, request: Any, error: BBSError, said: Said | None) -> None:
        """Tell why a request was refused."""
        if not self._log.enabled(Level.ERROR):
            return
        if said is None:
            # Lines below error are not wanted, so no story was made when the request began. A refusal has seldom changed
            # anything, so the rows still tell the same one; to make it each time would cost all requests that go well.
            story = self._operation.story(request, False)
            if not (story.work or story.late or story.further):
                return
            said = Said(self._log, call, self._operation, story)
        said.refused(error, self._operation.why(request, error))


def trace_data(trace_id: str) -> dict[str, str]:
    """Log data of a client's trace id: ``trace-id``, lower-case and padded to 16 or 32 hex digits, and a ``span-id`` made up
    for this request. {} if it is empty or no such number (spec: api.md §4).
    """
    if not trace_id:
        return {}
    digits = trace_id.replace("-", "")
    if not _HEX.fullmatch(digits):
        return {}
    number = int(digits, 16)
    width = 2 * _LOW_DIGITS if number >> (4 * _LOW_DIGITS) else _LOW_DIGITS
    return {"trace-id": f"{number:0{width}x}", "span-id": urandom(8).hex()}


def trace_data_of(call: Call) -> dict[str, object]:
    """The `trace_data` of a request, the same each time it is asked for; a copy, which the caller may change."""
    if not call.trace_id:
        return {}
    if call.trace_data is None:
        call.trace_data = trace_data(call.trace_id)
    return dict(call.trace_data)


def handler_session(log: Logger, call: Call, name: str, data: Data) -> Logger:
    """The session of a request's handler, for what is said outside its story: of calls to peers above all.

    With two names, dots between them, it is a controller's below the handler's, as upstream has them; each is the first
    session below the one above it.
    """
    numbers = f"{call.session}{'.1' * (name.count('.') + 1)}"
    session = log.descendant(f"request.{name}", numbers, {**trace_data_of(call), **data})
    session.next_number()  # the story's session in the database has the first, see `Session.numbers`
    return session


def logged_handler(handle: Callable[[Call], Awaitable[Answer]], log: HandlerLog) -> Unary:
    """A handler that reads no request message, with its lines around it."""

    async def logged(call: Call) -> Answer:
        said = log.begin(call, None)
        try:
            return await handle(call)
        finally:
            if said is not None:
                said.end()

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
    """Tells a stream's end by the server, which is an error to its client, from that by the client's going away, after which
    the server closes the source itself.
    """

    __slots__ = ("_closed", "_log", "_source")

    def __init__(self, source: StreamSource, log: Logger) -> None:
        self._source = source
        self._log = log
        self._closed = False

    async def receive(self) -> bytes:
        try:
            return await self._source.receive()
        except trio.EndOfChannel:
            if not self._closed:
                self._log.error("failed-to-get-next-event", error="read from closed source")
            raise

    def close(self) -> None:
        self._closed = True
        self._source.close()
