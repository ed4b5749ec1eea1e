"""From a body to a request that is valid, at a price that the client does not choose.

protobuf decodes in one go and lets no other thread run meanwhile, so what it is given is bounded: in bytes, and, where the
bytes are many, in fields, since an empty message takes two bytes in a body and is still to be made. So three ways:

* a tiny body is decoded and validated on the spot;
* so is a small one with few fields: a thread would cost more than it saves;
* any other is for a thread (`READERS`). Its Python shares the interpreter with the event loop, which goes on; only the
  decoding itself does not, and that is why fields are counted before it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final, TypeVar

import trio
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.errors import InvalidRequest

SMALL_BYTES_MAX: Final = 1 << 20
"""Of most requests, which hold a few names and a reason: their columns take 1 KiB each."""

LARGE_BYTES_MAX: Final = 4 << 20
"""Of those below. Files and routes of an LRP are 1.1 MiB at most, and 100,000 guids are 3.6 MiB."""

LARGE: Final = frozenset(
    {
        pb.ActualLRPsByProcessGuidsRequest,
        pb.CompleteTaskRequest,
        pb.DesireLRPRequest,
        pb.DesireTaskRequest,
        pb.DesiredLRPsRequest,
        pb.UpdateDesiredLRPRequest,
    }
)

TINY_BYTES_MAX: Final = 4 << 10
"""A body no larger than this is read on the spot, whatever is in it: 8 ms at worst. Nearly all bodies are."""

READ_AT_ONCE_BYTES_MAX: Final = 256 << 10
READ_AT_ONCE_FIELDS_MAX: Final = 1_000
"""A body within both of these is read on the spot, too: to find out what is wrong with 1,000 messages takes 6 ms."""

GUID_LISTS: Final = frozenset({pb.ActualLRPsByProcessGuidsRequest, pb.DesiredLRPsRequest})

FIELDS_MAX: Final = 50_000
"""Of a larger body, say 10,000 egress rules: decoded in 10 ms at worst, where 4 MiB of empty messages take 200."""

GUIDS_MAX: Final = 200_000
"""Of a list, which is decoded faster."""

READERS: Final = trio.CapacityLimiter(2)
"""Large bodies being read at the same time. Others wait, without a deadline: each of these ends, as its size is bounded.
With more threads the event loop would get less of the interpreter.
"""

RequestT = TypeVar("RequestT", bound=Message)


def must_not_be_too_large(request_class: type[Message], body: bytes) -> None:
    """
    Raises:
      InvalidRequest: too many bytes for a request of this kind.
    """
    bytes_max = LARGE_BYTES_MAX if request_class in LARGE else SMALL_BYTES_MAX
    if len(body) > bytes_max:
        raise InvalidRequest(f"{InvalidRequest.canonical_text}: {len(body)} bytes are more than {bytes_max}")


def can_be_read_at_once(request_class: type[Message], body: bytes) -> bool:
    """Whether reading is not worth a thread."""
    if len(body) <= TINY_BYTES_MAX:
        return True
    if len(body) > READ_AT_ONCE_BYTES_MAX:
        return False
    try:
        must_not_have_too_many_fields(request_class, body, most=READ_AT_ONCE_FIELDS_MAX)
    except InvalidRequest:
        return False
    return True


def must_not_have_too_many_fields(
    request_class: type[Message], body: bytes, *, most: int | None = None
) -> None:
    """Count what protobuf would have to make. Nothing is said of a body that is no message: that is for the decoder.

    Raises:
      InvalidRequest: too much.
    """
    if most is None:
        most = GUIDS_MAX if request_class in GUID_LISTS else FIELDS_MAX
    try:
        fields = _count_up_to(most + 1, body, _inner_fields(request_class.DESCRIPTOR))
    except (IndexError, ValueError):
        return
    if fields > most:
        raise InvalidRequest(f"{InvalidRequest.canonical_text}: more than {most} fields")


class _Inner(dict[int, "_Inner | None"]):
    """Where to look for more fields inside a message's fields, by the number of the field: a submessage has an `_Inner` of
    its own, ``None`` stands for a list of numbers, which may be packed. Fields that are not here (texts, bytes, single
    numbers) count as one.
    """


@cache
def _inner_fields(descriptor: Descriptor) -> _Inner:
    made: dict[Descriptor, _Inner] = {}

    def inner_of(message: Descriptor) -> _Inner:
        if message in made:
            return made[message]
        inner = made[message] = _Inner()  # before its fields are looked at: a message may contain itself
        for field in message.fields:
            if field.message_type is not None:
                inner[field.number] = inner_of(field.message_type)
            elif field.is_repeated and field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
                inner[field.number] = None
        return inner

    return inner_of(descriptor)


def _count_up_to(most: int, body: bytes, inner: Mapping[int, _Inner | None]) -> int:
    """How many fields ``body`` has, at all depths, but no more than ``most``, which also bounds the work. Packed numbers
    are counted by their bytes, so rather too many.

    A list of what is yet to be read takes the place of recursion, so depth does not matter. Lengths are not checked against
    the message around them: the decoder does that.

    Raises:
      IndexError, ValueError: this is no message.
    """
    fields = 0
    to_do: list[tuple[int, int, Mapping[int, _Inner | None]]] = [(0, len(body), inner)]
    while to_do:
        position, end, inner = to_do.pop()
        while position < end:
            fields += 1
            if fields >= most:
                return fields
            tag, position = _varint(body, position)
            match tag & 7:
                case 0:
                    _, position = _varint(body, position)
                case 1:
                    position += 8
                case 2:
                    length, position = _varint(body, position)
                    number = tag >> 3
                    if number in inner:
                        child = inner[number]
                        if child is None:
                            fields += length
                        else:
                            to_do.append((position, position + length, child))
                    position += length
                case 5:
                    position += 4
                case 3 | 4:
                    pass  # a group, of which protobuf makes nothing
                case _:
                    raise ValueError
    return fields


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError
