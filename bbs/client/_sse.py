"""Reading server-sent events: bytes in any pieces to raw events (spec: events.md §10.1). No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as it came. ``retry_s`` is the reconnection interval that the server asked for with it, if it did."""

    id: str
    name: str
    data: bytes
    retry_s: float | None = None


class EventParser:
    """Takes a stream apart, one instance per connection. Lines may be of any length."""

    def __init__(self, *, last_id: str = "") -> None:
        self._last_id = last_id
        self._buffer = bytearray()
        self._searched = 0
        self._name = ""
        self._data: list[bytes] = []
        self._retry_s: float | None = None

    def feed(self, piece: bytes) -> list[RawEvent]:
        """The events that ``piece`` completes."""
        self._buffer += piece
        return [event for line in self._lines() if (event := self._read_line(line)) is not None]

    def _lines(self) -> Iterator[bytes]:
        start = 0
        # What was searched before is not searched again: a line may come in thousands of pieces.
        while (end := self._buffer.find(b"\n", max(start, self._searched))) >= 0:
            yield bytes(self._buffer[start:end]).removesuffix(b"\r")
            start = end + 1
        del self._buffer[:start]
        self._searched = len(self._buffer)

    def _read_line(self, line: bytes) -> RawEvent | None:
        if not line:
            return self._dispatch() if self._data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                self._data.append(value)
            case b"event":
                self._name = value.decode("utf-8", "replace")
            case b"id":
                self._last_id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self._retry_s = int(value) / 1000
            case _:
                pass  # a comment, which has an empty name, or a field that nobody knows
        return None

    def _dispatch(self) -> RawEvent:
        event = RawEvent(self._last_id, self._name, b"\n".join(self._data), self._retry_s)
        self._name, self._data, self._retry_s = "", [], None
        return event
