"""Whole passes over LRPs, in virtual time: what they change, tell, ask for and count (spec: examples.md I)."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bbs.convergence.lrp_pass import AUCTIONS_LOGGED_MAX, COMMITS_MAX
from bbs.convergence.lrps import LRPConvergenceStatistics
from bbs.log import Level, null_logger
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, Presence
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import NEVER_NS
from bbs.models.errors import ResourceNotFound, UnknownError
from bbs.models.events import Hub
from bbs.peers.http import TimedOut
from bbs.peers.interfaces import PeerUnavailable
from bbs.store.memory_backend import Outage
from tests.convergence.lrp_bench import CELLS, LRPBench, domain, open_lrp_bench
from tests.faulty_peers import PeerFault
from tests.lifecycle.notation import SECOND_NS, N, read_row, show_event
from tests.log_lines import Lines
from tests.records import actual_lrp, desired_lrp


def desired(process_guid: str = "p", *, n: int = 1, routes: str | None = "r1.internal") -> DesiredLRP:
    """What a ``RUN`` row of the notation has: route r1, tag t1. ``routes`` are host names, ``None``: no value at all."""
    names = ",".join(f'{{"hostname":"{name}"}}' for name in (routes or "").split(",") if name)
    return replace(
        desired_lrp(process_guid, instances=n),
        routes=None if routes is None else (("internal-router", f"[{names}]".encode()),),
        metric_tags=(("t", MetricTag(static="1")),),
    )


def rows(text: str, *, since_ns: int) -> list[ActualLRP]:
    """``;`` between rows, ``[4]`` before one of index 4."""
    found = []
    for part in text.split(";") if text else ():
        index, _, row = part.strip().rpartition("]")
        found.append(replace(read_row(row, since_ns=since_ns), index=int(index.strip("[") or 0)))
    return found


@dataclass
class Case:
    """``after``: the rows that are not as given; ``gone``: those given that are no more. Domain d expires as said."""

    name: str
    given: str
    after: str = ""
    gone: str = ""
    events: str = "- ; -"
    calls: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    n: int | None = 1
    expires_ns: int | None = NEVER_NS
    cells: frozenset[str] = CELLS


SUSPECTED = "- ; iX(O RUN a->S RUN a), iC(O UNC)"
CASES = [
    Case("I1", "", "O UNC - new1#0", events="gC{O UNC} ; iC(O UNC)", calls=["auction[0]"], counts={"missing": 1}),
    Case(
        "I2: as many as desired, but not those; upstream does nothing",
        "O UNC - e#0 since=N-1s; [5] O UNC - f#0 since=N-1s",
        "[1] O UNC - new1#0",
        gone="[5] O UNC - f#0 since=N-1s",
        events="gR{O UNC}, gC{O UNC} ; iR(O UNC), iC(O UNC)",
        calls=["auction[1]"],
        counts={"missing": 1, "extra": 1},
        n=2,
    ),
    Case(
        "I3",
        "O RUN a@c1 e#2; [4] O CLA b@c1 f#1",
        events="gR{O CLA b} ; iR(O CLA b)",
        calls=["stop(b@c1)"],
        counts={"extra": 1},
    ),
    Case("I4", "O RUN a@c1 e#2; [4] O CLA b@c1 f#1", expires_ns=N - 1),
    Case(
        "I5",
        "O RUN a@c1 e#2",
        n=None,
        events="gR{O RUN a} ; iR(O RUN a)",
        calls=["stop(a@c1)"],
        counts={"extra": 1},
    ),
    Case("I6", "O UNC - e#0", gone="O UNC - e#0", n=None, events="gR{O UNC} ; iR(O UNC)", counts={"extra": 1}),
    Case("I7", "O RUN a@c1 e#2", n=None, expires_ns=None),
    Case("I8", "O UNC - e#0 since=N-30s"),
    Case("I9", "O UNC - e#0 since=N-30s-1ns", calls=["auction[0]"]),
    Case(
        "I10",
        "O CRA - e#4 cc=3 since=N-30s",
        "O UNC - e#5 cc=3",
        events="gX{O CRA}->{O UNC} ; iC(O UNC), iR(O CRA)",
        calls=["auction[0]"],
    ),
    Case("I11", "O CRA - e#4 cc=3 since=N-29s", counts={"crashed": 1, "crashing_desired": 1}),
    Case(
        "I12",
        "O CRA - e#4 cc=8 since=N-16m",
        "O UNC - e#5 cc=8",
        events="gX{O CRA}->{O UNC} ; iC(O UNC), iR(O CRA)",
        calls=["auction[0]"],
    ),
    Case("I13", "O CRA - e#4 cc=150 since=N-15m"),
    Case("I14", "O CRA - e#4 cc=200 since=N-24h", counts={"crashed": 1, "crashing_desired": 1}),
    Case(
        "a crash is known to the group hub behind a suspect",
        "O CRA - e#4 cc=3 since=N-30s; S RUN b@c9 f#0",
        "O UNC - e#5 cc=3",
        events="gX{O CRA}->{O UNC} ; iC(O UNC), iR(O CRA)",
        calls=["auction[0]"],
    ),
    Case(
        "I15",
        "O RUN a@c9 e#2",
        "O UNC - new1#0; S RUN a@c9 e#2 since=N-10s",
        events=SUSPECTED,
        calls=["auction[0]"],
        counts={"suspect_cells": 1, "suspects_running": 0, "unclaimed": 1, "running": 0},
    ),
    Case(
        "I16",
        "O CLA a@c9 e#2",
        "O UNC - new1#0; S CLA a@c9 e#2 since=N-10s",
        events="- ; iX(O CLA a->S CLA a), iC(O UNC)",
        calls=["auction[0]"],
        counts={"suspect_cells": 1},
    ),
    Case(
        "I17",
        "S RUN a@c9 s#2; O CLA b@c8 e#1",
        "O UNC - e#2",
        events="- ; iC(O UNC), iR(O CLA b)",
        counts={"suspect_cells": 2, "suspects_running": 1},
    ),
    Case(
        "I18",
        "S RUN a@c1 s#2; O UNC - e#0",
        "O RUN a@c1 s#2 since=N-10s",
        gone="S RUN a@c1 s#2",
        events="gR{O UNC} ; iR(O UNC), iX(S RUN a->O RUN a)",
    ),
    Case(
        "I19: the missing row is created first, and goes again",
        "S RUN a@c1 s#2",
        "O RUN a@c1 s#2 since=N-10s",
        gone="S RUN a@c1 s#2",
        events="gC{O UNC}, gR{O UNC} ; iC(O UNC), iR(O UNC), iX(S RUN a->O RUN a)",
        calls=["auction[0]"],
        counts={"missing": 1},
    ),
    Case("I20", "S RUN a@c9 s#0; O RUN b@c2 e#1", gone="S RUN a@c9 s#0", events="gR{S RUN a} ; iR(S RUN a)"),
    Case("I21", "S RUN a@c9 s#0", gone="S RUN a@c9 s#0", n=None, events="gR{S RUN a} ; iR(S RUN a)"),
    Case("I22", "S RUN a@c9 s#0", n=None, expires_ns=N - 1, counts={"suspect_cells": 0}),
    Case(
        "I23",
        "S RUN a@c9 s#0",
        "O UNC - new1#0",
        events="gC{O UNC} ; iC(O UNC)",
        calls=["auction[0]"],
        counts={"suspects_running": 1, "missing": 1},
    ),
    Case("I24", "E RUN x@c9 e#0; O RUN a@c1 f#0", gone="E RUN x@c9 e#0", events="gR{E RUN x} ; iR(E RUN x)"),
    Case("I24: undesired", "E RUN x@c9 e#0", gone="E RUN x@c9 e#0", n=None, events="gR{E RUN x} ; iR(E RUN x)"),
    Case("I25", "E RUN x@c1 e#0; O RUN a@c1 f#0"),
    Case(
        "I26",
        "O RUN a@c1 e#2; E RUN x@c2 f#0",
        "O UNC - new1#0; S RUN a@c1 e#2 since=N-10s",
        gone="E RUN x@c2 f#0",
        events="gR{E RUN x} ; iR(E RUN x), iX(O RUN a->S RUN a), iC(O UNC)",
        calls=["auction[0]"],
        cells=frozenset(),
        counts={"present_cells": 0, "suspect_cells": 1},
    ),
    Case(
        "a row that names no cell is lost when there are none",
        "O CLA a@ e#2",
        "O UNC - new1#0; S CLA a@ e#2 since=N-10s",
        events="- ; iX(O CLA a->S CLA a), iC(O UNC)",
        calls=["auction[0]"],
        cells=frozenset(),
    ),
    Case("a row that names no cell is left alone as long as there are any", "O CLA a@ e#2"),
    Case(
        "I36",
        "O RUN a@c1 e#2",
        "[1] O UNC - new1#0",
        n=2,
        expires_ns=N - 1,
        events="gC{O UNC} ; iC(O UNC)",
        calls=["auction[1]"],
    ),
    Case(
        "I37",
        "S RUN a@c9 s#0; O UNC - e#0; [1] S CLA b@c9 s#0; [1] O UNC - f#0",
        n=2,
        counts={"suspects_running": 1, "suspects_claimed": 1, "unclaimed": 2},
    ),
    Case(
        "back while its replacement runs: promoted, and then there is no suspect to remove",
        "S RUN a@c1 s#2; O RUN b@c2 e#1",
        "O RUN a@c1 s#2 since=N-10s",
        gone="S RUN a@c1 s#2",
        events="gR{O RUN b} ; iR(O RUN b), iX(S RUN a->O RUN a)",
    ),
    Case(
        "an orphan suspect on a cell that is back is promoted, to be retired later",
        "S RUN a@c1 s#2",
        "O RUN a@c1 s#2 since=N-10s",
        gone="S RUN a@c1 s#2",
        n=None,
        events="- ; iX(S RUN a->O RUN a)",
    ),
    Case(
        "stale and one too many: it goes, and is not auctioned",
        "O RUN a@c1 e#2; [1] O UNC - f#0 since=N-1m",
        gone="[1] O UNC - f#0",
        events="gR{O UNC} ; iR(O UNC)",
        counts={"extra": 1},
    ),
    Case(
        "one too many on a cell that is gone: it goes, and is not placed anew",
        "O RUN a@c1 e#2; [1] O RUN b@c9 f#0",
        gone="[1] O RUN b@c9 f#0",
        events="gR{O RUN b} ; iR(O RUN b)",
        counts={"extra": 1, "suspect_cells": 1},
    ),
    Case("stale, one too many, and its domain not fresh: auctioned", "O RUN a@c1 e#0; [1] O UNC - f#0 since=N-1m",
         expires_ns=N - 1, calls=["auction[1]"]),
]  # fmt: skip


@pytest.fixture
async def bench() -> AsyncIterator[LRPBench]:
    async with open_lrp_bench() as bench:
        yield bench


def shown(bench: LRPBench) -> str:
    return " ; ".join(
        ", ".join(map(show_event, bench.events[hub])) or "-" for hub in (Hub.GROUP, Hub.INSTANCE)
    )


def calls(bench: LRPBench) -> list[str]:
    auctions = [f"auction[{','.join(map(str, i))}]" for request in bench.auctions() for _, i in request]
    return auctions + [f"stop({stopped})" for stopped in bench.stopped()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_pass(autojump_clock: MockClock, bench: LRPBench, case: Case) -> None:
    given = rows(case.given, since_ns=N - 10 * SECOND_NS)
    given_desired = [] if case.n is None else [desired(n=case.n)]
    domains = [] if case.expires_ns is None else [domain(expire_time_ns=case.expires_ns)]
    await bench.given(*given, *given_desired, *domains)
    bench.cells = case.cells

    await bench.convergence.converge()

    expected = {row.key: row for row in given}
    for row in rows(case.gone, since_ns=N):
        del expected[row.key]
    expected |= {row.key: row for row in rows(case.after, since_ns=N)}
    assert bench.rows() == expected
    assert shown(bench) == case.events
    assert calls(bench) == list(case.calls)
    statistics = bench.convergence.statistics()
    assert {name: getattr(statistics, name) for name in case.counts} == case.counts
    assert statistics.passes == 1


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


async def test_i35_one_request_for_all_auctions_an_element_each(
    autojump_clock: MockClock, bench: LRPBench
) -> None:
    stale = replace(read_row("O UNC - e#0 since=N-1m"), process_guid="q")
    await bench.given(desired("p", n=2), desired("q"), stale)

    await bench.convergence.converge()

    [request] = bench.auctions()
    assert sorted(request) == [("p", (0,)), ("p", (1,)), ("q", (0,))]
    [asked] = bench.peers.requests
    assert asked.trace_id == ""  # type: ignore[union-attr]  # it is an auction
    assert {start.volume_drivers for start in asked.starts} == {None}  # type: ignore[union-attr]


async def test_many_instances_are_worked_on_in_one_pass(autojump_clock: MockClock, bench: LRPBench) -> None:
    many = 3 * COMMITS_MAX + 1
    bench.faults.write_s = 0.01
    await bench.given(desired(n=many))
    before = bench.store.statistics().batches

    await bench.convergence.converge()

    assert len(bench.rows()) == many
    assert sorted(bench.auctions()[0]) == [("p", (index,)) for index in range(many)]
    assert bench.convergence.statistics().unclaimed == many
    assert bench.store.statistics().batches - before <= 1 + many / 16, "commits share transactions"


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


async def test_the_numbers_are_those_after_the_work(autojump_clock: MockClock, bench: LRPBench) -> None:
    crashed = [
        actual_lrp("x", index, state=ActualLRPState.CRASHED, crash_count=200, domain="other")
        for index in (0, 1)
    ]
    await bench.given(
        domain(),
        desired("p", n=3),
        replace(read_row("O RUN a@c1 e#0"), index=1),
        replace(read_row("O CLA b@c1 e#0"), index=2),
        *crashed,
    )

    await bench.convergence.converge()

    found = bench.convergence.statistics()
    assert (found.unclaimed, found.claimed, found.running, found.crashed) == (1, 1, 1, 2)
    assert (found.crashing_desired, found.desired, found.present_cells) == (1, 3, 3)


async def test_the_duration_is_that_up_to_the_numbers(autojump_clock: MockClock, bench: LRPBench) -> None:
    bench.peers.faults = [PeerFault(call="request_lrp_auctions", takes_s=100)]
    bench.faults.write_s = 2.0
    await bench.given(desired())
    began = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.convergence.converge)
        await trio.sleep(50)
        assert bench.peers.called_at_s("request_lrp_auctions") == [pytest.approx(began + 2.0)]
        assert bench.convergence.statistics().passes == 1, "counted before the auctions are asked for"

    assert trio.current_time() - began == pytest.approx(102)
    assert bench.convergence.statistics().duration_s == pytest.approx(2.0)


async def test_without_workers_there_is_only_counting(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(workers=0, log=lines.logger()) as bench:
        await bench.given(desired(n=2), read_row("O RUN a@c9 e#0"), read_row("E RUN x@c9 f#0"))

        await bench.convergence.converge()

        assert list(bench.rows().values()) == [read_row("O RUN a@c9 e#0")], "pruning is no work item"
        assert not bench.peers.requests
        assert bench.convergence.statistics().missing == 1
    failed = "error converge-lrps.failed-constructing-throttler error max_workers num_works"
    assert failed in lines.table()


async def test_what_the_log_says(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(log=lines.logger()) as bench:
        bench.peers.faults = [PeerFault(call="request_lrp_auctions", error=partial(PeerUnavailable, "500"))]
        await bench.given(
            domain("gone", N),
            desired("missing"),
            desired("stale"),
            replace(read_row("O UNC - e#0 since=N-1m"), process_guid="stale"),
            desired("crashed"),
            replace(read_row("O CRA - e#0 cc=3 since=N-1m"), process_guid="crashed"),
            desired("lost"),
            replace(read_row("O RUN a@c9 e#0"), process_guid="lost"),
        )

        await bench.convergence.converge()

    said = [(line["message"], line["data"]) for line in lines.lines]
    starts = {
        (message.removeprefix("bbs.converge-lrps."), data["reason"], data["process_guid"], data["index"])
        for message, data in said
        if message.endswith("creating-start-request")
    }
    assert starts == {
        (f"{part}.creating-start-request", reason, guid, 0)
        for part, reason, guid in (
            ("db-converge-lrps.lrp-instance-counts", "missing-instance", "missing"),
            ("db-converge-lrps.stale-unclaimed-actual-lrps", "stale-unclaimed-lrp", "stale"),
            ("db-converge-lrps.crashed-actual-lrps", "crashed-instance", "crashed"),
            ("keys-with-missing-cells", "missing-cell", "lost"),
        )
    }
    data_of = dict(said)
    pruned = data_of["bbs.converge-lrps.db-converge-lrps.prune-domains.pruning-domain"]
    assert (pruned["domain"], pruned["expire-at"]) == ("gone", N)
    detected = "bbs.converge-lrps.db-converge-lrps.actual-lrps-with-missing-cells.detected-missing-cells"
    assert data_of[detected]["cell_ids"] == ["c9"]
    failed = data_of["bbs.converge-lrps.failed-to-request-starts"]
    assert (failed["error"], failed["start_requests_count"], len(failed["lrp_start_auctions"])) == (
        "500",
        4,
        4,
    )
    assert len(failed["lrp_start_auctions"]) <= AUCTIONS_LOGGED_MAX


async def test_a_passs_lines_in_their_order(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(log=lines.logger(Level.DEBUG)) as bench:
        await bench.given(
            domain("d"),
            domain("gone", N),
            desired("missing"),
            desired("stale"),
            replace(read_row("O UNC - e#0 since=N-1m"), process_guid="stale"),
            desired("crashed"),
            replace(read_row("O CRA - e#0 cc=3 since=N-1m"), process_guid="crashed"),
            desired("lost"),
            replace(read_row("O RUN a@c9 e#0"), process_guid="lost"),
            desired("lost again"),
            replace(read_row("O RUN a@c9 e#0"), process_guid="lost again"),
            replace(read_row("S RUN b@c8 f#0"), process_guid="lost again"),
            desired("back"),
            replace(read_row("O UNC - e#0 since=N"), process_guid="back"),
            replace(read_row("S RUN b@c1 f#0"), process_guid="back"),
            replace(read_row("O UNC - e#0 since=N"), process_guid="undesired"),
            replace(read_row("S RUN b@c8 f#0"), process_guid="undesired too"),
        )

        await bench.convergence.converge()

    unclaiming = ["info db-unclaim-actual-lrp.starting key", "info db-unclaim-actual-lrp.complete key"]
    expected = f"""
        debug listing-cells
        debug succeeded-listing-cells
        info  db-converge-lrps.starting
        info  db-converge-lrps.prune-domains.pruning-domain domain expire-at
        info  db-converge-lrps.stale-unclaimed-actual-lrps.creating-start-request index process_guid reason
        info  db-converge-lrps.actual-lrps-with-missing-cells.detected-missing-cells cell_ids
        info  db-converge-lrps.lrp-instance-counts.creating-start-request index process_guid reason
        info  db-converge-lrps.crashed-actual-lrps.creating-start-request index process_guid reason
        info  db-converge-lrps.complete
        info  retire-actual-lrp.db-remove-actual-lrp.starting index process_guid retiring_lrp_count
        info  retire-actual-lrp.db-remove-actual-lrp.complete index process_guid retiring_lrp_count
        info  db-create-unclaimed-actual-lrps.starting key
        info  db-create-unclaimed-actual-lrps.complete key
        {unclaiming[0]}
        {unclaiming[1]}
        DISPLACED
        info  suspect-keys-with-existing-cells.promote-suspect-actual-lrp.starting index process_guid
        info  suspect-keys-with-existing-cells.promote-suspect-actual-lrp.complete index process_guid
        debug suspect-keys-to-retire.db-remove-suspect-actual-lrp.starting lrp_key
        debug suspect-keys-to-retire.db-remove-suspect-actual-lrp.complete lrp_key
    """
    before, after = (
        [" ".join(line.split()) for line in part.strip().splitlines()] for part in expected.split("DISPLACED")
    )
    told = [line.replace(" converge-lrps.", " ") for line in lines.table()]
    displaced = [line for line in told if " keys-with-missing-cells." in line]
    assert [line for line in told if line not in displaced] == before + after
    # Which of the two comes first is up to Trio.
    prefix = "keys-with-missing-cells."
    assert sorted(displaced) == sorted(
        [
            f"debug {prefix}found-suspect-lrp-unclaiming key",
            *(line.replace("db-", f"{prefix}db-") for line in unclaiming),
            f"info {prefix}db-change-actual-lrp-presence.starting from key to",
            f"info {prefix}db-change-actual-lrp-presence.finished from key to",
            f"info {prefix}create-unclaimed-actual.db-create-unclaimed-actual-lrps.starting key",
            f"info {prefix}create-unclaimed-actual.db-create-unclaimed-actual-lrps.complete key",
            f"info {prefix}creating-start-request index process_guid reason",
        ]
    )


async def test_cells_that_cannot_be_listed_are_logged(autojump_clock: MockClock) -> None:
    lines = Lines()
    async with open_lrp_bench(log=lines.logger()) as bench:
        bench.cells = UnknownError("locket is away")
        await bench.convergence.converge()

    [line] = lines.lines
    assert (line["message"], line["data"]["error"]) == (
        "bbs.converge-lrps.failed-listing-cells",
        "locket is away",
    )


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


async def test_a_life_of_a_suspect(autojump_clock: MockClock, bench: LRPBench) -> None:
    """Its cell goes and comes back, and it is as it was; then it goes for good, and its replacement takes over."""
    running = read_row("O RUN a@c1 e#2")
    await bench.given(domain(), desired(), running)

    bench.cells = CELLS - {"c1"}
    await bench.convergence.converge()
    assert [row.presence for row in bench.rows().values()].count(Presence.SUSPECT) == 1

    bench.cells = CELLS
    await bench.convergence.converge()
    assert list(bench.rows().values()) == [running]

    bench.cells = CELLS - {"c1"}
    await bench.convergence.converge()
    await bench.put(read_row("O RUN b@c2 f#2"))
    await bench.convergence.converge()
    assert list(bench.rows().values()) == [read_row("O RUN b@c2 f#2")]
    with pytest.raises(ResourceNotFound):
        await bench.peers.cell_by_id("c1", log=null_logger())
