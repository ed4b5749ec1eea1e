"""What the feeds promise their subscribers, each promise a test (spec: events.md §1-§6)."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from bbs.log import Logger, null_logger
from bbs.models.actual_lrp import ActualLRPState
from bbs.models.events import (
    ActualLRPCrashed,
    ActualLRPGroupChanged,
    ActualLRPGroupCreated,
    ActualLRPGroupRemoved,
    ActualLRPInstanceChanged,
    ActualLRPInstanceCreated,
    ActualLRPInstanceRemoved,
    Event,
    Group,
    Hub,
)
from bbs.models.outcome import Told
from bbs.models.versions import Version
from bbs.sync.hubs.hub import RECEIVE_BYTES_MAX, SUBSCRIBER_EVENTS_MAX, EventHubs, HubClosed
from tests.log_lines import Lines
from tests.sync.samples import (
    GROUP_STREAM,
    INSTANCE_STREAM,
    TASK_STREAM,
    FakeEvent,
    Received,
    lrp,
    parse,
    receive_all,
)


@pytest.fixture
def hubs(log: Logger) -> EventHubs:
    return EventHubs(log=log)


class Announced:
    """An announcement that remembers which feeds asked."""

    def __init__(self, **events: list[FakeEvent]) -> None:
        self._events = {Hub[name.upper()]: of_hub for name, of_hub in events.items()}
        self.asked: list[Hub] = []

    def events(self, hub: Hub) -> list[FakeEvent]:
        self.asked.append(hub)
        return self._events.get(hub, [])


def texts(received: list[Received]) -> list[str]:
    return [event.payload.decode().split("@")[0] for event in received]


def instance_events(count: int, *, first: int = 0) -> list[Told]:
    return [Told(Hub.INSTANCE, FakeEvent(str(number))) for number in range(first, first + count)]


# Order, gaps, duplicates


async def test_events_of_all_feeds_of_a_stream_come_in_the_order_of_publication(hubs: EventHubs) -> None:
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)

    hubs.publish([Told(Hub.DESIRED, FakeEvent("a")), Told(Hub.INSTANCE, FakeEvent("b"))])
    hubs.publish([Told(Hub.INSTANCE, FakeEvent("c")), Told(Hub.DESIRED, FakeEvent("d"))])

    assert texts(await receive_all(stream)) == ["a", "b", "c", "d"]


async def test_a_stream_gets_the_events_of_its_own_feeds_only(hubs: EventHubs) -> None:
    streams = {
        feeds: hubs.subscribe(feeds, version=Version.V3)
        for feeds in (GROUP_STREAM, INSTANCE_STREAM, TASK_STREAM)
    }

    hubs.publish([Announced(**{hub.name.lower(): [FakeEvent(hub.name)] for hub in Hub})])

    assert {feeds: texts(await receive_all(stream)) for feeds, stream in streams.items()} == {
        GROUP_STREAM: ["DESIRED", "GROUP"],
        INSTANCE_STREAM: ["DESIRED", "INSTANCE"],
        TASK_STREAM: ["TASK"],
    }


async def test_ids_count_from_0_on_each_connection_over_all_its_feeds(hubs: EventHubs) -> None:
    early = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    hubs.publish(instance_events(2))
    first_text = await early.receive()
    late = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    hubs.publish([Told(Hub.DESIRED, FakeEvent("x"))])

    assert [event.id for event in parse(first_text + await early.receive())] == [0, 1, 2]
    assert [event.id for event in await receive_all(late)] == [0]


async def test_nothing_from_before_the_subscription_is_replayed(hubs: EventHubs) -> None:
    hubs.publish(instance_events(3))

    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)

    assert await receive_all(stream) == []


async def test_a_waiting_receiver_gets_all_that_one_publication_brings(
    hubs: EventHubs, nursery: trio.Nursery
) -> None:
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    received: list[bytes] = []

    async def receive_once() -> None:
        received.append(await stream.receive())

    nursery.start_soon(receive_once)
    await wait_all_tasks_blocked()
    hubs.publish(instance_events(5))
    await wait_all_tasks_blocked()

    assert [texts(parse(text)) for text in received] == [["0", "1", "2", "3", "4"]]


async def test_a_cancelled_receive_loses_nothing(hubs: EventHubs) -> None:
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()
    hubs.publish(instance_events(2))
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()

    assert texts(await receive_all(stream)) == ["0", "1"]


async def test_large_events_are_handed_over_in_bounded_pieces_without_gap(hubs: EventHubs) -> None:
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    large = "x" * (RECEIVE_BYTES_MAX // 2)
    hubs.publish([Told(Hub.INSTANCE, FakeEvent(f"{number}{large}")) for number in range(5)])

    pieces = []
    while stream.queued_events:
        pieces.append(parse(await stream.receive()))

    assert [[(event.id, event.payload[:1]) for event in piece] for piece in pieces] == [
        [(0, b"0"), (1, b"1")],
        [(2, b"2"), (3, b"3")],
        [(4, b"4")],
    ]


# Laziness


def test_without_subscribers_nothing_is_worked_out(hubs: EventHubs) -> None:
    event = FakeEvent("unheard")
    announcement = Announced(instance=[event], desired=[event])

    hubs.publish([announcement])

    assert announcement.asked == []
    assert event.encodings == []


def test_only_feeds_with_subscribers_are_asked(hubs: EventHubs) -> None:
    hubs.subscribe(GROUP_STREAM, version=Version.V3)
    announcement = Announced()

    hubs.publish([announcement])

    assert announcement.asked == [Hub.DESIRED, Hub.GROUP]


@pytest.mark.parametrize(
    ("hub", "feeds", "encodings"),
    [
        pytest.param(Hub.DESIRED, GROUP_STREAM, {Version.V0, Version.V3}, id="desired: per version"),
        pytest.param(Hub.TASK, TASK_STREAM, {Version.V0, Version.V3}, id="task: per version"),
        pytest.param(Hub.GROUP, GROUP_STREAM, {Version.V3}, id="group: all versions are the same"),
        pytest.param(Hub.INSTANCE, INSTANCE_STREAM, {Version.V3}, id="instance: all versions are the same"),
    ],
)
def test_an_event_is_encoded_once_per_version_however_many_listen(
    hubs: EventHubs, hub: Hub, feeds: frozenset[Hub], encodings: set[Version]
) -> None:
    for _ in range(10):
        hubs.subscribe(feeds, version=Version.V0)
        hubs.subscribe(feeds, version=Version.V3)
        hubs.subscribe(feeds, version=Version.V3, cell_id="cell-1")
    event = FakeEvent("event", ("cell-1", "cell-2"))

    hubs.publish([Told(hub, event)])

    assert sorted(event.encodings) == sorted(encodings)


async def test_each_version_gets_its_own_payload(hubs: EventHubs) -> None:
    old, new = (hubs.subscribe(GROUP_STREAM, version=version) for version in (Version.V0, Version.V3))

    hubs.publish([Told(Hub.DESIRED, FakeEvent("event"))])

    assert [event.payload for event in await receive_all(old)] == [b"event@V0"]
    assert [event.payload for event in await receive_all(new)] == [b"event@V3"]


def test_an_event_whose_filter_lets_nobody_get_it_is_not_encoded(hubs: EventHubs) -> None:
    hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id="cell-1")
    event = FakeEvent("event", ("cell-2",))

    hubs.publish([Told(Hub.INSTANCE, event)])

    assert event.encodings == []
    assert hubs.statistics().published == 0


def test_filters_are_not_looked_at_when_nobody_has_one(hubs: EventHubs) -> None:
    hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    event = FakeEvent("event", ("cell-1",))

    hubs.publish([Told(Hub.INSTANCE, event)])

    assert event.questions == 0


# The cell filter


HERE, THERE = "here", "there"
CRASHED = ActualLRPState.CRASHED


def in_instance(cell_id: str) -> Group:
    return Group(instance=lrp(cell_id))


# A waiting replacement beside an evacuating instance: the group stands for the latter.
DRAINING_HERE = Group(instance=lrp(), evacuating=lrp(HERE))


@pytest.mark.parametrize(
    ("hub", "event", "passes"),
    [
        pytest.param(Hub.GROUP, ActualLRPGroupCreated(in_instance(HERE)), True, id="created here"),
        pytest.param(Hub.GROUP, ActualLRPGroupCreated(in_instance(THERE)), False, id="created there"),
        pytest.param(Hub.GROUP, ActualLRPGroupCreated(in_instance("")), False, id="created unclaimed"),
        pytest.param(Hub.GROUP, ActualLRPGroupCreated(DRAINING_HERE), True, id="created, resolved here"),
        pytest.param(Hub.GROUP, ActualLRPGroupRemoved(in_instance(HERE)), True, id="removed here"),
        pytest.param(Hub.GROUP, ActualLRPGroupRemoved(in_instance(THERE)), False, id="removed there"),
        pytest.param(
            Hub.GROUP,
            ActualLRPGroupChanged(in_instance(HERE), in_instance(THERE)),
            True,
            id="changed from here",
        ),
        pytest.param(
            Hub.GROUP,
            ActualLRPGroupChanged(in_instance(THERE), in_instance(HERE)),
            True,
            id="changed to here",
        ),
        pytest.param(
            Hub.GROUP,
            ActualLRPGroupChanged(in_instance(HERE), in_instance(HERE)),
            True,
            id="changed within here",
        ),
        pytest.param(
            Hub.GROUP,
            ActualLRPGroupChanged(in_instance(THERE), in_instance("")),
            False,
            id="changed elsewhere",
        ),
        pytest.param(Hub.GROUP, ActualLRPCrashed(lrp(HERE), lrp()), True, id="crashed here"),
        pytest.param(Hub.GROUP, ActualLRPCrashed(lrp(THERE), lrp()), False, id="crashed there"),
        pytest.param(Hub.INSTANCE, ActualLRPCrashed(lrp(HERE), lrp()), True, id="instance crashed here"),
        pytest.param(Hub.INSTANCE, ActualLRPInstanceCreated(lrp(HERE), ""), True, id="instance created here"),
        pytest.param(
            Hub.INSTANCE, ActualLRPInstanceCreated(lrp(THERE), ""), False, id="instance created there"
        ),
        pytest.param(
            Hub.INSTANCE, ActualLRPInstanceCreated(lrp(), ""), False, id="instance created unclaimed"
        ),
        pytest.param(Hub.INSTANCE, ActualLRPInstanceRemoved(lrp(HERE), ""), True, id="instance removed here"),
        pytest.param(
            Hub.INSTANCE, ActualLRPInstanceRemoved(lrp(THERE), ""), False, id="instance removed there"
        ),
        pytest.param(
            Hub.INSTANCE, ActualLRPInstanceChanged(lrp(), lrp(HERE), ""), True, id="instance changed to here"
        ),
        pytest.param(
            Hub.INSTANCE,
            ActualLRPInstanceChanged(lrp(HERE), lrp(), ""),
            True,
            id="instance changed from here to nobody",
        ),
        pytest.param(
            Hub.INSTANCE,
            ActualLRPInstanceChanged(lrp(HERE), lrp(THERE), ""),
            False,
            id="instance changed from here away",
        ),
        pytest.param(Hub.DESIRED, FakeEvent("desired"), True, id="any desired event"),
    ],
)
async def test_the_cell_filter(hubs: EventHubs, hub: Hub, event: Event, passes: bool) -> None:
    feeds = INSTANCE_STREAM if hub is Hub.INSTANCE else GROUP_STREAM
    filtered = hubs.subscribe(feeds, version=Version.V3, cell_id=HERE)
    unfiltered = hubs.subscribe(feeds, version=Version.V3)

    hubs.publish([Told(hub, event)])

    assert len(await receive_all(filtered)) == passes
    assert len(await receive_all(unfiltered)) == 1


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(ActualLRPGroupCreated(Group()), id="created"),
        pytest.param(ActualLRPGroupRemoved(Group()), id="removed"),
        pytest.param(ActualLRPGroupChanged(Group(), in_instance(HERE)), id="changed, before"),
        pytest.param(ActualLRPGroupChanged(in_instance(HERE), Group()), id="changed, after"),
    ],
)
async def test_a_group_that_nobody_can_resolve_ends_filtered_streams_only(
    hubs: EventHubs, event: Event
) -> None:
    filtered = hubs.subscribe(GROUP_STREAM, version=Version.V3, cell_id=THERE)
    unfiltered = hubs.subscribe(GROUP_STREAM, version=Version.V3)
    other_view = hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id=THERE)

    hubs.publish([Told(Hub.GROUP, event), Told(Hub.DESIRED, FakeEvent("next"))])

    with pytest.raises(trio.EndOfChannel):
        await filtered.receive()
    assert [received.name for received in await receive_all(unfiltered)] == [event.name, "fake"]
    assert [received.name for received in await receive_all(other_view)] == ["fake"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Hub.DESIRED, Hub.INSTANCE]),
            st.one_of(st.none(), st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple)),
        ),
        max_size=30,
    ),
    st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=8),
)
def test_indexed_delivery_agrees_with_a_filter_over_all_events(
    events: list[tuple[Hub, tuple[str, ...] | None]], filters: list[str]
) -> None:
    async def check() -> None:
        hubs = EventHubs(log=null_logger())
        streams = [
            hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id=cell_id) for cell_id in filters
        ]

        hubs.publish([Told(hub, FakeEvent(str(number), cells)) for number, (hub, cells) in enumerate(events)])

        for cell_id, stream in zip(filters, streams, strict=True):
            assert texts(await receive_all(stream)) == [
                str(number)
                for number, (hub, cells) in enumerate(events)
                if not cell_id or hub is Hub.DESIRED or cells is None or cell_id in cells
            ]
            stream.close()
        assert set(hubs.statistics().subscribers.values()) == {0}

    trio.run(check)


# The bound


async def test_a_full_subscriber_gets_what_is_queued_then_the_end(hubs: EventHubs, lines: Lines) -> None:
    slow = hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id="cell-1")
    hubs.publish([Told(Hub.INSTANCE, FakeEvent(str(n), ("cell-1",))) for n in range(SUBSCRIBER_EVENTS_MAX)])
    assert hubs.statistics().cut_off == 0

    hubs.publish(
        [Told(Hub.DESIRED, FakeEvent("one too many")), Told(Hub.DESIRED, FakeEvent("after the gap"))]
    )
    received = await receive_all(slow)
    hubs.publish(instance_events(1))

    assert texts(received) == [str(n) for n in range(SUBSCRIBER_EVENTS_MAX)]
    with pytest.raises(trio.EndOfChannel):
        await slow.receive()
    assert hubs.statistics().cut_off == 1
    assert lines.shown() == ["error bbs.got-error-sending-event"]
    assert lines.data == [{"cell_id": "cell-1", "error": "slow consumer"}]


def large_event(number: int) -> Told:
    return Told(Hub.INSTANCE, FakeEvent(str(number).ljust(100_000)))


async def test_a_subscriber_for_whom_many_bytes_wait_gets_them_then_the_end(
    hubs: EventHubs, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bbs.sync.hubs.hub.SUBSCRIBER_LARGE_BYTES_MAX", 1_000_000)
    slow = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)

    hubs.publish([*map(large_event, range(7)), *instance_events(2)])
    assert hubs.statistics().cut_off == 0
    hubs.publish([large_event(7), *instance_events(1)])
    received = await receive_all(slow)

    assert [text.strip() for text in texts(received)] == [*"0123456", "0", "1"]
    with pytest.raises(trio.EndOfChannel):
        await slow.receive()
    assert hubs.statistics().cut_off == 1
    assert lines.data == [{"cell_id": "", "error": "slow consumer"}]


async def test_a_subscriber_who_reads_may_have_any_number_of_large_events(
    hubs: EventHubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all that is queued is received at a time, or a part of it."""
    monkeypatch.setattr("bbs.sync.hubs.hub.SUBSCRIBER_LARGE_BYTES_MAX", 1_000_000)
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    received = list[Received]()

    for number in range(30):
        hubs.publish([large_event(number), *instance_events(1)])
        received += parse(await stream.receive())
    for first in range(30, 90, 6):
        hubs.publish([large_event(number) for number in range(first, first + 6)])
        received += await receive_all(stream)

    assert hubs.statistics().cut_off == 0
    assert [event.id for event in received] == list(range(120))


