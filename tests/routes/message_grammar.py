"""Bodies made from the descriptors of messages: valid ones, odd ones, and what damage makes of them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from bbs.models.wire import frame, is_map, varint
from tests.routes.odd_values import NOT_UTF8, ROUTES, TEXTS

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)
DEPTH_MAX: Final = 4
NUMBERS: Final = [
    0,
    1,
    2,
    3,
    7,
    -1,
    127,
    128,
    65535,
    65536,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**53,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
]
DOUBLES: Final = [0.0, 1.5, float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308]
ODD_TEXTS: Final = (
    [text.encode() for text in TEXTS if len(text) < 3000]
    + list(NOT_UTF8.values())
    + [b"\xff", b"\xc0\x80", b"\xed\xa0\x80"]
)
ODD_BYTES: Final = [route for route in ROUTES if len(route) < 3000]


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def number_of(value: int) -> bytes:
    """As protobuf writes it: negative ones in ten bytes."""
    return varint(value % 2**64)


class Grammar:
    """``likely`` has for fields of some names the values that mean something to the server, by the field's name."""

    def __init__(self, likely: Mapping[str, Sequence[str | int]]) -> None:
        self._likely = likely

    def bodies(self, templates: Sequence[Message]) -> st.SearchStrategy[bytes]:
        """For a request that is one of ``templates``: variations of them, messages made from nothing, and damaged ones."""

        @st.composite
        def made(draw: st.DrawFn) -> bytes:
            template = draw(st.sampled_from(templates))
            if draw(st.integers(0, 3)):
                body = self._variation(draw, template, odd=draw(st.sampled_from([0, 1, 2, 6])))
            else:
                body = self._from_nothing(draw, template.DESCRIPTOR, 0)
            return damaged(draw, body) if draw(st.integers(0, 3)) == 3 else body

        return made()

    def _variation(self, draw: st.DrawFn, message: Any, *, odd: int, depth: int = 0) -> bytes:
        """``message`` with about ``odd`` of 24 fields changed: another value, none, or twice."""
        parts = []
        for field, value in message.ListFields():
            for each in elements(field, value):
                whole = (
                    frame(field.number, self._variation(draw, each, odd=odd, depth=depth + 1))
                    if isinstance(each, Message)
                    else encoded(field, each)
                )
                match draw(st.integers(0, 23)):
                    case roll if roll >= odd:
                        parts.append(whole)
                    case 0:
                        parts += [whole, self._field(draw, field, depth)]
                    case 1:
                        pass
                    case _:
                        parts.append(self._field(draw, field, depth))
        if odd and draw(st.integers(0, 5)) == 5:
            parts.append(self._from_nothing(draw, message.DESCRIPTOR, depth, most=2))
        return b"".join(parts)

    def _from_nothing(self, draw: st.DrawFn, descriptor: Any, depth: int, *, most: int = 5) -> bytes:
        fields = list(descriptor.fields)
        if not fields:
            return b""
        some = draw(st.lists(st.sampled_from(fields), max_size=most if depth < DEPTH_MAX else 1))
        return b"".join(self._field(draw, field, depth) for field in some)

    def _field(self, draw: st.DrawFn, field: FieldDescriptor, depth: int) -> bytes:
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if depth >= DEPTH_MAX:
                return frame(field.number, b"")
            return frame(field.number, self._from_nothing(draw, field.message_type, depth + 1))
        likely = self._likely.get(field.name)
        if likely is not None and draw(st.integers(0, 5)):
            return encoded(field, draw(st.sampled_from(likely)))
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                odd = ODD_BYTES if field.type == FieldDescriptor.TYPE_BYTES else ODD_TEXTS
                return frame(field.number, draw(st.sampled_from(odd) | st.binary(max_size=8)))
            case FieldDescriptor.CPPTYPE_DOUBLE:
                return encoded(field, draw(st.sampled_from(DOUBLES)))
            case _:
                return tag(field.number, VARINT) + number_of(draw(st.sampled_from(NUMBERS)))


@dataclass(frozen=True)
class MapEntry:
    key: Any
    value: Any


def elements(field: FieldDescriptor, value: Any) -> list[Any]:
    """What a field holds, one by one."""
    if is_map(field):
        return [MapEntry(key, value[key]) for key in value]
    return list(value) if field.is_repeated else [value]


def encoded(field: FieldDescriptor, value: Any) -> bytes:
    match value:
        case MapEntry():
            assert field.message_type is not None
            fields = field.message_type.fields_by_name
            return frame(
                field.number, encoded(fields["key"], value.key) + encoded(fields["value"], value.value)
            )
        case Message():
            return frame(field.number, value.SerializeToString())
        case str():
            return frame(field.number, value.encode())
        case bytes():
            return frame(field.number, value)
        case float():
            return tag(field.number, FIXED64) + struct.pack("<d", value)
        case _:
            return tag(field.number, VARINT) + number_of(int(value))


def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    number = draw(st.sampled_from([1, 2, 3, 5, 15, 16, 99, 2**29 - 1]))
    match draw(
        st.sampled_from(
            ["cut", "wire type", "unknown", "length", "group", "deep", "bytes", "twice", "field 0", "varint"]
        )
    ):
        case "cut":
            return body[: draw(st.integers(0, len(body)))]
        case "wire type":
            wrong = draw(st.integers(0, 7))
            content = {VARINT: b"\x01", FIXED64: b"12345678", LENGTH: b"\x01a", FIXED32: b"1234"}.get(
                wrong, b""
            )
            return body + tag(number, wrong) + content
        case "unknown":
            return tag(2**29 - 1, VARINT) + b"\x01" + body + frame(1000, b"abc")
        case "length":
            return (
                body
                + tag(number, LENGTH)
                + varint(draw(st.sampled_from([1, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1])))
                + b"abc"
            )
        case "group":
            return (
                body
                + tag(number, GROUP) * draw(st.sampled_from([1, 50, 1000]))
                + draw(st.sampled_from([b"", tag(number, END_GROUP)]))
            )
        case "deep":
            nested = b""
            for _ in range(draw(st.sampled_from([50, 99, 100, 101, 1000]))):
                nested = frame(number, nested)
            return body + nested
        case "bytes":
            at = draw(st.integers(0, len(body)))
            return body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
        case "twice":
            return body + body
        case "field 0":
            return body + b"\x00\x01"
        case _:
            return (
                body
                + tag(number, VARINT)
                + b"\xff" * draw(st.sampled_from([1, 9, 10, 11]))
                + draw(st.sampled_from([b"", b"\x01", b"\x7f"]))
            )
