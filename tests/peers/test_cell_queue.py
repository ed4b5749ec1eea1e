"""No cell is in another's way: the queue against a dumb twin, and the effects that pass through it."""

from collections import Counter, deque
from contextlib import AsyncExitStack
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bbs.acts.effects import CALLS_PER_CELL_MAX, Effects
from bbs.log import null_logger
from bbs.models.actual_lrp import InstanceKey
from bbs.models.outcome import StopInstance
from bbs.peers.cell_queue import CellQueue
from bbs.peers.interfaces import Cell, PeerUnavailable
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.store import Store
from tests.faulty_peers import FaultyPeers, PeerFault
from tests.memory import alive, without_collection
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


def stop_at(cell_id: str, index: int) -> StopInstance:
    instance = InstanceKey(instance_guid=f"i-{index}", cell_id=cell_id)
    return StopInstance(actual_lrp(index=index, instance=instance), "")


async def test_a_dead_cell_delays_nobody_else(nursery: trio.Nursery) -> None:
    looked_up = PeerFault(call="cell_by_id", takes_s=0)  # a checkpoint, as every real look-up is
    hanging = PeerFault(call="stop_lrp_instance", cell_id="dead", takes_s=inf)
    peers = FaultyPeers([looked_up, hanging])
    live = [f"c{index}" for index in range(300)]
    peers.cells = {cell_id: Cell(cell_id=cell_id, rep_url="https://cell") for cell_id in ("dead", *live)}
    store = Store(
        MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None),
        publish=lambda told: None,
    )
    effects = Effects(store, auctioneer=peers, reps=peers, cells=peers, callbacks=peers)
    await nursery.start(effects.run)

    effects.queue_cell_calls([stop_at("dead", index) for index in range(1000)], log=null_logger())
    effects.queue_cell_calls(
        [stop_at(cell_id, index) for index, cell_id in enumerate(live)], log=null_logger()
    )
    await trio.testing.wait_all_tasks_blocked()

    assert len(peers.requests) == 300
    assert len(peers.called_at_s("stop_lrp_instance", "dead")) == CALLS_PER_CELL_MAX
    assert effects.statistics().queued == 1000 - CALLS_PER_CELL_MAX


async def test_a_worker_that_waits_holds_no_call(nursery: trio.Nursery) -> None:
    peers = FaultyPeers(
        [PeerFault(call="stop_lrp_instance", cell_id="failing", error=lambda: PeerUnavailable("away"))]
    )
    peers.cells = {cell_id: Cell(cell_id=cell_id, rep_url="https://cell") for cell_id in ("live", "failing")}
    store = Store(
        MemoryBackend(Disk(), Keyring({"label": "key"}, "label"), on_dropped=lambda row: None),
        publish=lambda told: None,
    )
    effects = Effects(store, auctioneer=peers, reps=peers, cells=peers, callbacks=peers)
    await nursery.start(effects.run)

    with without_collection():
        of_other_tests = alive(StopInstance)
        for cell_id in ("live", "failing", "unknown"):
            effects.queue_cell_calls([stop_at(cell_id, 1)], log=null_logger())
        await trio.testing.wait_all_tasks_blocked()
        statistics = effects.statistics()
        assert (statistics.performed, statistics.failed) == (1, 2)
        peers.requests.clear()

        assert alive(StopInstance) == of_other_tests
