"""Each fault, as a client sees it."""

import pytest
import trio
import trio.testing

from bbs.client import (
    BBSError,
    EventSource,
    RawSourceError,
    RequestTimeout,
    ResourceExists,
    ResourceNotFound,
    TransportError,
    UnexpectedStatus,
    UnknownError,
)
from bbs.testing import (
    AuctioneerAway,
    CommitUnanswered,
    ConnectionCut,
    DatabaseAway,
    FailOver,
    LocketAway,
    NoAnswer,
    NotReady,
    Refused,
    Stage,
    StreamsCut,
    StreamsStalled,
    desired_message,
)

pytest_plugins = ["bbs.testing.pytest_plugin"]

Clock = trio.testing.MockClock

ATTEMPTS = 3
"""How often the client tries a call."""


async def took_s(stage: Stage, name: str = "d") -> float:
    """How long a client waits for a write."""
    began_s = trio.current_time()
    async with stage.connect() as bbs:
        await bbs.upsert_domain(name, ttl_s=0)
        assert name in await bbs.domains()
    return trio.current_time() - began_s


async def next_desired(events: EventSource) -> str:
    """The process guid of the next DesiredLRP of whose creation the stream tells."""
    while True:
        event = await events.next()
        if event.name == "desired_lrp_created":
            return event.key


async def test_without_faults_a_write_takes_no_time(bbs_stage: Stage, autojump_clock: Clock) -> None:
    assert await took_s(bbs_stage) == 0


