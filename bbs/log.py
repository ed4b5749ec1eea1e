"""The log: lager's lines, which Diego's operators and their tools read. spec: metrics-and-logs.md, section 3

A `Logger` is one session: a name, a number and the data that all its lines carry. It hands what passes the level to
its `LagerSink`, which runs it through a chain of structlog processors and writes one line.

    log = root_logger("bbs", LagerSink(stdout_stream(), time_format=TimeFormat.RFC3339))
    upsert = log.session("upsert", {"domain": domain})
    upsert.info("added-domain", {"ttl": ttl_s})      # bbs.upsert.added-domain
    upsert.error("failed-to-upsert", error=error)

A line below the sink's level costs one comparison. On a hot path whose data is dear to collect, ask
``log.enabled(Level.DEBUG)`` first.
"""

import base64
import io
import json
import re
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from itertools import count
from typing import Any, Final, Protocol, TypeAlias

import structlog
from structlog.typing import Processor

Data: TypeAlias = Mapping[str, object]


class Level(IntEnum):
    """Lager's levels; the number is what the epoch format writes."""

    DEBUG = 0
    INFO = 1
    ERROR = 2
    FATAL = 3
    SILENT = 4  # only as a sink's minimum: nothing passes


class TimeFormat(StrEnum):
    """How lines tell the time, and with it which keys they have. The values are those of the configuration."""

    UNIX_EPOCH = "unix-epoch"
    RFC3339 = "rfc3339"


class ByteStream(Protocol):
    """An unbuffered stream, such as ``open(path, "ab", buffering=0)``."""

    def write(self, data: bytes, /) -> int | None: ...


def stdout_stream() -> ByteStream:
    """Standard output past Python's buffers: a line is out before the next statement runs."""
    return open(1, "wb", buffering=0, closefd=False)


class LagerSink:
    """Where lines of at least ``min_level`` go, which may be set at any time.

    ``processors`` are structlog processors that run before a line is rendered, in order: the place of truncation and
    redaction. They get ``{"event": message, "level": Level, "source": str, "data": dict}``, may replace ``data`` (it
    is theirs) and may drop the line with `structlog.DropEvent`.

    A line is one write and blocks until it is written, as upstream's. One that cannot be written (full disk, reader
    gone) is dropped and counted in ``lines_lost``: a log must not take down what it reports on.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        min_level: Level = Level.INFO,
        time_format: TimeFormat = TimeFormat.UNIX_EPOCH,
        now_ns: Callable[[], int] = time.time_ns,
        processors: Sequence[Processor] = (),
    ) -> None:
        self.min_level = min_level
        self._lines = _Lines(stream)
        # Bound once: structlog's lazy proxy would otherwise assemble the chain anew for every line.
        self._chain: structlog.BoundLogger = structlog.wrap_logger(
            self._lines,
            processors=[*processors, LagerRenderer(time_format, now_ns)],
            wrapper_class=structlog.BoundLogger,
        ).bind()

    @property
    def lines_lost(self) -> int:
        return self._lines.lost

    def emit(self, level: Level, message: str, *, source: str, data: dict[str, object]) -> None:
        """Write a line, whatever its level."""
        self._chain.msg(message, level=level, source=source, data=data)


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
        number = next(self._child_numbers)
        return Logger(
            self._sink,
            source=self._source,
            message_prefix=f"{self._message_prefix}{name}.",
            session_path=f"{self._session_path}.{number}" if self._session_path else str(number),
            data=self._merged(data, more),
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


class LagerRenderer:
    """The last processor: from structlog's event to the bytes of lager's line."""

    def __init__(self, time_format: TimeFormat, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._head = _epoch_head if time_format is TimeFormat.UNIX_EPOCH else _rfc3339_head

    def __call__(self, logger: object, method_name: str, event: MutableMapping[str, Any]) -> bytes:
        try:
            data = go_json(event["data"])
        except (TypeError, ValueError, RecursionError) as error:
            unserialisable = {"lager serialisation error": str(error), "data_dump": repr(event["data"])}
            data = go_json(unserialisable)
        head = self._head(self._now_ns(), event["level"], go_json(event["source"]), go_json(event["event"]))
        return f'{head},"data":{data}}}\n'.encode()


def _epoch_head(now_ns: int, level: Level, source: str, message: str) -> str:
    seconds, ns = divmod(now_ns, 1_000_000_000)
    timestamp = f"{seconds}.{ns:09d}"
    return f'{{"timestamp":"{timestamp}","source":{source},"message":{message},"log_level":{int(level)}'


def _rfc3339_head(now_ns: int, level: Level, source: str, message: str) -> str:
    seconds, ns = divmod(now_ns, 1_000_000_000)
    timestamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"
    return f'{{"timestamp":"{timestamp}","level":"{level.name.lower()}","source":{source},"message":{message}'


# Go escapes what could end a script element or a JavaScript line, and replaces what UTF-8 cannot hold.
_GO_ESCAPES: Final = {
    "<": r"\u003c",
    ">": r"\u003e",
    "&": r"\u0026",
    "\u2028": r"\u2028",
    "\u2029": r"\u2029",
}
_GO_ESCAPED: Final = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def go_json(value: object) -> str:
    """``value`` as Go's encoder writes it: compact, keys sorted, HTML-safe; fit for UTF-8.

    Raises:
      TypeError, ValueError, RecursionError: it has no JSON form, such as NaN, a function or a circle.
    """
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), default=_jsonable
    )
    # All of these occur in strings only, so the escape can come after.
    return _GO_ESCAPED.sub(lambda match: _GO_ESCAPES.get(match[0], r"\ufffd"), text)


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, BaseException):
        return str(value)
    raise TypeError(f"json: unsupported type: {type(value).__qualname__}")


def _trace(error: BaseException | str | None) -> str:
    if isinstance(error, BaseException) and error.__traceback__ is not None:
        return "".join(traceback.format_exception(error))
    return "".join(traceback.format_stack()[:-2])  # without this function and `fatal`


class _Lines:
    """What structlog calls the wrapped logger: takes the finished bytes."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.lost = 0

    def msg(self, line: bytes) -> None:
        rest = line
        try:
            while rest:  # a signal may cut a write short
                written = self._stream.write(rest)
                if written is None:  # non-blocking, and its reader is slow
                    raise BlockingIOError
                rest = rest[written:]
        except OSError:
            self.lost += 1
