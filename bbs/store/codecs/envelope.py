"""What sealed columns that are not JSON hold before encryption: two bytes, then protobuf (spec: storage.md §3.2)."""

from typing import Final, TypeVar

from google.protobuf.message import Message

from bbs.models.errors import InvalidRequest
from bbs.models.wire import decode

ENVELOPE: Final = b"\x02\x00"
"""The format, 2 for protobuf, and a version that means nothing. Old rows may have other bytes there."""

M = TypeVar("M", bound=Message)


def open_envelope(message_class: type[M], plaintext: bytes) -> M:
    """The message in an envelope. As upstream, the two leading bytes must be there and are not looked at.

    Raises:
      ValueError: ``plaintext`` is too short, or what follows is not such a message.
    """
    if len(plaintext) < len(ENVELOPE):
        raise ValueError("the envelope is cut short")
    try:
        return decode(message_class, plaintext[len(ENVELOPE) :])
    except InvalidRequest as error:
        raise ValueError(f"not a {message_class.DESCRIPTOR.full_name}") from error
