"""What all streams to pages have in common: how they begin, that they are never silent for long, and how they end."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import trio

from bbs.concurrency.clearable_event import ClearableEvent

HEARTBEAT_S: Final = 10.0
"""How long a stream is silent at most, so that whatever is in between keeps it, and a page can tell that it is dead."""

VIEWERS_MAX: Final = 48
"""Streams of views."""

WATCHERS_MAX: Final = 12
"""Streams of events. Together with the others they leave some of the debug port's connections to Prometheus."""


class PageStream(ABC):
    """One open stream. A `StreamSource` of `bbs.http.endpoints`: whoever sends it calls ``receive`` again and again. It begins with
    ``greeting``; ``leave`` is called with the stream itself, once, when it is closed.
    """

    def __init__(self, greeting: bytes, leave: Callable[[Any], None]) -> None:
        self._greeting = greeting
        self._leave = leave
        self._woken = ClearableEvent()
        self._is_open = True

    @abstractmethod
    def _take_unsent(self) -> bytes:
        """The text of what is new since the last time, b'' if nothing is. Whoever adds to it sets ``_woken``."""

    async def receive(self) -> bytes:
        """The text of what is new, or after a while that there is nothing new.

        Raises:
          trio.EndOfChannel: the stream was closed.
        """
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        with trio.move_on_after(HEARTBEAT_S):
            await self._woken.wait()
        self._woken.clear()
        if not self._is_open:
            raise trio.EndOfChannel
        return self._take_unsent() or HEARTBEAT

    def close(self) -> None:
        """End it. Closing twice is harmless."""
        if self._is_open:
            self._is_open = False
            self._leave(self)
            self._woken.set()


def framed(section: tuple[str, str]) -> bytes:
    """A section, its title and its JSON, as a server-sent event. JSON has no line ends."""
    title, text = section
    return f"event: {title}\ndata: {text}\n\n".encode()


HEARTBEAT: Final = framed(("alive", "null"))
"""An event and no comment, since a browser keeps comments from its page, which would not know a dead connection from a quiet one."""
