"""``bbs events``: both event streams in one output, for as long as it takes, whatever becomes of the server meanwhile.

A BBS keeps no history, so without ``--follow`` there is only what rows tell of the past: the state of each, and since when.
With it, both streams are subscribed to before lists are taken, so that nothing falls between the two. When a stream is lost, both are
given up; after the next lists it is known what differs from what was heard last, and that is shown as the events that would have told
of it. What came and went in between is in no list, so the time in which events may be missing is told, too.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from bbs.cfdot.bbs_calls import client_config, refused
from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.given import Given
from bbs.cfdot.main import Surroundings, form_for
from bbs.cfdot.target import Target
from bbs.client import (
    BadEventSourceResponse,
    BBSClient,
    Event,
    EventSource,
    EventSourceError,
    InvalidClientConfig,
    TransportError,
    TransportTimeout,
    UnrecognizedEventType,
    new_trace_id,
)
from bbs.console.choice import Choice, Record
from bbs.console.event_lines import EventLines, clock
from bbs.console.events_flags import is_followed, types_of
from bbs.console.last_heard import LastHeard
from bbs.models.errors import BBSError
from bbs.words.times import NS

PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 15.0
"""Between two connections: twice as long each time until one has worked, of which a random half is left out."""

BEGIN_MAX_S: Final = 120.0
"""For subscribing and for lists of a whole fleet; a server that takes longer is given up and asked anew."""

WAITING_EVENTS_MAX: Final = 1024
"""While lists are taken. More wait at the server, which has as many places for them before it cuts us off."""

Trouble = TransportError | BadEventSourceResponse | BBSError | EventSourceError
TROUBLE: Final = (TransportError, BadEventSourceResponse, BBSError, EventSourceError)


def call_events(given: Given, target: Target, surroundings: Surroundings) -> None:
    """
    Raises:
      CommandFailed: the BBS can't be asked in the beginning.
      BrokenPipeError: nobody reads any more.
    """
    flags = given.flags
    choice = Choice(
        types=types_of(given), cell_id=flags.text("cell"), process_guid=flags.text("process-guid")
    )
    lines = EventLines(surroundings, form_for(given, surroundings))
    until_s = flags.number("for") / NS if flags.has("for") else None
    trio.run(_call_events, target, choice, lines, is_followed(given), until_s)


async def _call_events(
    target: Target, choice: Choice, lines: EventLines, is_to_follow: bool, for_s: float | None
) -> None:
    try:
        async with BBSClient.connect(client_config(target)) as client:
            if not is_to_follow:
                records = await listed(client, choice)
                lines.now([record for record in records if choice.has_record(record)])
                return
            with trio.move_on_after(float("inf") if for_s is None else for_s):
                await Following(client, choice, lines, Random()).run()
    except BBSError as error:
        raise refused(error) from error
    except (*TROUBLE, InvalidClientConfig) as error:
        raise CommandFailed(str(error)) from error


async def listed(client: BBSClient, choice: Choice) -> Sequence[Record]:
    """All records that belong to what is chosen, those of other cells too if the server has no list without them: an instance
    that has moved to another cell is told from one that is gone.

    Raises:
      BBSError, TransportError: the BBS does not answer, or refuses.
    """
    trace_id, records = new_trace_id(), list[Record]()
    if choice.wants_lrps:
        guids = (choice.process_guid,) if choice.process_guid else None
        records += await client.actual_lrps(process_guid=choice.process_guid, trace_id=trace_id)
        records += await client.desired_lrp_routing_infos(process_guids=guids, trace_id=trace_id)
    if choice.wants_tasks:
        records += await client.tasks(trace_id=trace_id)
    return records


@dataclass(slots=True)
class Gap:
    """A time without events. ``since_ns`` is when the stream was lost, the wall clock's."""

    since_ns: int


