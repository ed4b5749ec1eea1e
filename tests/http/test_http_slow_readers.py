"""Peers that read slowly, or not at all, what may be much: they take a bounded part of the memory, and nobody waits for them."""

import resource
from pathlib import Path

import pytest

from bbs.http.endpoints import Call, EventStream, Route, RouteTable
from bbs.http.limits import Limits
from bbs.log import null_logger
from bbs.models.events import Hub
from bbs.models.outcome import Told
from bbs.models.versions import Version
from bbs.sync.hubs.hub import SUBSCRIBER_EVENTS_MAX, EventHubs, Subscription
from tests.http.serving import Contexts, Wire, World, post, serving_lane
from tests.sync.samples import INSTANCE_STREAM, FakeEvent

PATIENT = Limits(linger_s=0.2, send_stall_s=300)
"""Nobody is dropped for being slow: what is held meanwhile is what counts here."""
SLOW_READERS = 30
ANSWER = [b"x" * (1 << 20)] * 16
"""16 MiB, made once for all."""
READER_BYTES_MAX = 4 << 20
"""More than a slice, encrypted or not, and what lies in front of the kernel; a quarter of the answer."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def is_served(wire: Wire) -> None:
    await wire.send(post("/v1/echo", b"witness"))
    assert (await wire.read_response()).body == b"witness"


@pytest.mark.slow
async def test_a_large_answer_is_not_kept_for_each_who_does_not_read_it(
    world: World, contexts: Contexts, lane: str
) -> None:
    world.pieces = ANSWER
    size = sum(map(len, ANSWER))
    async with serving_lane(world, lane, contexts, PATIENT) as served:
        witness = await served.connect()
        slow = [await served.connect() for _ in range(SLOW_READERS)]
        for wire in slow:
            await is_served(wire)
        before = resident_bytes()
        for wire in slow:
            await wire.send(post("/v1/pieces"))
            head = await wire.read_until(b"\r\n\r\n")
            assert f"content-length: {size}" in head.decode().lower()
            await is_served(witness)

        grown_by = resident_bytes() - before
        print(
            f"{SLOW_READERS} readers of {size >> 20} MiB, {lane}: {grown_by / SLOW_READERS / 1024:.0f} KiB each"
        )
        assert grown_by < SLOW_READERS * READER_BYTES_MAX
        for wire in slow[:2]:  # who reads on gets the rest
            assert await wire.count_bytes(size) == size
            await is_served(wire)


class Fleet(World):
    """Whose streams are those of the real feeds."""

    def __init__(self) -> None:
        super().__init__()
        self.hubs = EventHubs(log=null_logger())
        self.subscriptions: list[Subscription] = []

    def table(self) -> RouteTable:
        routes = [route for route in super().table().routes if route.path != "/v1/events.r1"]
        return RouteTable([*routes, Route("Events", "POST", "/v1/events.r1", EventStream(self._subscribe))])

    async def _subscribe(self, call: Call) -> Subscription:
        self.subscriptions.append(self.hubs.subscribe(INSTANCE_STREAM, version=Version.V3))
        return self.subscriptions[-1]


EVENT_BYTES = 8_000
EVENTS = 4 * SUBSCRIBER_EVENTS_MAX
BURST = 64
STALLED = 20


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["fast", "slow-tls"])
async def test_subscribers_who_do_not_read_are_cut_off_and_whoever_reads_has_every_event(
    contexts: Contexts, lane: str
) -> None:
    fleet = Fleet()
    async with serving_lane(fleet, lane, contexts, PATIENT) as served:
        witness, reader = await served.connect(), await served.connect()
        stalled = [await served.connect() for _ in range(STALLED)]
        for wire in (reader, *stalled):
            await wire.send(post("/v1/events.r1"))
            await wire.read_until(b"\r\n\r\n")
        before, most = resident_bytes(), 0
        for first in range(0, EVENTS, BURST):
            fleet.hubs.publish(
                [
                    Told(Hub.INSTANCE, FakeEvent(f"{number:08d}".ljust(EVENT_BYTES)))
                    for number in range(first, first + BURST)
                ]
            )
            await reader.read_until(b"id: %d\n" % (first + BURST - 1))
            await is_served(witness)
            most = max(most, resident_bytes() - before)
        print(
            f"{EVENTS:,} events of {EVENT_BYTES:,} bytes, {STALLED} stalled, {lane}: {most >> 20} MiB at most"
        )

        statistics = fleet.hubs.statistics()
        assert statistics.cut_off == STALLED
        assert statistics.subscribers[Hub.INSTANCE] == 1
        # Their queues share what is in them: so it is once the longest queue, and once for each what it was being sent.
        assert most < 3 * SUBSCRIBER_EVENTS_MAX * EVENT_BYTES + STALLED * READER_BYTES_MAX
