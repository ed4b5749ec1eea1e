"""Faults put into the server by hand are caught, each by the promise that the list says."""

import pytest

from tests.simulation.mutants import MUTANTS, schedule_of
from tests.simulation.promises import INVARIANTS
from tests.simulation.run import run
from tests.simulation.written import WRITTEN


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_put_in_by_hand_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    mutant.apply(monkeypatch)

    broken = run(schedule_of(mutant)).broken

    assert broken is not None, f"nobody notices: {mutant.what}"
    assert mutant.caught_by in broken.invariants, str(broken)


def test_each_promise_catches_something_and_each_schedule_is_of_use() -> None:
    assert {mutant.caught_by for mutant in MUTANTS.values()} == INVARIANTS.keys()
    assert {mutant.schedule for mutant in MUTANTS.values()} >= WRITTEN.keys()