async def test_a_slow_subscriber_does_not_cost_the_others_anything(hubs: EventHubs) -> None:
    slow, quick = (hubs.subscribe(INSTANCE_STREAM, version=Version.V3) for _ in range(2))

    received = []
    for first in range(0, 2 * SUBSCRIBER_EVENTS_MAX, 100):
        hubs.publish(instance_events(100, first=first))
        received += await receive_all(quick)

    assert [event.id for event in received] == list(range(len(received)))
    assert texts(received) == [str(n) for n in range(len(received))]
    assert slow.queued_events == SUBSCRIBER_EVENTS_MAX
    assert hubs.statistics().subscribers[Hub.INSTANCE] == 1


# Ends


async def test_an_event_without_bytes_ends_the_streams_it_should_have_gone_to(
    hubs: EventHubs, lines: Lines
) -> None:
    here, there = (
        hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id=cell) for cell in (HERE, THERE)
    )
    broken = FakeEvent("broken", (HERE,), broken=True)

    hubs.publish([Told(Hub.INSTANCE, FakeEvent("before", (HERE, THERE))), Told(Hub.INSTANCE, broken)])
    hubs.publish([Told(Hub.INSTANCE, FakeEvent("after", (HERE, THERE)))])

    assert texts(await receive_all(here)) == ["before"]
    with pytest.raises(trio.EndOfChannel):
        await here.receive()
    assert texts(await receive_all(there)) == ["before", "after"]
    assert lines.shown() == ["error bbs.failed-to-encode-event"]
    assert lines.data == [{"event": "fake", "error": "has no bytes"}]
    assert hubs.statistics().ended_untold == 1


