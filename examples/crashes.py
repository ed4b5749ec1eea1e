"""Tells of each crash of an instance once, whatever happens to the server meanwhile."""

from collections.abc import Callable

import trio

from bbs.client import BadEventSourceResponse, BBSClient, EventSourceError, TransportError
from bbs.models import pb
from bbs.models.errors import BBSError

PAUSE_S = 1.0


class Crashes:
    """``tell`` is given a line for each crash."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: dict[tuple[str, int], int] = {}

    async def follow(self, bbs: BBSClient) -> None:
        """Until cancelled. A stream that ends has lost events, so each one begins with a list."""
        while True:
            try:
                async with await bbs.subscribe_to_instance_events(once=True) as events:
                    for lrp in await bbs.actual_lrps():
                        self._note(lrp.actual_lrp_key, lrp.crash_count, lrp.crash_reason)
                    async for event in events:
                        match event.message:
                            case pb.ActualLRPCrashedEvent() as crash:
                                self._note(crash.actual_lrp_key, crash.crash_count, crash.crash_reason)
            except (BBSError, TransportError, EventSourceError, BadEventSourceResponse):
                await trio.sleep(PAUSE_S)

    def _note(self, key: pb.ActualLRPKey, count: int, reason: str) -> None:
        at = key.process_guid, key.index
        if count > self._told.get(at, 0):
            self._tell(f"{key.process_guid}/{key.index} has crashed: {reason}")
        self._told[at] = count
