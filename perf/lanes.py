"""What the fast lane and group commit bring: claims and starts through three configurations, side by side.

The machine is noisy, so the configurations take turns (A B C A B C …) and the medians of the rounds are compared. Every
turn has a server and a database of its own, desires its LRPs, then claims all and starts all, again and again: each of
these requests is a write, since a claim takes a running LRP back to CLAIMED. A turn is over in less than the 30 s
after which convergence would look for the cells, which do not exist.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bbs.models import pb
from perf.figures import JSON, Sample, merged, number, per_request_us, table
from perf.load import LoadGenerator
from perf.server import CPU, NO_CPU, Server, running_server
from perf.workloads import Fleet

CRITERION_RATIO: Final = 4.0
SEED_MAX_S: Final = 60.0
PASS_MAX_S: Final = 60.0
LIST_MAX_S: Final = 30.0

FAST, QUART, ONE_BY_ONE = "fast lane, group commit", "Quart alone", "fast lane, batches of one"
LANES: Final[dict[str, tuple[str, ...]]] = {
    FAST: (),
    QUART: ("--no-fast-lane",),
    ONE_BY_ONE: ("--batch-rows-max", "1"),
}
OPERATIONS: Final = ("claim", "start")


@dataclass(slots=True, kw_only=True)
class Turn:
    """One operation through one configuration in one round; grows by a pass over all LRPs at a time."""

    lane: str
    operation: str
    samples: list[Sample] = field(default_factory=list)
    cpu: CPU = NO_CPU

    def figures(self) -> "Figures":
        sample = merged(self.samples)
        at = sample.percentiles_ms()
        return Figures(
            per_s=sample.per_s,
            p50_ms=at.p50_ms,
            p99_ms=at.p99_ms,
            server_us=per_request_us(self.cpu.server_s, sample.answers),
            postgres_us=per_request_us(self.cpu.postgres_s, sample.answers),
            generator_us=per_request_us(sample.generator_cpu_s, sample.answers),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one row of the table. CPU is in microseconds per request."""

    per_s: float
    p50_ms: float
    p99_ms: float
    server_us: float
    postgres_us: float
    generator_us: float


@dataclass(slots=True, kw_only=True)
class Comparison:
    """All turns of a run, and the medians of their rounds."""

    lrps: int
    connections: int
    rounds: int
    turns: list[Turn] = field(default_factory=list)
    database: dict[str, str] = field(default_factory=dict)  # settings that decide what a commit is worth
    troubles: list[str] = field(default_factory=list)

    def median_figures(self, lane: str, operation: str) -> Figures:
        rounds = [turn.figures() for turn in self.turns if (turn.lane, turn.operation) == (lane, operation)]
        return Figures(
            per_s=_median(each.per_s for each in rounds),
            p50_ms=_median(each.p50_ms for each in rounds),
            p99_ms=_median(each.p99_ms for each in rounds),
            server_us=_median(each.server_us for each in rounds),
            postgres_us=_median(each.postgres_us for each in rounds),
            generator_us=_median(each.generator_us for each in rounds),
        )

    def ratio(self, lane: str, operation: str) -> float:
        """How many times the throughput of Quart alone; nan if that has none."""
        alone_per_s = self.median_figures(QUART, operation).per_s
        return self.median_figures(lane, operation).per_s / alone_per_s if alone_per_s else math.nan

    def criterion_met(self) -> bool:
        return all(self.ratio(FAST, operation) >= CRITERION_RATIO for operation in OPERATIONS)

    def report(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.database.items())
        rows = [
            [
                f"{operation}: {lane}",
                number(figures.per_s),
                number(figures.p50_ms, digits=1),
                number(figures.p99_ms, digits=1),
                number(figures.server_us),
                number(figures.postgres_us),
                number(figures.generator_us),
                number(self.ratio(lane, operation), digits=2),
            ]
            for operation in OPERATIONS
            for lane in LANES
            for figures in [self.median_figures(lane, operation)]
        ]
        header = ["operation", "req/s", "p50 ms", "p99 ms", "server µs", "Postgres µs", "load µs", "x Quart"]
        ratios = ", ".join(f"{operation} {self.ratio(FAST, operation):.2f}" for operation in OPERATIONS)
        return "\n".join(
            [
                f"{self.connections} connections, mutual TLS, {settings}; {self.lrps} LRPs, median of "
                f"{self.rounds} interleaved rounds; µs: CPU per request",
                "",
                table(header, rows),
                "",
                f"fast lane with group commit >= {CRITERION_RATIO:.0f} x Quart alone: "
                f"{'yes' if self.criterion_met() else 'no'} ({ratios})",
                *(f"TROUBLE: {trouble}" for trouble in self.troubles),
            ]
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "connections": self.connections,
            "rounds": self.rounds,
            "database": dict(self.database),
            "turns": [
                {
                    "lane": turn.lane,
                    "operation": turn.operation,
                    **merged(turn.samples).as_json(),
                    "server_cpu_us_per_request": _finite(turn.figures().server_us),
                    "postgres_cpu_us_per_request": _finite(turn.figures().postgres_us),
                }
                for turn in self.turns
                if turn.samples
            ],
            "times_quart_alone": {
                f"{operation}: {lane}": _finite(self.ratio(lane, operation))
                for operation in OPERATIONS
                for lane in LANES
            },
            "criterion_met": self.criterion_met(),
            "troubles": list(self.troubles),
        }


