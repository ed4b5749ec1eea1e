"""A change whose caller is cancelled, at every step of its way: the caller gives up the wait, and never the write.

Whatever the step, `head`, `committed` and the disk agree afterwards, nothing stays staged, and the next change of the
same row is decided on what the cancelled one has left.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.acts.change import change
from bbs.models.domain import Domain
from bbs.models.errors import Failure, ResourceConflict
from bbs.models.events import Event, Hub
from bbs.models.outcome import Announcement, Outcome, RowKey, put
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Fault, Faults, MemoryBackend
from bbs.store.store import LANDED_IN_A_TURN, Store
from tests.cancelling import CALL_MAX_S, at_every_step, cancelled_at
from tests.records import AnyScope

NAME = "d"
WRITE_S = 1.0
RETRY_S = 4.0

Decide = Callable[[], Outcome]
Make = Callable[[Store, str, Decide], Awaitable[object]]


async def make_change(store: Store, about: str, decide: Decide) -> None:
    await change(AnyScope(store, about), lambda scope: decide())


async def make_commit(store: Store, about: str, decide: Decide) -> None:
    await store.commit(decide(), AnyScope(store, about))


@dataclass(frozen=True, slots=True)
class Became:
    """What is announced: the domain's new version."""

    version: int

    def events(self, hub: Hub) -> Sequence[Event]:
        return ()


@dataclass
class World:
    """A store whose writes take `WRITE_S`, with one domain in it. Its expiry is its version, which begins with 1."""

    store: Store
    backend: MemoryBackend
    faults: Faults
    nursery: trio.Nursery
    told: list[Announcement]
    results: dict[str, str] = field(default_factory=dict)

    def version(self) -> int:
        """What the next change will see."""
        domain = self.store.head.domain(NAME)
        return 0 if domain is None else domain.expire_time_ns

    def committed_version(self) -> int:
        return self.store.committed.domains.rows[NAME].expire_time_ns

    async def stored_version(self) -> int:
        [row] = (await self.backend.read([RowKey(Domain, NAME)])).rows
        assert isinstance(row.record, Domain)
        return row.record.expire_time_ns

    def next_version(self) -> Outcome:
        version = self.version() + 1
        return Outcome(
            rows=(put(Domain(name=NAME, expire_time_ns=version)),), announcements=(Became(version),)
        )

    def same_version(self) -> Outcome:
        """Without a row, as a change is that finds nothing to do."""
        return Outcome(announcements=(Became(self.version()),))

    def refusal(self) -> Outcome:
        raise ResourceConflict

    def other_rows(self) -> Outcome:
        """So many that what is staged after them becomes visible in another turn."""
        return Outcome(
            rows=tuple(put(Domain(name=f"{n}", expire_time_ns=1)) for n in range(LANDED_IN_A_TURN))
        )

    async def make(self, make: Make, decide: Decide, *, about: str = NAME, name: str = "made") -> None:
        self.results[name] = "cancelled"
        try:
            await make(self.store, about, decide)
        except Failure as error:
            self.results[name] = type(error).__name__
        else:
            self.results[name] = "durable"

    async def begin(self, decide: Decide, *, about: str) -> None:
        """Let somebody else's change get under way, who is not cancelled."""

        async def make() -> None:
            await self.make(make_change, decide, about=about, name=f"begun {about}")

        self.nursery.start_soon(make)
        await wait_all_tasks_blocked()


