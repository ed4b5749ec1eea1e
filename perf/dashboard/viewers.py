"""Ten pages that somebody looks at: raw sockets that read the dashboard's streams in one thread, and do nothing with them.

Two of them are about one app, the *probe*. Whoever changes its state says so (`Viewers.expect`), and is told how long it took until
the new state stood on each of the two streams.
"""

import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final
from urllib.parse import quote

CONNECT_MAX_S: Final = 30.0
POLL_S: Final = 0.2
READ_BYTES_MAX: Final = 256 * 1024
SHOWN_MAX_S: Final = 30.0
KEPT_BYTES: Final = 200
"""Of what was read before, so that what is expected is found if it comes in two pieces."""


@dataclass(frozen=True, slots=True)
class Page:
    """``title`` is for people, ``path`` is below ``/dashboard/``."""

    title: str
    path: str


def pages_about(*, probe: str, cell_id: str) -> tuple[Page, ...]:
    """As ten people may have them open: some of them look at the same. The last two are about the app ``probe``."""
    guid = quote(probe)
    return (
        Page("fleet", "live/fleet"),
        Page("fleet", "live/fleet"),
        Page("apps", "live/apps"),
        Page("apps that wait for a cell", "live/apps?wrong=unclaimed"),
        Page("cells", "live/cells"),
        Page("one cell", f"live/cell?cell={quote(cell_id)}"),
        Page("tasks", "live/tasks"),
        Page("server", "live/server"),
        Page("one app", f"live/app?guid={guid}"),
        Page("events, of one app", f"events?guid={guid}"),
    )


class ViewersFailed(Exception):
    """A stream did not begin, or ended; the text says of which page, and how the server answered."""


@dataclass(slots=True)
class Viewer:
    """``read_bytes`` counts everything since the stream began. ``shown_at_s`` is when what is expected came, by the monotonic clock."""

    page: Page
    stream: socket.socket
    read_bytes: int = 0
    expected: bytes = b""
    shown_at_s: float | None = None
    _last: bytes = b""

    @classmethod
    def of(cls, debug: str, page: Page) -> "Viewer":
        host, _, port = debug.rpartition(":")
        stream = socket.create_connection((host, int(port)), timeout=CONNECT_MAX_S)
        stream.sendall(f"GET /dashboard/{page.path} HTTP/1.1\r\nHost: {debug}\r\n\r\n".encode())
        return cls(page, stream)

    def read(self) -> None:
        """
        Raises:
          ViewersFailed: the stream has ended, or is an answer of another kind.
        """
        try:
            piece = self.stream.recv(READ_BYTES_MAX)
        except OSError as error:
            raise ViewersFailed(f"{self.page.path}: {error}") from error
        if not piece or (not self.read_bytes and b" 200 " not in piece[:20]):
            raise ViewersFailed(f"{self.page.path}: {piece[:300].decode(errors='replace') or 'it has ended'}")
        self.read_bytes += len(piece)
        if self.expected and self.shown_at_s is None and self.expected in self._last + piece:
            self.shown_at_s = time.monotonic()
        self._last = piece[-KEPT_BYTES:]


class Viewers:
    """Made by `looking`."""

    def __init__(self, viewers: Sequence[Viewer]) -> None:
        self.viewers: Final = viewers
        self._ends = Event()
        self._failed: ViewersFailed | None = None

    @property
    def app(self) -> Viewer:
        return self.viewers[-2]

    @property
    def events(self) -> Viewer:
        return self.viewers[-1]

    def read_bytes(self) -> list[int]:
        """Of each viewer, so far.

        Raises:
          ViewersFailed: one of them reads no more.
        """
        if self._failed is not None:
            raise self._failed
        return [each.read_bytes for each in self.viewers]

    def expect(self, *, on_app: bytes, on_events: bytes) -> None:
        """From now on look for these on the two streams that are about the probe."""
        for viewer, text in ((self.app, on_app), (self.events, on_events)):
            viewer.expected, viewer.shown_at_s = b"", None
            viewer.expected = text

    def are_shown(self) -> bool:
        """Whether what was expected has come on both."""
        return self.app.shown_at_s is not None and self.events.shown_at_s is not None

    def read(self) -> None:
        """Until `end`."""
        poll = select.epoll()
        by_number = {each.stream.fileno(): each for each in self.viewers}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        try:
            while not self._ends.is_set():
                for number, _ in poll.poll(POLL_S):
                    by_number[number].read()
        except ViewersFailed as error:
            self._failed = error
        finally:
            poll.close()

    def end(self) -> None:
        self._ends.set()


@contextmanager
def looking(debug: str, pages: Sequence[Page]) -> Iterator[Viewers]:
    """These pages of the dashboard at the debug port ``debug``, as host:port, are open as long as the context is entered.

    Raises:
      OSError: nobody listens there.
    """
    opened: list[Viewer] = []
    try:
        opened.extend(Viewer.of(debug, page) for page in pages)
        viewers = Viewers(opened)
        reading = Thread(target=viewers.read)
        reading.start()
        try:
            yield viewers
        finally:
            viewers.end()
            reading.join()
    finally:
        for each in opened:
            each.stream.close()
