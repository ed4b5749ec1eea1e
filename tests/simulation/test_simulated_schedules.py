"""Schedules of faults: none of them breaks a promise. More of them: `python -m tests.simulation --seeds 1000`."""

from itertools import count

import pytest

from tests.simulation.drawing import FAULTS, drawn
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run
from tests.simulation.schedule import (
    STEPS,
    CellDies,
    Crash,
    Desire,
    Fault,
    MessagesDelayed,
    Scale,
    Schedule,
)
from tests.simulation.seeds import seeds
from tests.simulation.shrinking import shrink
from tests.simulation.written import WRITTEN


@pytest.mark.parametrize("seed", seeds(8))
def test_no_schedule_of_faults_breaks_a_promise(seed: int) -> None:
    broken = run(drawn(seed)).broken
    if broken is not None:
        broken.add_note(f"again, and made small: python -m tests.simulation --seed {seed} --shrink")
        raise broken


@pytest.mark.parametrize("name", WRITTEN)
def test_no_written_schedule_breaks_a_promise(name: str) -> None:
    if (broken := run(WRITTEN[name]).broken) is not None:
        raise broken


def test_the_same_schedule_does_the_same_and_another_seed_does_not() -> None:
    schedule = WRITTEN["master sleeps"]
    first = run(schedule)

    assert len(first.trace) > 100
    assert run(schedule).digest == first.digest
    assert run(Schedule.from_json(schedule.to_json())).digest == first.digest
    assert run(Schedule(**vars(schedule) | {"seed": schedule.seed + 1})).digest != first.digest


@pytest.mark.parametrize("seed", range(50))
def test_a_schedule_is_its_text(seed: int) -> None:
    schedule = drawn(seed)

    assert Schedule.from_json(schedule.to_json()) == schedule
    assert eval(schedule.to_python(), {"Schedule": Schedule, **STEPS}) == schedule


def test_every_kind_of_step_is_drawn() -> None:
    seen = {type(step).__name__ for seed in range(300) for step in drawn(seed).steps}

    assert seen == STEPS.keys()
    assert len(FAULTS) >= 20


# Shrinking


def fails_when_a_cell_dies_after_a_crash(schedule: Schedule) -> bool:
    crashes = [step.at_s for step in schedule.steps if isinstance(step, Crash)]
    deaths = [step.at_s for step in schedule.steps if isinstance(step, CellDies) and step.for_s >= 4]
    return bool(crashes and deaths) and min(crashes) < max(deaths)


def test_a_schedule_shrinks_to_what_its_failure_needs() -> None:
    seed = next(seed for seed in count() if fails_when_a_cell_dies_after_a_crash(drawn(seed)))

    small = shrink(drawn(seed), fails_when_a_cell_dies_after_a_crash)

    assert [type(step) for step in small.steps] == [Crash, CellDies]
    assert isinstance(small.steps[1], Fault)
    assert small.steps[1].for_s == 4


def test_shrinking_ends_after_so_many_tries() -> None:
    tries = 0

    def fails(schedule: Schedule) -> bool:
        nonlocal tries
        tries += 1
        return False

    shrink(drawn(0), fails, tries_max=3)

    assert tries == 3


@pytest.mark.slow
def test_a_failing_schedule_shrinks_and_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS["counts-no-crash"]
    mutant.apply(monkeypatch)

    def fails(schedule: Schedule) -> bool:
        broken = run(schedule).broken
        return broken is not None and broken.invariant == mutant.caught_by

    needed = (Desire(at_s=0.0, app="app-0", instances=1), Crash(at_s=12.0, app="app-0"))
    schedule = Schedule(
        seed=1,
        cells=2,
        machines=1,
        steps=(
            needed[0],
            Desire(at_s=0.0, app="app-1", instances=1),
            MessagesDelayed(at_s=2.0, for_s=4.0, max_s=0.2),
            Scale(at_s=3.0, app="app-1", instances=2),
            needed[1],
        ),
    )
    assert fails(schedule)

    assert shrink(schedule, fails, tries_max=20).steps == needed
