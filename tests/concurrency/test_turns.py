"""Work in turns: after how much of it others run, by count or by Trio's clock."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, assert_no_checkpoints

from bbs.concurrency.turns import (
    HOLD_S,
    IDLE_HOLD_S,
    IDLE_REST_MAX_S,
    IDLE_REST_MIN_S,
    CountedTurns,
    IdleTurns,
    TimedTurns,
    in_turns,
    sliced,
)


class Others:
    """A task that runs whenever it may; ``turns`` are those that it had."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            await trio.lowlevel.checkpoint()
            self.turns += 1


@given(items=st.lists(st.integers()), size=st.integers(1, 7))
def test_slices_are_the_items_in_order_and_all_but_the_last_are_full(items: list[int], size: int) -> None:
    slices = [list(piece) for piece in sliced(items, size)]

    assert [item for piece in slices for item in piece] == items
    assert all(len(piece) == size for piece in slices[:-1])
    assert all(0 < len(piece) <= size for piece in slices)


def test_a_slice_of_a_range_is_a_range() -> None:
    assert list(sliced(range(5), 2)) == [range(2), range(2, 4), range(4, 5)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
async def test_others_get_a_turn_after_each_slice_also_the_last(nursery: trio.Nursery, count: int) -> None:
    others = Others()
    await nursery.start(others.run)
    others.turns, seen = 0, []

    async for piece in in_turns(range(count), 2):
        seen += [(item, others.turns) for item in piece]

    # The other task runs before or after this one in the first round, as the scheduler likes.
    assert [item for item, _ in seen] == list(range(count))
    for item, turns in seen:
        assert abs(turns - item // 2) <= 1
    assert abs(others.turns - -(-count // 2)) <= 1


@pytest.mark.parametrize(("items", "are"), [([], assert_no_checkpoints), ([1], assert_checkpoints)])
async def test_no_items_are_no_checkpoint(items: list[int], are: type) -> None:
    with are():
        async for _ in in_turns(items, 2):
            pass


async def test_a_loop_over_turns_may_be_left_and_is_cancelled_between_two_slices() -> None:
    seen: list[int] = []
    async for piece in in_turns(range(10), 2):
        seen += piece
        break
    with trio.CancelScope() as scope:
        async for piece in in_turns(range(10, 20), 2):
            scope.cancel()
            seen += piece

    assert scope.cancelled_caught
    assert seen == [0, 1, 10, 11]


async def checkpoints_in(turns: CountedTurns, work: list[int]) -> list[bool]:
    """Which of the calls were checkpoints."""
    found = []
    for each in work:
        with trio.CancelScope() as scope:
            scope.cancel()
            await turns.done(each)
        found.append(scope.cancelled_caught)
    return found


@pytest.mark.parametrize(
    ("work", "checkpoints"),
    [
        ([1, 1, 1, 1, 1, 1, 1], [False, False, True, False, False, True, False]),
        ([2, 2, 2, 1], [False, True, False, True]),
        ([7, 2, 1], [True, False, True]),
        ([0, 0, 3, 0], [False, False, True, False]),
    ],
    ids=["one by one", "what is too much counts for no other turn", "many at once are one turn", "nothing"],
)
async def test_work_is_counted_and_a_turn_begins_anew(work: list[int], checkpoints: list[bool]) -> None:
    assert await checkpoints_in(CountedTurns(3), work) == checkpoints


async def test_others_get_a_turn_once_the_time_is_over_and_then_it_begins_anew(mock_clock: MockClock) -> None:
    turns = TimedTurns(hold_s=1)
    due = []
    for passed_s in (0.5, 0.25, 0.5, 0.75, 0.5, 0.125):
        mock_clock.jump(passed_s)
        with trio.CancelScope() as scope:
            scope.cancel()
            await turns.checkpoint_if_due()
        due.append(scope.cancelled_caught)
        if scope.cancelled_caught:
            await turns.checkpoint_if_due()  # what was cancelled did not begin anew

    assert due == [False, False, True, False, True, False]


async def test_while_the_clock_stands_still_nothing_is_due(mock_clock: MockClock) -> None:
    turns = TimedTurns()
    with assert_no_checkpoints():
        for _ in range(1_000):
            await turns.checkpoint_if_due()
    mock_clock.jump(2 * HOLD_S)
    with assert_checkpoints():
        await turns.checkpoint_if_due()


async def test_the_real_clock_runs() -> None:
    turns = TimedTurns(hold_s=0)
    with assert_checkpoints():
        await turns.checkpoint_if_due()


async def test_idle_work_goes_on_until_its_turn_is_over(mock_clock: MockClock) -> None:
    turns = IdleTurns()
    mock_clock.jump(IDLE_HOLD_S)

    with assert_no_checkpoints():
        await turns.rest_if_due()


async def test_idle_work_rests_longer_the_more_others_have_to_do(autojump_clock: MockClock) -> None:
    """Each time it is woken late the rest doubles, up to a bound; each time it is not, it is halved."""
    turns = IdleTurns()

    async def rest(late_s: float) -> float:
        """How long it rests, if others then hold the event loop for so long."""
        autojump_clock.jump(2 * IDLE_HOLD_S)
        began_s = trio.current_time()
        held = False

        class Hold(trio.abc.Instrument):
            def after_io_wait(self, timeout: float) -> None:
                nonlocal held
                if trio.current_time() > began_s and not held:
                    held = True
                    rested.append(trio.current_time() - began_s)
                    autojump_clock.jump(late_s)

        rested: list[float] = []
        instrument = Hold()
        trio.lowlevel.add_instrument(instrument)
        await turns.rest_if_due()
        trio.lowlevel.remove_instrument(instrument)
        return rested[0]

    while_busy = [await rest(0.005) for _ in range(9)]
    while_idle = [await rest(0.0) for _ in range(9)]

    assert while_busy == pytest.approx(
        [min(IDLE_REST_MIN_S * 2**number, IDLE_REST_MAX_S) for number in range(9)]
    )
    assert while_idle == pytest.approx(
        [max(IDLE_REST_MAX_S / 2**number, IDLE_REST_MIN_S) for number in range(9)]
    )