def compare_lanes(
    *, lrps: int, connections: int, rounds: int, turn_s: float, say: Callable[[str], None]
) -> Comparison:
    """Run all rounds. What fails is in the result's ``troubles``; only a server that can't run raises ServerFailed."""
    comparison = Comparison(lrps=lrps, connections=connections, rounds=rounds)
    for round_number in range(1, rounds + 1):
        for lane, arguments in LANES.items():
            with running_server(*arguments) as server:
                comparison.database = server.database_settings("fsync", "synchronous_commit")
                turns, troubles = _take_turn(server, lane, lrps=lrps, connections=connections, turn_s=turn_s)
            comparison.turns += turns
            comparison.troubles += [f"round {round_number}, {lane}: {trouble}" for trouble in troubles]
            rates = ", ".join(f"{turn.operation} {number(turn.figures().per_s)}/s" for turn in turns)
            say(f"round {round_number} of {rounds}, {lane}: {rates}")
    return comparison


def _take_turn(
    server: Server, lane: str, *, lrps: int, connections: int, turn_s: float
) -> tuple[list[Turn], list[str]]:
    fleet = Fleet(target=server.target, lrps=lrps)
    turns = [Turn(lane=lane, operation=operation) for operation in OPERATIONS]
    requests = {"claim": fleet.claims(), "start": fleet.starts()}
    with LoadGenerator(server.target, connections=connections) as generator:
        seeding = generator.run(fleet.desires(), max_s=SEED_MAX_S)
        troubles = [f"desire: {seeding.trouble()}"] if not seeding.good else []
        turn_ends_s = time.monotonic() + turn_s
        while not troubles and time.monotonic() < turn_ends_s:
            for turn in turns:
                before = server.cpu()
                sample = generator.run(requests[turn.operation], max_s=PASS_MAX_S)
                turn.cpu += server.cpu() - before
                turn.samples.append(sample)
                if not sample.good:
                    troubles.append(f"{turn.operation}: {sample.trouble()}")
        if not troubles:
            troubles += _check_all_run(generator, fleet)
    return turns, troubles


def _check_all_run(generator: LoadGenerator, fleet: Fleet) -> Sequence[str]:
    """What is wrong with the server's state after the turn: the answers said that all instances run, so a list must, too."""
    sample = generator.run([fleet.list_actual_lrps()], max_s=LIST_MAX_S)
    if not sample.good:
        return [f"list: {sample.trouble()}"]
    found = pb.ActualLRPsResponse.FromString(sample.last_body).actual_lrps
    running = sum(lrp.state == "RUNNING" for lrp in found)
    return [] if running == len(found) == fleet.lrps else [f"{running} of {len(found)} ActualLRPs run"]


def _median(values: Iterable[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return median(there) if there else math.nan


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
