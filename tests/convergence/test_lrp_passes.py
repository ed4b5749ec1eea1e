"""Whole passes over LRPs, in virtual time: what they change, tell, ask for and count (spec: examples.md I)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from trio.testing import MockClock

from bbs.convergence.lrp_pass import COMMITS_MAX
from bbs.log import null_logger
from bbs.models.actual_lrp import ActualLRP, Presence
from bbs.models.domain import NEVER_NS
from bbs.models.errors import ResourceNotFound
from tests.convergence.lrp_bench import CELLS, LRPBench, desired, domain, shown
from tests.lifecycle.notation import SECOND_NS, N, read_row


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
