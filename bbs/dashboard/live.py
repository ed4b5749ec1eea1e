"""Views that somebody looks at, made again every second: once for all who look at the same, and never when nobody does.

A *topic* is a view with its parameters. It has *viewers*, one for each open stream. A viewer holds only the newest text of each
section that it has not been sent yet, so a browser that reads slowly is shown less often what is new, and nothing piles up.

What it may cost is bounded: all topics together may take `SHARE_MAX` of the event loop's time. When they would take more, as with
a view of a fleet of which everything is wrong, they are made less often, down to once in `INTERVAL_MAX_S`.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NoReturn

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.concurrency.own_time import OwnTime
from bbs.concurrency.turns import TimedTurns
from bbs.dashboard.page_stream import HEARTBEAT_S, VIEWERS_MAX, PageStream, framed
from bbs.log import Logger

Sections = Mapping[str, object]
Key = tuple[str, tuple[tuple[str, str], ...]]
View = Callable[[Mapping[str, str]], Coroutine[Any, Any, Sections]]

INTERVAL_S: Final = 1.0
INTERVAL_MAX_S: Final = 15.0
SHARE_MAX: Final = 0.03
TOPICS_MAX: Final = 24

RETRY: Final = b"retry: 1000\n\n"
"""Has the browser connect again after a second."""


class TooManyViewers(Exception):
    """No more streams are opened until others end."""

    def __init__(self) -> None:
        super().__init__(
            f"{VIEWERS_MAX} pages are open at this server already, or {TOPICS_MAX} different ones; close some"
        )


class Viewer(PageStream):
    """One page that shows a view."""

    def __init__(self, greeting: bytes, leave: Callable[["Viewer"], None]) -> None:
        super().__init__(greeting, leave)
        self._unsent: dict[str, str] = {}

    def show(self, sections: Mapping[str, str]) -> None:
        """Have these sections sent, in place of older ones that were not."""
        if sections:
            self._unsent.update(sections)
            self._woken.set()

    def _take_unsent(self) -> bytes:
        unsent, self._unsent = self._unsent, {}
        return b"".join(map(framed, unsent.items()))


class _Topic:
    __slots__ = ("cost_s", "due_at", "key", "sections", "viewers")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.sections: dict[str, str] = {}
        self.viewers: set[Viewer] = set()
        self.cost_s = 0.0
        """What making it took the last time, of the event loop's processor time."""
        self.due_at = 0.0


class Live:
    """``header`` is what every view has besides its own sections, and last of all ``failed``: null, or why a view could not be made.
    ``now_ns`` is the wall clock.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        *,
        header: Callable[[], object],
        now_ns: Callable[[], int],
        log: Logger,
    ) -> None:
        self.views: Final = views
        self._header = header
        self._now_ns = now_ns
        self._log = log
        self._topics: dict[Key, _Topic] = {}
        self._came = ClearableEvent()

    def greeting(self) -> bytes:
        """What every stream begins with: what time it is here, so that ages are right by any browser's clock, and the header."""
        clock_ms = str(self._now_ns() // 1_000_000)
        return RETRY + framed(("clock", clock_ms)) + framed(("header", _json(self._header())))

    def look(self, view: str, parameters: Mapping[str, str]) -> Viewer:
        """Open a stream of a view that there is.

        Raises:
          TooManyViewers: there are as many as there may be.
        """
        key = (view, tuple(sorted(parameters.items())))
        topic = self._topics.get(key)
        viewers = sum(len(each.viewers) for each in self._topics.values())
        if viewers >= VIEWERS_MAX or (topic is None and len(self._topics) >= TOPICS_MAX):
            raise TooManyViewers
        if topic is None:
            topic = self._topics[key] = _Topic(key)
            self._came.set()
        viewer = Viewer(self.greeting(), lambda viewer: self._left(key, viewer))
        topic.viewers.add(viewer)
        viewer.show(topic.sections)
        return viewer

    async def run(self) -> NoReturn:
        """Make what is looked at, until cancelled."""
        while True:
            self._came.clear()
            for topic in list(self._topics.values()):
                if topic.viewers and topic.due_at <= trio.current_time():
                    await self._make(topic)
            due_at = min(
                (topic.due_at for topic in self._topics.values()), default=trio.current_time() + HEARTBEAT_S
            )
            with trio.move_on_at(due_at):
                await self._came.wait()

    def interval_s(self) -> float:
        """How long until a view is made again."""
        cost_s = sum(topic.cost_s for topic in self._topics.values())
        return min(max(INTERVAL_S, cost_s / SHARE_MAX), INTERVAL_MAX_S)

    async def _make(self, topic: _Topic) -> None:
        name, parameters = topic.key
        # Only what it took itself: a server that is busy with requests shows its pages as often as any other.
        own = OwnTime()
        try:
            texts = await own.of(self._texts(name, parameters))
        except Exception as error:
            # Going on is safe: a view only reads. Its pages are told, and the server does what it is for.
            failed = _json(f"this page could not be made: {error!r}; the server's log has more")
            if topic.sections.get("failed") != failed:  # and not each second as long as somebody looks
                self._log.error("failed-to-make-dashboard-view", {"view": name}, error=error)
            texts = {"failed": failed}
        changed = {title: text for title, text in texts.items() if topic.sections.get(title) != text}
        topic.sections = texts
        for viewer in topic.viewers:
            viewer.show(changed)
        topic.cost_s = own.total_s
        topic.due_at = trio.current_time() + self.interval_s()

    async def _texts(self, view: str, parameters: tuple[tuple[str, str], ...]) -> dict[str, str]:
        sections = {"header": self._header(), **await self.views[view](dict(parameters)), "failed": None}
        texts, turns = {}, TimedTurns()
        for title, value in sections.items():
            await turns.checkpoint_if_due()
            texts[title] = _json(value)
        return texts

    def _left(self, key: Key, viewer: Viewer) -> None:
        topic = self._topics[key]
        topic.viewers.discard(viewer)
        if not topic.viewers:
            del self._topics[key]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
