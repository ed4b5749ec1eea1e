"""No cell is in another's way: the queue against a dumb twin, and the effects that pass through it."""

from collections import Counter, deque
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bbs.acts.effects import CALLS_PER_CELL_MAX, Effects
from bbs.log import Logger, null_logger
from bbs.models.actual_lrp import ActualLRP, InstanceKey
from bbs.models.outcome import StopInstance
from bbs.peers.cell_queue import CellQueue
from bbs.peers.interfaces import Cell
from bbs.peers.stub import StubPeers
from tests.records import actual_lrp

PER_CELL_MAX = 2


@given(st.lists(st.sampled_from(["put a", "put b", "put c", "take", "end"]), max_size=60))
def test_a_call_is_offered_when_and_only_when_its_cell_may_have_it(steps: list[str]) -> None:
    async def walk() -> None:
        queue = CellQueue[tuple[str, int]](waiting_max=5, per_cell_max=PER_CELL_MAX)
        waiting: dict[str, deque[int]] = {"a": deque(), "b": deque(), "c": deque()}
        under_way: deque[tuple[str, AsyncExitStack]] = deque()
        for number, step in enumerate(steps):
            if step == "take":
                busy = Counter(cell_id for cell_id, _ in under_way)
                may = {c for c, calls in waiting.items() if calls and busy[c] < PER_CELL_MAX}
                taken = AsyncExitStack()
                with trio.move_on_after(1):
                    cell_id, call = await taken.enter_async_context(queue.next())
                    assert cell_id in may
                    assert call == waiting[cell_id].popleft()
                    under_way.append((cell_id, taken))
                    continue
                assert not may
            elif step == "end":
                if under_way:
                    await under_way.popleft()[1].aclose()
            else:
                cell_id = step[-1]
                if sum(map(len, waiting.values())) == 5:
                    with pytest.raises(trio.WouldBlock):
                        queue.put_nowait(cell_id, (cell_id, number))
                else:
                    queue.put_nowait(cell_id, (cell_id, number))
                    waiting[cell_id].append(number)
            assert len(queue) == sum(map(len, waiting.values()))
        for _, taken in under_way:
            await taken.aclose()

    trio.run(walk, clock=trio.testing.MockClock(autojump_threshold=0))


class HalfDead(StubPeers):
    """Cells of which one never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging = 0

    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        await trio.lowlevel.checkpoint()
        return Cell(cell_id=cell_id, rep_url="https://cell")

    async def stop_lrp_instance(self, cell: Cell, lrp: ActualLRP, *, trace_id: str, log: Logger) -> None:
        if cell.cell_id == "dead":
            self.hanging += 1
            await trio.sleep_forever()
        await super().stop_lrp_instance(cell, lrp, trace_id=trace_id, log=log)


def stop_at(cell_id: str, index: int) -> StopInstance:
    instance = InstanceKey(instance_guid=f"i-{index}", cell_id=cell_id)
    return StopInstance(actual_lrp(index=index, instance=instance), "")


async def test_a_dead_cell_delays_nobody_else(nursery: trio.Nursery) -> None:
    peers = HalfDead()
    effects = Effects(auctioneer=peers, reps=peers, cells=peers)
    await nursery.start(effects.run)

    effects.submit([stop_at("dead", index) for index in range(1000)], log=null_logger())
    effects.submit([stop_at(f"c{index}", index) for index in range(300)], log=null_logger())
    await trio.testing.wait_all_tasks_blocked()

    assert len(peers.requests) == 300
    assert peers.hanging == CALLS_PER_CELL_MAX
    assert effects.statistics().queued == 1000 - CALLS_PER_CELL_MAX
