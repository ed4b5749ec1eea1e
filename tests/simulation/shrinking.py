"""The smallest schedule that still shows what a failing one has shown.

First whole groups of steps are left out, then smaller ones, then single ones (delta debugging). Then each fault that is
left is made shorter. A try counts if the same invariant breaks; that it breaks in another place is fine, since whoever
reads the result wants any example, as short as can be.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.schedule import Fault, Schedule, Step

TRIES_MAX = 300
"""Each takes as long as a run, half a second to two."""


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], *, tries_max: int = TRIES_MAX) -> Schedule:
    """A schedule that ``fails``, with few steps and short ones; at worst the one given, which has to fail."""
    tries = 0

    def still_fails(smaller: Schedule) -> bool:
        nonlocal tries
        tries += 1
        return tries <= tries_max and fails(smaller)

    schedule = _with_fewer_steps(schedule, still_fails)
    schedule = _with_shorter_faults(schedule, still_fails)
    return _with_fewer_steps(schedule, still_fails)


def _with_fewer_steps(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    size = len(schedule.steps)
    while size := size // 2:
        begin = 0
        while begin < len(schedule.steps):
            smaller = schedule.without(set(range(begin, begin + size)))
            if fails(smaller):
                schedule = smaller
            else:
                begin += size
    return schedule


def _with_shorter_faults(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    for number, step in enumerate(schedule.steps):
        for shorter in _shorter(step):
            steps = (*schedule.steps[:number], shorter, *schedule.steps[number + 1 :])
            if fails(smaller := replace(schedule, steps=steps)):
                schedule = smaller
                break
    return schedule


def _shorter(step: Step) -> Iterator[Step]:
    """The shortest first."""
    if isinstance(step, Fault):
        for for_s in (0.5, 4.0, 12.0, 25.0):
            if for_s < step.for_s:
                yield replace(step, for_s=for_s)
