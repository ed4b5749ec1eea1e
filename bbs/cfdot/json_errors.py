"""What is wrong with a JSON document, in the words of Go's encoding/json. Pure.

Syntax comes first: Go looks through the whole document before it decodes any of it.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from bbs.cfdot.go_values import quote
from bbs.models.go_json import FieldWrong, field_of_key, is_routes
from bbs.models.wire import is_map

DEPTH_MAX: Final = 10_000
"""Go's: how deeply a document may be nested."""

VALUE: Final = "looking for beginning of value"
KEY: Final = "looking for beginning of object key string"
AFTER_KEY: Final = "after object key"
AFTER_MEMBER: Final = "after object key:value pair"
AFTER_ELEMENT: Final = "after array element"
IN_STRING: Final = "in string literal"
TOO_DEEP: Final = "exceeded max depth"

BLANK: Final = ord(" ")
BLANK_WOULD_DO: Final = frozenset((VALUE, KEY, AFTER_KEY, AFTER_MEMBER, AFTER_ELEMENT, IN_STRING))
"""Where a blank might stand."""

_BLANKS: Final = re.compile(rb"[ \t\r\n]*")
_LITERALS: Final = {b"t": b"true", b"f": b"false", b"n": b"null"}
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX_DIGITS: Final = re.compile(rb"[0-9a-fA-F]{0,4}")
_DIGITS: Final = re.compile(rb"[0-9]*")


class _Wrong(Exception):
    """``at`` is the offending byte's place."""

    def __init__(self, at: int, context: str) -> None:
        super().__init__(context)
        self.at = at
        self.context = context


def syntax_error(document: bytes) -> str:
    """'' if it is one JSON document."""
    try:
        _scan(document)
    except _Wrong as wrong:
        if wrong.context == TOO_DEEP:
            return TOO_DEEP
        is_over = wrong.at >= len(document)
        if is_over and wrong.context in BLANK_WOULD_DO:
            return "unexpected end of JSON input"
        # Go sees a blank behind the end.
        return f"invalid character {_character(BLANK if is_over else document[wrong.at])} {wrong.context}"
    return ""


def _character(byte: int) -> str:
    """A byte, taken for the character of its number."""
    if byte == ord("'"):
        return r"'\''"
    if byte == ord('"'):
        return "'\"'"
    return f"'{quote(chr(byte))[1:-1]}'"


def _scan(document: bytes) -> None:
    """Go through a document from left to right. What is open at the place where we are is kept in ``opened``, so that nesting
    costs no stack.
    """
    opened: list[bytes] = []
    at = _begin(document, _skip(document, 0), opened)
    while True:
        at = _skip(document, at)
        byte = document[at : at + 1]
        if not opened:
            if byte:
                raise _Wrong(at, "after top-level value")
            return
        is_object = opened[-1] == b"{"
        if byte == (b"}" if is_object else b"]"):
            opened.pop()
            at += 1
        elif byte == b",":
            at = _skip(document, at + 1)
            at = _begin(document, _key(document, at) if is_object else at, opened)
        else:
            raise _Wrong(at, AFTER_MEMBER if is_object else AFTER_ELEMENT)


def _skip(document: bytes, at: int) -> int:
    match = _BLANKS.match(document, at)
    assert match is not None
    return match.end()


def _begin(document: bytes, at: int, opened: list[bytes]) -> int:
    """Past a value, or past as many opening brackets as stand here and the first value within."""
    while True:
        byte = document[at : at + 1]
        if byte not in (b"{", b"["):
            return _scalar(document, at)
        opened.append(byte)
        if len(opened) > DEPTH_MAX:
            raise _Wrong(at, TOO_DEEP)
        at = _skip(document, at + 1)
        if document[at : at + 1] == (b"}" if byte == b"{" else b"]"):
            opened.pop()
            return at + 1
        if byte == b"{":
            at = _key(document, at)


def _key(document: bytes, at: int) -> int:
    """Past a key and its colon, to the value."""
    if document[at : at + 1] != b'"':
        raise _Wrong(at, KEY)
    at = _skip(document, _string(document, at))
    if document[at : at + 1] != b":":
        raise _Wrong(at, AFTER_KEY)
    return _skip(document, at + 1)


def _scalar(document: bytes, at: int) -> int:
    byte = document[at : at + 1]
    if byte == b'"':
        return _string(document, at)
    if byte in _LITERALS:
        return _literal(document, at, _LITERALS[byte])
    if byte == b"-" or byte.isdigit():
        return _number(document, at)
    raise _Wrong(at, VALUE)


def _literal(document: bytes, at: int, literal: bytes) -> int:
    for offset, expected in enumerate(literal):
        if document[at + offset : at + offset + 1] != bytes([expected]):
            raise _Wrong(at + offset, f"in literal {literal.decode()} (expecting '{chr(expected)}')")
    return at + len(literal)