class Following:
    """From the first subscription on, until cancelled. What goes wrong before that is raised; later it connects again."""

    def __init__(self, client: BBSClient, choice: Choice, lines: EventLines, random: Random) -> None:
        self._client = client
        self._choice = choice
        self._lines = lines
        self._random = random
        self._heard: Final = LastHeard()
        self._has_begun = False
        self._gap: Gap | None = None
        self._pause_s = PAUSE_S

    async def run(self) -> None:
        """
        Raises:
          BBSError, TransportError, BadEventSourceResponse: in the beginning.
          BrokenPipeError, CommandFailed: lines can't be written.
        """
        while True:
            try:
                await self._follow_once()
            except TROUBLE as trouble:
                if not self._has_begun:
                    raise
                await self._rest(trouble)

    async def _rest(self, trouble: Trouble) -> None:
        pause_s = self._pause_s * self._random.uniform(0.5, 1)
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
        if self._gap is None:
            self._gap = Gap(time.time_ns())
            what = "no events from now on"
        else:
            what = f"no events since {clock(self._gap.since_ns)}"
        self._lines.word(f"{what}: {trouble}; connecting again in {pause_s:.1f} s")
        await trio.sleep(pause_s)

    async def _follow_once(self) -> None:
        """Subscribe, list, and show events until one of the streams ends."""
        async with AsyncExitStack() as stack:
            sources: list[EventSource] = []
            with trio.move_on_after(BEGIN_MAX_S) as patience:
                if self._choice.wants_lrps:
                    sources.append(await self._client.subscribe_to_instance_events(once=True))
                    await stack.enter_async_context(sources[-1])
                if self._choice.wants_tasks:
                    sources.append(await self._client.subscribe_to_task_events(once=True))
                    await stack.enter_async_context(sources[-1])
            if patience.cancelled_caught:
                raise TransportTimeout(f"not subscribed within {BEGIN_MAX_S:g} s")
            await self._follow_sources(sources)

    async def _follow_sources(self, sources: Sequence[EventSource]) -> None:
        failure: Exception | None = None
        send, receive = trio.open_memory_channel[Event | EventSourceError](WAITING_EVENTS_MAX)
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(_read, source, send)
            try:
                await self._list()
                await self._show(receive)
            except (*TROUBLE, BrokenPipeError, CommandFailed) as error:
                failure = error  # raised outside, where it is in no group
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _list(self) -> None:
        with trio.move_on_after(BEGIN_MAX_S) as patience:
            records = await listed(self._client, self._choice)
        if patience.cancelled_caught:
            raise TransportTimeout(f"no lists within {BEGIN_MAX_S:g} s")
        changes = self._heard.compare(records)
        self._pause_s, is_first, self._has_begun = PAUSE_S, not self._has_begun, True
        if is_first:
            self._lines.word("following; Ctrl-C ends it")
            return
        assert self._gap is not None
        chosen = [event for event, concerned in changes if self._choice.has_event(event, concerned)]
        gap, self._gap = self._gap, None
        differences = f"{len(chosen)} differences" if len(chosen) != 1 else "1 difference"
        self._lines.word(
            f"connected again. Events from {clock(gap.since_ns)} until now are missing; by the lists there"
            f" {'is' if len(chosen) == 1 else 'are'} {differences} to what was told before"
        )
        for event in chosen:
            self._lines.found(event)

    async def _show(self, receive: "trio.MemoryReceiveChannel[Event | EventSourceError]") -> None:
        """
        Raises:
          EventSourceError: how the first stream ended that did.
        """
        async for item in receive:
            if not isinstance(item, Event):
                raise item
            concerned = self._heard.concerned(item)
            if self._heard.take(item) and self._choice.has_event(item, concerned):
                self._lines.event(item)


async def _read(source: EventSource, send: "trio.MemorySendChannel[Event | EventSourceError]") -> None:
    """Hand over each event, and in the end why there are no more."""
    while True:
        try:
            item: Event | EventSourceError = await source.next()
        except UnrecognizedEventType:
            continue
        except EventSourceError as end:
            item = end
        await send.send(item)
        if not isinstance(item, Event):
            return
