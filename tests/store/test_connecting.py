"""Which of several servers is connected to, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.connecting import AGAIN_S, NEXT_S, first_to_let_us_in

Answer = Callable[[], Awaitable[str]]


class Refused(Exception):
    pass


class Final(Refused):
    pass


class Servers:
    """``asked`` has each attempt: which server, and when. ``abandoned`` has connections that came too late."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers
        self.asked: list[tuple[int, float]] = []
        self.abandoned: list[str] = []
        self.under_way = 0

    async def connect(self, number: int) -> str:
        self.asked.append((number, trio.current_time()))
        self.under_way += 1
        try:
            return await self.answers[number]()
        finally:
            self.under_way -= 1

    async def first(self) -> str:
        return await first_to_let_us_in(
            range(len(self.answers)),
            self.connect,
            abandon=self.abandoned.append,
            is_final=lambda failure: isinstance(failure, Final),
        )


async def never() -> str:
    await asyncio.sleep(3600)
    raise AssertionError


async def lets_in(name: str, *, after_s: float = 0.0) -> str:
    await asyncio.sleep(after_s)
    return name


async def refuses(failure: Exception, *, after_s: float = 0.0) -> str:
    await asyncio.sleep(after_s)
    raise failure


@pytest.fixture
async def began_s() -> AsyncIterator[float]:
    async with open_asyncio_loop(null_logger()):
        yield trio.current_time()


async def test_servers_that_answer_are_asked_in_order_and_no_more_than_needed(
    began_s: float, autojump_clock: MockClock
) -> None:
    servers = Servers(partial(refuses, Refused()), partial(lets_in, "b"), partial(lets_in, "c"))

    assert await aio_as_trio(servers.first)() == "b"
    assert servers.asked == [(0, began_s), (1, began_s)]


async def test_a_server_that_says_nothing_is_not_waited_for(
    began_s: float, autojump_clock: MockClock
) -> None:
    servers = Servers(never, partial(lets_in, "b"))

    assert await aio_as_trio(servers.first)() == "b"
    assert trio.current_time() - began_s == pytest.approx(NEXT_S)
    assert servers.under_way == 0


async def test_a_standby_is_asked_again_as_long_as_somebody_says_nothing(
    began_s: float, autojump_clock: MockClock
) -> None:
    """It has become the primary meanwhile."""

    async def promoted_after(s: float) -> str:
        if trio.current_time() < began_s + s:
            raise Refused
        return "b"

    servers = Servers(never, partial(promoted_after, 2.0), partial(refuses, Refused()))

    assert await aio_as_trio(servers.first)() == "b"
    assert trio.current_time() - began_s <= 2.0 + AGAIN_S
    assert servers.under_way == 0


async def test_it_fails_when_each_has_failed_with_what_the_last_one_said(
    began_s: float, autojump_clock: MockClock
) -> None:
    servers = Servers(partial(refuses, Refused("a"), after_s=5), partial(refuses, Refused("b")))

    with pytest.raises(Refused, match="a"):
        await aio_as_trio(servers.first)()
    assert trio.current_time() - began_s == pytest.approx(5)
    assert servers.under_way == 0


async def test_after_a_final_answer_nobody_else_is_asked(began_s: float, autojump_clock: MockClock) -> None:
    servers = Servers(partial(refuses, Final()), never)

    with pytest.raises(Final):
        await aio_as_trio(servers.first)()
    assert servers.asked == [(0, began_s)]


async def test_a_connection_that_comes_too_late_is_closed(began_s: float, autojump_clock: MockClock) -> None:
    async def stubborn() -> str:
        try:
            return await never()
        except asyncio.CancelledError:
            return "late"

    servers = Servers(stubborn, partial(lets_in, "b"))

    assert await aio_as_trio(servers.first)() == "b"
    assert servers.abandoned == ["late"]


async def test_whoever_gives_up_leaves_nothing_behind(began_s: float, autojump_clock: MockClock) -> None:
    servers = Servers(never, never, partial(refuses, Refused()))

    with trio.move_on_after(3):
        await aio_as_trio(servers.first)()

    assert trio.current_time() - began_s == pytest.approx(3)
    assert servers.under_way == 0