def close_both(hubs: EventHubs) -> None:
    hubs.close()
    hubs.close()


@pytest.mark.parametrize(
    "close",
    [
        pytest.param(lambda hubs: hubs.close_feed(Hub.DESIRED), id="one of its feeds"),
        pytest.param(lambda hubs: hubs.close_feed(Hub.INSTANCE), id="the other one"),
        pytest.param(close_both, id="all, twice"),
    ],
)
async def test_a_closed_feed_ends_its_streams_behind_what_is_queued(
    hubs: EventHubs, close: Callable[[EventHubs], None]
) -> None:
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    hubs.publish(instance_events(2))

    close(hubs)
    hubs.publish(instance_events(1))

    assert texts(await receive_all(stream)) == ["0", "1"]
    with pytest.raises(trio.EndOfChannel):
        await stream.receive()
    with pytest.raises(HubClosed, match=r"^subscribed to closed hub$"):
        hubs.subscribe(INSTANCE_STREAM, version=Version.V3)


def test_other_feeds_stay_open(hubs: EventHubs) -> None:
    hubs.close_feed(Hub.GROUP)

    hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    hubs.subscribe(TASK_STREAM, version=Version.V3)


@pytest.mark.parametrize("end", ["the feeds close", "the stream is closed"])
async def test_a_waiting_receiver_learns_of_the_end(hubs: EventHubs, nursery: trio.Nursery, end: str) -> None:
    stream = hubs.subscribe(TASK_STREAM, version=Version.V3)
    ended = trio.Event()

    async def receive_the_end() -> None:
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
        ended.set()

    nursery.start_soon(receive_the_end)
    await wait_all_tasks_blocked()
    if end == "the feeds close":
        hubs.close()
    else:
        stream.close()
    await wait_all_tasks_blocked()

    assert ended.is_set()


