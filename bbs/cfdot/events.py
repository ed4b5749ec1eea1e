"""The event streams, event by event as they come (spec: client.md §5.2)."""

from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import trio

from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.given import Given
from bbs.cfdot.rendering import Renderer
from bbs.client import (
    BadEventSourceResponse,
    BBSClient,
    EndOfStream,
    Event,
    EventSource,
    EventSourceError,
    TransportError,
)
from bbs.models.errors import UnknownError

GROUP_EVENTS: Final = frozenset(("actual_lrp_created", "actual_lrp_changed", "actual_lrp_removed"))
"""What only the older stream tells. Its other events come from the newer one, too."""

GROUP_EVENTS_WARNING: Final = (
    'Event types "actual_lrp_created", "actual_lrp_changed" and "actual_lrp_removed" are deprecated.'
    ' Use "--exclude-actual-lrp-groups" flag to exclude them.'
)


def warn_of_group_events(given: Given, renderer: Renderer) -> None:
    if not given.flags.switch("exclude-actual-lrp-groups"):
        renderer.warn(GROUP_EVENTS_WARNING)


async def task_events(client: BBSClient, renderer: Renderer) -> None:
    """Until the server ends the stream.

    Raises:
      UnknownError: the server does not offer it.
      CommandFailed: reading failed.
    """
    async with AsyncExitStack() as sources:
        source = await _subscribed(sources, client.subscribe_to_task_events())
        try:
            while True:
                _show(renderer, await source.next())
        except EndOfStream:
            return
        except EventSourceError as error:
            raise CommandFailed(str(error)) from error


async def lrp_events(client: BBSClient, renderer: Renderer, *, cell_id: str, with_groups: bool) -> None:
    """The events of one or two streams, until all have ended. One that fails does not end the other.

    Raises:
      UnknownError: the server does not offer a stream.
      CommandFailed: a stream failed; the text tells how each ended.
    """
    async with AsyncExitStack() as sources:
        streams: list[tuple[EventSource, frozenset[str] | None]] = []
        if with_groups:
            groups = await _subscribed(sources, client.subscribe_to_events(cell_id=cell_id))
            streams.append((groups, GROUP_EVENTS))
        instances = await _subscribed(sources, client.subscribe_to_instance_events(cell_id=cell_id))
        streams.append((instances, None))
        ends = await _merged(streams, renderer)
    if not all(isinstance(end, EndOfStream) for end in ends):
        raise CommandFailed(listed(ends))


Streams = Sequence[tuple[EventSource, frozenset[str] | None]]
"""Each with the names of the events that are shown of it; ``None`` is all."""


async def _merged(streams: Streams, renderer: Renderer) -> Sequence[EventSourceError]:
    """Show events as they come, until every stream has ended; how each did, in that order."""
    ends: list[EventSourceError] = []
    send, receive = trio.open_memory_channel[Event](0)

    async def read(
        source: EventSource, shown: frozenset[str] | None, send: trio.MemorySendChannel[Event]
    ) -> None:
        with send:
            try:
                while True:
                    event = await source.next()
                    if shown is None or event.name in shown:
                        await send.send(event)
            except EventSourceError as end:
                ends.append(end)

    nobody_reads: BrokenPipeError | None = None
    async with trio.open_nursery() as nursery:
        with send:
            for source, shown in streams:
                nursery.start_soon(read, source, shown, send.clone())
        try:
            async for event in receive:
                _show(renderer, event)
        except BrokenPipeError as error:
            nobody_reads = error
            nursery.cancel_scope.cancel()
    if nobody_reads is not None:
        raise nobody_reads
    return ends


def _show(renderer: Renderer, event: Event) -> None:
    renderer.show(event)
    renderer.flush()


async def _subscribed(sources: AsyncExitStack, subscribing: Awaitable[EventSource]) -> EventSource:
    """Upstream calls a stream that could not be had an unknown error of the BBS's."""
    try:
        return await sources.enter_async_context(await subscribing)
    except (TransportError, BadEventSourceResponse) as error:
        raise UnknownError(str(error)) from error


def listed(errors: Sequence[Exception]) -> str:
    """Errors as one text, as upstream's library for several errors at once has it."""
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"{count} occurred:\n\t" + "\n\t".join(f"* {error}" for error in errors) + "\n\n"
