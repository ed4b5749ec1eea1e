"""The feeds of events, and the subscriptions that merge them into streams (spec: events.md §1-§6).

`EventHubs.publish` runs between two commits, without a checkpoint, so what it queues is in the order of commits for
everybody. It asks an announcement for a feed's events only if the feed has an audience, and an
event for its bytes only if somebody in that audience gets it: once per payload version, since all receivers of a
version share one tail (`bbs.sync.hubs.sse`).

A feed files its subscriptions by payload version: those without a cell filter in one set, the others by cell. So an
event costs what its receivers cost, not the size of the crowd.

A subscription is live, then ended, and never live again. It ends when it is closed, when one of its feeds is closed,
when it is too slow, or when it cannot be told what happened. Ending takes it out of all its feeds, so that nothing is
queued behind a gap; what was queued before is still received.

A full queue ends its subscription rather than drop an event or wait. A client that missed one event without knowing would
be wrong about the fleet for as long as it listens; one whose stream ends subscribes anew and lists everything. To wait
would let the slowest client hold up all the others, and the commits.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from bbs.models.events import Event, Hub, UnresolvableGroup
from bbs.models.outcome import Announcement
from bbs.models.versions import Version
from bbs.sync.hubs.sse import event_tail, numbered

# Upstream's bound, which its clients have lived with. Tails are shared, so a stalled subscriber of its own holds 8 kB of
# references; what it alone keeps alive is at most these events, about 1 kB each as a rule.
SUBSCRIBER_EVENTS_MAX: Final = 1024

# An LRP may be desired with megabytes, of which so many events would fill the memory. So those larger than this are counted
# by their bytes, too; the others cannot come to more than 16 MiB.
LARGE_EVENT_BYTES: Final = 16 * 1024
SUBSCRIBER_LARGE_BYTES_MAX: Final = 64 << 20

# What one receive hands over, give or take an event: a thousand subscribers that wake up together copy 256 MB at most.
RECEIVE_BYTES_MAX: Final = 256 * 1024

# Payloads of the other feeds are the same at every version, so one set of bytes serves all their subscribers.
VERSIONED_FEEDS: Final = frozenset({Hub.DESIRED, Hub.TASK})

CELL_FILTERED_FEEDS: Final = frozenset({Hub.GROUP, Hub.INSTANCE})


class HubClosed(Exception):
    """A feed to subscribe to is closed: the server is stopping."""

    def __init__(self) -> None:
        super().__init__("subscribed to closed hub")


class Log(Protocol):
    """The part of a logger that is used here."""

    def error(
        self,
        action: str,
        data: Mapping[str, object] | None = None,
        /,
        *,
        error: BaseException | str | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    """``subscribers`` are those of now; a stream counts in each of its feeds. The others count since the start.

    ``published`` counts events that had at least one receiver; ``delivered`` counts an event once for each receiver.
    ``cut_off`` are streams ended because they were too slow, ``ended_untold`` those ended because an event could not be
    resolved or encoded for them.
    """

    subscribers: Mapping[Hub, int]
    published: int
    delivered: int
    cut_off: int
    ended_untold: int


class Subscription:
    """One stream of events, merged from one or more feeds. Made by `EventHubs.subscribe`; close it in the end."""

    __slots__ = ("_large_bytes", "_leave", "_live", "_next_id", "_queue", "_receiving", "_waker", "cell_id")

    def __init__(self, *, cell_id: str, leave: Callable[["Subscription"], None]) -> None:
        self.cell_id: Final = cell_id
        self._leave = leave
        self._queue: deque[bytes] = deque()
        self._large_bytes = 0
        """Of the large events in the queue."""
        self._next_id = 0
        self._live = True
        self._receiving = False
        # Only while somebody waits. A `ClearableEvent` would cost each event 0.2 us more for each subscriber.
        self._waker: trio.Event | None = None

    @property
    def queued_events(self) -> int:
        return len(self._queue)

    async def receive(self) -> bytes:
        """Wait for an event, then return the text of all that is queued, up to about `RECEIVE_BYTES_MAX`.

        There is no deadline: quiet is a stream's normal state, and a dead client is noticed by whoever reads from it.

        Raises:
          trio.EndOfChannel: nothing is queued and nothing will be, also if `close` was called meanwhile.
          trio.BusyResourceError: another task is waiting in here.
        Cancellation:
          Loses no event.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this subscription")
        self._receiving = True
        try:
            await self._wait_until_there_is_something_to_tell()
        finally:
            self._receiving = False
            self._waker = None
        if not self._queue:
            raise trio.EndOfChannel
        return self._take()

    def close(self) -> None:
        """End the stream and forget what is queued. Closing twice is harmless."""
        self._end()
        self._queue.clear()

    async def _wait_until_there_is_something_to_tell(self) -> None:
        if self._queue or not self._live:
            await trio.lowlevel.checkpoint()
        else:
            self._waker = trio.Event()
            await self._waker.wait()

    def _take(self) -> bytes:
        queue, first_id = self._queue, self._next_id
        if sum(map(len, queue)) <= RECEIVE_BYTES_MAX:
            tails = list(queue)
            queue.clear()
            self._large_bytes = 0
        else:
            tails, taken_bytes = [], 0
            while queue and taken_bytes < RECEIVE_BYTES_MAX:
                tails.append(queue.popleft())
                taken_bytes += len(tails[-1])
            self._large_bytes -= sum(size for size in map(len, tails) if size > LARGE_EVENT_BYTES)
        self._next_id += len(tails)
        return numbered(tails, first_id=first_id)

    def _offer(self, tail: bytes) -> bool:
        """Queue an event, if there is room for it."""
        if len(self._queue) >= SUBSCRIBER_EVENTS_MAX:
            return False
        self._queue.append(tail)
        if self._waker is not None:
            self._waker.set()
        return True

    def _offer_large(self, tail: bytes) -> bool:
        """`_offer` for an event of more than `LARGE_EVENT_BYTES`."""
        if self._large_bytes + len(tail) > SUBSCRIBER_LARGE_BYTES_MAX or not self._offer(tail):
            return False
        self._large_bytes += len(tail)
        return True

    def _end(self) -> None:
        if self._live:
            self._live = False
            self._leave(self)
            if self._waker is not None:
                self._waker.set()


