"""Which moves are legal, and which requests each state takes (spec: actual-lrps.md §2, §6)."""

from collections.abc import Callable
from itertools import product

import pytest

from bbs.lifecycle import actual_lrps
from bbs.lifecycle.retirement import retire
from bbs.lifecycle.transitions import may_move
from bbs.models.actual_lrp import NO_INSTANCE, ActualLRP, ActualLRPState, InstanceKey, Rows
from bbs.models.errors import (
    ActualLRPCannotBeClaimed,
    ActualLRPCannotBeCrashed,
    ActualLRPCannotBeFailed,
    ActualLRPCannotBeStarted,
    BBSError,
    ResourceExists,
    ResourceNotFound,
)
from bbs.models.outcome import RetireInstance

from .notation import STATES, N, read_row
from .test_actual_lrp_vectors import start_report

# The table of §2: from, then who may go to UNC, CLA, RUN, CRA.
ALWAYS, EMPTY, SAME, NEVER = {"same", "other", "empty"}, {"empty"}, {"same"}, set[str]()
LEGAL = {
    "UNC": (ALWAYS, ALWAYS, ALWAYS, NEVER),
    "CLA": (EMPTY, SAME, ALWAYS, SAME),
    "RUN": (EMPTY, SAME, SAME, SAME),
    "CRA": (EMPTY, SAME, SAME, NEVER),
}
# A row without an instance is held by whoever names none.
HOLDERS = {"UNC": "-", "CLA": "a@c1", "RUN": "a@c1", "CRA": "-"}
OTHERS = (InstanceKey(instance_guid="b", cell_id="c1"), InstanceKey(instance_guid="a", cell_id="c2"))


def row_in(state: str) -> ActualLRP:
    return read_row(f"O {state} {HOLDERS[state]} e#1")


@pytest.mark.parametrize(("before", "to", "who"), list(product(STATES, STATES, ("same", "other", "empty"))))
def test_only_the_listed_moves_are_legal(before: str, to: str, who: str) -> None:
    lrp = row_in(before)
    legal = LEGAL[before][list(STATES).index(to)]

    for claimant in {"same": (lrp.instance,), "other": OTHERS, "empty": (NO_INSTANCE,)}[who]:
        names = (
            {who}
            | ({"same"} if claimant == lrp.instance else set())
            | ({"empty"} if claimant == NO_INSTANCE else set())
        )
        assert may_move(lrp, STATES[to], claimant) == bool(legal & names)


@pytest.mark.parametrize(("before", "to"), list(product(STATES, STATES)))
def test_no_move_is_legal_in_another_domain(before: str, to: str) -> None:
    lrp = row_in(before)

    assert not may_move(lrp, STATES[to], lrp.instance, domain="d2")
    assert may_move(lrp, STATES[to], lrp.instance, domain="d") == may_move(lrp, STATES[to], lrp.instance)


A, B = InstanceKey(instance_guid="a", cell_id="c1"), InstanceKey(instance_guid="b", cell_id="c2")
REQUESTS: dict[str, Callable[[Rows], object]] = {
    "create": lambda rows: actual_lrps.create_unclaimed(
        rows, process_guid="p", index=0, domain="d", now_ns=N, epoch="new"
    ),
    "claim by a": lambda rows: actual_lrps.claim(rows, A, now_ns=N),
    "claim by b": lambda rows: actual_lrps.claim(rows, B, now_ns=N),
    "start by a": lambda rows: actual_lrps.start(rows, start_report("a@c1"), now_ns=N, epoch="new"),
    "start by b": lambda rows: actual_lrps.start(rows, start_report("b@c2"), now_ns=N, epoch="new"),
    "crash by a": lambda rows: actual_lrps.crash(rows, A, "boom", is_desired=True, now_ns=N),
    "crash by b": lambda rows: actual_lrps.crash(rows, B, "boom", is_desired=True, now_ns=N),
    "fail": lambda rows: actual_lrps.fail(rows, "no room", now_ns=N),
    "remove": lambda rows: actual_lrps.remove(rows, None),
    "remove a": lambda rows: actual_lrps.remove(rows, A),
    "remove b": lambda rows: actual_lrps.remove(rows, B),
    "retire": lambda rows: retire(rows, trace_id=""),
}
EXISTS, GONE = ResourceExists, ResourceNotFound
CLAIM, START, CRASH, FAIL = (
    ActualLRPCannotBeClaimed,
    ActualLRPCannotBeStarted,
    ActualLRPCannotBeCrashed,
    ActualLRPCannotBeFailed,
)
# The row there is, held by a where it has a holder: none, UNC, CLA, RUN, CRA. None: the request succeeds.
ANSWERS: dict[str, tuple[type[BBSError] | None, ...]] = {
    "create": (None, EXISTS, EXISTS, EXISTS, EXISTS),
    "claim by a": (GONE, None, None, None, CLAIM),
    "claim by b": (GONE, None, CLAIM, CLAIM, CLAIM),
    "start by a": (None, None, None, None, START),
    "start by b": (None, None, None, START, START),
    "crash by a": (GONE, CRASH, None, None, CRASH),
    "crash by b": (GONE, CRASH, CRASH, CRASH, CRASH),
    "fail": (None, None, FAIL, FAIL, FAIL),
    "remove": (GONE, None, None, None, None),
    "remove a": (GONE, GONE, None, None, GONE),
    "remove b": (GONE, GONE, GONE, GONE, GONE),
    "retire": (GONE, None, None, None, None),
}


@pytest.mark.parametrize(("request_name", "state"), list(product(REQUESTS, ("none", *STATES))))
def test_every_request_in_every_state(request_name: str, state: str) -> None:
    rows = Rows() if state == "none" else Rows(ordinary=row_in(state))
    refusal = ANSWERS[request_name][("none", *STATES).index(state)]

    if refusal is None:
        REQUESTS[request_name](rows)
    else:
        with pytest.raises(refusal) as refused:
            REQUESTS[request_name](rows)
        assert str(refused.value) == refusal.canonical_text


@pytest.mark.parametrize(
    ("state", "is_asked"), [("UNC", False), ("CLA", True), ("RUN", True), ("CRA", False)]
)
def test_only_a_cell_that_has_the_instance_is_asked(state: str, is_asked: bool) -> None:
    rows = Rows(ordinary=row_in(state))

    outcome = retire(rows, trace_id="")

    assert outcome.effects == ((RetireInstance(rows, ""),) if is_asked else ())
    assert bool(outcome.rows) is not is_asked


def test_states_are_those_of_the_tables() -> None:
    assert [state.value for state in ActualLRPState] == [STATES[name].value for name in LEGAL]
