"""The server beside a real cluster that fails over: each kind of failure that is quick, and a primary that hangs.

`python -m tests.cluster` has all kinds, again and again, and measures; here no time decides anything.
"""

import random

import pytest

from tests.cluster.failures import FAILURES
from tests.cluster.packages import missing_for_a_cluster
from tests.cluster.rounds import run_rounds
from tests.scratch import scratch_directory

MISSING = missing_for_a_cluster()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
async def test_nothing_acknowledged_is_lost_and_writes_go_on_when_the_primary_changes(
    cluster_seed: int | None,
) -> None:
    seed = random.randrange(1_000_000) if cluster_seed is None else cluster_seed
    print(f"--cluster-seed {seed}")  # pytest shows it if the test fails
    with scratch_directory("bbs-cluster-") as folder:
        rounds = await run_rounds(
            folder,
            [FAILURES[name] for name in ("switchover", "kill-postgres", "split")],
            seed=seed,
            settle_last=False,
        )

    assert all(each.acknowledged for each in rounds)
