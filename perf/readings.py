"""What a comparison measured, as data: a reading per step and round, and medians and ratios over the rounds.

A reading's values are named with their unit ("req/s", "p99 ms"). The first is its headline, which ratios and plots are about.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Final

from perf.figures import JSON, Sample, per_request_us

HIGHER_IS_BETTER: Final = frozenset(
    {"req/s", "deliveries/s", "connections/s", "instances/s", "subscribers/s", "LRPs/s", "handshakes/s"}
)
"""Rates. Of everything else (latencies, memory, durations) less is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a figure is made of; nan where it can't be known, as for a server that is not ours.

    CPU is in seconds, of the whole step. ``batch`` is the mean number of decisions in a transaction. ``loop_lag_ms`` is the
    upper end of the bucket that holds the event loop's 99th percentile of lateness, ``collection_ms`` the longest run of the
    server's garbage collector.
    """

    server_s: float = math.nan
    database_s: float = math.nan
    load_s: float = math.nan
    batch: float = math.nan
    loop_lag_ms: float = math.nan
    collection_ms: float = math.nan


PART_NAMES: Final = ("server_s", "database_s", "load_s", "batch", "loop_lag_ms", "collection_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One step, measured once. ``work`` is how many requests or deliveries the CPU of ``parts`` was spent on."""

    step: str
    values: Mapping[str, float]
    parts: Parts = field(default_factory=Parts)
    work: int = 0

    @property
    def headline(self) -> str:
        return next(iter(self.values))


def reading_of(step: str, sample: Sample, parts: Parts) -> Reading:
    """The usual reading of a run of the load generator."""
    at = sample.percentiles_ms()
    values = {"req/s": sample.per_s, "p50 ms": at.p50_ms, "p99 ms": at.p99_ms, "max ms": at.max_ms}
    return Reading(step=step, values=values, parts=parts, work=sample.answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Of one scenario: how long it took, the load average at its start, and how many cores others used meanwhile."""

    took_s: float
    load_average: float
    others_cores: float

    def __str__(self) -> str:
        return (
            f"took {self.took_s:.0f} s; load average {self.load_average:.1f} at its start; others used"
            f" {self.others_cores:.2f} cores"
        )


@dataclass(slots=True, kw_only=True)
class Outcome:
    """All rounds of a run. ``readings`` is, by scenario and point of its axis (None: it has none), by step, by server, a list
    with a reading per round. ``facts`` and, by scenario, ``conditions`` say how they were taken; ``about`` has what each
    scenario is. ``warnings`` are reasons to doubt the figures, ``troubles`` reasons to throw them away.
    """

    servers: list[str]
    rounds: int
    command_line: str = ""
    interrupted: bool = False
    facts: dict[str, JSON] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Conditions] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    readings: "dict[tuple[str, float | None], dict[str, dict[str, list[Reading]]]]" = field(
        default_factory=dict
    )
    troubles: list[str] = field(default_factory=list)

    def add(self, scenario: str, point: float | None, server: str, readings: Iterable[Reading]) -> None:
        steps = self.readings.setdefault((scenario, point), {})
        for reading in readings:
            steps.setdefault(reading.step, {}).setdefault(server, []).append(reading)

    @property
    def good(self) -> bool:
        return not self.troubles

    def as_json(self) -> dict[str, JSON]:
        return {
            "command": self.command_line,
            "servers": list(self.servers),
            "rounds": self.rounds,
            "interrupted": self.interrupted,
            "facts": dict(self.facts),
            "warnings": list[JSON](self.warnings),
            "conditions": {name: _finite_values(asdict(each)) for name, each in self.conditions.items()},
            "scenarios": [
                {
                    "scenario": scenario,
                    "axis": self.axes.get(scenario),
                    "point": point,
                    "steps": [
                        {
                            "step": step,
                            "servers": {
                                server: {
                                    "median": _finite_values(medians(rounds)),
                                    "median_parts": _finite_values(median_parts(rounds)),
                                    "rounds": [_finite_values(each.values) for each in rounds],
                                    "work": [each.work for each in rounds],
                                }
                                for server, rounds in by_server.items()
                            },
                            "ratios": _finite_values(ratios(by_server, self.servers)),
                        }
                        for step, by_server in steps.items()
                    ],
                }
                for (scenario, point), steps in self.readings.items()
            ],
            "troubles": list(self.troubles),
        }


def medians(rounds: Sequence[Reading]) -> dict[str, float]:
    return {name: median_of(each.values[name] for each in rounds) for name in rounds[0].values}


def median_parts(rounds: Sequence[Reading]) -> dict[str, float]:
    """CPU per unit of work in microseconds under ``server_us``, ``database_us`` and ``load_us``; the rest as in `Parts`."""
    found = {
        f"{name}_us": median_of(
            per_request_us(getattr(each.parts, f"{name}_s"), each.work) for each in rounds
        )
        for name in ("server", "database", "load")
    }
    for name in PART_NAMES[3:]:
        found[name] = median_of(getattr(each.parts, name) for each in rounds)
    return found


def ratios(by_server: Mapping[str, Sequence[Reading]], servers: Sequence[str]) -> dict[str, float]:
    """By server, the median headline as a multiple of the first server's; nan if that has none, or zero."""
    base = by_server.get(servers[0])
    if not base:
        return {}
    first = medians(base)[base[0].headline]
    return {
        server: medians(rounds)[rounds[0].headline] / first if first else math.nan
        for server, rounds in by_server.items()
    }


def median_of(values: Iterable[float]) -> float:
    """The median of what is not nan; nan if nothing is."""
    there = [value for value in values if not math.isnan(value)]
    return median(there) if there else math.nan


def _finite_values(values: Mapping[str, float]) -> dict[str, JSON]:
    """JSON has no nan."""
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in values.items()}


def latency_of(step: str, sample: Sample, parts: Parts) -> Reading:
    """A reading whose headline is the 99th percentile, for steps that ask how long one has to wait."""
    usual = reading_of(step, sample, parts)
    return Reading(
        step=step, values={"p99 ms": usual.values["p99 ms"], **usual.values}, parts=parts, work=usual.work
    )


def one_after_the_other(readings: Sequence[Reading]) -> Reading:
    """Readings of one step, each of a part of its requests, as one: rates over the whole, the largest of all latencies."""
    work = sum(each.work for each in readings)
    elapsed_s = sum(each.work / each.values["req/s"] for each in readings)
    parts = [each.parts for each in readings]
    return Reading(
        step=readings[0].step,
        values={
            "req/s": work / elapsed_s,
            "p50 ms": median_of(each.values["p50 ms"] for each in readings),
            **{name: max(each.values[name] for each in readings) for name in ("p99 ms", "max ms")},
        },
        parts=Parts(
            server_s=sum(each.server_s for each in parts),
            database_s=sum(each.database_s for each in parts),
            load_s=sum(each.load_s for each in parts),
            batch=median_of(each.batch for each in parts),
            loop_lag_ms=max(each.loop_lag_ms for each in parts),
            collection_ms=max(each.collection_ms for each in parts),
        ),
        work=work,
    )
