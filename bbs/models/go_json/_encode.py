"""Messages to JSON."""

from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from bbs.models.go_json._forms import Form, forms
from bbs.models.go_json._raw import compact_raw_json, quote
from bbs.models.pb import wire_options_pb2
from bbs.models.wire import option

ENUM_VALUES_REMEMBERED_MAX: Final = 1024
"""There are some dozens; the wire may bring any number."""


def to_json(message: Message) -> str:
    """One line of JSON, as the reference encoder writes it.

    Raises:
      ValueError: a route's value is not JSON.
    """
    return "{" + ",".join(_members(message)) + "}"


def _members(message: Message) -> Iterator[str]:
    for form in forms(message.DESCRIPTOR):
        if form.is_flattened:
            if form.is_always_written or message.HasField(form.name):
                yield from _members(getattr(message, form.name))
        else:
            shown = _shown(form, message)
            if shown is not None:
                yield form.tag.member + shown


def _shown(form: Form, message: Message) -> str | None:
    """The JSON of one field; ``None`` if its key is left out."""
    value = getattr(message, form.name)
    nothing = None if form.tag.omit_empty else "null"
    if form.is_map:
        entries = (f"{quote(key)}:{_value(form.element, value[key])}" for key in sorted(value))
        return "{" + ",".join(entries) + "}" if value else "{}" if form.shows_empty_map else nothing
    if form.is_repeated:
        return "[" + ",".join(_value(form.field, element) for element in value) + "]" if value else nothing
    if form.has_presence:
        return _with_presence(form, message, value) if message.HasField(form.name) else _absent(form, value)
    if form.tag.omit_empty and not value:
        return None
    return _value(form.field, value)


def _with_presence(form: Form, message: Message, value: Any) -> str:
    if form.is_routes:
        return _routes(value.routes)
    if form.in_oneof is not None:
        if form.in_oneof.omit_empty and not value:
            return "{}"
        return f"{{{form.in_oneof.member}{_value(form.field, value)}}}"
    return _value(form.field, value)


def _absent(form: Form, value: Any) -> str | None:
    if form.is_always_written and not form.is_routes:
        return _value(form.field, value)
    return None if form.tag.omit_empty else "null"


def _routes(routes: Any) -> str:
    """Raw documents by router name. Routes that are present and empty are written as ``null``, also where ``omitempty``
    leaves out routes that are absent: in Go the former is a pointer to a nil map, the latter no pointer.
    """
    if not routes:
        return "null"
    entries = (
        f"{quote(name)}:{compact_raw_json(routes[name]).decode('utf-8', 'replace')}"
        for name in sorted(routes)
    )
    return "{" + ",".join(entries) + "}"


def _value(field: FieldDescriptor, value: Any) -> str:
    match field.type:
        case FieldDescriptor.TYPE_MESSAGE:
            return to_json(value)
        case FieldDescriptor.TYPE_STRING:
            return quote(value)
        case FieldDescriptor.TYPE_BYTES:
            return quote(b64encode(value).decode())
        case FieldDescriptor.TYPE_BOOL:
            return "true" if value else "false"
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return _enum(field.enum_type, value)
        case _:
            assert isinstance(value, int), f"{field.full_name}: no message with a JSON form has such a field"
            return str(value)


@lru_cache(ENUM_VALUES_REMEMBERED_MAX)
def _enum(enum: EnumDescriptor, number: int) -> str:
    lenient = option(enum, wire_options_pb2.json_enum_lenient)
    if not lenient and not option(enum, wire_options_pb2.json_enum_noun):
        return str(number)
    known = enum.values_by_number.get(number)
    if known is not None:
        return quote(known.name)
    return quote("" if lenient else str(number))
