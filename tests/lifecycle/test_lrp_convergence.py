"""What convergence decides about one instance: every row of the tables of convergence.md §4, and what has moved on."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle.lrp_convergence import (
    create_missing,
    place_again,
    prune_domain,
    prune_evacuating,
    restarts_if_crashed_before_ns,
    retire_undesired,
    update_routes,
    update_tags,
)
from bbs.lifecycle.restart import should_restart
from bbs.lifecycle.suspects import displace, is_missing, promote, remove_suspect
from bbs.models.actual_lrp import Rows
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import Domain
from bbs.models.errors import ResourceExists
from bbs.models.outcome import NOTHING, Outcome, RetireInstance, UpdateInstance, delete
from tests.records import desired_lrp

from .notation import HOLDER_STATES, SECOND_NS, N, read_row, read_rows, show_outcome
from .test_actual_lrp_vectors import rows_after

CELLS = frozenset({"c1", "c2", "c3"})
DESIRED = replace(
    desired_lrp("p", instances=2),
    routes=(("internal-router", b'[{"hostname":"r1.internal"}]'),),
    metric_tags=(("t", MetricTag(static="1")),),
)


def check(given: str, outcome: Outcome, after: str, events: str) -> None:
    before = read_rows(given)
    assert rows_after(before, outcome) == read_rows(after, before)
    assert show_outcome(outcome) == events


@pytest.mark.parametrize(
    ("given", "after", "events"),
    [
        ("O RUN a@c9 e#2", "O UNC - new#0; S RUN a@c9 e#2 since=N-10s", "- ; iX(O RUN a->S RUN a), iC(O UNC) ; auction[0]"),
        ("O CLA a@c9 e#2", "O UNC - new#0; S CLA a@c9 e#2 since=N-10s", "- ; iX(O CLA a->S CLA a), iC(O UNC) ; auction[0]"),
        (
            "O RUN a@c9 e#2; E RUN x@c1 f#0",
            "O UNC - new#0; E =; S RUN a@c9 e#2 since=N-10s",
            "- ; iX(O RUN a->S RUN a), iC(O UNC) ; auction[0]",
        ),
        ("O CLA b@c8 e#1; S RUN a@c9 s#2", "O UNC - e#2; S =", "- ; iC(O UNC), iR(O CLA b)"),
        ("O RUN b@c8 e#1; S CLA a@c9 s#2", "O UNC - e#2 kept; S =", "- ; iC(O UNC), iR(O RUN b)"),
        ("O RUN b@c8 e#1; S RUN a@c1 s#2", "O UNC - e#2 kept; S =", "- ; iC(O UNC), iR(O RUN b)"),
    ],
)  # fmt: skip
def test_a_row_whose_cell_is_missing(given: str, after: str, events: str) -> None:
    check(given, displace(read_rows(given), DESIRED, CELLS, now_ns=N, epoch="new"), after, events)


@pytest.mark.parametrize(
    "given",
    [
        "none",
        "O UNC - e#0",
        "O CRA - e#0",
        "O RUN a@c1 e#0",
        "O CLA a@ e#0",
        "S RUN a@c9 e#0",
        "E RUN a@c9 e#0",
    ],
)
def test_a_row_that_has_not_lost_its_cell_is_left_alone(given: str) -> None:
    assert displace(read_rows(given), DESIRED, CELLS, now_ns=N, epoch="new") is NOTHING


def test_a_row_that_nobody_desires_any_more_is_not_placed_anew() -> None:
    assert displace(read_rows("O RUN a@c9 e#2"), None, CELLS, now_ns=N, epoch="new") is NOTHING


@pytest.mark.parametrize("state", ["UNC -", "CRA -"])
def test_a_suspect_that_stands_for_nothing_is_in_the_way(state: str) -> None:
    with pytest.raises(ResourceExists):
        displace(read_rows(f"O RUN a@c9 e#2; S {state} s#0"), DESIRED, CELLS, now_ns=N, epoch="new")


def test_the_new_row_has_the_domain_that_is_desired() -> None:
    other = replace(DESIRED, domain="other")

    after = rows_after(
        read_rows("none"), displace(read_rows("O RUN a@c9 e#2"), other, CELLS, now_ns=N, epoch="new")
    )

    assert after.ordinary is not None
    assert after.suspect is not None
    assert (after.ordinary.domain, after.suspect.domain) == ("other", "d")


@pytest.mark.parametrize(
    ("cell_id", "cells", "missing"),
    [
        ("c9", CELLS, True),
        ("c1", CELLS, False),
        ("", CELLS, False),
        ("c1", frozenset(), True),
        ("", frozenset(), True),
    ],
)
def test_when_a_cell_is_missing(cell_id: str, cells: frozenset[str], missing: bool) -> None:
    assert is_missing(cell_id, cells) is missing


@pytest.mark.parametrize(
    ("given", "after", "events"),
    [
        ("S RUN a@c1 s#2", "O RUN a@c1 s#2 since=N-10s", "- ; iX(S RUN a->O RUN a)"),
        ("S CLA a@c1 s#2", "O CLA a@c1 s#2 since=N-10s", "- ; iX(S CLA a->O CLA a)"),
        (
            "S RUN a@c1 s#2; O UNC - e#0",
            "O RUN a@c1 s#2 since=N-10s",
            "gR{O UNC} ; iR(O UNC), iX(S RUN a->O RUN a)",
        ),
        (
            "S RUN a@c1 s#2; O RUN b@c2 e#0; E RUN x@c3 f#0",
            "O RUN a@c1 s#2 since=N-10s; E =",
            "gR{O RUN b} ; iR(O RUN b), iX(S RUN a->O RUN a)",
        ),
    ],
)
def test_a_suspect_whose_cell_is_back(given: str, after: str, events: str) -> None:
    check(given, promote(read_rows(given), CELLS), after, events)


@pytest.mark.parametrize("given", ["none", "S RUN a@c9 s#0", "O RUN a@c1 e#0", "S RUN a@ s#0"])
def test_no_suspect_or_no_cell_and_nothing_is_promoted(given: str) -> None:
    assert promote(read_rows(given), CELLS) is NOTHING
    assert promote(read_rows(given), frozenset()) is NOTHING


@pytest.mark.parametrize(
    ("given", "desired", "goes"),
    [
        ("S RUN a@c9 s#0", None, True),
        ("S CLA a@c9 s#0", None, True),
        ("S RUN a@c9 s#0; O UNC - e#0", None, True),
        ("S RUN a@c9 s#0; O RUN b@c1 e#0", DESIRED, True),
        ("S CLA a@c9 s#0; O RUN b@c1 e#0", DESIRED, False),
        ("S RUN a@c9 s#0; O CLA b@c1 e#0", DESIRED, False),
        ("S RUN a@c9 s#0", DESIRED, False),
        ("O RUN a@c9 s#0", None, False),
    ],
)
def test_when_a_suspect_goes(given: str, desired: DesiredLRP | None, goes: bool) -> None:
    rows = read_rows(given)

    outcome = remove_suspect(rows, desired)

    if goes:
        assert rows.suspect is not None
        suspect = f"S {rows.suspect.state[:3]} a"
        assert outcome.rows == (delete(rows.suspect),)
        assert show_outcome(outcome) == f"gR{{{suspect}}} ; iR({suspect})"
    else:
        assert outcome is NOTHING


UNCLAIMED_ANEW = "gX{O CRA}->{O UNC} ; iC(O UNC), iR(O CRA) ; auction[0]"


@pytest.mark.parametrize(
    ("given", "after", "events"),
    [
        ("O UNC - e#0", "=", "- ; - ; auction[0]"),
        ("O CLA a@c1 e#1", "=", "- ; - ; auction[0]"),
        (
            "O CRA - e#4 cc=3 crash_reason=boom kept",
            "O UNC - e#5 cc=3 crash_reason=boom kept",
            UNCLAIMED_ANEW,
        ),
        ("O CRA - e#4; S RUN a@c9 s#0", "O UNC - e#5; S =", UNCLAIMED_ANEW),
        ("O RUN a@c1 e#1", "=", "- ; -"),
        ("none", "=", "- ; -"),
        ("S RUN a@c9 s#0", "=", "- ; -"),
    ],
)
def test_a_row_that_is_to_be_placed_again(given: str, after: str, events: str) -> None:
    check(given, place_again(read_rows(given), DESIRED, now_ns=N), after, events)


@pytest.mark.parametrize("holder", HOLDER_STATES)
def test_what_nobody_desires_any_more_is_not_placed_again(holder: str) -> None:
    assert place_again(read_rows(f"O {holder} e#0"), None, now_ns=N) is NOTHING


@given(
    st.integers(0, 250),
    st.integers(0, N),
    st.sampled_from([-(2**40), -SECOND_NS, -1, 0, 1, SECOND_NS]) | st.integers(-(2**50), 2**50),
)
def test_the_restart_limit_of_a_crash_count_is_that_of_each_row(count: int, now_ns: int, delta: int) -> None:
    before_ns = restarts_if_crashed_before_ns(count, now_ns=now_ns)
    # Around the limit, if there is one.
    crashed_at_ns = now_ns + delta if before_ns is None or before_ns > 2 * N else before_ns + delta

    restarts = should_restart(now_ns=now_ns, crashed_at_ns=crashed_at_ns, crash_count=count)

    assert restarts is (before_ns is not None and crashed_at_ns < before_ns)


def test_a_missing_row_is_created_and_auctioned() -> None:
    outcome = create_missing(Rows(), replace(DESIRED, domain="d"), 0, now_ns=N, epoch="new")

    check("none", outcome, "O UNC - new#0", "gC{O UNC} ; iC(O UNC) ; auction[0]")


def test_beside_a_suspect_too() -> None:
    given = "S RUN a@c9 s#0; E RUN x@c1 f#0"
    outcome = create_missing(read_rows(given), DESIRED, 0, now_ns=N, epoch="new")

    check(given, outcome, "O UNC - new#0; S =; E =", "gC{O UNC} ; iC(O UNC) ; auction[0]")


@pytest.mark.parametrize("holder", HOLDER_STATES)
def test_a_row_that_has_appeared_is_in_the_way(holder: str) -> None:
    with pytest.raises(ResourceExists):
        create_missing(read_rows(f"O {holder} e#0"), DESIRED, 0, now_ns=N, epoch="new")


@pytest.mark.parametrize(("desired", "index"), [(None, 0), (DESIRED, 2), (replace(DESIRED, instances=0), 0)])
def test_what_is_no_longer_missing_is_not_created(desired: DesiredLRP | None, index: int) -> None:
    assert create_missing(Rows(), desired, index, now_ns=N, epoch="new") is NOTHING


@pytest.mark.parametrize("holder", HOLDER_STATES)
@pytest.mark.parametrize("instances", [None, 0, 1], ids=["nobody desires it", "one too many", "desired"])
def test_what_is_retired(holder: str, instances: int | None) -> None:
    rows = read_rows(f"O {holder} e#0")

    outcome = retire_undesired(rows, None if instances is None else replace(DESIRED, instances=instances))

    if instances == 1:
        assert outcome is NOTHING
    elif holder.startswith(("CLA", "RUN")):
        assert outcome == Outcome(effects=(RetireInstance(rows, ""),))
    else:
        check(f"O {holder} e#0", outcome, "none", f"gR{{O {holder[:3]}}} ; iR(O {holder[:3]})")


@pytest.mark.parametrize("given", ["none", "S RUN a@c9 s#0", "E RUN a@c1 s#0"])
def test_only_ordinary_rows_are_retired(given: str) -> None:
    assert retire_undesired(read_rows(given), None) is NOTHING


@pytest.mark.parametrize(
    ("given", "cells", "goes"),
    [
        ("E RUN x@c9 e#0", CELLS, True),
        ("E CLA x@c9 e#0; O RUN a@c1 f#0", CELLS, True),
        ("E RUN x@ e#0", CELLS, True),
        ("E RUN x@c1 e#0", frozenset(), True),
        ("E RUN x@c1 e#0", CELLS, False),
        ("O RUN x@c9 e#0", CELLS, False),
    ],
)
def test_when_an_evacuating_row_goes(given: str, cells: frozenset[str], goes: bool) -> None:
    rows = read_rows(given)

    outcome = prune_evacuating(rows, cells)

    if goes:
        assert rows.evacuating is not None
        evacuating = f"E {rows.evacuating.state[:3]} x"
        assert outcome.rows == (delete(rows.evacuating),)
        assert show_outcome(outcome) == f"gR{{{evacuating}}} ; iR({evacuating})"
    else:
        assert outcome is NOTHING


@pytest.mark.parametrize(("expires_ns", "goes"), [(N - 1, True), (N, True), (N + 1, False)])
def test_when_a_domain_goes(expires_ns: int, goes: bool) -> None:
    domain = Domain(name="d", expire_time_ns=expires_ns)

    assert prune_domain(domain, now_ns=N) == (Outcome(rows=(delete(domain),)) if goes else NOTHING)
    assert prune_domain(None, now_ns=N) is NOTHING


def with_routes(raw: bytes | None) -> DesiredLRP:
    return replace(DESIRED, routes=None if raw is None else (("internal-router", raw),))


@pytest.mark.parametrize(
    ("row", "raw", "told"),
    [
        ("O RUN a@c1 e#0 routes=a", b'[{"hostname":"a"},{"hostname":"b"}]', ("a", "b")),
        ("O RUN a@c1 e#0 routes=b,a", b'[{"hostname":"a"},{"hostname":"b"}]', NOTHING),
        ("O RUN a@c1 e#0 routes=a,b", b'[{"hostname":"a"},{"hostname":"a"}]', NOTHING),
        ("O RUN a@c1 e#0 routes=a,a", b'[{"hostname":"a"},{"hostname":"b"}]', ("a", "b")),
        ("O RUN a@c1 e#0 routes=a", b"[]", None),
        ("O RUN a@c1 e#0 routes=a", b"null", None),
        ("O RUN a@c1 e#0 routes=a", None, None),
        ("O RUN a@c1 e#0 routes=", None, NOTHING),
        ("O RUN a@c1 e#0 routes=absent", b"[]", NOTHING),
        ("O RUN a@c1 e#0 routes=absent", b'[{"hostname":"a"}]', ("a",)),
        ("O RUN a@c1 e#0 routes=a", b'{"hostname":"b"}', NOTHING),
        ("O CLA a@c1 e#0 routes=a", None, NOTHING),
        ("S RUN a@c1 e#0 routes=a", None, NOTHING),
        ("none", None, NOTHING),
    ],
)
def test_when_a_cell_is_told_of_routes(row: str, raw: bytes | None, told: object) -> None:
    rows = read_rows(row)

    outcome = update_routes(rows, with_routes(raw))

    if told is NOTHING:
        assert outcome is NOTHING
    else:
        assert rows.ordinary is not None
        assert outcome == Outcome(effects=(UpdateInstance(rows.ordinary, told, None, ""),))  # type: ignore[arg-type]  # a case's routes
    assert update_routes(rows, None) is NOTHING


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (None, None),
        ((), (("g", "a"), ("i", "0"), ("s", "x"))),
        ((("g", "a"), ("i", "1"), ("s", "x")), (("g", "a"), ("i", "0"), ("s", "x"))),
        ((("g", "a"), ("i", "0"), ("s", "x"), ("z", "more")), (("g", "a"), ("i", "0"), ("s", "x"))),
        ((("g", "a"), ("i", "0"), ("s", "x")), None),
    ],
)
def test_when_a_cell_is_told_of_tags(
    stored: tuple[tuple[str, str], ...] | None, told: tuple[tuple[str, str], ...] | None
) -> None:
    tags = (("g", MetricTag(dynamic=2)), ("i", MetricTag(dynamic=1)), ("s", MetricTag(static="x")))
    desired = replace(DESIRED, metric_tags=tags)
    lrp = replace(read_row("O RUN a@c1 e#0"), metric_tags=stored)

    outcome = update_tags(Rows(lrp), desired)

    expected = NOTHING if told is None else Outcome(effects=(UpdateInstance(lrp, None, told, ""),))
    assert outcome == expected
    assert update_tags(Rows(lrp), None) is NOTHING
    assert update_tags(Rows(replace(lrp, state=read_row("O CLA a@c1 e#0").state)), desired) is NOTHING


@given(st.data())
def test_no_decision_fails_in_another_way_than_by_refusing(data: st.DataObject) -> None:
    """Whatever the rows: rows that upstream wrote may be odd."""
    states = ["none", *(f"{state} {instance} x#0" for state in ("UNC", "CLA", "RUN", "CRA") for instance in ("-", "a@c1", "a@c9"))]  # fmt: skip
    drawn = (f"{presence} {data.draw(st.sampled_from(states))}" for presence in "OES")
    rows = read_rows("; ".join(row for row in drawn if not row.endswith("none")) or "none")
    desired = data.draw(st.sampled_from([None, DESIRED, with_routes(b'"x"')]))
    decisions: list[Callable[[], Outcome]] = [
        lambda: displace(rows, desired, CELLS, now_ns=N, epoch="new"),
        lambda: promote(rows, CELLS),
        lambda: remove_suspect(rows, desired),
        lambda: place_again(rows, desired, now_ns=N),
        lambda: create_missing(rows, desired, 0, now_ns=N, epoch="new"),
        lambda: prune_evacuating(rows, CELLS),
        lambda: update_routes(rows, desired),
        lambda: update_tags(rows, desired),
        lambda: retire_undesired(rows, desired),
    ]
    for decide in decisions:
        with suppress(ResourceExists):
            decide()
