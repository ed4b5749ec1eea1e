"""A seed replays: what `make sim SEED=…` shows is what has happened."""

import os
import subprocess
import sys

import pytest

from tests.simulation.test_simulated_lifecycles import CHAOTIC, chaos
from tests.simulation.world import simulate

TRACE_DIGEST = """
from hashlib import sha256
from tests.simulation.test_simulated_lifecycles import CHAOTIC, chaos
from tests.simulation.drawing import drawn
from tests.simulation.run import run
from tests.simulation.world import simulate
print(run(drawn(3)).digest)
print(sha256("\\n".join(simulate(chaos, seed=3, settle_s=None, **CHAOTIC)).encode()).hexdigest())
"""


def trace_of(seed: int) -> list[str]:
    return simulate(chaos, seed=seed, settle_s=None, **CHAOTIC)


def test_the_same_seed_does_the_same_and_another_does_not() -> None:
    trace = trace_of(1)

    assert len(trace) > 500
    assert trace_of(1) == trace
    assert trace_of(2) != trace


def digest(hash_seed: str) -> str:
    """What a process of its own makes of a seed; the order of sets of strings is another in each."""
    return subprocess.run(
        [sys.executable, "-c", TRACE_DIGEST],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.mark.slow
def test_the_same_seed_does_the_same_in_another_process() -> None:
    assert digest("1") == digest("2")
