"""The pieces of retiring (spec: actual-lrps.md §6.7); whole rows and events are in the vectors D12-D22."""

import pytest

from bbs.lifecycle.retirement import removed_by_retire, retire, told, without_cell
from bbs.models.errors import ResourceNotFound
from bbs.models.outcome import Outcome, RetireInstance, delete

from .notation import read_rows, show_outcome

RUNNING = read_rows("O RUN a@c1 e#2; E RUN x@c3 f#0")


RETIRING = RetireInstance(RUNNING, "trace")


def test_the_cell_that_has_the_instance_is_asked() -> None:
    assert retire(RUNNING, trace_id="trace") == Outcome(effects=(RETIRING,))
    assert RETIRING.lrp is RUNNING.ordinary


def test_a_cell_that_is_there_makes_the_removal_known_and_writes_nothing() -> None:
    assert told(RETIRING) == Outcome(announcements=(removed_by_retire(RUNNING, "trace"),))


def test_a_row_that_changed_meanwhile_goes_but_is_told_as_it_was() -> None:
    now = read_rows("O RUN a@c1 e#3 routable=false")
    assert now.ordinary is not None

    outcome = without_cell(RETIRING, now, is_told=False)

    assert outcome == Outcome(
        rows=(delete(now.ordinary),), announcements=(removed_by_retire(RUNNING, "trace"),)
    )


def test_a_removal_is_told_once() -> None:
    assert show_outcome(without_cell(RETIRING, RUNNING, is_told=True)) == "- ; -"


@pytest.mark.parametrize("now", ["none", "E RUN a@c1 f#0", "O UNC - e#3", "O RUN b@c2 e#4"])
def test_a_row_that_is_no_longer_this_instances_stays(now: str) -> None:
    with pytest.raises(ResourceNotFound):
        without_cell(RETIRING, read_rows(now), is_told=False)


@pytest.mark.parametrize("given", ["O UNC - e#0", "O RUN a@c1 e#2"])
def test_the_trace_id_is_in_the_events(given: str) -> None:
    outcome = retire(read_rows(given), trace_id="trace")

    for effect in outcome.effects:
        assert isinstance(effect, RetireInstance)
        outcome = told(effect)
    (announcement,) = outcome.announcements
    assert announcement == removed_by_retire(read_rows(given), "trace")