Audience = dict[Version, set[Subscription]]


@dataclass(slots=True)
class _Feed:
    hub: Hub
    closed: bool = False
    unfiltered: Audience = field(default_factory=dict)
    by_cell: dict[str, Audience] = field(default_factory=dict)
    subscribers: int = 0

    def add(self, subscription: Subscription, version: Version) -> None:
        audience = self._audience(subscription.cell_id)
        audience.setdefault(self._payload_version(version), set()).add(subscription)
        self.subscribers += 1

    def discard(self, subscription: Subscription, version: Version) -> None:
        version = self._payload_version(version)
        audience = self._audience(subscription.cell_id)
        audience[version].remove(subscription)
        self.subscribers -= 1
        if not audience[version]:
            del audience[version]
            if not audience and audience is not self.unfiltered:
                del self.by_cell[subscription.cell_id]

    def everybody(self) -> Iterator[Subscription]:
        for subscriptions in self.unfiltered.values():
            yield from subscriptions
        yield from self.filtered()

    def filtered(self) -> Iterator[Subscription]:
        for audience in self.by_cell.values():
            for subscriptions in audience.values():
                yield from subscriptions

    def audiences(self, event: Event) -> Iterator[Audience]:
        """Who gets ``event``, nobody twice.

        Raises:
          UnresolvableGroup: nobody can say which filters let it pass. The unfiltered ones were yielded before.
        """
        if self.unfiltered:
            yield self.unfiltered
        if self.by_cell:
            cells = event.cells()
            for cell_id in self.by_cell.keys() if cells is None else cells:
                if (audience := self.by_cell.get(cell_id)) is not None:
                    yield audience

    def _audience(self, cell_id: str) -> Audience:
        if cell_id and self.hub in CELL_FILTERED_FEEDS:
            return self.by_cell.setdefault(cell_id, {})
        return self.unfiltered

    def _payload_version(self, version: Version) -> Version:
        return version if self.hub in VERSIONED_FEEDS else Version.V3


