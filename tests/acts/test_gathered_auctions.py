"""Which auctions go out together, and that everybody hears of their own, whoever gives up (spec: peers.md §2)."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.acts.auctions import DESIRED
from bbs.acts.effects import Effects
from bbs.acts.gathered_auctions import (
    BYTES_MAX,
    CALLS_AT_ONCE,
    ELEMENTS_MAX,
    PATIENCE_S,
    GatheredAuctions,
    GatheredStatistics,
)
from bbs.log import Level, Logger, null_logger
from bbs.models.errors import Failure
from bbs.models.outcome import Outcome, RequestAuction, put
from bbs.peers.interfaces import PeerUnavailable
from bbs.peers.stub import TaskAuctionRequested
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.store import Store
from tests.cancelling import at_every_step, cancelled_at
from tests.faulty_peers import FaultyPeers, PeerFault
from tests.log_lines import Lines, said
from tests.memory import alive, without_collection
from tests.records import AnyScope, desired_lrp, task

CALL_S = 0.5
assert CALL_S < PATIENCE_S

LARGE = BYTES_MAX // 2
NOT_HEARD = "not heard"


class Auction(NamedTuple):
    name: str
    size: int = 100


class Made(NamedTuple):
    """A call that was begun."""

    at_s: float
    names: Sequence[str]


@dataclass
class World:
    """An auctioneer that takes ``call_s`` to answer, and does what the next of ``ends`` says, or accepts."""

    call_s: float = CALL_S
    ends: list[Callable[[], Exception] | None] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    broken_off: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    heard: dict[str, str | None] = field(default_factory=dict)
    heard_at_s: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    gathered: GatheredAuctions[Auction] = field(init=False)

    def __post_init__(self) -> None:
        self.gathered = GatheredAuctions[Auction](
            self.request, size=lambda auction: auction.size, name=lambda auction: auction.name, key="guids"
        )

    async def request(self, auctions: Sequence[Auction], /, *, trace_id: str, log: Logger) -> None:
        names = [auction.name for auction in auctions]
        self.made.append(Made(trio.current_time(), names))
        self.trace_ids.append(trace_id)
        self.sizes.append(sum(auction.size for auction in auctions))
        log.info("called")
        end = self.ends.pop(0) if self.ends else None
        try:
            await trio.sleep(self.call_s)
        except trio.Cancelled:
            self.broken_off += names
            raise
        if end is not None:
            raise end()
        self.accepted += names

    async def ask(
        self, auction: Auction, *, at_s: float = 0.0, trace_id: str = "", log: Logger | None = None
    ) -> None:
        await trio.sleep_until(at_s)
        self.asked.append(auction.name)
        self.heard[auction.name] = NOT_HEARD
        try:
            failure = await self.gathered.ask(auction, trace_id=trace_id, log=log or null_logger())
        except RuntimeError as bug:
            self.heard[auction.name] = f"bug: {bug.__cause__}"
        else:
            self.heard[auction.name] = None if failure is None else str(failure)
        self.heard_at_s[auction.name] = trio.current_time()


@asynccontextmanager
async def world(*, call_s: float = CALL_S) -> AsyncIterator[World]:
    """Every auction that is asked for within is heard of when it ends."""
    world = World(call_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.gathered.run)
        await wait_all_tasks_blocked()
        yield world
        nursery.cancel_scope.cancel()


def many(number: int, *, from_s: float, size: int = 100) -> list[tuple[float, Auction]]:
    return [(from_s + n * 1e-4, Auction(f"{n:03}", size)) for n in range(number)]


def names(auctions: Sequence[tuple[float, Auction]]) -> list[str]:
    return [auction.name for _, auction in auctions]


A, B = (0.0, Auction("a")), (0.1, Auction("b"))
"""They take both places, and leave them at 0.5 and 0.6 s."""

CROWD = many(ELEMENTS_MAX + 1, from_s=0.2)
HEAVY = many(5, from_s=0.2, size=BYTES_MAX // 2)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        pytest.param([A], [(0.0, ["a"])], id="the first alone and at once"),
        pytest.param([A, B], [(0.0, ["a"]), (0.1, ["b"])], id="the second too, while there is a place"),
        pytest.param(
            [A, (0.0, Auction("a'")), (0.0, Auction("a''"))],
            [(0.0, ["a", "a'", "a''"])],
            id="those of one moment together",
        ),
        pytest.param(
            [A, B, (0.2, Auction("c")), (0.3, Auction("d"))],
            [(0.0, ["a"]), (0.1, ["b"]), (0.5, ["c", "d"])],
            id="those that come meanwhile together, as soon as a call ends",
        ),
        pytest.param(
            [A, B, (0.2, Auction("c")), (0.55, Auction("d")), (0.58, Auction("e"))],
            [(0.0, ["a"]), (0.1, ["b"]), (0.5, ["c"]), (0.6, ["d", "e"])],
            id="what comes once a call has begun goes with the next",
        ),
        pytest.param([A, (0.7, Auction("b"))], [(0.0, ["a"]), (0.7, ["b"])], id="one after the other, each alone"),
        pytest.param(
            [A, B, *CROWD],
            [(0.0, ["a"]), (0.1, ["b"]), (0.5, names(CROWD)[:-1]), (0.6, names(CROWD)[-1:])],
            id="no more than so many",
        ),
        pytest.param(
            [A, B, *HEAVY],
            [(0.0, ["a"]), (0.1, ["b"]), (0.5, ["000", "001"]), (0.6, ["002", "003"]), (1.0, ["004"])],
            id="no more than so many bytes",
        ),
        pytest.param(
            [A, B, (0.2, Auction("c")), (0.3, Auction("huge", BYTES_MAX + 1)), (0.4, Auction("d"))],
            [(0.0, ["a"]), (0.1, ["b"]), (0.5, ["c"]), (0.6, ["huge"]), (1.0, ["d"])],
            id="a huge one alone, and nobody overtakes it",
        ),
    ],
)  # fmt: skip
async def test_what_goes_out_together(
    autojump_clock: MockClock, asked: list[tuple[float, Auction]], made: list[tuple[float, list[str]]]
) -> None:
    async with world() as here, trio.open_nursery() as nursery:
        for at_s, auction in asked:
            nursery.start_soon(partial(here.ask, auction, at_s=at_s))

    # Those of one moment come in whatever order Trio runs them.
    assert [(round(at_s, 6), sorted(together)) for at_s, together in here.made] == made
    assert here.heard == {auction.name: None for _, auction in asked}
    ends_at_s = {name: at_s + CALL_S for at_s, together in here.made for name in together}
    assert here.heard_at_s == pytest.approx(ends_at_s), "each waits for the end of its own call"
    assert here.gathered.statistics() == GatheredStatistics(0, 0, calls=len(made), auctions=len(asked))


async def test_calls_that_hang_do_not_keep_others_from_asking(autojump_clock: MockClock) -> None:
    """Each holds up the others for a second."""
    asked = [A, B, (0.2, Auction("c")), (0.3, Auction("d")), (1.05, Auction("e")), (5.0, Auction("f"))]
    async with world(call_s=3600) as here, trio.open_nursery() as nursery:
        for at_s, auction in asked:
            nursery.start_soon(partial(here.ask, auction, at_s=at_s))

    assert [(round(at_s, 6), *together) for at_s, together in here.made] == [
        (A[0], "a"),
        (B[0], "b"),
        (A[0] + PATIENCE_S, "c", "d"),
        (B[0] + PATIENCE_S, "e"),
        (5.0, "f"),
    ]
    assert set(here.heard.values()) == {None}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.001, 0.01, 0.3, 2.0]),
            st.sampled_from([1, 1, 1, BYTES_MAX // 3, BYTES_MAX, 2 * BYTES_MAX]),
        ),
        max_size=40,
    ),
    st.sampled_from([0.02, CALL_S, 2.5 * PATIENCE_S]),
)
def test_each_is_carried_once_in_its_order_and_within_bounds(
    pauses: list[tuple[float, int]], call_s: float
) -> None:
    async def walk() -> None:
        async with world(call_s=call_s) as here, trio.open_nursery() as nursery:
            for number, (pause_s, size) in enumerate(pauses):
                await trio.sleep(pause_s)
                nursery.start_soon(here.ask, Auction(str(number), size))
        calls = here.made
        assert [name for call in calls for name in call.names] == here.asked
        assert len(here.accepted) == len(here.heard) == len(pauses)
        assert set(here.heard.values()) <= {None}
        for call, size in zip(calls, here.sizes, strict=True):
            assert len(call.names) == 1 or size <= BYTES_MAX
        for number, call in enumerate(calls):
            young = [c for c in calls[:number] if call.at_s - c.at_s < min(call_s, PATIENCE_S) - 1e-9]
            assert len(young) < CALLS_AT_ONCE

    trio.run(walk, clock=MockClock(autojump_threshold=0))


async def both_places_taken(here: World, nursery: trio.Nursery) -> None:
    """With one auction each, and nobody has given up."""
    for name in "ab":
        nursery.start_soon(here.ask, Auction(name))
        await wait_all_tasks_blocked()
    assert here.gathered.statistics().under_way == CALLS_AT_ONCE


async def come(here: World, nursery: trio.Nursery, *come: str) -> list[trio.CancelScope]:
    """One after the other, and each with a trace of its own. The scopes are those in which they wait."""
    scopes = [trio.CancelScope() for _ in come]

    async def ask(name: str, scope: trio.CancelScope) -> None:
        with scope:
            await here.ask(Auction(name), trace_id=f"trace of {name}")

    for name, scope in zip(come, scopes, strict=True):
        nursery.start_soon(ask, name, scope)
        await wait_all_tasks_blocked()
    return scopes


async def test_a_failure_reaches_everybody_in_the_call_and_nobody_else(autojump_clock: MockClock) -> None:
    async with world() as here, trio.open_nursery() as nursery:
        here.ends = [None, None, lambda: PeerUnavailable("500")]
        await both_places_taken(here, nursery)
        await come(here, nursery, "c", "d")
        await trio.sleep(CALL_S + 0.1)
        await come(here, nursery, "e")

    assert here.heard == {"a": None, "b": None, "c": "500", "d": "500", "e": None}


async def test_a_bug_ends_the_requests_in_the_call_and_no_more(autojump_clock: MockClock) -> None:
    async with world() as here, trio.open_nursery() as nursery:
        here.ends = [None, None, lambda: ValueError("oh")]
        await both_places_taken(here, nursery)
        await come(here, nursery, "c", "d")
        await trio.sleep(CALL_S + 0.1)
        await come(here, nursery, "e")

    assert here.heard == {"a": None, "b": None, "c": "bug: oh", "d": "bug: oh", "e": None}


@dataclass(frozen=True)
class GivesUp:
    """``who`` of c, d and e, which are in one call, give up when ``under_way``, or before. The others are ``accepted``."""

    who: str
    under_way: bool
    accepted: str
    broken_off: str = ""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(GivesUp("c", under_way=False, accepted="de"), id="the first, before the call"),
        pytest.param(GivesUp("d", under_way=False, accepted="ce"), id="another, before the call"),
        pytest.param(GivesUp("cde", under_way=False, accepted=""), id="all, before the call"),
        pytest.param(GivesUp("c", under_way=True, accepted="cde"), id="the first, during the call"),
        pytest.param(GivesUp("de", under_way=True, accepted="cde"), id="the others, during the call"),
        pytest.param(
            GivesUp("cde", under_way=True, accepted="", broken_off="cde"), id="all, during the call"
        ),
    ],
)
async def test_who_gives_up_does_not_break_the_call_of_the_others(
    autojump_clock: MockClock, case: GivesUp
) -> None:
    async with world() as here, trio.open_nursery() as nursery:
        await both_places_taken(here, nursery)
        scopes = dict(zip("cde", await come(here, nursery, "c", "d", "e"), strict=True))
        if case.under_way:
            await trio.sleep(CALL_S + 0.1)
        for name in case.who:
            scopes[name].cancel()
        await wait_all_tasks_blocked()
        assert here.gathered.statistics().waiting == (0 if case.under_way else 3 - len(case.who))
        assert here.gathered.statistics().under_way == (
            0 if case.broken_off else 1 if case.under_way else CALLS_AT_ONCE
        )

    assert sorted(here.accepted[:2]) == ["a", "b"]
    assert here.accepted[2:] == [*case.accepted]
    assert here.broken_off == [*case.broken_off]
    assert here.heard == {
        name: NOT_HEARD if name in case.who else None for name in "abcde"
    }, "who stays hears of it"  # fmt: skip
    carried = "" if case.who == "cde" and not case.under_way else case.accepted or "c"
    assert here.trace_ids[2:] == [f"trace of {name}" for name in carried[:1]]


@pytest.mark.parametrize("first", [True, False])
async def test_cancelled_at_any_step_it_breaks_nothing(autojump_clock: MockClock, first: bool) -> None:
    async def attempt(step: int) -> bool:
        async with world() as here, trio.open_nursery() as nursery:
            await both_places_taken(here, nursery)
            if not first:
                await come(here, nursery, "c")
            late_s = trio.current_time() + CALL_S / 2
            nursery.start_soon(partial(here.ask, Auction("late"), at_s=late_s))
            was_cancelled = await cancelled_at(step, lambda: here.ask(Auction("x")))
        heard = {name: what for name, what in here.heard.items() if name != "x"}
        assert set(heard.values()) == {None}
        assert set(heard) <= set(here.accepted)
        assert (here.heard.get("x", NOT_HEARD) is None) == (not was_cancelled)
        assert (here.gathered.statistics().waiting, here.gathered.statistics().under_way) == (0, 0)
        return was_cancelled

    assert await at_every_step(attempt) > 3


async def test_when_the_calls_end_nobody_is_left_waiting(autojump_clock: MockClock) -> None:
    """Those who wait for a call under way, and those whose call waits, get a failure; who comes later calls for itself."""
    here = World()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as until_stopped:
            async with trio.open_nursery() as running:
                running.start_soon(here.gathered.run)
                await both_places_taken(here, nursery)
                await come(here, nursery, "c")
                until_stopped.cancel()
        await come(here, nursery, "d")

    failure: Failure = PeerUnavailable("the auctioneer is not asked any more: the server stops")
    assert here.heard == dict.fromkeys("abc", str(failure)) | {"d": None}
    assert here.accepted == ["d"]
    assert sorted(here.broken_off) == ["a", "b"]


async def test_a_call_of_several_is_told_in_the_session_of_the_first(
    autojump_clock: MockClock, lines: Lines
) -> None:
    root = lines.logger(Level.DEBUG)
    async with world() as here, trio.open_nursery() as nursery:
        await both_places_taken(here, nursery)
        for name, trace_id in (("c", "x"), ("d", ""), ("e", "z")):
            log = root.session(name)
            nursery.start_soon(partial(here.ask, Auction(name), trace_id=trace_id, log=log))
            await wait_all_tasks_blocked()
        await trio.sleep(CALL_S + 0.1)
        nursery.start_soon(partial(here.ask, Auction("f"), trace_id="u", log=root.session("f")))

    assert here.trace_ids == ["", "", "x", "u"]
    assert lines.said() == [
        said("debug c.gathered-auctions", "1", trace_ids=["x", "", "z"], guids=["c", "d", "e"]),
        said("info c.called", "1"),
        said("info f.called", "4"),
    ]


async def test_auctions_of_lrps_and_of_tasks_are_in_nobody_elses_way(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    peers = FaultyPeers([PeerFault(call="request_lrp_auctions", takes_s=3600)])
    backend = MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None)
    await backend.acquire_writer_lock()
    store = Store(backend, publish=lambda told: None)
    await nursery.start(store.run)
    await store.commit(Outcome(rows=(put(desired_lrp()),)), AnyScope(store, ""))
    effects = Effects(store, auctioneer=peers, reps=peers, cells=peers, callbacks=peers)
    await nursery.start(effects.run)
    for _ in range(CALLS_AT_ONCE + 1):
        auction = RequestAuction("p", (0,), "")
        nursery.start_soon(partial(effects.auction, auction, DESIRED, log=null_logger()))
        await wait_all_tasks_blocked()

    began_s = trio.current_time()
    await effects.auction_task(task(), log=null_logger())

    assert trio.current_time() == began_s
    assert peers.requests == deque([TaskAuctionRequested((task(),), "")])


async def test_nothing_of_an_auction_is_left_once_it_was_asked_for(autojump_clock: MockClock) -> None:
    """Neither by the call that is over nor by the failure that it ended with."""
    with without_collection():
        async with world() as it, trio.open_nursery() as clients:
            it.ends = [None, lambda: PeerUnavailable("away"), lambda: ValueError("bug")]
            asked = ["held", "held, refused", "held, in a bug"]
            for name in asked:
                clients.start_soon(it.ask, Auction(name))
                await trio.sleep(2 * CALL_S)

            assert list(it.heard.values()) == [None, "away", "bug: bug"]
            left = [each.name for each in alive(Auction) if isinstance(each, Auction)]
            assert set(left) & set(asked) == set()
