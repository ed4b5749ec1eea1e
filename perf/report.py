"""A comparison in words: a Markdown table per scenario and point, a line per step and server, medians of the rounds."""

import math
from collections.abc import Sequence

from perf.figures import number, table
from perf.readings import HIGHER_IS_BETTER, Outcome, Reading, median_parts, medians, ratios

PARTS = {
    "server_us": ("server µs", 0),
    "postgres_us": ("Postgres µs", 0),
    "load_us": ("load µs", 0),
    "batch": ("batch", 1),
    "loop_lag_ms": ("loop lag p99 ≤ ms", 1),
    "collection_ms": ("longest GC ms", 1),
}
EXPLAINED = (
    "medians of the rounds; µs: CPU per request, delivery or LRP; batch: decisions per transaction; "
    "ratio: to the first server, of the first value"
)


def as_text(outcome: Outcome) -> str:
    lines = [f"- {name}: {value}" for name, value in outcome.facts.items()]
    lines += [f"- {outcome.rounds} rounds, interleaved; {EXPLAINED}"]
    for scenario, point in outcome.readings:
        lines += ["", f"## {title(outcome, scenario, point)}", "", tabulated(outcome, scenario, point)]
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
    return number(value, digits=0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2)
