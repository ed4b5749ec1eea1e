"""What a pass over LRPs asks of cells, in virtual time: other routes and tags, and stops (spec: convergence.md)."""

from dataclasses import replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from bbs.models.desired_lrp import MetricTag
from bbs.models.errors import ResourceNotFound
from bbs.peers.http import TimedOut
from bbs.peers.interfaces import PeerUnavailable
from tests.convergence.lrp_bench import LRPBench, desired, domain, shown
from tests.faulty_peers import PeerFault
from tests.lifecycle.notation import read_row


@pytest.mark.parametrize(
    ("row", "wanted", "told"),
    [
        pytest.param("O RUN a@c1 e#0 routes=a", "a,b", [(("a", "b"), None)], id="I28"),
        pytest.param("O RUN a@c1 e#0 routes=b,a", "a,b", [], id="I29: in another order"),
        pytest.param("O RUN a@c1 e#0 routes=a", None, [(None, None)], id="I30: none are passed on as null"),
        pytest.param("O RUN a@c1 e#0 routes=a", "", [(None, None)], id="I30: so is an empty list"),
        pytest.param("O RUN a@c1 e#0 routes=absent", "", [], id="absent is empty"),
        pytest.param("O RUN a@c1 e#0 routes=a,a", "a,b", [(("a", "b"), None)], id="as many, but one is not there"),
        pytest.param("O RUN a@c1 e#0 routes=a,b", "a,a", [], id="as many, and all are there"),
        pytest.param("O CLA a@c1 e#0 routes=a", "a,b", [], id="claimed"),
        pytest.param("O RUN a@c1 e#0 tags=absent", "r1.internal", [], id="I31"),
    ],
)  # fmt: skip
async def test_cells_are_told_of_other_routes(
    autojump_clock: MockClock, bench: LRPBench, row: str, wanted: str | None, told: list[object]
) -> None:
    await bench.given(desired(routes=wanted), read_row(row))

    for _ in range(2):  # every pass, until the cell reports them
        await bench.convergence.converge()

    updates = bench.updates()
    assert [(each.internal_routes, each.metric_tags) for each in updates] == told * 2
    assert all(each.trace_id == "" for each in updates)
    assert list(bench.rows().values()) == [read_row(row)]


async def test_i32_cells_are_told_of_other_tags_resolved_for_the_instance(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    tags = (("g", MetricTag(dynamic=2)), ("i", MetricTag(dynamic=1)), ("s", MetricTag(static="x")))
    row = replace(read_row("O RUN a@c1 e#0"), metric_tags=(("i", "0"),))
    await bench.given(replace(desired(n=2), metric_tags=tags), row, replace(row, index=1))

    await bench.convergence.converge()

    assert sorted((each.lrp.index, each.metric_tags, each.internal_routes) for each in bench.updates()) == [
        (index, (("g", "a"), ("i", str(index)), ("s", "x")), None) for index in (0, 1)
    ]


async def test_routes_and_tags_are_two_calls(autojump_clock: MockClock, bench: LRPBench) -> None:
    row = replace(read_row("O RUN a@c1 e#0"), internal_routes=("x",), metric_tags=())
    await bench.given(desired(), row)

    await bench.convergence.converge()

    told = {(each.internal_routes, each.metric_tags) for each in bench.updates()}
    assert told == {(("r1.internal",), None), (None, (("t", "1"),))}


async def test_a_dead_cell_holds_up_nobody_else_and_is_tried_no_more(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    """Eight instances each on a dead cell and on a live one; every call to the dead one takes 20 s."""
    bench.peers.faults = [
        PeerFault(call="update_lrp_instance", cell_id="c1", takes_s=20, error=partial(TimedOut, "20 s"))
    ]
    row = read_row("O RUN a@c1 e#0 routes=x")
    on_live = replace(row.instance, cell_id="c2")
    await bench.given(
        desired(n=16),
        *(replace(row, index=index) for index in range(8)),
        *(replace(row, index=index, instance=on_live) for index in range(8, 16)),
    )
    began = trio.current_time()

    await bench.convergence.converge()

    assert bench.peers.called_at_s("update_lrp_instance", "c2") == [began] * 8
    assert bench.peers.called_at_s("update_lrp_instance", "c1") == [began] * 4, "as many as go at once"
    assert trio.current_time() - began == pytest.approx(20)


async def test_one_too_many_on_a_cell_that_is_gone_is_not_placed_anew_while_the_cell_is_looked_up(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    bench.peers.faults = [PeerFault(call="cell_by_id", takes_s=5, error=ResourceNotFound)]
    wanted = read_row("O RUN a@c1 e#0")
    await bench.given(domain(), desired(), wanted, replace(read_row("O RUN b@c9 e#0"), index=1))

    await bench.convergence.converge()

    assert list(bench.rows().values()) == [wanted]
    assert not bench.auctions()


@pytest.mark.parametrize(("refusals", "asked"), [(None, 5), (4, 5), (1, 2)])
async def test_retiring_asks_five_times(
    autojump_clock: MockClock, bench: LRPBench, refusals: int | None, asked: int
) -> None:
    bench.peers.faults = [
        PeerFault(call="stop_lrp_instance", times=refusals, error=partial(PeerUnavailable, "500"))
    ]
    row = read_row("O RUN a@c1 e#0")
    await bench.given(domain(), row)

    await bench.convergence.converge()

    assert len(bench.peers.called_at_s("stop_lrp_instance", "c1")) == asked
    assert bench.stopped() == ([] if refusals is None else ["a@c1"])
    assert shown(bench) == "gR{O RUN a} ; iR(O RUN a)", "told once"
    assert list(bench.rows().values()) == [row]


async def test_a_cell_that_vanishes_while_it_is_asked_loses_the_row(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    broken = partial(PeerUnavailable, "broken")
    bench.peers.faults = [PeerFault(call="stop_lrp_instance", gone=["c1"], error=broken)]
    await bench.given(domain(), read_row("O RUN a@c1 e#0"))

    await bench.convergence.converge()

    assert not bench.rows()
    assert shown(bench) == "gR{O RUN a} ; iR(O RUN a)"
