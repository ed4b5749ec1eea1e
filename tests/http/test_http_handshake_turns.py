"""Many handshakes at once: so many are computed at the same time, in order, and nobody loses time by waiting."""

import contextlib

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.http.handshake_turns import HandshakeTurns
from bbs.http.limits import Limits
from tests.http.serving import PATIENCE_S, World, post, serving, tls_contexts


@pytest.mark.parametrize("at_once", [1, 3])
async def test_so_many_are_computed_at_once_and_no_more(at_once: int) -> None:
    turns, now, most = HandshakeTurns(at_once=at_once), 0, 0

    async def handshake() -> None:
        nonlocal now, most
        turn = turns.of(trio.CancelScope())
        for _ in range(2):
            async with turn():
                now += 1
                most = max(most, now)
                await trio.lowlevel.checkpoint()
                now -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(handshake)

    assert most == at_once
    assert turns.statistics().waiting == 0


async def test_first_come_first_served_but_those_that_have_begun_go_first() -> None:
    turns, order = HandshakeTurns(at_once=1), list[str]()
    has_answered = trio.Event()

    async def handshake(name: str, *, steps: int) -> None:
        turn = turns.of(trio.CancelScope())
        for step in range(steps):
            if step:
                await has_answered.wait()
            async with turn():
                order.append(f"{name}, step {step + 1}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: handshake("earliest", steps=2))
        await wait_all_tasks_blocked()
        async with turns.of(trio.CancelScope())():
            nursery.start_soon(lambda: handshake("second", steps=1))
            await wait_all_tasks_blocked()
            nursery.start_soon(lambda: handshake("third", steps=1))
            await wait_all_tasks_blocked()
            has_answered.set()
            await wait_all_tasks_blocked()
            assert turns.statistics().waiting == 3
    assert order == ["earliest, step 1", "earliest, step 2", "second, step 1", "third, step 1"]


async def test_waiting_does_not_count_against_the_time_of_a_handshake(autojump_clock: MockClock) -> None:
    turns = HandshakeTurns(at_once=1)
    left_s = list[float]()

    async def handshake() -> None:
        with trio.move_on_after(10) as scope:
            await trio.sleep(4)
            async with turns.of(scope)():
                left_s.append(scope.deadline - trio.current_time())
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handshake)
        async with turns.of(trio.CancelScope())():
            await trio.sleep(60)
    assert left_s == [6]
    assert trio.current_time() == pytest.approx(66)


@pytest.mark.parametrize("who", ["one that waits", "one whose turn it is to be"])
async def test_a_handshake_that_is_cancelled_does_not_keep_the_turn(who: str) -> None:
    turns, given_up, had = HandshakeTurns(at_once=1), trio.CancelScope(), list[str]()

    async def handshake(name: str, scope: trio.CancelScope) -> None:
        with scope:
            async with turns.of(scope)():
                await trio.lowlevel.checkpoint()
                had.append(name)

    async with trio.open_nursery() as nursery:
        held = contextlib.AsyncExitStack()
        if who == "one that waits":
            await held.enter_async_context(turns.of(trio.CancelScope())())
        else:
            given_up.cancel()
        nursery.start_soon(handshake, "given up", given_up)
        await wait_all_tasks_blocked()
        nursery.start_soon(handshake, "next", trio.CancelScope())
        await wait_all_tasks_blocked()
        given_up.cancel()
        await held.aclose()
    assert had == ["next"]
    async with turns.of(trio.CancelScope())():
        pass  # nobody has it any more


async def test_a_stop_ends_handshakes_that_wait_and_tells_nobody_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = HandshakeTurns(at_once=1)
    monkeypatch.setattr("bbs.http.listener.HandshakeTurns", lambda at_once: turns)
    world = World()
    server_tls, client_tls = tls_contexts()
    ended = list[str]()

    with trio.fail_after(PATIENCE_S):
        async with (
            serving(world, fast_lane=True, server_tls=server_tls, client_tls=client_tls) as served,
            trio.open_nursery() as nursery,
        ):

            async def connect() -> None:
                try:
                    await served.connect()
                except trio.BrokenResourceError:
                    ended.append("ended")

            async with turns.of(trio.CancelScope())():
                for _ in range(5):
                    nursery.start_soon(connect)
                while turns.statistics().waiting < 5:
                    await trio.lowlevel.checkpoint()
                served.until_stopped.cancel()
                while len(ended) < 5:
                    await trio.lowlevel.checkpoint()
    assert turns.statistics().waiting == 0


async def test_a_connection_is_served_while_handshakes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = HandshakeTurns(at_once=1)
    monkeypatch.setattr("bbs.http.listener.HandshakeTurns", lambda at_once: turns)
    server_tls, client_tls = tls_contexts()
    limits = Limits(linger_s=0.2)
    async with (
        serving(
            World(), fast_lane=True, server_tls=server_tls, client_tls=client_tls, limits=limits
        ) as served,
        trio.open_nursery() as nursery,
    ):
        wire = await served.connect()
        await wire.send(post("/v1/echo"))  # TLS 1.3's client is done before the server is
        await wire.read_response()
        async with turns.of(trio.CancelScope())():
            nursery.start_soon(served.connect)
            with trio.fail_after(PATIENCE_S):
                while not turns.statistics().waiting:
                    await trio.lowlevel.checkpoint()
            await wire.send(post("/v1/echo", b"still here"))
            assert (await wire.read_response()).body == b"still here"
