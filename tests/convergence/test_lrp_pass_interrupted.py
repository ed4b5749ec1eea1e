"""What changes, fails or is cut short while a pass over LRPs is under way (spec: convergence.md)."""

from collections import Counter
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.convergence.lrp_pass import COMMITS_MAX
from bbs.convergence.lrps import LRPConvergenceStatistics
from bbs.models.actual_lrp import Presence
from bbs.models.errors import UnknownError
from bbs.store.memory_backend import Outage
from tests.convergence.lrp_bench import LRPBench, desired, domain
from tests.lifecycle.notation import N, read_row


async def test_i27_nothing_happens_while_the_cells_are_not_known(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    bench.cells = UnknownError("locket is away")
    lost = read_row("O RUN a@c9 e#2")
    await bench.given(desired(n=2), lost, domain(expire_time_ns=N - 1))

    await bench.convergence.converge()

    assert list(bench.rows().values()) == [lost]
    assert "d" in bench.store.committed.domains.rows
    assert not bench.peers.requests
    assert bench.convergence.statistics() == LRPConvergenceStatistics()


@pytest.mark.parametrize(
    ("state", "auctions"),
    [
        pytest.param("CLA a@c1", 1, id="I33: claimed, and auctioned all the same"),
        pytest.param("RUN a@c1", 0, id="running"),
    ],
)
async def test_a_stale_row_that_moves_on_during_the_pass(
    autojump_clock: MockClock, bench: LRPBench, state: str, auctions: int
) -> None:
    """What the pass decides on is the staged row, not the committed one that it found."""
    await bench.given(desired(), read_row("O UNC - e#0 since=N-1m"))
    bench.faults.write_s = 1.0
    moved = read_row(f"O {state} e#1")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.put, moved)
        await wait_all_tasks_blocked()
        await bench.convergence.converge()

    assert list(bench.rows().values()) == [moved]
    assert len(bench.auctions()) == auctions


async def test_i34_a_missing_row_that_appears_during_the_pass_is_not_auctioned(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    await bench.given(desired())
    bench.faults.write_s = 1.0
    appeared = read_row("O RUN a@c1 e#0")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.put, appeared)
        await wait_all_tasks_blocked()
        await bench.convergence.converge()

    assert list(bench.rows().values()) == [appeared]
    assert not bench.auctions()
    assert bench.convergence.statistics().missing == 1


async def test_a_store_that_is_away_ends_the_work_not_the_pass(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    await bench.given(desired("p", n=1000), desired("q"), read_row("O RUN a@c1 e#0 routes=x"))
    now_s = trio.current_time()
    bench.faults.outages = [Outage(now_s, now_s + 60)]

    await bench.convergence.converge()

    assert trio.current_time() - now_s < 10, "it waits for the store once, not for each instance"
    assert len(bench.rows()) == 1
    found = bench.convergence.statistics()
    assert (found.passes, found.missing, found.unclaimed) == (1, 1000, 0)
    await trio.sleep(60)
    await bench.convergence.converge()
    assert bench.convergence.statistics().unclaimed == 1000


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.5, 2.5])
async def test_what_a_pass_leaves_undone_the_next_one_does(
    autojump_clock: MockClock, bench: LRPBench, after_s: float
) -> None:
    many = 3 * COMMITS_MAX
    lost = read_row("O RUN a@c9 e#0")
    await bench.given(desired(n=many), *(replace(lost, index=index) for index in range(many)))
    bench.faults.write_s = 1.0
    with trio.move_on_after(after_s):
        await bench.convergence.converge()
        raise AssertionError("it should have been cut short")
    assert bench.convergence.statistics().passes == 0
    await bench.store.drain()

    await bench.convergence.converge()

    assert Counter(row.presence for row in bench.rows().values()) == {
        Presence.ORDINARY: many,
        Presence.SUSPECT: many,
    }


async def test_what_is_undesired_by_the_time_of_the_auction_is_left_out(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    await bench.given(desired("p"), desired("q"))
    bench.faults.write_s = 1.0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.convergence.converge)
        await trio.sleep(0.5)
        nursery.start_soon(bench.delete, desired("q"))

    assert [[process_guid for process_guid, _ in starts] for starts in bench.auctions()] == [["p"]]
