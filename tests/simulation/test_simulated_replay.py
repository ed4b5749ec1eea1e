"""A seed replays: what `make sim SEED=…` shows is what has happened."""

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from tests.simulation.drawing import drawn
from tests.simulation.run import run
from tests.simulation.test_simulated_lifecycles import CHAOTIC, chaos
from tests.simulation.world import simulate


def trace_of(seed: int) -> list[str]:
    return simulate(chaos, seed=seed, settle_s=None, **CHAOTIC)


def test_the_same_seed_does_the_same_and_another_does_not() -> None:
    trace = trace_of(1)

    assert len(trace) > 500
    assert trace_of(1) == trace
    assert trace_of(2) != trace


def digests() -> list[str]:
    """What this process makes of a seed: of a drawn schedule, and of a scenario."""
    trace = trace_of(3)
    return [run(drawn(3)).digest, sha256("\n".join(trace).encode()).hexdigest()]


def digests_with(hash_seed: str) -> list[str]:
    """What a process of its own makes of it. The order of sets of strings is another in each."""
    return subprocess.run(
        [sys.executable, "-c", f"from {__name__} import digests; print(*digests(), sep='\\n')"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.split()


@pytest.mark.slow
def test_the_same_seed_does_the_same_in_another_process() -> None:
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"

    assert digests_with(other) == digests()
