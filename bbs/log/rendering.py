"""Lager's lines: one JSON object each, as Go writes JSON. spec: metrics-and-logs.md, section 3"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final

from bbs.log.bounds import TEXT_CHARACTERS_MAX, bounded


class Level(IntEnum):
    """Lager's levels; the number is what the epoch format writes."""

    DEBUG = 0
    INFO = 1
    ERROR = 2
    FATAL = 3
    SILENT = 4  # only as a sink's minimum: nothing passes

    @classmethod
    def from_config(cls, word: str) -> "Level":
        """The level that the configuration's ``log_level`` names, which must be spelt exactly so.

        Raises:
          ValueError: with upstream's text.
        """
        if word not in ("debug", "info", "error", "fatal"):
            raise ValueError(f"unknown log level: {word}")
        return cls[word.upper()]


class TimeFormat(StrEnum):
    """How lines show the time. The key of the level depends on it too: ``log_level`` (a number) or ``level`` (a word).

    The values are those of the configuration.
    """

    UNIX_EPOCH = "unix-epoch"
    RFC3339 = "rfc3339"

    @classmethod
    def from_config(cls, value: str | int) -> "TimeFormat":
        """The format that the configuration's ``time_format`` names, by its name or its number.

        Raises:
          ValueError: with upstream's text.
        """
        match value:
            case "unix-epoch" | "0" | 0:
                return cls.UNIX_EPOCH
            case "rfc3339" | "1" | 1:
                return cls.RFC3339
        raise ValueError(f'invalid TimeFormat: "{value}"')


class LagerRenderer:
    """The last processor: from structlog's event to the bytes of lager's line."""

    def __init__(self, time_format: TimeFormat, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._head = _epoch_head if time_format is TimeFormat.UNIX_EPOCH else _rfc3339_head

    def __call__(self, logger: object, method_name: str, event: MutableMapping[str, Any]) -> bytes:
        return self.line(event["level"], event["source"], event["event"], data_json(event["data"]))

    def line(self, level: Level, source: str, message: str, data: str) -> bytes:
        """A line, given its data as JSON."""
        head = self._head(self._now_ns(), level, json_text(source), json_text(message))
        return f'{head},"data":{data}}}\n'.encode()


def data_json(data: Mapping[str, object]) -> str:
    """``data`` as JSON, cut if it is too long. Data without a JSON form is replaced by the reason and its ``repr``, as
    lager does: a line must not be lost, nor its caller fail, because of a value in it.
    """
    try:
        text = go_json(data)
    except (TypeError, ValueError, RecursionError) as error:
        data = {"lager serialisation error": str(error), "data_dump": repr(data)}
        text = go_json(data)
    return text if len(text) <= TEXT_CHARACTERS_MAX else go_json(bounded(data))


def _epoch_head(now_ns: int, level: Level, source: str, message: str) -> str:
    seconds, ns = divmod(now_ns, 1_000_000_000)
    timestamp = f"{seconds}.{ns:09d}"
    return f'{{"timestamp":"{timestamp}","source":{source},"message":{message},"log_level":{_LEVEL_NUMBERS[level]}'


def _rfc3339_head(now_ns: int, level: Level, source: str, message: str) -> str:
    seconds, ns = divmod(now_ns, 1_000_000_000)
    timestamp = f"{_to_the_second(seconds)}.{ns:09d}Z"
    return (
        f'{{"timestamp":"{timestamp}","level":"{_LEVEL_NAMES[level]}","source":{source},"message":{message}'
    )


# An enum's own format takes a microsecond.
_LEVEL_NUMBERS: Final = {level: str(level.value) for level in Level}
_LEVEL_NAMES: Final = {level: level.name.lower() for level in Level}


@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


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
    text = _encode(value)
    # All of these occur in strings only, so the escape can come after. Nearly every text is ASCII without any of them, which
    # is found out in a fraction of the time that the pattern takes.
    if text.isascii() and not ("<" in text or ">" in text or "&" in text):
        return text
    if _GO_ESCAPED.search(text):
        return _GO_ESCAPED.sub(lambda match: _GO_ESCAPES.get(match[0], r"\ufffd"), text)
    return text


@lru_cache(maxsize=1024)
def json_text(text: str) -> str:
    """``text`` as a JSON string in Go's spelling, remembered: sources and messages come again and again."""
    return go_json(text)


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


# One encoder for all lines: `json.dumps` with options makes one per call, which takes as long as encoding.
# A circle ends in a RecursionError, without the bookkeeping that would find it earlier.
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    sort_keys=True,
    separators=(",", ":"),
    default=_jsonable,
)


def _encoder() -> Callable[[object], str]:
    """What `_ENCODER.encode` does, in half the time: that makes C's encoder anew for each call. Where there is none in C, it
    is `_ENCODER.encode`.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode
    encode = make(
        None,
        _ENCODER.default,
        encode_basestring,
        _ENCODER.indent,
        _ENCODER.key_separator,
        _ENCODER.item_separator,
        _ENCODER.sort_keys,
        _ENCODER.skipkeys,
        _ENCODER.allow_nan,
    )
    return lambda value: "".join(encode(value, 0))


_encode: Final = _encoder()