async def tick() -> None:
    """Take a step now and then during a write, so that a call is cancelled there, too."""
    while True:  # noqa: ASYNC110 - it waits for nothing
        await trio.sleep(WRITE_S / 4)


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    told: list[Announcement] = []
    faults = Faults(write_s=WRITE_S)
    backend = MemoryBackend(
        Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None, faults=faults
    )
    await backend.acquire_writer_lock()
    store = Store(backend, publish=told.extend, write_retry_s=RETRY_S)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        nursery.start_soon(tick)
        world = World(store, backend, faults, nursery, told)
        await world.make(make_change, world.next_version)
        yield world
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call that is made once those ``begun`` are under way, while the next writes go as ``faults`` say.

    ``result`` is the call's when it is not cancelled. ``version`` is the domain's in the end, wherever the call was
    cancelled, and ``told`` what was announced by then of others than the first. ``failed`` outcomes were staged.
    """

    name: str
    make: Make
    decide: Callable[[World], Decide]
    begun: Sequence[tuple[str, Callable[[World], Decide]]] = ()
    faults: Sequence[Fault] = ()
    result: str = "durable"
    version: int = 2
    told: Sequence[int] = (2,)
    failed: int = 0


def next_version(world: World) -> Decide:
    return world.next_version


def same_version(world: World) -> Decide:
    return world.same_version


def refusal(world: World) -> Decide:
    return world.refusal


def other_rows(world: World) -> Decide:
    return world.other_rows


BEHIND_ANOTHER = [(NAME, next_version)]
CASES = [
    *(
        Case(name=f"{name} {situation}", make=make, decide=next_version, **more)
        for name, make in (("a commit", make_commit), ("a change", make_change))
        for situation, more in (
            ("alone", {}),
            ("behind another of the same row", {"begun": BEHIND_ANOTHER, "version": 3, "told": (2, 3)}),
            ("that lands in a turn of its own", {"begun": [("o", next_version), ("p", other_rows)], "version": 3, "told": (2, 3)}),
            ("tried again: it was not written", {"faults": [Fault.LOST_BEFORE]}),
            ("tried again: it was written", {"faults": [Fault.LOST_AFTER]}),
            ("refused by the database", {"faults": [Fault.REJECTED], "result": "UnknownError", "version": 1, "told": (), "failed": 1}),
            ("built upon one that is refused", {"begun": BEHIND_ANOTHER, "faults": [Fault.REJECTED], "result": "SettledByOther", "version": 1, "told": (), "failed": 2}),
            ("given up, though it was written", {"faults": [Fault.LOST_AFTER] * 9, "result": "StoreUnavailable", "version": 1, "told": (), "failed": 1}),
        )
    ),
    Case(name="a commit without rows", make=make_commit, decide=same_version, begun=BEHIND_ANOTHER),
    Case(name="a change without rows", make=make_change, decide=same_version, begun=BEHIND_ANOTHER),
    Case(name="a refusal", make=make_change, decide=refusal, begun=BEHIND_ANOTHER, result="ResourceConflict"),
    Case(name="a refusal that rests on what is refused", make=make_change, decide=refusal, begun=BEHIND_ANOTHER,
         faults=[Fault.REJECTED], result="StoreUnavailable", version=1, told=(), failed=1),
    Case(name="a refusal that rests on what is given up", make=make_change, decide=refusal, begun=BEHIND_ANOTHER,
         faults=[Fault.LOST_AFTER] * 9, result="StoreUnavailable", version=1, told=(), failed=1),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_wherever_its_caller_is_cancelled_a_change_is_made_or_fails_as_a_whole(
    autojump_clock: MockClock, case: Case
) -> None:
    were: set[str] = set()

    async def attempt(step: int) -> bool:
        async with opened() as world:
            return await cancelled(world, step)

    async def cancelled(world: World, step: int) -> bool:
        world.faults.next_writes.extend(case.faults)
        for about, decide in case.begun:
            await world.begin(decide(world), about=about)
        was_cancelled = await cancelled_at(step, lambda: world.make(case.make, case.decide(world)))

        # What there is at that very moment, with no checkpoint since.
        assert (world.results["made"] == "cancelled") == was_cancelled
        assert was_cancelled or world.results["made"] == case.result
        if world.committed_version() == case.version:
            were.add("decided")
        else:
            were.add("on its way")
            assert world.store.statistics().staged_rows > 0
        if not case.failed:
            assert world.version() == case.version, "it is staged until it is durable"

        await settled(world)
        told = [each.version for each in world.told if isinstance(each, Became)]
        if case.decide is same_version and not was_cancelled:
            assert told == [1, *case.told, case.version]
        else:
            assert told == [1, *case.told]
        await agree(world, case.version)
        assert world.store.statistics().failed_outcomes == case.failed
        assert "cancelled" not in [world.results[f"begun {about}"] for about, _ in case.begun]

        await world.make(make_change, world.next_version, name="next")
        assert world.results["next"] == "durable"
        await agree(world, case.version + 1)
        return was_cancelled

    assert await at_every_step(attempt) >= 5
    assert "decided" in were
    assert "on its way" in were or case.version == 1


async def settled(world: World) -> None:
    """Wait for all that the store has to do, and make sure that nothing is left of it."""
    with trio.fail_after(CALL_MAX_S):
        try:
            await world.store.settle(AnyScope(world.store, NAME))
        except Failure:
            assert world.store.statistics().failed_outcomes
        await world.store.drain()
    world.faults.next_writes.clear()
    await trio.sleep(2 * RETRY_S)  # what was given up and might have been written is undone

    assert world.store.statistics().staged_rows == world.store.head.staged() == 0
    assert len(world.nursery.child_tasks) == 2, "the store's and the tick"
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.store.settle(AnyScope(world.store, NAME))
    assert not scope.cancelled_caught, "there is nothing to settle any more"


async def agree(world: World, version: int) -> None:
    """Make sure that all have the domain in this version, and so does a process that starts now."""
    assert (world.version(), world.committed_version()) == (version, version)
    assert await world.stored_version() == version


async def test_a_refusal_that_rests_on_nothing_staged_is_heard_by_a_caller_who_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with opened() as world:
        assert not await cancelled_at(0, lambda: world.make(make_change, world.refusal))

        assert world.results["made"] == "ResourceConflict"
        await settled(world)
        await agree(world, 1)
