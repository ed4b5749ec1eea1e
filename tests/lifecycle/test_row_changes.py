"""What is told of rows that have changed is what the decision told that changed them."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.lifecycle.row_changes import InstanceChanged
from bbs.models.actual_lrp import ActualLRPState, Rows
from bbs.models.events import Hub
from bbs.models.outcome import Outcome
from tests.told_of_rows import CRASH, MASKED, SHARED_KEY, TOLD_BEFORE, Routes, Subscriber, difference

from .notation import SECOND_NS, N, Vector, read_instance, read_row, show_outcome, vectors
from .operations import OPERATIONS, Asked, asked
from .test_actual_lrp_vectors import rows_after

# In the words of the specification


@pytest.mark.parametrize("vector", list(vectors("row_changes.txt")), ids=lambda vector: vector.name)
def test_what_is_told_of_rows(vector: Vector) -> None:
    told = InstanceChanged(vector.given, vector.after)

    assert show_outcome(Outcome(announcements=(told,))) == vector.events
    assert told.events(Hub.DESIRED) == told.events(Hub.TASK) == ()


# Whatever the rows are, and whatever is asked

ORDINARY = (
    None,
    *(
        read_row(f"O {state} e#1 {past}")
        for state in ("CLA a@c1", "CLA b@c2", "RUN a@c1", "RUN b@c2", "UNC -", "CRA -")
        for past in ("", "cc=1 crash_reason=boom since=N-6m")
    ),
    read_row("O RUN a@c1 e#1 cc=2 crash_reason=boom"),
)
EVACUATING = (
    None,
    read_row("E RUN a@c1 f#1"),
    read_row("E RUN b@c2 f#1 az=z3"),
    read_row("E RUN x@c3 f#1 az=z3"),
)
SUSPECT = (None, *(read_row(f"S {state} s#1") for state in ("CLA a@c1", "RUN a@c1", "RUN b@c2", "RUN x@c3")))
WHOEVER = (
    Asked(who=read_instance("a@c1")),
    Asked(who=read_instance("a@c1"), address="10.0.0.2", reason=1024 * "x"),
    Asked(who=read_instance("b@c2")),
    Asked(who=read_instance("x@c3")),
)


def is_possible(rows: Rows) -> bool:
    """The server never makes an instance ordinary and suspect at once."""
    ordinary, suspect = rows.ordinary, rows.suspect
    return ordinary is None or suspect is None or ordinary.instance != suspect.instance


ALL_ROWS = [rows for given in product(ORDINARY, EVACUATING, SUSPECT) if is_possible(rows := Rows(*given))]

DIFFERENCES = {
    "claim": {SHARED_KEY},
    "start": {SHARED_KEY},
    "crash": {SHARED_KEY},
    "remove": {SHARED_KEY},
    "retire": {SHARED_KEY},
    "retire, told before": {TOLD_BEFORE},
    "scale down": {SHARED_KEY, MASKED},
    "remove evacuating": {SHARED_KEY},
    "evacuate claimed": {SHARED_KEY, CRASH},
    "evacuate crashed": {SHARED_KEY, CRASH},
    "evacuate stopped": {SHARED_KEY},
    "evacuate running": {SHARED_KEY},
    "evacuate running, recreate": {SHARED_KEY, CRASH},
    "evacuate running, undesired": {SHARED_KEY},
    "displace": {SHARED_KEY, MASKED, CRASH},
    "remove suspect": {SHARED_KEY, MASKED},
    "remove suspect, undesired": {SHARED_KEY, MASKED},
}
"""In what the events of an operation may differ from those of its rows: all that there is, and nothing that is not."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_events_of_an_outcome_follow_from_its_rows(name: str) -> None:
    found: dict[str | None, object] = {}
    for before, about in product(ALL_ROWS, WHOEVER):
        outcome = asked(OPERATIONS[name], before, about)
        if outcome.rows:
            after = rows_after(before, outcome)
            found[difference(before, after, outcome.announcements)] = (before, about, outcome)

    assert found
    assert found.keys() - {None} == DIFFERENCES.get(name, set()), found


# Several outcomes in one transaction

STEPS = st.tuples(
    st.sampled_from(sorted(OPERATIONS)),
    st.sampled_from(["a@c1", "b@c2", "x@c3"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    st.sampled_from([1, 400]),
)


@given(st.sampled_from(ALL_ROWS), st.lists(STEPS, min_size=1, max_size=6))
def test_events_of_a_transaction_leave_subscribers_with_its_rows(
    before: Rows, steps: list[tuple[str, str, str, int]]
) -> None:
    after, now_ns = before, N
    for number, (name, who, address, pause_s) in enumerate(steps):
        now_ns += pause_s * SECOND_NS
        about = Asked(who=read_instance(who), now_ns=now_ns, epoch=f"n{number}", address=address)
        after = rows_after(after, asked(OPERATIONS[name], after, about))

    must_lead(before, after)


def must_lead(before: Rows, after: Rows) -> None:
    """The events lead a subscriber from the rows before to those after, and in between it never lacks what runs throughout."""
    at, running = ("p", 0), ActualLRPState.RUNNING
    runs = all(any(row.state is running for row in rows.present()) for rows in (before, after))
    events = InstanceChanged(before, after).events(Hub.INSTANCE)
    by_key, by_guid = Subscriber(before.present()), Routes(before.present())
    for event in events:
        by_key.apply(event)
        by_guid.apply(event)
        assert not runs or by_key.runs(at), events
        assert not runs or by_guid.runs(at), events
    assert by_key.rows == {row.key: row for row in after.present()}, events
    if before.evacuating is not None and after.evacuating is not None:
        # As upstream, nobody is told of the end of an evacuating row that another instance takes over (spec: evacuation.md
        # 8.3): by its key it is overwritten.
        by_guid.endpoints.pop((before.evacuating.instance.instance_guid, True), None)
        by_guid.endpoints.update(Routes.of([after.evacuating]))
    assert by_guid.endpoints == dict(Routes.of(after.present())), events
