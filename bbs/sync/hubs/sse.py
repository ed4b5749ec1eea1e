"""Server-sent events as the BBS writes them (spec: events.md §2).

An event's text begins with its number on the connection, which differs from subscriber to subscriber. All that follows is
the same for everybody. That part, the event's *tail*, is made once and shared.
"""

from base64 import b64encode
from collections.abc import Iterable


def event_tail(name: str, payload: bytes) -> bytes:
    """The text of an event, all but its number.

    A message whose fields all have default values has no bytes; upstream then writes ``data`` without a colon.
    """
    data = b"data: " + b64encode(payload) if payload else b"data"
    return b"\nevent: %b\n%b\n\n" % (name.encode("ascii"), data)


def numbered(tails: Iterable[bytes], *, first_id: int) -> bytes:
    """The text of consecutive events, numbered from ``first_id``."""
    return b"".join([b"id: %d%b" % pair for pair in enumerate(tails, first_id)])