def _string(document: bytes, at: int) -> int:
    at += 1
    while True:
        match = _PLAIN.match(document, at)
        assert match is not None
        at = match.end()
        byte = document[at : at + 1]
        if byte == b'"':
            return at + 1
        if byte != b"\\":
            raise _Wrong(at, IN_STRING)
        escape = document[at + 1 : at + 2]
        if escape == b"u":
            digits = _HEX_DIGITS.match(document, at + 2)
            assert digits is not None
            if digits.end() < at + 6:
                raise _Wrong(digits.end(), "in \\u hexadecimal character escape")
            at += 6
        elif escape and escape in b'bfnrt\\/"':
            at += 2
        else:
            raise _Wrong(at + 1, "in string escape code")


def _number(document: bytes, at: int) -> int:
    if document[at : at + 1] == b"-":
        at += 1
    if document[at : at + 1] == b"0":
        at += 1
    else:
        at = _digits(document, at, "in numeric literal")
    if document[at : at + 1] == b".":
        at = _digits(document, at + 1, "after decimal point in numeric literal")
    if document[at : at + 1] in (b"e", b"E"):
        at += 1
        if document[at : at + 1] in (b"+", b"-"):
            at += 1
        at = _digits(document, at, "in exponent of numeric literal")
    return at


def _digits(document: bytes, at: int, context: str) -> int:
    match = _DIGITS.match(document, at)
    assert match is not None
    if match.end() == at:
        raise _Wrong(at, context)
    return match.end()


GO_KINDS: Final[Mapping[str, str]] = {
    "an object": "object",
    "an array": "array",
    "a string": "string",
    "true": "bool",
    "false": "bool",
}
GO_TYPES: Final[Mapping[int, str]] = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "[]uint8",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


GO_NAMES: Final = {"DesiredLRPUpdate": "internalDesiredLRPUpdate"}
"""Messages that upstream decodes by way of another type."""

ROUTES_TYPE: Final = "map[string]*json.RawMessage"

_STEP: Final = re.compile(r"""\.?(?P<key>[^.\[]+)|\[(?P<index>[0-9]+)\]|\[(?P<entry>"(?:[^"\\]|\\.)*")\]""")


def type_error(message_class: type[Message], wrong: FieldWrong, document: str) -> str:
    """The text for a value that does not fit its field.

    It is Go's for objects, arrays and plain fields. For what has its own rules, such as enums and base64, it is our reader's.
    """
    kind = next((go for ours, go in GO_KINDS.items() if wrong.reason.endswith(f", is {ours}")), "")
    steps = list(_STEP.finditer(wrong.path))
    value = _value_at(steps, document)
    descriptor: Descriptor = message_class.DESCRIPTOR  # type: ignore[assignment]  # two names of one class
    field: FieldDescriptor | None = None
    is_element = False
    for step in steps:
        is_element = step["key"] is None
        if step["key"] is not None:
            if field is not None:
                descriptor = _element(field).message_type  # type: ignore[assignment]  # it has fields, so it is a message
            field = field_of_key(descriptor, step["key"])
            assert field is not None  # our reader found it by the same key
    if kind == "" and isinstance(value, _Number):
        kind = f"number {value}" if field is not None and field.type in INTEGERS else "number"
    if not kind or (field is not None and not _is_plain(field)):
        return str(wrong)
    if field is None:
        return f"json: cannot unmarshal {kind} into Go value of type models.{_go_name(descriptor)}"
    if is_routes(field):
        return f"json: cannot unmarshal {kind} into Go value of type {ROUTES_TYPE}"
    names = ".".join(step["key"] for step in steps if step["key"] is not None)
    return (
        f"json: cannot unmarshal {kind} into Go struct field {_go_name(descriptor)}.{names}"
        f" of type {_go_type(field, is_element=is_element)}"
    )


class _Number(str):
    """A number as it is written."""


def _value_at(steps: list[re.Match[str]], document: str) -> object:
    value = json.loads(document, parse_int=_Number, parse_float=_Number)
    for step in steps:
        if step["index"] is not None:
            value = value[int(step["index"])]
        elif step["entry"] is not None:
            value = value[json.loads(step["entry"])]
        else:
            value = value[step["key"]]
    return value


INTEGERS: Final = frozenset(
    (
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    )
)


def _is_plain(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_MESSAGE or field.type in GO_TYPES


def _go_name(descriptor: Descriptor) -> str:
    return GO_NAMES.get(descriptor.name, descriptor.name)


def _go_type(field: FieldDescriptor, *, is_element: bool) -> str:
    """Of an element of a list or a map, the element's type."""
    if is_element or not field.is_repeated:
        return _element_type(_element(field), pointed=False)
    return f"{'map[string]' if is_map(field) else '[]'}{_element_type(_element(field), pointed=True)}"


def _element(field: FieldDescriptor) -> FieldDescriptor:
    """What describes one value: the field itself, or the values of a map."""
    if not is_map(field):
        return field
    assert field.message_type is not None
    return field.message_type.fields_by_name["value"]


def _element_type(field: FieldDescriptor, *, pointed: bool) -> str:
    if field.message_type is not None:
        return f"{'*' if pointed else ''}models.{field.message_type.name}"
    return GO_TYPES[field.type]
