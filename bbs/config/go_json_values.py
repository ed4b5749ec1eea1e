"""JSON as Go's decoder sees it, for the one file we share with it. spec: config.md §1

Go's decoder is laxer than Python's, and files that work with it must work here. It matches keys whatever their case
(`folded`). It lets a key come twice: it decodes into the same field again, so the last text or number wins, while objects
are added up; a decoder that made a dict would lose the first. And it stops after the first value.

`first_value` reads one value and ignores whatever follows. The readers below turn a part of it into a Python value of
one type. They take what stands there so far as ``before``, since a key may come twice, and `null` says nothing: it
leaves texts, numbers and objects as they are. They raise `WrongValue`.

This is not `bbs.models.go_json`: that one must keep the bytes of values, this one checks their types.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias, cast

from bbs.config.errors import ConfigUnreadable
from bbs.config.go_duration import BadDuration, parse_duration

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1
DIGITS_MAX: Final = 20
"""Nothing longer fits 64 bits."""


class Number(str):
    """A number as it is written: ``10`` and ``1e1`` are not the same to Go."""

    __slots__ = ()


class Object(list[tuple[str, "Value"]]):
    """The members in their order; keys may repeat."""


Value: TypeAlias = "bool | str | Number | list[Value] | Object | None"
Reader: TypeAlias = Callable[[Value, object], object]


class WrongValue(ValueError):
    """What a value should be and what it is. The value itself is only repeated where a number, a duration or a time
    format belongs, as no such key holds a secret. Elsewhere it may be one: a passphrase without its quotes, say.
    """


def _raise_for_constant(name: str) -> Value:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=_raise_for_constant
)


def _each_byte(error: UnicodeError) -> tuple[str, int]:
    """One replacement character for each byte that is no UTF-8, as in Go. Python's own ``replace`` makes one of several
    bytes: a passphrase with such bytes would hash to another key, and the database could not be read.
    """
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


_GO_REPLACE: Final = "bbs.config.go-replace"
codecs.register_error(_GO_REPLACE, _each_byte)

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def first_value(content: bytes) -> Value:
    """The first value in ``content``.

    Raises:
      ConfigUnreadable: there is none, or it is not JSON. The text says where.
    """
    text = content.decode("utf-8", _GO_REPLACE)
    space = _SPACE.match(text)
    begin = space.end() if space else 0
    if begin == len(text):
        raise ConfigUnreadable("EOF: there is nothing in it")
    try:
        value: Value = _DECODER.raw_decode(text, begin)[0]
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        if not text[error.pos :].strip():
            raise ConfigUnreadable(f"unexpected EOF: it ends too early, {where}: {error.msg}") from error
        raise ConfigUnreadable(f"invalid JSON, {where}: {error.msg}") from error
    except RecursionError as error:
        raise ConfigUnreadable("invalid JSON: it is nested too deeply") from error
    except ValueError as error:
        raise ConfigUnreadable(f"invalid JSON: {error}") from error
    return value


def folded(key: str) -> str:
    """What Go compares keys by. Two characters beyond ASCII fold into it: the long s and the Kelvin sign."""
    ascii_only = key.replace("\u017f", "s").replace("\u212a", "k")
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in ascii_only)


def clean(text: str) -> str:
    """An escape that is half a character is replaced, as Go does."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def read_text(value: Value, before: object) -> object:
    if value is None:
        return before
    if isinstance(value, str) and not isinstance(value, Number):
        return clean(value)
    raise _wrong("a text", value)


def read_bool(value: Value, before: object) -> object:
    if value is None:
        return before
    if isinstance(value, bool):
        return value
    raise _wrong("true or false", value)


def read_int(value: Value, before: object) -> object:
    return before if value is None else _integer(value, INT_MIN, INT_MAX)


def read_uint(value: Value, before: object) -> object:
    return before if value is None else _integer(value, 0, UINT_MAX)


def read_duration(value: Value, before: object) -> object:
    """Nanoseconds. The one reader to which null is a value, and a bad one."""
    if value is None:
        raise WrongValue('must be a duration such as "30s", is null (time: invalid duration "")')
    if isinstance(value, Number) or not isinstance(value, str):
        raise _wrong('a duration such as "30s"', value)
    try:
        return parse_duration(clean(value))
    except BadDuration as error:
        raise WrongValue(f'must be a duration such as "30s" ({error})') from error


def read_texts(value: Value, before: object) -> object:
    """A tuple; None for null."""
    if value is None:
        return None
    if isinstance(value, Object) or not isinstance(value, list):
        raise _wrong("a list of texts", value)
    return tuple(read_text(cast(Value, item), "") for item in value)


def read_text_map(value: Value, before: object) -> object:
    """A second object of the same name adds to the first."""
    if value is None:
        return {}
    if not isinstance(value, Object):
        raise _wrong("an object whose values are texts", value)
    assert isinstance(before, Mapping)
    members: Iterable[tuple[str, Value]] = value
    return {**before, **{clean(key): read_text(item, "") for key, item in members}}


_TIME_FORMATS: Final = {"unix-epoch": "unix-epoch", "0": "unix-epoch", "rfc3339": "rfc3339", "1": "rfc3339"}


def read_time_format(value: Value, before: object) -> object:
    """``unix-epoch`` or ``rfc3339``; their numbers 0 and 1 may be given as numbers and as texts."""
    if value is None:
        return before
    if isinstance(value, str) and value in _TIME_FORMATS:
        return _TIME_FORMATS[value]
    text = f'"{clean(value)}"' if isinstance(value, str) else kind_of(value)
    raise WrongValue(f'must be "unix-epoch" or "rfc3339" (invalid TimeFormat: {text})')


def _integer(value: Value, lowest: int, highest: int) -> int:
    if not isinstance(value, Number):
        raise _wrong("a whole number", value)
    if not value.removeprefix("-").isdecimal():
        raise WrongValue(f"must be a whole number, without fraction and exponent, is {value:.40}")
    if len(value) > DIGITS_MAX or not lowest <= int(value) <= highest:
        raise WrongValue(f"must lie between {lowest} and {highest}, is {value:.40}")
    return int(value)


def _wrong(expected: str, value: Value) -> WrongValue:
    return WrongValue(f"must be {expected}, is {kind_of(value)}")


def kind_of(value: Value) -> str:
    """What a value is, in a word or two."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number():
            return "a number"
        case str():
            return "a text"
        case Object():
            return "an object"
        case _:
            return "a list"
