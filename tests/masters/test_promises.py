"""The rules find what they are there for: histories made up by hand, each with one fault, or none."""

from typing import Any

import pytest

from bbs.store.foreign_changes import Snapshot
from tests.masters.clients import INSTANCES, Read, Verb, Write
from tests.masters.history import Batch, Change, must_be_in_order, reigns
from tests.masters.promises import reads_must_be_fresh, writes_must_be_whole

REGISTER = "register-0"


def batch(
    launch: str, transaction: int, *changes: Change, oldest: int | None = None, running: tuple[int, ...] = ()
) -> Batch:
    """By default everything before it is over when it begins."""
    snapshot = Snapshot(transaction if oldest is None else oldest, transaction, frozenset(running))
    return Batch(launch, transaction, snapshot, changes)


def updated(annotation: str) -> Change:
    return Change("desired_lrps", "UPDATE", REGISTER, annotation)


def update(annotation: str, *, launch: str = "a-1", **more: Any) -> Write:
    return Write(launch, Verb.UPDATE, REGISTER, annotation, 1.0, **{"ended_s": 2.0, **more})


def read(annotation: str, began_s: float, ended_s: float, *, launch: str = "b-1") -> Read:
    return Read(launch, began_s, ended_s, {REGISTER: annotation})


def test_reigns_are_told_in_their_order() -> None:
    assert reigns([batch("a-1", 1), batch("a-1", 2), batch("b-1", 3)]) == ["a-1", "b-1"]


def test_a_process_that_writes_after_its_successor_is_found() -> None:
    with pytest.raises(AssertionError, match="wrote again"):
        reigns([batch("a-1", 1), batch("b-1", 2), batch("a-1", 3)])


def test_a_process_that_commits_after_its_successor_has_begun_is_found() -> None:
    """Its rows come first in the history, so the order of rows alone shows nothing."""
    with pytest.raises(AssertionError, match="b-1 wrote in 2 before a-1 had committed 1"):
        reigns([batch("a-1", 1), batch("b-1", 2, oldest=1, running=(1,))])


def test_reigns_in_the_order_of_grants() -> None:
    must_be_in_order(["a-1", "b-2"], ["a-1", "b-1", "b-2"])
    with pytest.raises(AssertionError, match="the lock was given to"):
        must_be_in_order(["b-1", "a-1"], ["a-1", "b-1"])


def test_a_lost_write_is_found() -> None:
    with pytest.raises(AssertionError, match="acknowledged, and not there"):
        writes_must_be_whole([update("v1")], [batch("a-1", 1, updated("v0"))])


def test_a_write_that_nobody_acknowledged_may_be_there_or_not() -> None:
    writes = [update("v1", ended_s=float("inf")), update("v2", error="the database is unavailable")]
    writes_must_be_whole(writes, [batch("a-1", 1, updated("v1"))])


def test_a_write_that_another_process_committed_is_found() -> None:
    with pytest.raises(AssertionError, match="committed by b-1"):
        writes_must_be_whole([update("v1")], [batch("b-1", 1, updated("v1"))])


@pytest.mark.parametrize(("verb", "operation"), [(Verb.DESIRE, "INSERT"), (Verb.REMOVE, "DELETE")])
@pytest.mark.parametrize("ended_s", [2.0, float("inf")])
def test_a_write_that_is_half_there_is_found(verb: Verb, operation: str, ended_s: float) -> None:
    write = Write("a-1", verb, "p", "v1", 1.0, ended_s)
    lrp, instance = Change("desired_lrps", operation, "p", "v1"), Change("actual_lrps", operation, "p")
    writes_must_be_whole([write], [batch("a-1", 1, lrp, *[instance] * INSTANCES)])
    with pytest.raises(AssertionError, match="only"):
        writes_must_be_whole(
            [write], [batch("a-1", 1, lrp, *[instance] * (INSTANCES - 1)), batch("a-1", 2, instance)]
        )


HISTORY = [batch("a-1", 1, updated("v0")), batch("a-1", 2, updated("v1")), batch("b-1", 3, updated("v2"))]


@pytest.mark.parametrize(
    ("answer", "is_allowed"),
    [
        pytest.param(read("v1", 2.1, 2.2), True, id="as new as what was acknowledged"),
        pytest.param(read("v2", 1.1, 1.2), True, id="newer, and not acknowledged yet"),
        pytest.param(read("v0", 1.9, 2.2), True, id="older, but asked for before"),
        pytest.param(read("v0", 2.1, 2.2), False, id="older"),
        pytest.param(read("v9", 2.1, 2.2), False, id="never committed"),
    ],
)
def test_an_old_answer_is_found(answer: Read, is_allowed: bool) -> None:
    writes = [update("v1")]
    if is_allowed:
        reads_must_be_fresh([REGISTER], [answer], writes, HISTORY)
    else:
        with pytest.raises(AssertionError, match=r"version 0|never committed"):
            reads_must_be_fresh([REGISTER], [answer], writes, HISTORY)


def test_an_answer_older_than_another_is_found_unless_excused() -> None:
    answers = [read("v2", 3.0, 4.0), read("v1", 4.1, 5.0, launch="a-1")]
    with pytest.raises(AssertionError, match="a-1 answered version 1 of register-0 when version 2 was known"):
        reads_must_be_fresh([REGISTER], answers, [], HISTORY)
    reads_must_be_fresh([REGISTER], answers, [], HISTORY, excused={"a-1"})