async def test_a_closed_stream_is_forgotten(hubs: EventHubs) -> None:
    stream = hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id="cell-1")
    hubs.publish([Told(Hub.INSTANCE, FakeEvent("queued", ("cell-1",)))])

    stream.close()
    stream.close()

    assert hubs.statistics().subscribers == dict.fromkeys(Hub, 0)
    with pytest.raises(trio.EndOfChannel):
        await stream.receive()


async def test_two_receivers_of_one_stream_are_a_mistake(hubs: EventHubs, nursery: trio.Nursery) -> None:
    stream = hubs.subscribe(TASK_STREAM, version=Version.V3)
    nursery.start_soon(stream.receive)
    await wait_all_tasks_blocked()

    with pytest.raises(trio.BusyResourceError):
        await stream.receive()

    hubs.publish([Told(Hub.TASK, FakeEvent("for the first"))])


def test_statistics_count_streams_by_feed_and_deliveries_by_receiver(hubs: EventHubs) -> None:
    hubs.subscribe(GROUP_STREAM, version=Version.V0)
    hubs.subscribe(INSTANCE_STREAM, version=Version.V3)
    hubs.subscribe(INSTANCE_STREAM, version=Version.V3, cell_id="cell-1")

    hubs.publish(
        [Told(Hub.DESIRED, FakeEvent("to three")), Told(Hub.INSTANCE, FakeEvent("to one", ("cell-2",)))]
    )

    statistics = hubs.statistics()
    assert statistics.subscribers == {Hub.DESIRED: 3, Hub.GROUP: 1, Hub.INSTANCE: 2, Hub.TASK: 0}
    assert (statistics.published, statistics.delivered) == (2, 4)