async def test_while_the_database_is_away_writes_wait_and_reads_do_not(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    await bbs_stage.inflict(DatabaseAway(for_s=3))
    async with bbs_stage.connect() as bbs, trio.open_nursery() as nursery:
        nursery.start_soon(bbs.desire_lrp, desired_message("app"))
        await trio.sleep(1)
        assert not await bbs.desired_lrps()
    assert 3 <= trio.current_time() < 6
    async with bbs_stage.connect() as bbs:
        assert len(await bbs.desired_lrps()) == 1


async def test_a_database_that_is_away_for_long_fails_writes(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.inflict(DatabaseAway(after_s=1, for_s=600))
    async with bbs_stage.connect() as bbs:
        await bbs.upsert_domain("before", ttl_s=0)
        await trio.sleep(2)
        with pytest.raises((UnknownError, RequestTimeout)):
            await bbs.upsert_domain("meanwhile", ttl_s=0)
        await trio.sleep(600)
        assert await took_s(bbs_stage, "after") < 5
        assert "meanwhile" not in await bbs.domains()


async def test_a_commit_without_an_answer_is_done_once(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.inflict(CommitUnanswered(commits=2))
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        assert trio.current_time() > 0

        [lrp] = await bbs.desired_lrps()
        assert lrp.modification_tag.index == 0


async def test_without_locket_nobody_knows_the_cells(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.add_cell("cell-1")
    await bbs_stage.inflict(LocketAway(for_s=5))
    async with bbs_stage.connect() as bbs:
        with pytest.raises(BBSError):
            await bbs.cells()
        await trio.sleep(5)
        assert len(await bbs.cells()) == 1


async def test_without_an_auctioneer_nothing_is_placed_until_convergence_asks_again(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    await bbs_stage.add_cell("cell-1")
    await bbs_stage.inflict(AuctioneerAway(for_s=5))
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        await trio.sleep(10)
        assert [lrp.state for lrp in await bbs.actual_lrps()] == ["UNCLAIMED"]
        await bbs_stage.until_running("app", 1)


async def test_a_request_is_refused_and_the_next_one_is_not(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.inflict(Refused(route="UpsertDomain", error=ResourceNotFound("no such luck"), times=2))
    async with bbs_stage.connect() as bbs:
        for _ in range(2):
            with pytest.raises(ResourceNotFound, match="no such luck"):
                await bbs.upsert_domain("d", ttl_s=0)
        assert not await bbs.domains()
        await bbs.upsert_domain("d", ttl_s=0)


async def test_a_server_that_is_not_ready_is_asked_again(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.inflict(NotReady(route="Domains", times=ATTEMPTS + 1))
    async with bbs_stage.connect() as bbs:
        with pytest.raises(UnexpectedStatus) as failed:
            await bbs.domains()
        assert failed.value.status == 503
        assert await bbs.domains() == []


async def test_a_connection_breaks_before_anything_is_done(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.inflict(ConnectionCut(route="DesireDesiredLRP", times=ATTEMPTS))
    async with bbs_stage.connect() as bbs:
        with pytest.raises(TransportError):
            await bbs.desire_lrp(desired_message("app"))
        assert not await bbs.desired_lrps()


async def test_a_connection_breaks_when_all_is_done(bbs_stage: Stage, autojump_clock: Clock) -> None:
    """So the client, which tries again, is told that somebody has done it."""
    await bbs_stage.inflict(ConnectionCut(route="DesireDesiredLRP", once_done=True))
    async with bbs_stage.connect() as bbs:
        with pytest.raises(ResourceExists):
            await bbs.desire_lrp(desired_message("app"))
        assert len(await bbs.desired_lrps()) == 1


async def test_a_request_hangs(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.inflict(
        NoAnswer(route="UpsertDomain", for_s=7), NoAnswer(route="Domains", times=ATTEMPTS)
    )
    async with bbs_stage.connect() as bbs:
        await bbs.upsert_domain("d", ttl_s=0)
        assert trio.current_time() == 7
        with pytest.raises(RequestTimeout):
            await bbs.domains()
        assert await bbs.domains() == ["d"]


@pytest.mark.parametrize("once", [False, True])
async def test_event_streams_are_cut(bbs_stage: Stage, autojump_clock: Clock, once: bool) -> None:
    """A source that connects again goes on without the events in between; one for one connection ends."""
    async with bbs_stage.connect() as bbs, await bbs.subscribe_to_instance_events(once=once) as events:
        await bbs.desire_lrp(desired_message("seen"))
        assert await next_desired(events) == "seen"
        await bbs_stage.inflict(StreamsCut())
        if once:
            with pytest.raises(RawSourceError):
                await next_desired(events)
        else:
            keys: list[str] = []
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    keys.append(await next_desired(events))

                nursery.start_soon(read)
                await trio.sleep(0.1)
                await bbs.desire_lrp(desired_message("missed"))
                await trio.sleep(5)
                await bbs.desire_lrp(desired_message("seen-again"))
            assert keys == ["seen-again"]


@pytest.mark.parametrize(
    "fault", [NotReady(route="LRPInstanceEventStream"), ConnectionCut(route="LRPInstanceEventStream")]
)
async def test_a_subscription_fails_and_is_tried_again(
    bbs_stage: Stage, autojump_clock: Clock, fault: NotReady | ConnectionCut
) -> None:
    await bbs_stage.inflict(fault)
    async with (
        bbs_stage.connect() as bbs,
        await bbs.subscribe_to_instance_events() as events,
        trio.open_nursery() as nursery,
    ):
        assert trio.current_time() >= 1  # the pause before the second try
        nursery.start_soon(events.next)
        await bbs.desire_lrp(desired_message("app"))


async def test_a_slow_subscriber_is_cut_off(bbs_stage: Stage, autojump_clock: Clock) -> None:
    """What happens while nothing goes through comes later, but for what is more than the BBS keeps for a subscriber."""
    async with bbs_stage.connect() as bbs, await bbs.subscribe_to_instance_events(once=True) as events:
        await bbs_stage.inflict(StreamsStalled(for_s=10))
        await bbs.desire_lrp(desired_message("late"))
        assert await next_desired(events) == "late"
        assert trio.current_time() == 10

        await bbs_stage.inflict(StreamsStalled(for_s=10), AuctioneerAway(for_s=60))
        await bbs.desire_lrp(desired_message("large", instances=1_100))
        received = [event async for event in events]
        assert 1_024 <= len(received) < 1_100


async def test_streams_go_on_when_the_last_of_several_stalls_is_over(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    async with bbs_stage.connect() as bbs, await bbs.subscribe_to_instance_events(once=True) as events:
        await bbs_stage.inflict(
            StreamsStalled(for_s=10), StreamsStalled(after_s=5, for_s=10), StreamsStalled(after_s=6, for_s=1)
        )
        await bbs.desire_lrp(desired_message("late"))
        assert await next_desired(events) == "late"
        assert trio.current_time() == 15


async def test_events_during_a_fail_over_are_missed(bbs_stage: Stage, autojump_clock: Clock) -> None:
    async with bbs_stage.connect() as bbs, await bbs.subscribe_to_instance_events() as events:
        await bbs.desire_lrp(desired_message("before"))
        assert await next_desired(events) == "before"
        keys: list[str] = []

        async def read() -> None:
            keys.append(await next_desired(events))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await bbs_stage.inflict(FailOver(after_s=1, away_s=2, streams_after_s=2))
            await trio.sleep(2)
            assert not await bbs.ping()
            await trio.sleep_until(3.1)
            await bbs.desire_lrp(desired_message("missed"))
            await trio.sleep(10)
            await bbs.desire_lrp(desired_message("after"))
        assert keys == ["after"]
        assert len(await bbs.desired_lrps()) == 3


async def test_faults_may_overlap(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.add_cell("cell-1")
    await bbs_stage.inflict(
        FailOver(away_s=2),
        FailOver(after_s=1, away_s=5),
        DatabaseAway(after_s=5, for_s=10),
        LocketAway(for_s=30),
        LocketAway(after_s=10, for_s=5),
    )
    async with bbs_stage.connect() as bbs:
        await trio.sleep_until(14)
        assert not await bbs.ping()
        await trio.sleep_until(18)
        assert await bbs.ping()
        with pytest.raises(BBSError):
            await bbs.cells()
        await trio.sleep_until(32)
        assert len(await bbs.cells()) == 1


async def test_a_master_that_has_read_nothing_yet_does_not_say_that_nothing_runs(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    await bbs_stage.add_cell("cell-1")
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
    await bbs_stage.until_running("app", 1)
    await bbs_stage.inflict(DatabaseAway(for_s=30), FailOver(away_s=2))
    with pytest.raises(AssertionError, match="index 0: RUNNING on cell-1"):
        await bbs_stage.until_running("app", 0, within_s=60)
