"""Odd texts, routes and numbers, and what becomes of a request when each of its values is replaced by each of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import setitem
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

from bbs.models.wire import is_map

NOT_UTF8: Final = {
    "lone-surrogate": b"ab\xed\xa0\x80cdefgh",
    "cut-characters": b"abcdefghij\xf0\x9f\x98",
    "overlong-nul-": b"ab\xc0\x80cdefghi",
}
"""Bytes that are no UTF-8, by texts of the same length, which they replace in what is sent."""

TEXTS: Final = [
    "",
    "\0",
    "a\0b",
    "\U0001f600" * 60,
    "\u05e9\u05dc\u05d5\u05dd\u202eabc\u2066\u200f",
    "\ufeff\ufffe\uffff\u2028\ufffd",
    " \t\r\n\x0b\x1b[31m\x7f\x85\xa0",
    "'; DROP TABLE tasks; --$1%s%n{}\\",
    "x" * 255,
    "x" * 256,
    "\u00e9" * 1024,
    "y" * 70_000,
    *NOT_UTF8,
]

ROUTES: Final = [
    b"",
    b" ",
    b"null",
    b"nul",
    b"true",
    b"NaN",
    b"-0",
    b"1e999",
    b"9" * 10_000,
    b"[",
    b"[" * 500 + b"]" * 500,
    b'[{"x":' * 480 + b"1" + b"}]" * 480,
    *(b"[" * depth + b"]" * depth for depth in range(850, 1000, 10)),
    b"[" * 20_000 + b"]" * 20_000,
    b'{"a":' * 20_000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\x00"',
    b'"\xff"',
    b"\xef\xbb\xbf[]",
    b'[{"hostname":1}]',
    b'[{"hostname":"\\ud800"},{"hostname":"\xff"},{"hostname":"a","x":' + b"9" * 5_000 + b"}]",
    b'[{"hostname":null},null]',
    b'{"hostname":"a","hostname":"b"}',
    b"{} {}",
    b"[" + b"0," * 60_000 + b"0]",
]

LONG: Final = "z" * 2**20
LONG_FIELDS: Final = frozenset({"value", "args", "content"})
"""A megabyte is tried where one may be meant: environment variables, arguments, files."""

NUMBERS: Final[dict[int, list[int]]] = {
    Field.CPPTYPE_INT32: [-(2**31), -1, 0, 2**31 - 1],
    Field.CPPTYPE_INT64: [-(2**63), -1, 0, 2**63 - 1],
    Field.CPPTYPE_UINT32: [0, 2**32 - 1],
    Field.CPPTYPE_UINT64: [0, 2**64 - 1],
    Field.CPPTYPE_ENUM: [0, 77, -(2**31)],
    Field.CPPTYPE_BOOL: [False, True],
}
NOT_FOR_TENANTS: Final = frozenset({"instances", "index"})
"""Cloud Controller bounds them by quotas: a billion instances would be a billion rows."""

Change = Callable[[Any], None]
Changeable = tuple[str, Field, Change]
"""A value of a message: its name, its field, and what replaces it."""


def odd_values(field: Field) -> Sequence[Any]:
    if field.name in NOT_FOR_TENANTS:
        return ()
    match field.cpp_type:
        case Field.CPPTYPE_STRING:
            if field.type == Field.TYPE_BYTES:
                return ROUTES
            return [*TEXTS, LONG] if field.name in LONG_FIELDS else TEXTS
        case Field.CPPTYPE_MESSAGE:
            return ()
        case other:
            return NUMBERS[other]


def changeable(message: Any, path: str) -> Iterator[Changeable]:
    """Each value that is set in ``message``, of repeated ones the first."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        if is_map(field):
            yield from _changeable_in_map(value, field.message_type.fields_by_name, name)
        elif field.message_type is not None:
            for child in value if field.is_repeated else [value]:
                yield from changeable(child, name)
        elif field.is_repeated:
            yield name, field, partial(setitem, value, 0)
        else:
            yield name, field, partial(setattr, message, field.name)


def _changeable_in_map(entries: Any, fields: Mapping[str, Field], path: str) -> Iterator[Changeable]:
    key, value = fields["key"], fields["value"]
    for each in sorted(entries):
        if value.message_type is not None:
            yield from changeable(entries[each], f"{path}[{each}]")
            yield f"{path} key", key, partial(_copy_entry, entries, each)
        else:
            yield f"{path}[{each}]", value, partial(setitem, entries, each)
            yield f"{path} key", key, partial(_repeat_entry, entries, each)


def _copy_entry(entries: Any, key: str, odd: str) -> None:
    entries[odd].CopyFrom(entries[key])


def _repeat_entry(entries: Any, key: str, odd: str) -> None:
    entries[odd] = entries[key]


def odd_requests(make: Callable[[int], Message], numbers: Iterator[int]) -> Iterator[tuple[int, str, bytes]]:
    """Variants of a request, each with one odd value: the number it was made with, what is odd, its bytes.

    ``make`` makes the request anew, with names that its number makes unique.
    """
    for position, (_, field, _) in enumerate(changeable(make(0), "")):
        for odd in odd_values(field):
            number = next(numbers)
            request = make(number)
            name, _, change = list(changeable(request, type(request).__name__))[position]
            change(odd)
            body = request.SerializeToString()
            if isinstance(odd, str) and odd in NOT_UTF8:
                body = body.replace(odd.encode(), NOT_UTF8[odd])
            yield number, f"{name} = {odd!r:.40}", body
