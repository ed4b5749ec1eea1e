"""JSON to messages."""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from bbs.models.go_json._forms import Form, forms
from bbs.models.go_json._raw import JSON_BLANKS, STRICT, check, elements, members, quote
from bbs.models.pb import wire_options_pb2
from bbs.models.wire import option

M = TypeVar("M", bound=Message)


def from_json(message_class: type[M], text: str) -> M:
    """Read what the reference encoder, or somebody's editor, wrote.

    Keys match whatever their case, unknown ones are passed over, ``null`` leaves a field unset.

    Raises:
      ValueError: not JSON, or not this message: it says which field is wrong, what was expected there, and what kind of
        value there is instead; never the value itself.
    """
    check(text)
    message = message_class()
    document = text.strip(JSON_BLANKS)
    if document != "null":
        _fill(message, document)
    return message


class FieldWrong(ValueError):
    """A value that does not fit its field.

    ``path`` leads to the field from the message that is read, as in ``rootfs_provider_list[1].name``; '' is the message
    itself. The text names the kind of value, never the value: a presence can hold what does not belong into a log.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason

    def within(self, place: str) -> "FieldWrong":
        dot = "" if not self.path or self.path.startswith("[") else "."
        return FieldWrong(f"{place}{dot}{self.path}", self.reason)


def _expected(what: str, text: str) -> FieldWrong:
    return FieldWrong("", f"expected {what}, is {_kind(text)}")


KINDS: Final = {"{": "an object", "[": "an array", '"': "a string", "t": "true", "f": "false", "n": "null"}


def _kind(text: str) -> str:
    """What a valid JSON document is, by its first character."""
    if text[0] in KINDS:
        return KINDS[text[0]]
    return "an integer" if text.lstrip("-").isdecimal() else "a number with a fraction or an exponent"


class Place(NamedTuple):
    """Where the value of a key goes: a field, and the flattened sub-messages on the way to it."""

    path: tuple[str, ...]
    form: Form


@cache
def _places(descriptor: Descriptor) -> dict[str, Place]:
    """Where the value of each key goes, by the key and by the key in lower case. Go prefers the exact spelling and accepts
    any other.
    """
    exact = {place.form.tag.key: place for place in _walk(descriptor, ())}
    folded: dict[str, Place] = {}
    for key, place in exact.items():
        folded.setdefault(key.lower(), place)
    return folded | exact


def field_of_key(descriptor: Descriptor, key: str) -> FieldDescriptor | None:
    """The field that a key of a message's JSON object stands for; ``None`` if it stands for none."""
    places = _places(descriptor)
    place = places.get(key) or places.get(key.lower())
    return None if place is None else place.form.field


def _walk(descriptor: Descriptor, path: tuple[str, ...]) -> Iterator[Place]:
    for form in forms(descriptor):
        if form.is_flattened:
            assert form.field.message_type is not None
            yield from _walk(form.field.message_type, (*path, form.name))
        else:
            yield Place(path, form)


def _fill(message: Message, text: str) -> None:
    places = _places(message.DESCRIPTOR)
    for key, value in _members(text):
        place = places.get(key) or places.get(key.lower())
        if place is None:
            continue
        holder = message
        # Flattened: the key stands among the parent's, and its field in a sub-message, which is there even for a null.
        for name in place.path:
            holder = getattr(holder, name)
            holder.SetInParent()
        if value != "null":
            try:
                _fill_field(holder, place.form, value)
            except FieldWrong as wrong:
                raise wrong.within(key) from wrong


def _fill_field(message: Any, form: Form, text: str) -> None:
    target = getattr(message, form.name)
    if form.in_oneof is not None:
        # Go holds a oneof as an interface and cannot tell from JSON which member an object would be, so it refuses all.
        raise FieldWrong("", f"expected null, is {_kind(text)}")
    if form.is_routes:
        target.SetInParent()
        for name, document in _members(text):
            target.routes[name] = document.encode()
    elif form.is_map:
        for name, value in _members(text):
            try:
                if form.element.message_type is None:
                    target[name] = _scalar(form.element, value)
                elif value == "null":
                    target.get_or_create(name)
                else:
                    _fill(target[name], value)
            except FieldWrong as wrong:
                raise wrong.within(f"[{quote(name)}]") from wrong
    elif form.field.is_repeated:
        # A key that comes twice: of lists the last one counts, while objects and maps are merged, as in Go.
        del target[:]
        for index, value in enumerate(_elements(text)):
            try:
                if form.field.message_type is None:
                    target.append(_scalar(form.field, value))
                else:
                    _fill(target.add(), value)
            except FieldWrong as wrong:
                raise wrong.within(f"[{index}]") from wrong
    elif form.field.message_type is not None:
        target.SetInParent()
        _fill(target, text)
    else:
        setattr(message, form.name, _scalar(form.field, text))


def _members(text: str) -> list[tuple[str, str]]:
    if not text.startswith("{"):
        raise _expected("an object", text)
    return members(text)


def _elements(text: str) -> list[str]:
    if not text.startswith("["):
        raise _expected("an array", text)
    return elements(text)


ZERO: Final[dict[int, Any]] = {FieldDescriptor.TYPE_STRING: "", FieldDescriptor.TYPE_BYTES: b""}


def _scalar(field: FieldDescriptor, text: str) -> Any:
    if text == "null":  # as an element of a list or map
        return ZERO.get(field.type, 0)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _string(text)
        case FieldDescriptor.TYPE_BYTES:
            return _bytes(text)
        case FieldDescriptor.TYPE_BOOL:
            if text not in ("true", "false"):
                raise _expected("true or false", text)
            return text == "true"
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return _enum(field.enum_type, text)
        case _:
            return _integer(text, RANGES[field.type])


def _string(text: str) -> str:
    if not text.startswith('"'):
        raise _expected("a string", text)
    decoded: str = STRICT.decode(text)
    # Half of a surrogate pair, which only an escape can spell, is no text; it becomes what Go makes of it.
    return LONE_SURROGATE.sub("\ufffd", decoded)


def _bytes(text: str) -> bytes:
    try:
        return b64decode(_string(text), validate=True)
    except binascii.Error as error:
        raise FieldWrong("", "expected base64, is another string") from error


def _integer(text: str, allowed: range) -> int:
    """A whole number. ``1.0`` and ``1e3`` are refused although they are whole, as Go refuses them for integer fields."""
    if not text.lstrip("-").isdecimal():
        raise _expected("an integer", text)
    # Python converts very long numbers only when told to; they are out of every range.
    number = int(text) if len(text) <= INTEGER_CHARACTERS_MAX else allowed.stop
    if number not in allowed:
        raise FieldWrong("", f"expected an integer from {allowed[0]} to {allowed[-1]}, is another one")
    return number


LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
INTEGER_CHARACTERS_MAX: Final = 20
"""Characters of the smallest 64-bit integer, and of the largest unsigned one."""

_INT32, _INT64 = range(-(1 << 31), 1 << 31), range(-(1 << 63), 1 << 63)
_UINT32, _UINT64 = range(1 << 32), range(1 << 64)
RANGES: Final = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_ENUM: _INT32,
}


def _enum(enum: EnumDescriptor, text: str) -> int:
    lenient = option(enum, wire_options_pb2.json_enum_lenient)
    noun = option(enum, wire_options_pb2.json_enum_noun)
    if not lenient and not noun:
        return _integer(text, _INT32)
    name = _string(text)
    known = enum.values_by_name.get(name)
    if known is not None:
        return known.number
    if lenient:
        return 0
    raise FieldWrong("", f"invalid {noun}: {name}")
