"""When a pass over LRPs prunes a domain, and what hangs on that (spec: convergence.md)."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.models.errors import UnknownError
from tests.convergence.lrp_bench import CELLS, LRPBench, domain
from tests.lifecycle.notation import SECOND_NS, N, read_row


async def test_i38_a_domain_goes_in_the_nanosecond_in_which_it_expires(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    await bench.given(domain("at", N), domain("after", N + 1), domain("never"))

    await bench.convergence.converge()

    assert set(bench.store.committed.domains.rows) == {"after", "never"}
    assert bench.convergence.statistics().fresh_domains == {"after", "never"}


async def test_a_domain_that_is_revived_meanwhile_stays(autojump_clock: MockClock, bench: LRPBench) -> None:
    await bench.given(domain("d", N))
    bench.faults.write_s = 1.0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.put, domain("d", N + 60 * SECOND_NS))
        await wait_all_tasks_blocked()
        await bench.convergence.converge()

    assert set(bench.store.committed.domains.rows) == {"d"}


async def test_a_domain_in_virtual_time_fresh_expired_pruned(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    orphan = read_row("O UNC - e#0")
    await bench.given(orphan, domain("d", N + 60 * SECOND_NS))
    bench.cells = UnknownError("so that nothing is retired yet")
    await bench.convergence.converge()
    bench.cells = CELLS

    bench.now_ns += 60 * SECOND_NS
    await bench.convergence.converge()

    assert list(bench.rows().values()) == [orphan], "the domain is pruned before anything is retired by it"
    assert not bench.store.committed.domains.rows

    await bench.put(domain("d", bench.now_ns + SECOND_NS))
    await bench.convergence.converge()

    assert not bench.rows()
