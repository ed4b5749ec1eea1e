"""What a run measured, and how it is put into words: percentiles, medians, tables."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of ``ordered`` does not exceed; nan if there is none.

    Nearest rank: always a latency that really occurred, never one between two.
    """
    assert 0.0 <= share <= 1.0
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


@dataclass(slots=True, kw_only=True)
class Sample:
    """One run of the load generator: every answer's latency, and what went wrong.

    An answer that carries an error has a latency too; a request without an answer has none.
    """

    latencies_s: "array[float]"
    elapsed_s: float = 0.0
    response_bytes: int = 0
    errors: int = 0
    first_error: str = ""
    cut_short: bool = False  # requests were left over: the time was up, or every connection had broken
    generator_cpu_s: float = 0.0
    last_body: bytes = field(default=b"", repr=False)

    @property
    def answers(self) -> int:
        return len(self.latencies_s)

    @property
    def good(self) -> bool:
        return self.errors == 0 and not self.cut_short

    @property
    def per_s(self) -> float:
        return self.answers / self.elapsed_s if self.elapsed_s else math.nan

    def percentiles_ms(self) -> "Percentiles":
        ordered = sorted(self.latencies_s)
        return Percentiles(
            p50_ms=1e3 * percentile(ordered, 0.5),
            p99_ms=1e3 * percentile(ordered, 0.99),
            max_ms=1e3 * percentile(ordered, 1.0),
        )

    def fail(self, why: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or why

    def trouble(self) -> str:
        """Why the sample is not good, in words; empty if it is."""
        if self.errors:
            return f"{self.errors} errors, first: {self.first_error}"
        return "time ran out" if self.cut_short else ""

    def as_json(self) -> dict[str, JSON]:
        at = self.percentiles_ms()
        return {
            "answers": self.answers,
            "errors": self.errors,
            "first_error": self.first_error,
            "cut_short": self.cut_short,
            "elapsed_s": round(self.elapsed_s, 4),
            "requests_per_s": _number(self.per_s),
            "p50_ms": _number(at.p50_ms),
            "p99_ms": _number(at.p99_ms),
            "max_ms": _number(at.max_ms),
            "response_bytes": self.response_bytes,
            "generator_cpu_us_per_request": _number(per_request_us(self.generator_cpu_s, self.answers)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    p50_ms: float
    p99_ms: float
    max_ms: float


def merged(samples: Iterable[Sample]) -> Sample:
    """Runs of one kind, one after the other, as if they had been one."""
    total = Sample(latencies_s=array("d"))
    for sample in samples:
        total.latencies_s.extend(sample.latencies_s)
        total.elapsed_s += sample.elapsed_s
        total.response_bytes += sample.response_bytes
        total.errors += sample.errors
        total.first_error = total.first_error or sample.first_error
        total.cut_short = total.cut_short or sample.cut_short
        total.generator_cpu_s += sample.generator_cpu_s
        total.last_body = sample.last_body
    return total


def per_request_us(cpu_s: float, requests: int) -> float:
    return 1e6 * cpu_s / requests if requests else math.nan


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else round(value, 3)


def number(value: float, *, digits: int = 0) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads in a terminal too; all columns but the first align right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * widths[0],
        *("-" * (width - 1) + ":" for width in widths[1:]),
    ]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])
