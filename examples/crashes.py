"""Tells of crashes of instances, each once, whatever happens to the server meanwhile."""

from collections.abc import Callable

import trio

from bbs.client import (
    BadEventSourceResponse,
    BBSClient,
    BBSError,
    EventSourceError,
    Presence,
    TransportError,
    pb,
)

PAUSE_S = 1.0


class Crashes:
    """``tell`` is given a line for each crash.

    What happened while no stream could be had is known by the count of the instance's row: one line, however many crashes it were.
    The count begins anew with the first crash after five quiet minutes, so one that makes it what it was goes unnoticed then.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._known: dict[tuple[str, int], tuple[int, int]] = {}
        """Of an instance: how many crashes are counted, and up to when, in Unix nanoseconds, they have been told."""

    async def follow(self, bbs: BBSClient) -> None:
        """Until cancelled. A stream that ends has lost events, so each one begins with a list."""
        while True:
            try:
                async with await bbs.subscribe_to_instance_events(once=True) as events:
                    for lrp in await bbs.actual_lrps():
                        if lrp.presence == Presence.ORDINARY:
                            self._listed(lrp)
                    async for event in events:
                        match event.message:
                            case pb.ActualLRPCrashedEvent() as crash:
                                self._happened(crash)
            except (BBSError, TransportError, EventSourceError, BadEventSourceResponse):
                pass
            await trio.sleep(PAUSE_S)

    def _listed(self, lrp: pb.ActualLRP) -> None:
        at = lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index
        count, _ = self._known.get(at, (0, 0))
        if lrp.crash_count not in (0, count):
            self._say(lrp.actual_lrp_key, lrp.crash_reason)
        self._known[at] = lrp.crash_count, lrp.since

    def _happened(self, crash: pb.ActualLRPCrashedEvent) -> None:
        """What happened after subscribing, and before the list was made, is in both."""
        at = crash.actual_lrp_key.process_guid, crash.actual_lrp_key.index
        _, told_until_ns = self._known.get(at, (0, 0))
        if crash.since > told_until_ns:
            self._say(crash.actual_lrp_key, crash.crash_reason)
            self._known[at] = crash.crash_count, crash.since

    def _say(self, key: pb.ActualLRPKey, reason: str) -> None:
        self._tell(f"{key.process_guid}/{key.index} has crashed: {reason}")
