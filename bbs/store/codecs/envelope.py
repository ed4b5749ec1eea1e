"""What sealed columns that are not JSON hold: two bytes of which the second means nothing, then protobuf."""

from typing import Final, TypeVar

from google.protobuf.message import Message

from bbs.models.errors import InvalidRequest
from bbs.models.wire import decode

ENVELOPE: Final = b"\x02\x00"

M = TypeVar("M", bound=Message)


def open_envelope(message_class: type[M], plaintext: bytes) -> M:
    """The message in an envelope, whose two leading bytes may be anything, but must be there.

    Raises:
      ValueError: it is none.
    """
    if len(plaintext) < len(ENVELOPE):
        raise ValueError("the envelope is cut short")
    try:
        return decode(message_class, plaintext[len(ENVELOPE) :])
    except InvalidRequest as error:
        raise ValueError(f"not a {message_class.DESCRIPTOR.full_name}") from error
