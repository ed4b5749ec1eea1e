"""JSON to messages."""

from base64 import b64decode
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from bbs.models.go_json._forms import Form, forms
from bbs.models.go_json._raw import STRICT, check, elements, members
from bbs.models.pb import wire_options_pb2
from bbs.models.wire import option

M = TypeVar("M", bound=Message)


def from_json(message_class: type[M], text: str) -> M:
    """Read what the reference encoder, or somebody's editor, wrote.

    Keys match whatever their case, unknown ones are passed over, ``null`` leaves a field unset.

    Raises:
      ValueError: not JSON, or not this message: it says which field is wrong and how.
    """
    check(text)
    message = message_class()
    document = text.strip(" \t\r\n")
    if document != "null":
        _fill(message, document)
    return message


class Place(NamedTuple):
    """Where the value of a key goes: a field, and the flattened sub-messages on the way to it."""

    path: tuple[str, ...]
    form: Form


@cache
def _places(descriptor: Descriptor) -> dict[str, Place]:
    """By key, and by key in lower case where that is no other key."""
    exact = {place.form.tag.key: place for place in _walk(descriptor, ())}
    folded: dict[str, Place] = {}
    for key, place in exact.items():
        folded.setdefault(key.lower(), place)
    return folded | exact


def _walk(descriptor: Descriptor, path: tuple[str, ...]) -> Iterator[Place]:
    for form in forms(descriptor):
        if form.is_flattened:
            assert form.field.message_type is not None
            yield from _walk(form.field.message_type, (*path, form.name))
        else:
            yield Place(path, form)


def _fill(message: Message, text: str) -> None:
    if not text.startswith("{"):
        raise ValueError(f"{message.DESCRIPTOR.name}: expected an object")
    places = _places(message.DESCRIPTOR)
    for key, value in members(text):
        place = places.get(key) or places.get(key.lower())
        if place is None:
            continue
        holder = message
        for name in place.path:
            holder = getattr(holder, name)
            holder.SetInParent()
        if value != "null":
            try:
                _fill_field(holder, place.form, value)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error


def _fill_field(message: Any, form: Form, text: str) -> None:
    target = getattr(message, form.name)
    if form.in_oneof is not None:
        # The reference decoder has no idea which member an object would be.
        raise ValueError("only null can be read")
    if form.is_routes:
        target.SetInParent()
        for name, document in _members(text):
            target.routes[name] = document.encode()
    elif form.is_map:
        for name, value in _members(text):
            if form.element.message_type is None:
                target[name] = _scalar(form.element, value)
            elif value == "null":
                target.get_or_create(name)
            else:
                _fill(target[name], value)
    elif form.field.is_repeated:
        del target[:]
        for value in _elements(text):
            if form.field.message_type is None:
                target.append(_scalar(form.field, value))
            else:
                _fill(target.add(), value)
    elif form.field.message_type is not None:
        target.SetInParent()
        _fill(target, text)
    else:
        setattr(message, form.name, _scalar(form.field, text))


def _members(text: str) -> list[tuple[str, str]]:
    if not text.startswith("{"):
        raise ValueError("expected an object")
    return members(text)


def _elements(text: str) -> list[str]:
    if not text.startswith("["):
        raise ValueError("expected an array")
    return elements(text)


ZERO: Final[dict[int, Any]] = {FieldDescriptor.TYPE_STRING: "", FieldDescriptor.TYPE_BYTES: b""}


def _scalar(field: FieldDescriptor, text: str) -> Any:
    if text == "null":  # as an element of a list or map
        return ZERO.get(field.type, 0)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _string(text)
        case FieldDescriptor.TYPE_BYTES:
            return b64decode(_string(text), validate=True)
        case FieldDescriptor.TYPE_BOOL:
            if text not in ("true", "false"):
                raise ValueError("expected true or false")
            return text == "true"
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return _enum(field.enum_type, text)
        case _:
            return _integer(text)


def _string(text: str) -> str:
    if not text.startswith('"'):
        raise ValueError("expected a string")
    decoded: str = STRICT.decode(text)
    return decoded


def _integer(text: str) -> int:
    """Neither a fraction nor an exponent, whatever the number is worth. protobuf checks the range."""
    if not text.lstrip("-").isdecimal():
        raise ValueError("expected an integer")
    return int(text)


def _enum(enum: EnumDescriptor, text: str) -> int:
    lenient = option(enum, wire_options_pb2.json_enum_lenient)
    noun = option(enum, wire_options_pb2.json_enum_noun)
    if not lenient and not noun:
        return _integer(text)
    name = _string(text)
    known = enum.values_by_name.get(name)
    if known is not None:
        return known.number
    if lenient:
        return 0
    raise ValueError(f"invalid {noun}: {name}")
