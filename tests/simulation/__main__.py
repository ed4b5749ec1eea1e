"""Runs schedules of faults, many of them or one again: see `python -m tests.simulation --help`."""

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from tests.simulation.drawing import drawn
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import Run, run
from tests.simulation.schedule import Schedule
from tests.simulation.shrinking import shrink

SEEDS_IN_A_PORTION = 5
TRACE_SHOWN = 40
TOLD_EVERY = 100
"""Schedules between two lines that tell how far it has come."""


def main() -> int:
    args = _parser().parse_args()
    mutant = None if args.mutant is None else MUTANTS[args.mutant]
    if args.mutants:
        return _go_through_mutants(
            range(args.first_seed, args.first_seed + (args.seeds or 20)), jobs=args.jobs
        )
    if args.replay is not None or args.seed is not None:
        text = (
            None
            if args.replay is None
            else sys.stdin.read()
            if args.replay == "-"
            else Path(args.replay).read_text()
        )
        schedule = drawn(args.seed) if text is None else Schedule.from_json(text)
        return _show(schedule, mutant, shrinks=args.shrink, trace=args.trace)
    return _run_many(range(args.first_seed, args.first_seed + (args.seeds or 100)), jobs=args.jobs)


def _run_many(seeds: range, *, jobs: int) -> int:
    began, failed = monotonic(), 0
    with ProcessPoolExecutor(jobs) as pool:
        for seed, found in pool.map(_found, seeds, chunksize=SEEDS_IN_A_PORTION):
            if found:
                failed += 1
                print(f"seed {seed}: {found}", flush=True)
            if (done := seed - seeds.start + 1) % TOLD_EVERY == 0:
                print(f"{done} schedules in {monotonic() - began:.0f} s, {failed} failed", flush=True)
    took_s = monotonic() - began
    print(f"{len(seeds)} schedules in {took_s:.0f} s, {failed} failed")
    if failed:
        print("one again, and made small: python -m tests.simulation --seed SEED --shrink")
    return bool(failed)


def _found(seed: int) -> tuple[int, str]:
    broken = run(drawn(seed)).broken
    return seed, "" if broken is None else str(broken)


def _show(schedule: Schedule, mutant: Mutant | None, *, shrinks: bool, trace: bool) -> int:
    result = _run_with(schedule, mutant)
    if result.broken is not None and shrinks:
        invariant = result.broken.invariant

        def fails(smaller: Schedule) -> bool:
            broken = _run_with(smaller, mutant).broken
            return broken is not None and broken.invariant == invariant

        schedule = shrink(schedule, fails)
        result = _run_with(schedule, mutant)
    print("\n".join(result.trace if trace else result.trace[-TRACE_SHOWN:]))
    print(f"digest of the trace: {result.digest}")
    print(f"as Python:\n{schedule.to_python()}")
    print(f"as JSON, for `python -m tests.simulation --replay FILE`:\n{schedule.to_json()}")
    if result.broken is None:
        print("nothing is wrong")
        return 0
    print(f"broken: {result.broken}")
    return 1


def _go_through_mutants(seeds: range, *, jobs: int) -> int:
    """For each mutant: which invariants catch it, in how many of the schedules, and the first seed that does."""
    escaped = 0
    with ProcessPoolExecutor(jobs) as pool:
        for name, caught in zip(MUTANTS, pool.map(_caught, ((name, seeds) for name in MUTANTS)), strict=True):
            counts = Counter(invariant for _, invariant in caught)
            first = {invariant: seed for seed, invariant in reversed(caught)}
            escaped += MUTANTS[name].caught_by not in counts
            print(f"{name} ({MUTANTS[name].caught_by}): {dict(counts)}, first seeds {first}", flush=True)
    print(f"{escaped} of {len(MUTANTS)} escaped")
    return bool(escaped)


def _caught(what: tuple[str, range]) -> list[tuple[int, str]]:
    name, seeds = what
    return [
        (seed, broken.invariant)
        for seed in seeds
        if (broken := _run_with(drawn(seed), MUTANTS[name]).broken) is not None
    ]


def _run_with(schedule: Schedule, mutant: Mutant | None) -> Run:
    with ExitStack() as stack:
        if mutant is not None:
            mutant.apply(stack.enter_context(pytest.MonkeyPatch.context()))
        return run(schedule)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many schedules to run (100)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of their seeds (0)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--seed", type=int, help="one schedule, with its trace")
    parser.add_argument("--replay", metavar="FILE", help="a schedule in JSON, from a file or `-`")
    parser.add_argument("--shrink", action="store_true", help="if it fails, make it as small as it can be")
    parser.add_argument("--trace", action="store_true", help="the whole trace, not only its end")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with one of the faults put in by hand")
    parser.add_argument("--mutants", action="store_true", help="each of them with each of the schedules (20)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
