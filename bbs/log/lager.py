"""Sinks, where lines go, and loggers, where they come from."""

import io
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Protocol, TypeAlias

import structlog
from structlog.typing import Processor

from bbs.log.redaction import DataProcessor
from bbs.log.rendering import LagerRenderer, Level, TimeFormat, data_json

Data: TypeAlias = Mapping[str, object]

Emit: TypeAlias = Callable[[Level, str], None]
"""Writes a line, given its level and its message. Its data was given when the `Emit` was made."""


class LineStream(Protocol):
    """Takes whole lines, such as a `LineWriter`. Must neither block nor raise."""

    def write(self, line: bytes, /) -> object: ...


class LagerSink:
    """Where lines of at least ``min_level`` go, which may be set at any time.

    ``processors`` are structlog processors that run before a line is rendered, in order: the place of truncation and
    redaction. They get ``{"event": message, "level": Level, "source": str, "data": dict}``, may replace ``data`` (it
    is theirs) and may drop the line with `structlog.DropEvent`.

    What becomes of a line is the stream's business: a log must neither hold up nor take down what it reports on.
    """

    def __init__(
        self,
        stream: LineStream,
        *,
        min_level: Level = Level.INFO,
        time_format: TimeFormat = TimeFormat.UNIX_EPOCH,
        now_ns: Callable[[], int] = time.time_ns,
        processors: Sequence[Processor] = (),
    ) -> None:
        self.min_level = min_level
        self._write = stream.write
        self._renderer = LagerRenderer(time_format, now_ns)
        data_processors = [each for each in processors if isinstance(each, DataProcessor)]
        self._data_processors = data_processors if len(data_processors) == len(processors) else None
        # Bound once: structlog's lazy proxy would otherwise assemble the chain anew for every line.
        self._chain: structlog.BoundLogger = structlog.wrap_logger(
            _Wrapped(stream.write),
            processors=[*processors, self._renderer],
            wrapper_class=structlog.BoundLogger,
        ).bind()

    def emit(self, level: Level, message: str, *, source: str, data: dict[str, object]) -> None:
        """Write a line, whatever its level."""
        self._chain.msg(message, level=level, source=source, data=data)

    def emitter(self, *, source: str, data: dict[str, object]) -> Emit:
        """For several lines with the same data: it is processed and rendered once, which is most of a line's cost.

        That is possible only if no processor looks at more than the data; with any other each line is made by itself.
        """
        if self._data_processors is None:
            return lambda level, message: self.emit(level, message, source=source, data=dict(data))
        for processor in self._data_processors:
            data = processor.apply(data)
        text, write, line = data_json(data), self._write, self._renderer.line

        def emit(level: Level, message: str) -> None:
            write(line(level, source, message, text))

        return emit

    def emit_rendered(self, level: Level, message: str, *, source: str, data: str) -> None:
        """Write a line whose data is JSON already, in the order and spelling of lager's, past all processors."""
        self._write(self._renderer.line(level, source, message, data))

    def dropped_notice(self, source: str, number: int) -> bytes:
        """The line that stands for so many others, which the stream had no room for."""
        return self._renderer.line(
            Level.ERROR, source, f"{source}.log-lines-dropped", data_json({"lines": number})
        )


