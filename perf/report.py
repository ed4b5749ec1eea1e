"""A comparison in words: a Markdown table per scenario and point, a line per step and server, medians of the rounds."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from perf.figures import number, table
from perf.readings import HIGHER_IS_BETTER, Outcome, Reading, median_parts, medians, ratios

PARTS: Final = {
    "server_us": ("server µs", 0),
    "database_us": ("database µs", 0),
    "load_us": ("load µs", 0),
    "batch": ("batch", 1),
    "loop_lag_ms": ("loop lag p99 ≤ ms", 1),
    "collection_ms": ("longest GC ms", 1),
}

COLUMNS: Final[Mapping[str, str]] = {
    "req/s": "requests answered per second, all connections together",
    "p50 ms": "half of the answers took at most that long",
    "p99 ms": "99 of 100 answers took at most that long",
    "max ms": "the slowest answer",
    "MB": "size of the answer",
    "server µs": "processor time of the server per request (or delivery, instance, or LRP), in microseconds",
    "database µs": "the same of its database",
    "load µs": "the same of whoever sends the load",
    "batch": "decisions that one transaction carried, on average",
    "loop lag p99 ≤ ms": "of 100 times that the server's event loop was to wake up, 99 were at most that late",
    "longest GC ms": "the longest run of the server's garbage collector",
    "instances/s": "instances or tasks per second that the auctioneer was asked to place",
    "calls": "requests that the auctioneer got for them",
    "instances/call": "how many of them were in one such request",
    "new connections": "connections to the auctioneer that were opened for them",
    "last after ms": "how long after the last answer the last event or auction came",
    "deliveries/s": "events per second that arrived, all streams together",
    "reader µs": "processor time of whoever reads the events, for each",
    "opening ms each": "how long it took to open a stream",
    "connections/s": "connections opened per second, one after the other",
    "kB each": "memory of the server for each of them",
    "resident MB": "memory of the server's process, without its database",
    "kB/LRP": "the same per LRP (a DesiredLRP and its ActualLRP), less what the empty server had",
    "loading s": "of that the reading of the database, as the server says itself",
    "s": "seconds from the beginning to the end",
    "took s": "how long the change took",
    "ping p99 ms": "how long others waited meanwhile: 99 of 100 pings took at most that long",
    "ping max ms": "the slowest ping",
    "pass ms": "how long the convergence pass took",
    "subscribers/s": "streams opened per second",
    "ratio": "the median of the first column's figure, as a multiple of the first server's",
}
"""What the columns of the tables say."""

EXPLAINED: Final = (
    "medians of the rounds; µs: CPU per request, delivery or LRP; batch: decisions per transaction; "
    "ratio: to the first server, of the first value"
)


def as_text(outcome: Outcome) -> str:
    lines = [f"- {name}: {value}" for name, value in outcome.facts.items()]
    lines += [f"- command: {outcome.command_line}"] if outcome.command_line else []
    lines += [f"- {EXPLAINED}"]
    lines += [f"- warning: {warning}" for warning in outcome.warnings]
    before = ""
    for scenario, point in outcome.readings:
        lines += ["", f"## {title(outcome, scenario, point)}", ""]
        if scenario != before and scenario in outcome.about:
            said = outcome.conditions.get(scenario)
            lines += [f"{outcome.about[scenario]}{'' if said is None else f' ({said})'}", ""]
        lines += [tabulated(outcome, scenario, point)]
        before = scenario
    lines += ["", *(f"TROUBLE: {trouble}" for trouble in outcome.troubles)]
    return "\n".join(lines).rstrip()


def title(outcome: Outcome, scenario: str, point: float | None) -> str:
    return scenario if point is None else f"{scenario}: {point:,} {outcome.axes.get(scenario, '')}"


def tabulated(outcome: Outcome, scenario: str, point: float | None) -> str:
    header, rows = cells(outcome, scenario, point)
    return table(header, rows)


def cells(outcome: Outcome, scenario: str, point: float | None) -> tuple[list[str], list[list[str]]]:
    """Header and rows. Columns that hold nothing in any row are left out."""
    steps = outcome.readings[scenario, point]
    names = list(
        dict.fromkeys(
            name for by_server in steps.values() for rounds in by_server.values() for name in rounds[0].values
        )
    )
    several = len(outcome.servers) > 1
    header = ["step", *names, *(text for text, _ in PARTS.values()), *(["ratio"] if several else [])]
    rows = []
    for step, by_server in steps.items():
        against = ratios(by_server, outcome.servers)
        for server, rounds in by_server.items():
            row = [f"{step}: {server}" if several else step, *_values(rounds, names), *_parts(rounds)]
            if several:
                row.append(_ratio(rounds[0], against.get(server, math.nan)))
            rows.append(row)
    kept = [i for i in range(len(header)) if i == 0 or any(row[i] != "-" for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def which_is_better(name: str) -> str:
    return "higher is better" if name in HIGHER_IS_BETTER else "lower is better"


def _values(rounds: Sequence[Reading], names: Sequence[str]) -> list[str]:
    found = medians(rounds)
    return [_adapted(found.get(name, math.nan)) for name in names]


def _parts(rounds: Sequence[Reading]) -> list[str]:
    found = median_parts(rounds)
    return [number(found[name], digits=digits) for name, (_, digits) in PARTS.items()]


def _ratio(reading: Reading, ratio: float) -> str:
    """Marked where it is worse: less of a rate, more of a latency."""
    if math.isnan(ratio):
        return "-"
    worse = ratio < 1 if reading.headline in HIGHER_IS_BETTER else ratio > 1
    return f"{ratio:.2f}{' (worse)' if worse and abs(ratio - 1) >= 0.05 else ''}"


def _adapted(value: float) -> str:
    """Three digits or so."""
    return number(value, digits=0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2)
