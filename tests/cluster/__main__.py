"""``python -m tests.cluster``: a cluster that fails over again and again. ``make cluster`` installs what it needs first."""

import argparse
import random
import sys
import traceback
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from bbs.concurrency.causes import root_cause
from tests.cluster.failures import FAILURES
from tests.cluster.packages import missing_for_a_cluster
from tests.cluster.rounds import Round, run_rounds

LATE_MAX_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many failures, one after the other")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of an earlier run")
    parser.add_argument(
        "--only", choices=FAILURES, action="append", help="this kind of failure; several times: these kinds"
    )
    parser.add_argument(
        "--late-max-s",
        type=float,
        default=LATE_MAX_S,
        help="how much later than the cluster's own failover writes may go on",
    )
    parser.add_argument("--keep", type=Path, help="work in this new folder, and leave the logs there")
    given = parser.parse_args()
    missing = missing_for_a_cluster()
    if missing:
        print("\n".join(f"missing: {each}" for each in missing), file=sys.stderr)
        return 2
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    chance = random.Random(seed)
    kinds = [FAILURES[name] for name in given.only or FAILURES]
    # Each kind in turn, in an order that changes.
    failures = [failure for _ in range(given.rounds) for failure in chance.sample(kinds, len(kinds))]
    print(f"--seed {seed}", flush=True)
    print(
        f"{'failure':15} {'failed over after':>18} {'server later by':>16} {'refused':>8} {'acknowledged':>13}"
    )
    with TemporaryDirectory(prefix="bbs-cluster-") as folder:
        home = Path(folder)
        if given.keep is not None:
            home = given.keep
            home.mkdir()
        try:
            rounds = trio.run(partial(run_rounds, home, failures[: given.rounds], seed=seed, on_round=_tell))
        except Exception as failure:
            # That of nested groups hides what it is about.
            traceback.print_exception(root_cause(failure))
            return 1
    late = [each for each in rounds if each.late_s > given.late_max_s]
    for name in FAILURES:
        some = [each for each in rounds if each.failure == name]
        if some:
            print(
                f"{name}: {len(some)} times; failed over after {_range([each.failed_over_s for each in some])},"
                f" the server later by {_range([each.late_s for each in some])}"
            )
    if late:
        print(f"{len(late)} times later than {given.late_max_s} s", file=sys.stderr)
        return 1
    print("no acknowledged write was lost, and nobody wrote after his successor")
    return 0


def _tell(each: Round) -> None:
    print(
        f"{each.failure:15} {each.failed_over_s:16.2f} s {each.late_s:14.2f} s {each.refused:8} {each.acknowledged:13}",
        flush=True,
    )


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f} s (median {sorted(values)[len(values) // 2]:.2f})"


if __name__ == "__main__":
    sys.exit(main())
