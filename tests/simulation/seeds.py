"""Which seeds a scenario runs with, and how a scenario becomes a test."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.world import Scenario, simulate


def seeds(few: int) -> list[int]:
    """``few``, unless the environment asks for one (SIM_SEED) or for so many (SIM_SEEDS)."""
    if one := os.environ.get("SIM_SEED"):
        return [int(one)]
    return list(range(int(os.environ.get("SIM_SEEDS") or few)))


def simulated(
    *, few: int = 2, slow: bool = False, settle_s: float | None = 300, **fleet: Any
) -> Callable[[Scenario], Any]:
    """A scenario as a test, in a ``fleet`` of its own for each seed; in the end the fleet comes to rest."""

    def as_test(scenario: Scenario) -> Any:
        def test(seed: int) -> None:
            simulate(scenario, seed=seed, settle_s=settle_s, **fleet)

        # Not `functools.wraps`: pytest would look through it, for a fixture called ``world``.
        test.__name__ = getattr(scenario, "__name__", "test")
        test.__doc__ = scenario.__doc__
        marked = pytest.mark.parametrize("seed", seeds(few))(test)
        return pytest.mark.slow(marked) if slow else marked

    return as_test
