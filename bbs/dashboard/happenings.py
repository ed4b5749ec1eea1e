"""The events of the fleet in words, for pages that show them as they come.

Whatever is announced is put aside only while somebody looks, and put into words four times a second, and only what a page is going
to show: of those that pass its filter, `SHOWN_MAX` each time. The others are counted, and the page says how many it left out.
So a page that shows everything costs no more with a thousand events per second than with two hundred.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn

import trio
from google.protobuf.message import Message

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.dashboard.live import TooManyViewers
from bbs.dashboard.page_stream import WATCHERS_MAX, PageStream, framed
from bbs.log import Logger
from bbs.models import events as told
from bbs.models import pb
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement
from bbs.models.versions import Version
from bbs.words.events import BAD, GOOD, ON_ITS_WAY, WAITING, Words, in_words

INTERVAL_S: Final = 0.25
SHOWN_MAX: Final = 50
"""Events for one page that are put into words each time."""

UNSENT_MAX: Final = 500
"""Events that wait for a page to read them. Of more, the oldest are left out."""

KEPT_MAX: Final = 5_000
"""Announcements that wait to be put into words. Of more, the oldest are left out, for all pages."""

FEEDS: Final = (Hub.DESIRED, Hub.INSTANCE, Hub.TASK)
STYLES: Final = {GOOD: "good", BAD: "bad", WAITING: "waiting", ON_ITS_WAY: "coming", "": ""}

KINDS: Final = ("app", "instance", "crash", "task")
"""What pages choose by."""

_CLASSES: Final[dict[type[Event], tuple[str, type[Message]]]] = {
    told.DesiredLRPCreated: ("app", pb.DesiredLRPCreatedEvent),
    told.DesiredLRPChanged: ("app", pb.DesiredLRPChangedEvent),
    told.DesiredLRPRemoved: ("app", pb.DesiredLRPRemovedEvent),
    told.ActualLRPInstanceCreated: ("instance", pb.ActualLRPInstanceCreatedEvent),
    told.ActualLRPInstanceChanged: ("instance", pb.ActualLRPInstanceChangedEvent),
    told.ActualLRPInstanceRemoved: ("instance", pb.ActualLRPInstanceRemovedEvent),
    told.ActualLRPCrashed: ("crash", pb.ActualLRPCrashedEvent),
    told.TaskCreated: ("task", pb.TaskCreatedEvent),
    told.TaskChanged: ("task", pb.TaskChangedEvent),
    told.TaskRemoved: ("task", pb.TaskRemovedEvent),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events a page shows: those of ``kinds``, whose guid contains ``guid`` and which are about ``cell``, '' is any."""

    kinds: frozenset[str] = frozenset(KINDS)
    guid: str = ""
    cell: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What an event can be chosen by, and what it links to."""

    kind: str
    guid: str
    cells: tuple[str, ...]


class TooManyWatchers(TooManyViewers):
    """No more pages of events are opened until others end."""

    def __init__(self) -> None:
        Exception.__init__(
            self, f"{WATCHERS_MAX} pages of events are open at this server already; close some"
        )


class Watcher(PageStream):
    """One page that shows events."""

    def __init__(self, choice: Choice, greeting: bytes, leave: Callable[["Watcher"], None]) -> None:
        super().__init__(greeting, leave)
        self.choice = choice
        self._unsent: deque[str] = deque(maxlen=UNSENT_MAX)
        self._left_out = 0

    def wants(self, about: About) -> bool:
        choice = self.choice
        return (
            about.kind in choice.kinds
            and choice.guid in about.guid
            and (not choice.cell or choice.cell in about.cells)
        )

    def show(self, texts: Iterable[str], *, left_out: int) -> None:
        for text in texts:
            self._left_out += len(self._unsent) == UNSENT_MAX
            self._unsent.append(text)
        self._left_out += left_out
        self._woken.set()

    def _take_unsent(self) -> bytes:
        if not self._unsent and not self._left_out:
            return b""
        told_now = f'{{"left_out":{self._left_out},"events":[{",".join(self._unsent)}]}}'
        self._unsent.clear()
        self._left_out = 0
        return framed(("events", told_now))


@dataclass(slots=True)
class Happenings:
    """``published`` is to be called with all that is announced, in order. ``now_ns`` is the wall clock, ``greeting`` what a stream
    begins with.
    """

    now_ns: Callable[[], int]
    greeting: Callable[[], bytes]
    log: Logger
    _watchers: set[Watcher] = field(default_factory=set)
    _kept: deque[tuple[int, Announcement]] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    _forgotten: int = 0
    _came: ClearableEvent = field(default_factory=ClearableEvent)

    def published(self, announcements: Iterable[Announcement]) -> None:
        if self._watchers:
            now_ns = self.now_ns()
            for announcement in announcements:
                self._forgotten += len(self._kept) == KEPT_MAX
                self._kept.append((now_ns, announcement))
            self._came.set()

    def watch(self, choice: Choice) -> Watcher:
        """
        Raises:
          TooManyWatchers: there are as many as there may be.
        """
        if len(self._watchers) >= WATCHERS_MAX:
            raise TooManyWatchers
        watcher = Watcher(choice, self.greeting(), self._left)
        self._watchers.add(watcher)
        return watcher

    async def run(self) -> NoReturn:
        """Put into words what is announced, until cancelled. Waits as long as nothing is."""
        while True:
            await self._came.wait()
            self._came.clear()
            self._tell()
            await trio.sleep(INTERVAL_S)

    def _tell(self) -> None:
        kept, forgotten = list(self._kept), self._forgotten
        self._forget()
        found = list(_events(kept))
        texts: dict[int, str] = {}
        for watcher in self._watchers:
            wanted = [place for place, (_, _, about) in enumerate(found) if watcher.wants(about)]
            shown = wanted[-SHOWN_MAX:]
            for place in shown:
                if place not in texts:
                    texts[place] = self._text(*found[place])
            if wanted or forgotten:
                watcher.show([texts[place] for place in shown], left_out=len(wanted) - len(shown) + forgotten)

    def _left(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers:
            self._forget()

    def _forget(self) -> None:
        self._kept.clear()
        self._forgotten = 0

    def _text(self, at_ns: int, event: Event, about: About) -> str:
        """As JSON. One that can't be put into words is told of without any."""
        try:
            words = _words(event, about)
        except Exception as error:
            # Going on is safe: an event is only read. What it says of the fleet is on the other pages all the same.
            self.log.error("failed-to-put-event-into-words", {"event": event.name}, error=error)
            words = Words(f"{about.guid}: something that can't be put into words; the server's log has more")
        return json.dumps(
            {
                "at_ns": at_ns,
                "kind": about.kind,
                "guid": about.guid,
                "cells": sorted(set(about.cells)),
                "text": words.text,
                "style": STYLES[words.style],
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class _Read:
    """An event as `in_words` wants it."""

    name: str
    key: str
    message: Message


def _events(kept: Iterable[tuple[int, Announcement]]) -> Iterator[tuple[int, Event, About]]:
    for at_ns, announcement in kept:
        for feed in FEEDS:
            for event in announcement.events(feed):
                yield at_ns, event, about(event)


def about(event: Event) -> About:
    kind = _CLASSES[type(event)][0]
    match event:
        case told.DesiredLRPCreated(desired_lrp=lrp) | told.DesiredLRPRemoved(desired_lrp=lrp):
            return About(kind, lrp.process_guid, ())
        case told.DesiredLRPChanged(after=lrp):
            return About(kind, lrp.process_guid, ())
        case told.TaskCreated(task=task) | told.TaskRemoved(task=task):
            return About(kind, task.task_guid, _cells(task.cell_id))
        case told.TaskChanged(before=before, after=task):
            return About(kind, task.task_guid, _cells(task.cell_id or before.cell_id))
        case told.ActualLRPInstanceCreated(actual_lrp=row) | told.ActualLRPInstanceRemoved(actual_lrp=row):
            return About(kind, row.process_guid, _cells(row.instance.cell_id))
        case (
            told.ActualLRPInstanceChanged(before=was, after=row)
            | told.ActualLRPCrashed(before=was, after=row)
        ):
            return About(kind, row.process_guid, _cells(was.instance.cell_id, row.instance.cell_id))
        case _:
            raise AssertionError(f"of no feed that is shown: {event.name}")


def _cells(*cell_ids: str) -> tuple[str, ...]:
    return tuple(cell_id for cell_id in cell_ids if cell_id)


def _words(event: Event, about: About) -> Words:
    message = _CLASSES[type(event)][1].FromString(event.encode(Version.V3))
    return in_words(_Read(event.name, about.guid, message))