class Logger:
    """One session of the log. Made by `root_logger` and `session`; cheap enough to make one per request."""

    __slots__ = ("_child_numbers", "_data", "_message_prefix", "_session_path", "_sink", "_source")

    def __init__(
        self, sink: LagerSink, *, source: str, message_prefix: str, session_path: str, data: dict[str, object]
    ) -> None:
        self._sink = sink
        self._source = source
        self._message_prefix = message_prefix
        self._session_path = session_path
        self._data = data
        self._child_numbers = count(1)

    def session(self, name: str, data: Data | None = None, /, **more: object) -> "Logger":
        """A sub-session: its lines are named ``…<name>.<action>`` and carry this one's data below their own.

        Data is given as a mapping, as keywords or both; keys are written as they are, and most have hyphens.
        """
        return self.descendant(name, str(self.next_number()), self._merged(data, more))

    def next_number(self) -> int:
        """Take the number of the next sub-session. Whoever takes one makes the session with `descendant`, or leaves the
        number unused, as upstream does with sessions of which it logs nothing.
        """
        return next(self._child_numbers)

    def descendant(self, names: str, numbers: str, data: dict[str, object]) -> "Logger":
        """The sub-session with these names and numbers below this one, each with dots between them.

        ``data`` is all that its lines will carry, and belongs to it.
        """
        return Logger(
            self._sink,
            source=self._source,
            message_prefix=f"{self._message_prefix}{names}.",
            session_path=f"{self._session_path}.{numbers}" if self._session_path else numbers,
            data=data,
        )

    def with_data(self, data: Data | None = None, /, **more: object) -> "Logger":
        """This session, with more data on each line. Its sub-sessions are counted apart, from 1."""
        return Logger(
            self._sink,
            source=self._source,
            message_prefix=self._message_prefix,
            session_path=self._session_path,
            data=self._merged(data, more),
        )

    def enabled(self, level: Level) -> bool:
        return level >= self._sink.min_level

    def emitter(self) -> Emit:
        """A cheap way to write several lines with no data but the session's; see `LagerSink.emitter`.

        What it returns takes whole messages, as `message` makes them, and writes whatever the level: ask `enabled` first.
        """
        data = dict(self._data)
        if self._session_path:
            data["session"] = self._session_path
        return self._sink.emitter(source=self._source, data=data)

    def message(self, action: str) -> str:
        """The whole message of a line whose action is ``action``: names of component and sessions before it."""
        return self._message_prefix + action

    def debug(
        self,
        action: str,
        data: Data | None = None,
        /,
        *,
        error: BaseException | str | None = None,
        **more: object,
    ) -> None:
        if self._sink.min_level <= Level.DEBUG:
            self._emit(Level.DEBUG, action, data, more, error)

    def info(
        self,
        action: str,
        data: Data | None = None,
        /,
        *,
        error: BaseException | str | None = None,
        **more: object,
    ) -> None:
        if self._sink.min_level <= Level.INFO:
            self._emit(Level.INFO, action, data, more, error)

    def error(
        self,
        action: str,
        data: Data | None = None,
        /,
        *,
        error: BaseException | str | None = None,
        **more: object,
    ) -> None:
        if self._sink.min_level <= Level.ERROR:
            self._emit(Level.ERROR, action, data, more, error)

    def fatal(
        self,
        action: str,
        data: Data | None = None,
        /,
        *,
        error: BaseException | str | None = None,
        **more: object,
    ) -> None:
        """Adds ``trace``: where ``error`` was raised, or else where we are. Ending the process is the caller's."""
        if self._sink.min_level <= Level.FATAL:
            self._emit(Level.FATAL, action, data, {**more, "trace": _trace(error)}, error)

    def _emit(
        self, level: Level, action: str, data: Data | None, more: Data, error: BaseException | str | None
    ) -> None:
        merged = self._merged(data, more)
        if self._session_path:
            merged["session"] = self._session_path
        if error is not None:
            merged["error"] = str(error)
        self._sink.emit(level, self._message_prefix + action, source=self._source, data=merged)

    def _merged(self, data: Data | None, more: Data) -> dict[str, object]:
        merged = {**self._data, **more}
        if data is not None:
            merged.update(data)
        return merged


def root_logger(component: str, sink: LagerSink) -> Logger:
    """The logger all sessions come from. ``component`` is the configuration's ``session_name`` and may be empty."""
    return Logger(sink, source=component, message_prefix=f"{component}.", session_path="", data={})


def null_logger() -> Logger:
    """A logger that writes nothing."""
    return root_logger("", LagerSink(io.BytesIO(), min_level=Level.SILENT))


def _trace(error: BaseException | str | None) -> str:
    if isinstance(error, BaseException) and error.__traceback__ is not None:
        return "".join(traceback.format_exception(error))
    return "".join(traceback.format_stack()[:-2])  # without this function and `fatal`


class _Wrapped:
    """What structlog calls the wrapped logger: takes the finished bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.msg = write
