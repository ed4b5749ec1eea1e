"""Subscribes to the same streams of both servers, and has their events matched.

The streams run in windows. When one of the two ends, or the follower's own stream of changes does, events are missing on one
side, so the window is void from then on: what waits is not judged, and a new window begins.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NoReturn

import trio

from bbs.client import BBSClient, Event, EventSource, InvalidEventPayload, UnrecognizedEventType
from bbs.concurrency.causes import root_cause
from bbs.shadow.events import EventDifference, EventMatching, Side, TooManyUnmatched
from bbs.shadow.sides import Followed, OneSide, SideFailed

OPEN_MAX_S: Final = 60.0
"""How long it may take until both sides are subscribed to."""

PAUSE_S: Final = 5.0
"""Between two windows."""


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    subscribe: Callable[[BBSClient], Awaitable[EventSource]]


STREAMS: Final = (
    Stream("instance events", BBSClient.subscribe_to_instance_events),
    Stream("group events", BBSClient.subscribe_to_events),
    Stream("task events", BBSClient.subscribe_to_task_events),
)


class WindowVoid(Exception):
    """Events were lost on one side, or can't be told one by one. The text says why."""


class StreamComparison:
    """Of one kind of stream. ``voids`` counts windows that ended before they should, by reason; ``unreadable`` the events that
    could not be understood, by side. ``on_differences`` is called when there are some, and must not raise.
    """

    def __init__(
        self,
        stream: Stream,
        sides: Sequence[OneSide],
        followed: Followed,
        *,
        grace_s: float,
        on_differences: Callable[[Sequence[EventDifference]], None],
        on_void: Callable[[str], None],
    ) -> None:
        self.name = stream.name
        self.voids: dict[str, int] = {}
        self.unreadable: dict[Side, int] = dict.fromkeys(Side, 0)
        self.watched_s = 0.0
        self._stream = stream
        self._sides = sides
        self._followed = followed
        self._matching = EventMatching(grace_s=grace_s)
        self._judge_every_s = min(1.0, grace_s / 4)
        self._on_differences = on_differences
        self._on_void = on_void
        self.counts = self._matching.counts

    async def run(self) -> NoReturn:
        while True:
            try:
                await self._window()
            except* (SideFailed, WindowVoid, TooManyUnmatched) as void:
                reason = str(root_cause(void))
                if reason not in self.voids:
                    self._on_void(reason)
                self.voids[reason] = self.voids.get(reason, 0) + 1
            await trio.sleep(PAUSE_S)

    async def _window(self) -> None:
        if not self._followed.is_streaming:
            raise WindowVoid("the follower looks through the database, and does not see each change")
        streams = self._followed.streams
        follower, master = sorted(self._sides, key=lambda side: side.side is Side.MASTER)
        # The follower first: it is later to tell of the same thing.
        with trio.move_on_after(OPEN_MAX_S) as opening:
            async with follower.client_of_one_stream() as its, master.client_of_one_stream() as theirs:
                with follower.failures_named():
                    follower_source = await self._stream.subscribe(its)
                async with follower_source:
                    with master.failures_named():
                        master_source = await self._stream.subscribe(theirs)
                    async with master_source:
                        opening.deadline = inf
                        await self._compare(
                            {Side.MASTER: master_source, Side.FOLLOWER: follower_source}, streams
                        )
        raise WindowVoid("a server did not open its stream in time")

    async def _compare(self, sources: dict[Side, EventSource], streams: int) -> None:
        began = trio.current_time()
        self._matching.begin(began)
        try:
            async with trio.open_nursery() as nursery:
                for side in self._sides:
                    nursery.start_soon(self._read, side, sources[side.side])
                while True:
                    await trio.sleep(self._judge_every_s)
                    if self._followed.streams != streams or not self._followed.is_streaming:
                        raise WindowVoid("the follower's stream of changes was lost and begun anew")
                    if differences := self._matching.judge(trio.current_time()):
                        self._on_differences(differences)
        finally:
            self.watched_s += trio.current_time() - began
            self._matching.end()

    async def _read(self, side: OneSide, source: EventSource) -> NoReturn:
        while True:
            event: Event
            try:
                with side.failures_named():
                    event = await source.next()
            except (InvalidEventPayload, UnrecognizedEventType):
                self.unreadable[side.side] += 1
                continue
            self._matching.arrived(side.side, event, trio.current_time())
