"""What an operator gets in the end: a page in Markdown for people, or JSON for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from bbs.shadow.events import EventCounts, Side
from bbs.shadow.findings import Finding, Findings
from bbs.shadow.samples import Summary

EXIT_SAME: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_NOT_COMPARED: Final = 2

KEYS_SHOWN: Final = 20
"""Keys of rows that were always busy, named in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindReport:
    """Of one list. ``rows`` and ``busy`` count each row once in each round; ``not_compared`` counts rounds, by reason."""

    name: str
    rounds: int
    rows: int
    rows_lately: int
    busy: int
    always_busy: Sequence[str]
    not_compared: Mapping[str, int]
    latencies: Mapping[Side, Summary | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    name: str
    watched_s: float
    counts: EventCounts
    voids: Mapping[str, int]
    unreadable: Mapping[Side, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Latencies and lateness are in seconds."""

    master: str
    began_at: datetime
    ended_at: datetime
    duration_s: float
    rounds: int
    complete_rounds: int
    kinds: Sequence[KindReport]
    streams: Sequence[StreamReport]
    findings: Findings
    lateness: Summary | None
    unreadable_rows: int

    @property
    def exit_code(self) -> int:
        if self.findings.any():
            return EXIT_DIFFERENT
        return EXIT_SAME if self.complete_rounds else EXIT_NOT_COMPARED

    def as_json(self) -> str:
        findings = self.findings
        return json.dumps(
            {
                "master": self.master,
                "began_at": _time(self.began_at),
                "ended_at": _time(self.ended_at),
                "duration_s": round(self.duration_s, 3),
                "exit_code": self.exit_code,
                "rounds": self.rounds,
                "complete_rounds": self.complete_rounds,
                "lateness_s": None if self.lateness is None else asdict(self.lateness),
                "unreadable_rows": self.unreadable_rows,
                "lists": [
                    {
                        "name": kind.name,
                        "rounds": kind.rounds,
                        "rows": kind.rows,
                        "rows_lately": kind.rows_lately,
                        "busy": kind.busy,
                        "always_busy": list(kind.always_busy),
                        "not_compared": dict(kind.not_compared),
                        "latencies_s": {
                            side: None if summary is None else asdict(summary)
                            for side, summary in kind.latencies.items()
                        },
                        **_findings_as_json(findings, kind.name),
                    }
                    for kind in self.kinds
                ],
                "streams": [
                    {
                        "name": stream.name,
                        "watched_s": round(stream.watched_s, 3),
                        **asdict(stream.counts),
                        "voids": dict(stream.voids),
                        "unreadable": dict(stream.unreadable),
                        **_findings_as_json(findings, stream.name),
                    }
                    for stream in self.streams
                ],
            },
            indent=2,
        )

    def as_markdown(self) -> str:
        return (
            "\n".join(
                [*self._head(), *self._lists(), *self._events(), *self._differences(), *self._not_compared()]
            )
            + "\n"
        )

    def _head(self) -> Iterator[str]:
        rows = sum(kind.rows for kind in self.kinds)
        events = sum(stream.counts.matched for stream in self.streams)
        yield "# Shadow report"
        yield ""
        match self.exit_code:
            case 0:
                yield f"**Nothing differs.** {rows:,} rows and {events:,} events of the two servers were compared, and are the same."
            case 1:
                names = ", ".join(
                    f"{_count(self.findings, name):,} in {name}" for name in self.findings.kinds()
                )
                yield (
                    f"**Something differs:** {names}. {rows:,} rows were compared, and {events:,} events are the same."
                )
            case _:
                yield "**Nothing could be said:** there was no round in which all lists could be compared. The end of this page says why."
        yield ""
        yield f"- Master: {self.master}"
        yield f"- From {_time(self.began_at)} to {_time(self.ended_at)}: {_duration(self.duration_s)}"
        yield f"- Rounds: {self.rounds:,}, of which {self.complete_rounds:,} complete"
        if self.lateness is not None:
            late = self.lateness
            yield (
                f"- How late the follower was: median {_seconds(late.median)}, 99 % of the time at most"
                f" {_seconds(late.p99)}, never more than {_seconds(late.max)}"
            )
        yield ""

    def _lists(self) -> Iterator[str]:
        yield "## Lists"
        yield ""
        yield "A row counts once for each round. *Busy* rows were changed while they were compared, so they had to wait for the next one."
        yield ""
        yield "| List | rows, in the last round | compared, in all | busy | different | answer of the master, median | of the follower |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        for kind in self.kinds:
            master, follower = (
                "-" if (summary := kind.latencies[side]) is None else _seconds(summary.median)
                for side in (Side.MASTER, Side.FOLLOWER)
            )
            yield (
                f"| {kind.name} | {kind.rows_lately:,} | {kind.rows:,} | {kind.busy:,} |"
                f" {_count(self.findings, kind.name):,} | {master} | {follower} |"
            )
        yield ""

    def _events(self) -> Iterator[str]:
        yield "## Events"
        yield ""
        yield "| Stream | watched | the same | in other steps | announced | not judged | different |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        for stream in self.streams:
            counts = stream.counts
            yield (
                f"| {stream.name} | {_duration(stream.watched_s)} | {counts.matched:,} | {counts.merged:,} |"
                f" {counts.announced:,} | {counts.unjudged:,} | {counts.different:,} |"
            )
        yield ""
        yield "*In other steps*: changes of one row that were committed together, of which a follower tells the sum. *Announced*: removals"
        yield "that the master tells of when it asks a cell to stop an instance, and changes of suspects, of which the deprecated group"
        yield "stream is silent. *Not judged*: told in the first or last seconds, or when a stream was lost."
        yield ""

    def _differences(self) -> Iterator[str]:
        yield "## Differences"
        yield ""
        if not self.findings.any():
            yield "None."
            yield ""
        for name in self.findings.kinds():
            findings, examples = self.findings.of(name), self.findings.examples(name)
            gone = sum(finding.gone_at is not None for finding in findings)
            yield f"### {_count(self.findings, name):,} in {name}"
            yield ""
            if gone:
                yield f"{gone:,} gone in a later round."
            if len(examples) < _count(self.findings, name):
                yield f"The first {len(examples)}:"
            yield ""
            for finding in examples:
                yield from _shown(finding)

    def _not_compared(self) -> Iterator[str]:
        lines = list(self._gaps())
        yield "## What could not be compared"
        yield ""
        yield from lines or ["Everything could."]

    def _gaps(self) -> Iterator[str]:
        if not self.rounds:
            yield "- No round was made. If the follower had not read the database by then, its log says why."
        for kind in self.kinds:
            for reason, count in kind.not_compared.items():
                yield f"- {kind.name}: not in {count:,} rounds, since {_code(reason)}"
            if kind.always_busy:
                keys = ", ".join(map(_code, kind.always_busy[:KEYS_SHOWN]))
                more = len(kind.always_busy) - KEYS_SHOWN
                yield (
                    f"- {kind.name}: {len(kind.always_busy):,} rows were changed during each of the last rounds: {keys}"
                    + (f" and {more:,} more" if more > 0 else "")
                )
        for stream in self.streams:
            for reason, count in stream.voids.items():
                yield f"- {stream.name}: interrupted {count:,} times, since {_code(reason)}"
            for side, count in stream.unreadable.items():
                if count:
                    yield f"- {stream.name}: {count:,} events of the {side} are of a kind that is not known here"
        if self.unreadable_rows:
            yield f"- {self.unreadable_rows:,} rows of the database can't be read by the follower: its log says which, and why"


def _shown(finding: Finding) -> Iterator[str]:
    seen = f"first seen {_time(finding.first_seen)}"
    if finding.rounds > 1:
        seen += f", last {_time(finding.last_seen)}, in {finding.rounds:,} rounds"
    if finding.gone_at is not None:
        seen += f", gone {_time(finding.gone_at)}"
    yield f"- {_code(finding.key)}: {finding.what} ({seen})"
    yield ""
    yield "  | field | master | follower |"
    yield "  | --- | --- | --- |"
    for field in finding.fields:
        yield f"  | {_code(field.path)} | {_value(field.master)} | {_value(field.follower)} |"
    yield ""


def _findings_as_json(findings: Findings, name: str) -> dict[str, Any]:
    return {
        "different": _count(findings, name),
        "gone": sum(finding.gone_at is not None for finding in findings.of(name)),
        "examples": [
            {
                "key": finding.key,
                "what": finding.what,
                "first_seen": _time(finding.first_seen),
                "last_seen": _time(finding.last_seen),
                "rounds": finding.rounds,
                "gone_at": None if finding.gone_at is None else _time(finding.gone_at),
                "fields": [asdict(field) for field in finding.fields],
            }
            for finding in findings.examples(name)
        ],
    }


def _count(findings: Findings, name: str) -> int:
    return len(findings.of(name)) + findings.uncounted[name]


def _value(value: str | None) -> str:
    return "not set" if value is None else _code(value)


def _code(text: str) -> str:
    """As code, whatever is in it: it must end neither the code nor the table's cell."""
    clean = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return "`" + clean.replace("`", "'").replace("|", "\\|") + "`"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z").strip()


def _seconds(value: float) -> str:
    return f"{1e3 * value:,.0f} ms" if value < 10 else f"{value:,.1f} s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "days"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
