"""What work takes by itself is measured turn by turn, and the work notices nothing of it."""

from time import thread_time

import pytest
import trio

from bbs.concurrency.own_time import OwnTime

LONG_S = 0.05


def compute(seconds: float) -> None:
    until_s = thread_time() + seconds
    while thread_time() < until_s:
        pass


async def test_turns_of_others_do_not_count() -> None:
    own, is_done = OwnTime(), trio.Event()

    async def work() -> str:
        for _ in range(2):
            compute(LONG_S)
            await trio.lowlevel.checkpoint()
        return "done"

    async def others() -> None:
        while not is_done.is_set():
            compute(2 * LONG_S)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert await own.of(work()) == "done"
        is_done.set()

    assert 2 * LONG_S <= own.total_s < 3 * LONG_S
    assert LONG_S <= own.longest_s < 2 * LONG_S


async def test_what_the_work_raises_is_passed_on() -> None:
    own = OwnTime()

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        compute(LONG_S)
        raise ValueError("below zero")

    with pytest.raises(ValueError, match="below zero"):
        await own.of(work())
    assert own.total_s >= LONG_S


async def test_a_cancellation_reaches_the_work_and_what_it_catches_it_may_go_on_from() -> None:
    cleaned_up: list[str] = []

    async def work() -> str:
        with trio.move_on_after(0):
            try:
                await trio.sleep_forever()
            finally:
                cleaned_up.append("inner")
        try:
            await trio.sleep_forever()
        finally:
            cleaned_up.append("outer")
        raise AssertionError("nobody wakes it up")

    with trio.move_on_after(0.01) as scope:
        await OwnTime().of(work())
    assert scope.cancelled_caught
    assert cleaned_up == ["inner", "outer"]