class EventHubs:
    """The four feeds. Everything but `Subscription.receive` is sync, so publishing and subscribing never interleave."""

    def __init__(self, *, log: Log) -> None:
        self._log = log
        self._feeds: Final = {hub: _Feed(hub) for hub in Hub}
        self._published = self._delivered = self._cut_off = self._ended_untold = 0

    def subscribe(self, feeds: frozenset[Hub], *, version: Version, cell_id: str = "") -> Subscription:
        """A stream of the events of ``feeds`` that are published from now on.

        ``version`` is that of desired-LRP and task payloads. A ``cell_id`` lets only that cell's events of the group
        and instance feeds pass; all other events always do.

        Raises:
          HubClosed: one of the feeds is closed.
        """
        assert feeds
        assert not feeds >= CELL_FILTERED_FEEDS, "no stream has both views of actual LRPs"
        joined = [self._feeds[hub] for hub in feeds]
        if any(feed.closed for feed in joined):
            raise HubClosed

        def leave(subscription: Subscription) -> None:
            for feed in joined:
                feed.discard(subscription, version)

        subscription = Subscription(cell_id=cell_id, leave=leave)
        for feed in joined:
            feed.add(subscription, version)
        return subscription

    def publish(self, announcements: Iterable[Announcement]) -> None:
        """Queue the events of ``announcements`` with everybody whom they concern. Called in the order of commits."""
        for announcement in announcements:
            for feed in self._feeds.values():
                if feed.subscribers:
                    for event in announcement.events(feed.hub):
                        self._publish_event(feed, event)

    def close_feed(self, hub: Hub) -> None:
        """End all streams that this feed is part of; nobody can subscribe to it again. Closing twice is harmless."""
        self._feeds[hub].closed = True
        self._end_streams_of(self._feeds[hub])

    def end_streams(self) -> None:
        """End all streams. Clients may subscribe again."""
        for feed in self._feeds.values():
            self._end_streams_of(feed)

    def _end_streams_of(self, feed: _Feed) -> None:
        for subscription in list(feed.everybody()):
            subscription._end()

    def close(self) -> None:
        """Close every feed: all streams end, and nobody can subscribe any more."""
        for hub in Hub:
            self.close_feed(hub)

    def statistics(self) -> HubStatistics:
        return HubStatistics(
            subscribers={hub: feed.subscribers for hub, feed in self._feeds.items()},
            published=self._published,
            delivered=self._delivered,
            cut_off=self._cut_off,
            ended_untold=self._ended_untold,
        )

    def _publish_event(self, feed: _Feed, event: Event) -> None:
        tails: dict[Version, bytes | None] = {}
        delivered = self._delivered
        gone: list[Subscription] = []
        slow: list[Subscription] = []
        try:
            for audience in feed.audiences(event):
                for version, subscriptions in audience.items():
                    if version not in tails:
                        tails[version] = self._tail(event, version)
                    tail = tails[version]
                    if tail is None:
                        gone += subscriptions
                        continue
                    # Chosen here, so that small events, which are nearly all, cost a subscriber no more.
                    offer = (
                        Subscription._offer if len(tail) <= LARGE_EVENT_BYTES else Subscription._offer_large
                    )
                    full = [subscription for subscription in subscriptions if not offer(subscription, tail)]
                    self._delivered += len(subscriptions) - len(full)
                    slow += full
        except UnresolvableGroup:
            gone += feed.filtered()
        self._published += self._delivered > delivered
        # Only now, since those who end leave the sets that were being gone through.
        for subscription in gone:
            self._ended_untold += 1
            subscription._end()
        for subscription in slow:
            self._cut_off += 1
            self._log.error(
                "got-error-sending-event", {"cell_id": subscription.cell_id}, error="slow consumer"
            )
            subscription._end()

    def _tail(self, event: Event, version: Version) -> bytes | None:
        try:
            return event_tail(event.name, event.encode(version))
        except Exception as error:
            # An event that has no bytes must not undo the commit it tells of, which is durable already: the streams
            # that it should have gone to end instead, so their clients read the whole state anew.
            self._log.error("failed-to-encode-event", {"event": event.name}, error=error)
            return None
