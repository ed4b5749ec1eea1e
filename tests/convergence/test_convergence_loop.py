"""When passes run, in virtual time (spec: convergence.md §1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from bbs.convergence.loop import ConvergenceLoop
from bbs.log import null_logger
from bbs.models.errors import UnknownError
from tests.log_lines import Lines

INTERVAL_S = 30.0


class Passes:
    """Passes that take as long as they are told to, and when they began."""

    def __init__(self, **takes_s: float) -> None:
        self.began: list[tuple[str, float]] = []
        self._start_s = trio.current_time()
        self.by_name = {name: partial(self._converge, name, each_s) for name, each_s in takes_s.items()}

    def times(self) -> list[float]:
        return [at_s for _, at_s in self.began]

    async def _converge(self, name: str, takes_s: float) -> None:
        self.began.append((name, trio.current_time() - self._start_s))
        await trio.sleep(takes_s)


@asynccontextmanager
async def running(passes: Passes) -> AsyncIterator[ConvergenceLoop]:
    loop = ConvergenceLoop(passes.by_name, repeat_interval_s=INTERVAL_S, log=null_logger())
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.run)
        yield loop
        nursery.cancel_scope.cancel()


async def test_passes_repeat_an_interval_after_the_slowest_has_ended(autojump_clock: MockClock) -> None:
    passes = Passes(lrps=1, tasks=10)
    async with running(passes):
        await trio.sleep(75)

    assert sorted(passes.began) == [("lrps", 30), ("lrps", 70), ("tasks", 30), ("tasks", 70)]


async def test_a_wake_runs_them_at_once_and_restarts_the_interval(autojump_clock: MockClock) -> None:
    passes = Passes(lrps=1)
    async with running(passes) as loop:
        await trio.sleep(10)
        loop.wake()
        await trio.sleep(60)

    assert passes.times() == [10, 41]


@pytest.mark.parametrize("wakes", [1, 5])
async def test_wakes_during_a_pass_make_one_more_right_after(autojump_clock: MockClock, wakes: int) -> None:
    passes = Passes(lrps=5)
    async with running(passes) as loop:
        await trio.sleep(31)
        for _ in range(wakes):
            loop.wake()
            await trio.sleep(0.1)
        await trio.sleep(30)

    assert passes.times() == [30, 35]


async def test_wakes_at_one_moment_make_one_pass(autojump_clock: MockClock) -> None:
    passes = Passes(lrps=1)
    async with running(passes) as loop:
        await trio.sleep(10)
        loop.wake()
        loop.wake()
        await trio.sleep(20)

    assert passes.times() == [10]


async def test_a_wake_before_the_loop_runs_is_not_lost(autojump_clock: MockClock) -> None:
    passes = Passes(lrps=1)
    loop = ConvergenceLoop(passes.by_name, repeat_interval_s=INTERVAL_S, log=null_logger())
    loop.wake()

    with trio.move_on_after(5):
        await loop.run()

    assert passes.times() == [0]


async def test_the_log_tells_when_passes_begin_and_end(autojump_clock: MockClock) -> None:
    lines, passes = Lines(), Passes(lrps=1, tasks=2)
    loop = ConvergenceLoop(passes.by_name, repeat_interval_s=INTERVAL_S, log=lines.logger())

    with trio.move_on_after(31.5):
        await loop.run()

    said = [message.removeprefix("bbs.executing-convergence.") for message in lines.messages]
    assert sorted(said[:2]) == ["converge-lrps-started", "converge-tasks-started"]
    assert said[2:] == ["converge-lrps-done"]


async def test_a_pass_that_fails_is_logged_and_tried_again(autojump_clock: MockClock) -> None:
    lines = Lines()
    tries: list[float] = []

    async def fail() -> None:
        tries.append(trio.current_time())
        raise UnknownError("locket is away")

    loop = ConvergenceLoop({"tasks": fail}, repeat_interval_s=INTERVAL_S, log=lines.logger())

    with trio.move_on_after(2 * INTERVAL_S + 1):
        await loop.run()

    assert tries == [INTERVAL_S, 2 * INTERVAL_S]
    assert lines.table()[:3] == [
        "info executing-convergence.converge-tasks-started",
        "error executing-convergence.failed-to-converge-tasks error",
        "info executing-convergence.converge-tasks-done",
    ]
