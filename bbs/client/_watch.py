"""Keeping a `Fleet` as the server has it: subscribe, list, compare, follow, and all of it again when the stream ends.

It subscribes before it lists, so that nothing falls between the two; `KnownRows` sorts out what comes twice. While streams
last, events are all there is. A list is asked for again only where one contradicts what a former stream told (a follower
that is behind, or something that was removed meanwhile: the next lists, or events, decide), and at intervals if wanted.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Final

import trio

from bbs.client import _routes as routes
from bbs.client._changes import Kind, what_is_told
from bbs.client._errors import (
    BadEventSourceResponse,
    CertificateRefused,
    EndpointNotFound,
    EventSourceError,
    ServerNotTrusted,
    TransportError,
    TransportTimeout,
    UnexpectedStatus,
    UnrecognizedEventType,
    WatchFailed,
)
from bbs.client._events import EventSource
from bbs.client._fleet import Fleet, nothing_known
from bbs.client._known_rows import Trust
from bbs.client._log import Log
from bbs.client._watched_server import WatchedServer
from bbs.models.errors import BBSError

PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
"""Between two connections: twice as long each time, of which a random half is left out, so that the subscribers of a server that
was restarted do not come all at once.
"""

STEADY_S: Final = 60.0
"""A connection that lasted so long begins the pauses anew. One that is cut off again and again soon after its list does not."""

DOUBT_PAUSES_S: Final = (0.5, 1.0, 2.0)
"""Before each list that is to settle a contradiction, of which the last is the truth. So what was removed while nobody listened
may be told some seconds late, where a follower that is a few seconds behind would otherwise undo what it has not heard of.
"""

CELL_RELIST_S: Final = 60.0
"""The filter of a cell's stream hides that another cell took over an instance which this one had claimed (spec: events.md §6).
Upstream's route-emitters list as often.
"""

Trouble = TransportError | BadEventSourceResponse | BBSError | EventSourceError
TROUBLE: Final = (TransportError, BadEventSourceResponse, BBSError, EventSourceError)

TRY_AGAIN_STATUSES: Final = frozenset({408, 421, 425, 429})
"""Besides those of 500 and more."""


@asynccontextmanager
async def watching(
    server: WatchedServer,
    *,
    tasks: bool,
    relist_every_s: float,
    start_within_s: float,
    random: Random,
    log: Log,
) -> AsyncIterator[Fleet]:
    """A fleet that is kept up to date as long as the block runs. See `BBSClient.watch`."""
    kinds = (Kind.DESIRED_LRP, Kind.ACTUAL_LRP, *((Kind.TASK,) if tasks else ()))
    watch = Watch(server, kinds, relist_every_s=relist_every_s, random=random, log=log)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            with trio.move_on_after(start_within_s) as patience:
                await watch.started.wait()
            if patience.cancelled_caught:
                raise TransportTimeout(
                    f"{server.url}: no snapshot within {start_within_s:g} s; last: {watch.fleet.trouble}"
                )
            watch.require_not_failed()
            try:
                yield watch.fleet
            finally:
                watch.fleet.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The nursery is nobody's business outside: what the block raises comes out as it is.
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from group.exceptions[0].__cause__


class Watch:
    """``started`` is set when the fleet shows the first snapshot, or when there will be none."""

    def __init__(
        self,
        server: WatchedServer,
        kinds: Sequence[Kind],
        *,
        relist_every_s: float,
        random: Random,
        log: Log,
    ) -> None:
        self._server = server
        self._known = nothing_known(kinds)
        self.fleet: Final = Fleet(self._known)
        self.started: Final = trio.Event()
        self._failure: WatchFailed | None = None
        self._relist_every_s = relist_every_s
        self._random = random
        self._log = log
        self._doubted = trio.Event()

    def require_not_failed(self) -> None:
        """Raises: WatchFailed: it has."""
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Keep the fleet up to date until cancelled, or until that is of no use."""
        pause_s = PAUSE_S
        while True:
            began_s = trio.current_time()
            trouble = await self._follow()
            if not _may_heal(trouble):
                self._log.error("failed", error=trouble)
                self._failure = WatchFailed(f"watching {self._server.url}: {trouble}")
                self._failure.__cause__ = trouble
                self.fleet.fail(self._failure)
                self.started.set()
                return
            if trio.current_time() - began_s >= STEADY_S:
                pause_s = PAUSE_S
            again_in_s = pause_s * self._random.uniform(0.5, 1)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
            self._log.error("reconnecting", {"again_in_s": round(again_in_s, 3)}, error=trouble)
            await trio.sleep(again_in_s)

    async def _follow(self) -> Trouble:
        """From one subscription to its end; returns why it ended."""
        try:
            async with AsyncExitStack() as stack:
                sources = [
                    await stack.enter_async_context(self._server.subscribed(route))
                    for route in self._stream_routes()
                ]
                trouble = await self._follow_streams(sources)
        except TROUBLE as error:
            trouble = error
        self.fleet.fell_behind(str(trouble))
        return trouble

    def _stream_routes(self) -> Iterable[routes.StreamRoute]:
        yield routes.INSTANCE_EVENTS
        if Kind.TASK in self._known:
            yield routes.TASK_EVENTS

    async def _follow_streams(self, sources: Sequence[EventSource]) -> Trouble:
        self.fleet.connections += 1
        self._log.debug("subscribed", {"connection": self.fleet.connections})
        for rows in self._known.values():
            rows.subscribed()
        troubles: list[Trouble] = []
        async with trio.open_nursery() as nursery:

            async def until_trouble(work: Callable[[], Awaitable[None]]) -> None:
                try:
                    await work()
                except TROUBLE as trouble:
                    troubles.append(trouble)
                    nursery.cancel_scope.cancel()

            for source in sources:
                nursery.start_soon(until_trouble, partial(self._read, source))
            nursery.start_soon(until_trouble, self._list_when_needed)
        return troubles[0]

    async def _read(self, source: EventSource) -> None:
        """Take events until the stream ends, or brings one that can't be read: what it says would be missing."""
        while True:
            try:
                event = await source.next()
            except UnrecognizedEventType:
                continue
            for told in what_is_told(event.message):
                rows = self._known[told.kind]
                if rows.told(told.key, before=told.before, after=told.after):
                    self.fleet.has_changed(told.kind, told.key)
                if rows.has_doubts:
                    self._doubted.set()

    async def _list_when_needed(self) -> None:
        """List once, and again whenever there are doubts, or the interval is over."""
        for kind in self._known:
            await self._list(kind)
        self._server.at_least.listed()
        self.fleet.snapshots += 1
        if not self.started.is_set():
            self.fleet.show_all()
            self.started.set()
        doubtful_lists = 0
        while True:
            doubtful = [kind for kind, rows in self._known.items() if rows.has_doubts]
            if doubtful:
                self.fleet.fell_behind("a list contradicts what was told")
                await trio.sleep(DOUBT_PAUSES_S[doubtful_lists])
                doubtful_lists += 1
                settles = doubtful_lists == len(DOUBT_PAUSES_S)
                for kind in doubtful:
                    if self._known[kind].has_doubts:
                        await self._list_again(kind, settles=settles)
                doubtful_lists %= len(DOUBT_PAUSES_S)
                continue
            doubtful_lists = 0
            self.fleet.caught_up()
            self._doubted = trio.Event()
            with trio.move_on_after(self._relist_every_s):
                await self._doubted.wait()
                continue
            for kind in self._known:
                await self._list_again(kind)
            self.fleet.snapshots += 1

    async def _list_again(self, kind: Kind, *, settles: bool = False) -> None:
        self._known[kind].listing()
        await self._list(kind, settles=settles)

    async def _list(self, kind: Kind, *, settles: bool = False) -> None:
        settles = settles or self._server.at_least.starts_over
        listed = await self._server.list(kind)
        rows = self._known[kind]
        trust = Trust.SETTLES if settles else Trust.MAY_BE_BEHIND
        if not listed.has_token:
            trust = Trust.KNOWS_ALL  # upstream's server has no tokens, and no followers
        new, gone = rows.merge(listed.rows, trust)
        for key in (*new, *gone):
            self.fleet.has_changed(kind, key)
        self._log.debug(
            "listed",
            {"kind": kind.value, "rows": len(listed.rows), "new": len(new), "gone": len(gone), "doubts": len(rows.doubts)},
        )  # fmt: skip


def _may_heal(trouble: Trouble) -> bool:
    match trouble:
        case EndpointNotFound() | ServerNotTrusted() | CertificateRefused():
            return False
        case BadEventSourceResponse(status=status) | UnexpectedStatus(status=status):
            return status >= 500 or status in TRY_AGAIN_STATUSES
        case _:
            return True
