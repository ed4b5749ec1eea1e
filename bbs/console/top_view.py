"""A frame of ``bbs top``: lines, of which a short terminal shows the first. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from bbs.cfdot.columns import harmless
from bbs.console.readings import REQUESTS, Between, Latency
from bbs.console.tallies import Tallies
from bbs.words.events import OUTCOMES
from bbs.words.latencies import group_of

GROUPS: Final = ("instances", "desired LRPs", "tasks", "cells, domains", "other")
SLOWEST: Final = 5
NO_DEBUG: Final = (
    "rates and latencies: give --debug HOST:PORT, the server's debug address (bbs serve --debug-listen, or"
    ' "debug_address" in its configuration)'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that a frame shows. ``cells`` and ``domains`` are None until they were asked for; ``between`` is None until there are two
    readings of /metrics, and ``metrics_trouble`` says why. ``stale`` says why states may be behind, '' if they are not.
    """

    target: str
    clock: str
    tallies: Tallies
    changes_per_s: float
    cells: frozenset[str] | None
    domains: Sequence[str] | None
    stale: str = ""
    between: Between | None = None
    metrics_trouble: str = ""


def lines(seen: Seen) -> Iterator[Text]:
    """The most important first. None of them may be wrapped."""
    yield _line(("bbs top", "bold"), (f"  {seen.target}  {seen.clock}", ""))
    if seen.stale:
        yield _line((f"states are as last known: {seen.stale}", "bold yellow"))
    yield from _states(seen)
    yield _line()
    if seen.between is None:
        yield _line((seen.metrics_trouble or NO_DEBUG, "yellow"))
        return
    yield from _requests(seen.between)
    yield _line()
    yield from _server(seen.between)


def _states(seen: Seen) -> Iterator[Text]:
    tallies = seen.tallies
    uneven = tallies.uneven()
    off = (
        (uneven.missing, "missing"),
        (uneven.extra, "extra"),
        (uneven.not_desired, "of what nobody desires"),
    )
    more = "".join(f", {count} {what}" for count, what in off if count)
    yield _counts(
        "instances", tallies.instances, f"of {tallies.wanted} desired, {tallies.processes} processes{more}"
    )
    if sum(tallies.presences.values()):
        yield _counts("  of them", tallies.presences)
    yield _counts("tasks", tallies.tasks)
    if seen.cells is None:
        yield _line(("cells      not known yet", ""))
    else:
        missing = sorted(tallies.cells_with_instances() - seen.cells)
        line = _line((f"cells      {len(seen.cells)} present, ", ""))
        line.append(f"{len(missing)} missing", style="bold red" if missing else "")
        yield line.append(harmless(f": {', '.join(missing)}") if missing else "")
    if seen.domains is not None:
        named = f": {', '.join(sorted(seen.domains))}" if seen.domains else ""
        yield _line((f"domains    {len(seen.domains)} fresh{named}", ""))
    yield _line((f"changes    {seen.changes_per_s:.1f}/s", ""))


def _counts(title: str, counts: Mapping[str, int], more: str = "") -> Text:
    line = _line((f"{title:<10} ", ""))
    shown = {state: count for state, count in sorted(counts.items()) if count}
    if not shown:
        line.append("none")
    for number, (state, count) in enumerate(shown.items()):
        line.append("  " if number else "")
        line.append(harmless(f"{count} {state.lower()}"), style=OUTCOMES.get(state.upper(), ""))
    return line.append(f"  ({more})" if more else "")


def _requests(between: Between) -> Iterator[Text]:
    routes = between.routes()
    yield _line((f"{'requests':<24}{'per s':>9}{'p50':>9}{'p99':>9}", "bold"))
    for group in GROUPS:
        members = [route for route in routes if group_of(route) == group]
        if members:
            yield _latency(group, between.latency(REQUESTS, *members))
    called = [(route, between.latency(REQUESTS, route)) for route in routes]
    slowest = sorted(
        ((route, latency) for route, latency in called if latency.p99_s is not None),
        key=lambda pair: -(pair[1].p99_s or 0.0),
    )
    if slowest:
        yield _line(("slowest", "bold"))
    for route, latency in slowest[:SLOWEST]:
        yield _latency(f"  {route}", latency)


def _server(between: Between) -> Iterator[Text]:
    yield _latency("batches", between.latency("bbs_batch_write_seconds"))
    yield _latency("event loop lag", between.latency("bbs_event_loop_lag_seconds"))
    events = between.per_s("bbs_events_published")
    held = between.value("bbs_lock_held")
    for title, text in (
        ("events sent", None if events is None else f"{events:.1f}/s"),
        ("last pass over LRPs", _or_none(between.value("bbs_convergence_lrp_duration_seconds"))),
        ("master", None if held is None else ("yes" if held else "no")),
    ):
        if text is not None:
            yield _line((f"{title:<24}{text:>9}", ""))


def _or_none(value_s: float | None) -> str | None:
    return None if value_s is None else duration(value_s)


def _latency(title: str, latency: Latency) -> Text:
    shown = (
        f"{title[:23]:<24}",
        f"{latency.per_s:>9.1f}",
        f"{duration(latency.p50_s):>9}",
        f"{duration(latency.p99_s):>9}",
    )
    return _line((harmless("".join(shown)), ""))


def duration(seconds: float | None) -> str:
    """With its unit; '-' of none."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return ">30s"
    return f"{seconds:.2f}s" if seconds >= 1 else f"{seconds * 1000:.1f}ms"


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*((harmless(text) if text else "", style) for text, style in parts))
