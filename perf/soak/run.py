"""The order of a soak, and what comes of it."""

import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Final

import trio

from perf.beds import Bed, ServerSpec, laid_bed
from perf.beside import ASK_MAX_S, Ask, Beside
from perf.cells import CellsFailed
from perf.figures import JSON, Percentiles, number, per_request_us, table
from perf.machine import Moment, facts, why_not_quiet
from perf.server import ServerFailed
from perf.soak.load import SEND_STALL_S, Done, Mixed, connected
from perf.soak.verdict import Check, after_warm_up, alike, at_rest, counted, grown, kept
from perf.soak.vitals import Vitals, read_vitals
from perf.workloads import Fleet

SAMPLE_EVERY_S: Final = 15.0
SAMPLES_MIN: Final = 8

FLAGS: Final = ("--converge-repeat-interval-s", "2", "--send-stall-s", str(SEND_STALL_S))
WARM_UP_MAX_S: Final = 30.0
"""Of the load before anything counts: it loads code, fills caches and starts threads that stay."""

UNCHANGED_S: Final = 12.0
"""At rest nothing may change for so long: Trio ends a thread that nobody has used for 10 s."""

REST_MAX_S: Final = 180.0
REST_LOOK_S: Final = 1.0
PROBES_PER_S: Final = 10.0
PROBED_SHARE: Final = 0.9
PING: Final = "ping"
LIST: Final = "ActualLRPs of a cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPlan:
    """How long the load lasts, in seconds, how often the server is read meanwhile, and from how many cells the load comes."""

    server: ServerSpec = field(default_factory=ServerSpec)
    load_s: float
    sample_every_s: float = SAMPLE_EVERY_S
    cells: int = 10
    command_line: str = ""

    @property
    def warm_up_s(self) -> float:
        return min(WARM_UP_MAX_S, self.load_s / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The server at the end of a stretch of time, and what the fixed requests of the probe took in it."""

    vitals: Vitals
    latencies: Mapping[str, Percentiles]


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    plan: SoakPlan
    before: Vitals
    windows: Sequence[Window]
    after: Vitals
    done: Done
    facts: Mapping[str, str]
    warnings: Sequence[str]

    def checks(self) -> list[Check]:
        samples = [window.vitals for window in self.windows]
        return [*counted(self.before, self.after), *kept(self.before, self.after), grown(samples)]

    @property
    def good(self) -> bool:
        return not self.done.troubles and all(check.good for check in self.checks())

    def cpu_us_per_request(self) -> list[float]:
        """Of the server, window by window; from the second on."""
        vitals = [window.vitals for window in self.windows]
        return [
            per_request_us(now.cpu_s - was.cpu_s, now.requests - was.requests)
            for was, now in itertools.pairwise(vitals)
        ]

    def report(self) -> str:
        lines = [f"- {name}: {value}" for name, value in self.facts.items()]
        lines += [f"- command: {self.plan.command_line}"] if self.plan.command_line else []
        lines += [f"- warning: {warning}" for warning in self.warnings]
        lines += ["", table(*self.work_table()), "", table(*self.check_table()), ""]
        lines += [table(*self.latency_table()), ""]
        lines += [f"TROUBLE: {trouble}" for trouble in self.done.troubles]
        lines += [f"NOT AS BEFORE: {each.what}: {each.told}" for each in self.checks() if each.told]
        lines += [f"verdict: {self.verdict()}"]
        return "\n".join(lines)

    def verdict(self) -> str:
        bad = [check.what for check in self.checks() if not check.good]
        bad += ["errors under load"] if self.done.troubles else []
        return f"NOT steady: {', '.join(bad)}" if bad else "steady: nothing is kept, and memory does not grow"

    def work_table(self) -> tuple[list[str], list[list[str]]]:
        return ["done", "times"], [[what, number(n)] for what, n in sorted(self.done.pieces.items())]

    def check_table(self) -> tuple[list[str], list[list[str]]]:
        return ["after the load, at rest", "found", "allowed", ""], [
            [check.what, check.found, check.allowed, "" if check.good else "NO"] for check in self.checks()
        ]

    def latency_table(self) -> tuple[list[str], list[list[str]]]:
        """The first window after the warm-up, and the last one. Told, and no part of the verdict: a machine's other work decides it."""
        counts = after_warm_up([window.vitals for window in self.windows])
        shown = [window for window in self.windows if window.vitals in (counts[0], counts[-1])]
        header = ["at s", *(f"{what} {share} ms" for what in (PING, LIST) for share in ("p50", "p99", "max"))]
        rows = []
        for window in shown:
            row = [number(window.vitals.at_s)]
            for what in (PING, LIST):
                at = window.latencies[what]
                row += [number(value, digits=1) for value in (at.p50_ms, at.p99_ms, at.max_ms)]
            rows.append(row)
        return header, rows

    def as_json(self) -> dict[str, JSON]:
        return {
            "load_s": self.plan.load_s,
            "cells": self.plan.cells,
            "verdict": self.verdict(),
            "done": dict(self.done.pieces),
            "troubles": list(self.done.troubles),
            "warnings": list(self.warnings),
            "checks": [asdict(check) for check in self.checks()],
            "before": _without_names(self.before),
            "after": _without_names(self.after),
            "windows": [
                {
                    **_without_names(window.vitals),
                    "latencies": {what: asdict(at) for what, at in window.latencies.items()},
                }
                for window in self.windows
            ],
        }


def _without_names(vitals: Vitals) -> dict[str, JSON]:
    figures = asdict(vitals)
    del figures["stacks"], figures["types"]
    return figures


Soaked = tuple[Vitals, list[Window], Vitals, Done]
"""The server before the load, under it, and after it, and what the load did."""


def measure_soak(plan: SoakPlan, *, say: Callable[[str], None]) -> Soak:
    """Start a server, load it, read it, stop it.

    Raises:
      ServerFailed: it does not start, or has ended under the load.
      CellsFailed: its Locket does not register a cell.
    """
    warnings = [warning] if (warning := why_not_quiet()) else []
    moment = Moment.now()
    with _alone(), laid_bed(plan.server, flags=FLAGS) as bed, Beside() as beside:
        before, windows, after, done = trio.run(_interruptible, partial(_soak, plan, bed, beside, say))
        assert bed.server is not None
        settings = bed.server.database_settings("fsync")
    others = Moment.now().others_since(moment)
    return Soak(
        plan=plan,
        before=before,
        windows=windows,
        after=after,
        done=done,
        facts={
            **facts(),
            "Postgres fsync": settings["fsync"],
            "load": f"{plan.load_s / 60:,.1f} min from {plan.cells} cells",
            "cores used by others": f"{others:.1f}",
        },
        warnings=warnings,
    )


async def _interruptible(work: Callable[[], Awaitable[Soaked]]) -> Soaked:
    """What the terminal and `timeout` send ends the work at one of its checkpoints, and not wherever Trio is just then."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                await anext(signals)
                raise KeyboardInterrupt

            nursery.start_soon(interrupt)
            soaked = await work()
            nursery.cancel_scope.cancel()
    return soaked


async def _soak(plan: SoakPlan, bed: Bed, beside: Beside, say: Callable[[str], None]) -> Soaked:
    began_s = time.monotonic()
    windows: list[Window] = []

    async def read(*, collect: bool = False) -> Vitals:
        return await trio.to_thread.run_sync(lambda: read_vitals(bed, began_s=began_s, collect=collect))

    say(f"warming up for {plan.warm_up_s:.0f} s")
    warm_up = await _loaded(plan, bed, plan.warm_up_s, None)
    before = await _settled(partial(read, collect=True))
    say(f"load for {plan.load_s:,.0f} s; the server before: {_told(before)}")

    async def sample() -> None:
        began_s = trio.current_time()
        while True:
            began_s += plan.sample_every_s
            latencies, wrong = await _probed(plan, bed, beside)
            if wrong:
                warm_up.fail(f"probe: {wrong}")
            await trio.sleep_until(began_s)
            windows.append(Window(vitals=await read(), latencies=latencies))
            say(_told(windows[-1].vitals))

    done = await _loaded(plan, bed, plan.load_s, sample)
    done.troubles = [*warm_up.troubles, *done.troubles]
    say("the load is over")
    after = await _as_before(partial(read, collect=True), before)
    say(f"the server after: {_told(after)}")
    return before, windows, after, done


async def _loaded(
    plan: SoakPlan, bed: Bed, for_s: float, sample: Callable[[], Awaitable[None]] | None
) -> Done:
    """Carry the load out, and remove all it made. ``sample`` runs meanwhile, until the load is over."""
    async with connected(bed) as client:
        mixed = Mixed(bed, client, cells=plan.cells)
        await mixed.settle()
        async with trio.open_nursery() as nursery:
            if sample is not None:
                nursery.start_soon(sample)
            await mixed.run(for_s=for_s, each_kind=sample is not None)
            nursery.cancel_scope.cancel()
        await mixed.leave()
    return mixed.done


async def _probed(plan: SoakPlan, bed: Bed, beside: Beside) -> tuple[dict[str, Percentiles], str]:
    """The fixed requests, evenly spread over most of the time between two samples, from another process."""
    fleet = Fleet(target=bed.target, lrps=1)
    for_s = PROBED_SHARE * plan.sample_every_s
    asks = [Ask(PING, [fleet.ping()]), Ask(LIST, [fleet.actual_lrps_of_cell(0)])]
    probing = beside.paced(bed.credentials, asks * max(1, int(for_s * PROBES_PER_S / len(asks))), for_s=for_s)
    samples, wrong = await trio.to_thread.run_sync(
        lambda: probing.result(for_s + ASK_MAX_S), abandon_on_cancel=True
    )
    return {what: sample.percentiles_ms() for what, sample in samples.items()}, wrong


async def _settled(read: Callable[[], Awaitable[Vitals]]) -> Vitals:
    """The server at rest: once nothing but the number of tasks and threads has changed for `UNCHANGED_S`, with the fewest
    tasks in that time (a task more is there for a moment now and then). As it is after `REST_MAX_S` if it does not come to rest.
    """
    give_up_s = trio.current_time() + REST_MAX_S
    least = await read()
    changed_s = trio.current_time()
    while trio.current_time() < min(changed_s + UNCHANGED_S, give_up_s):
        await trio.sleep(REST_LOOK_S)
        now = await read()
        fewest = min(least.tasks, now.tasks)
        if not alike(least, now):
            changed_s, fewest = trio.current_time(), now.tasks
        least = replace(now, tasks=fewest)
    return least


async def _as_before(read: Callable[[], Awaitable[Vitals]], before: Vitals) -> Vitals:
    """The server once all that is counted is as ``before``; as it is after `REST_MAX_S` if that does not come."""
    give_up_s = trio.current_time() + REST_MAX_S
    while True:
        now = await read()
        if at_rest(before, now) or trio.current_time() > give_up_s:
            return now
        await trio.sleep(REST_LOOK_S)


def _told(vitals: Vitals) -> str:
    return (
        f"{vitals.at_s:6,.0f} s  {vitals.resident_bytes / 1e6:.0f} MB  {vitals.blocks:,} blocks  {vitals.tasks} tasks  "
        f"{vitals.threads} threads  {vitals.descriptors} descriptors  {vitals.clients} connections  "
        f"{sum(vitals.rows.values()):,} rows  {vitals.requests:,} requests"
    )


@contextmanager
def _alone() -> Iterator[None]:
    """What ends a run comes out of Trio's nurseries alone, and not in groups."""
    try:
        yield
    except BaseExceptionGroup as group:
        for kind in (KeyboardInterrupt, ServerFailed, CellsFailed):
            if (found := group.subgroup(kind)) is not None:
                raise _first(found) from group
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
