"""Messages to bytes and back, as the Go components do it (spec: api.md §3, wire-messages.json).

Python's protobuf differs from the Go encoder of the fleet in three ways that are made up for here: it keeps unknown
fields, it takes a known field of the wrong wire type for an unknown one, and it leaves out empty sub-messages that Go
holds by value and therefore always writes. One difference stays: a string that is not UTF-8 is refused.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from bbs.models.errors import InvalidRequest
from bbs.models.pb import wire_options_pb2

LENGTH_DELIMITED: Final = 2

M = TypeVar("M", bound=Message)


def decode(message_class: type[M], data: bytes) -> M:
    """Read a message; unknown fields are dropped.

    Raises:
      InvalidRequest: not this message, or a known field came with a wrong wire type.
    """
    try:
        message = message_class.FromString(data)
    except DecodeError as error:
        raise InvalidRequest from error
    message.DiscardUnknownFields()
    # A known field with a wrong wire type has just been discarded as unknown, where Go refuses the whole message. To look
    # for one in every request would double the cost of decoding. But what is discarded makes the message shorter, and Go
    # encodes what is left as we do: if the length is the same, nothing was lost.
    if message.ByteSize() != len(data):
        _must_have_right_wire_types(message_class.FromString(data))
    return message


def encode(message: Message) -> bytes:
    """The bytes of ``message``, fields by number, map entries by key, so that equal messages have equal bytes.

    Changes ``message``: sub-messages that Go always writes are set, be it to nothing. To our readers absent and empty
    are the same there.
    """
    fill, has_maps = _plan(message.DESCRIPTOR)
    if fill is not None:
        fill(message)
    # Deterministic means that map entries are sorted, which costs almost a microsecond even where there are none.
    return message.SerializeToString(deterministic=True) if has_maps else message.SerializeToString()


def frame(field_number: int, payload: bytes) -> bytes:
    """``payload`` as a sub-message, string or bytes field of a message: framed elements joined are that message."""
    return varint(field_number << 3 | LENGTH_DELIMITED) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """A non-negative integer in base 128, least significant group first."""
    if value < 0x80:
        return SMALL_VARINTS[value]
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


SMALL_VARINTS: Final = tuple(bytes((value,)) for value in range(0x80))


def _must_have_right_wire_types(message: Message) -> None:
    known = message.DESCRIPTOR.fields_by_number
    unknown = UnknownFieldSet(message)
    if any(unknown[i].field_number in known for i in range(len(unknown))):
        raise InvalidRequest
    for field, value in message.ListFields():
        for child in _children(field, value):
            _must_have_right_wire_types(child)


def _children(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if field.message_type is None:
        return
    if is_map(field):
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from value.values()
    elif field.is_repeated:
        yield from value
    else:
        yield value


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_always_written(field: FieldDescriptor) -> bool:
    return bool(option(field, wire_options_pb2.always_written))


def option(declared: FieldDescriptor | EnumDescriptor, extension: FieldDescriptor) -> Any:
    """The value of one of wire_options.proto's options."""
    return declared.GetOptions().Extensions[extension]  # type: ignore[index]  # the stubs know no extension's type


# What follows runs once per message class: it works out which classes have anything to fill in, so that encoding the
# others costs one dictionary look-up.

Fill = Callable[[Any], None]


@cache
def _plan(descriptor: Descriptor) -> tuple[Fill | None, bool]:
    """How to fill in a message before it is written (None: nothing to do), and whether it can contain maps."""
    reached = _reachable(descriptor)
    has_maps = any(is_map(field) for message in reached for field in message.fields)
    return _filler(descriptor), has_maps


@cache
def _filler(descriptor: Descriptor) -> Fill | None:
    # The names are looked up here, once. `fill_in` runs for every message that is encoded.
    always = tuple(field.name for field in descriptor.fields if is_always_written(field))
    single: list[tuple[str, Fill]] = []
    repeated: list[tuple[str, Fill]] = []
    for field in descriptor.fields:
        if field.message_type is None or not _needs_filling(field.message_type):
            continue
        assert not is_map(field), f"{field.full_name}: no map holds messages with always-written fields"
        fill = _filler(field.message_type)
        assert fill is not None
        (repeated if field.is_repeated else single).append((field.name, fill))
    if not (always or single or repeated):
        return None

    def fill_in(message: Any) -> None:
        for name in always:
            if not message.HasField(name):
                getattr(message, name).SetInParent()
        for name, fill in single:
            if message.HasField(name):
                fill(getattr(message, name))
        for name, fill in repeated:
            for element in getattr(message, name):
                fill(element)

    return fill_in


def _needs_filling(descriptor: Descriptor) -> bool:
    return any(is_always_written(field) for message in _reachable(descriptor) for field in message.fields)


@cache
def _reachable(descriptor: Descriptor) -> frozenset[Descriptor]:
    """A message type and all that can occur inside it."""
    reached = {descriptor}
    todo = [descriptor]
    while todo:
        for field in todo.pop().fields:
            if field.message_type is not None and field.message_type not in reached:
                reached.add(field.message_type)
                todo.append(field.message_type)
    return frozenset(reached)
