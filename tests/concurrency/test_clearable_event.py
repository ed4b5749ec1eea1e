"""An event that can be cleared: who is woken, what is remembered, and what a cancellation leaves."""

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from bbs.concurrency.clearable_event import ClearableEvent


class Waiters:
    """Tasks that wait once each; ``woken`` are those that have gone on, in order of their numbers."""

    def __init__(self, event: ClearableEvent, nursery: trio.Nursery) -> None:
        self.woken: list[int] = []
        self._event = event
        self._nursery = nursery

    async def add(self, *numbers: int) -> None:
        for number in numbers:
            self._nursery.start_soon(self._wait, number)
        await wait_all_tasks_blocked()

    async def settled(self) -> list[int]:
        await wait_all_tasks_blocked()
        return sorted(self.woken)

    async def _wait(self, number: int) -> None:
        await self._event.wait()
        self.woken.append(number)


async def test_it_is_cleared_at_first_and_says_how_it_is() -> None:
    event = ClearableEvent()
    said = [event.is_set()]
    for change in (event.set, event.set, event.clear, event.clear, event.set):
        change()
        said.append(event.is_set())

    assert said == [False, True, True, False, False, True]


async def test_all_who_wait_are_woken_and_whoever_comes_before_it_is_cleared(nursery: trio.Nursery) -> None:
    event = ClearableEvent()
    waiters = Waiters(event, nursery)
    await waiters.add(1, 2)
    assert await waiters.settled() == []

    event.set()
    assert await waiters.settled() == [1, 2]
    await waiters.add(3)
    assert await waiters.settled() == [1, 2, 3], "nobody took it away from the third"
    event.clear()
    await waiters.add(4)
    assert await waiters.settled() == [1, 2, 3]
    event.set()
    assert await waiters.settled() == [1, 2, 3, 4]


async def test_whoever_was_woken_goes_on_even_if_it_is_cleared_at_once(nursery: trio.Nursery) -> None:
    event = ClearableEvent()
    waiters = Waiters(event, nursery)
    await waiters.add(1, 2)

    event.set()
    event.clear()
    await waiters.add(3)

    assert await waiters.settled() == [1, 2]


async def test_clearing_what_is_cleared_leaves_those_who_wait_where_they_are(nursery: trio.Nursery) -> None:
    event = ClearableEvent()
    waiters = Waiters(event, nursery)
    await waiters.add(1)

    event.clear()
    event.set()

    assert await waiters.settled() == [1]


@pytest.mark.parametrize("is_set", [False, True])
async def test_a_wait_is_a_checkpoint_and_can_be_cancelled_without_a_trace(is_set: bool) -> None:
    event = ClearableEvent()
    if is_set:
        event.set()
        with assert_checkpoints():
            await event.wait()

    with trio.CancelScope() as scope:
        scope.cancel()
        await event.wait()

    assert scope.cancelled_caught
    assert event.is_set() is is_set


async def test_one_whose_wait_is_cancelled_takes_nothing_away_from_others(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    event = ClearableEvent()
    waiters = Waiters(event, nursery)
    await waiters.add(1)
    with trio.move_on_after(1):
        await event.wait()

    event.set()

    assert await waiters.settled() == [1]


@pytest.mark.parametrize(
    ("set_during_look", "looks"),
    [(0, 1), (1, 2), (3, 2)],
    ids=["nothing comes", "something comes", "more comes, and it goes on once"],
)
async def test_a_loop_that_clears_then_looks_then_waits_misses_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock, set_during_look: int, looks: int
) -> None:
    event, looked = ClearableEvent(), 0

    async def look_again_and_again() -> None:
        nonlocal looked
        while True:
            event.clear()
            looked += 1
            await trio.sleep(2)
            await event.wait()

    nursery.start_soon(look_again_and_again)
    await trio.sleep(1)
    for _ in range(set_during_look):
        event.set()
    await trio.sleep(10)

    assert looked == looks
    event.set()
    await trio.sleep(10)
    assert looked == looks + 1
