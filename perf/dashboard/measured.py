"""Two servers of one fleet, one with the dashboard and one without, under the same load in the same seconds."""

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from perf.beds import Bed, ServerSpec, laid_bed
from perf.cells import Cells
from perf.dashboard.account import Condition, DashboardAccount, Window
from perf.dashboard.viewers import SHOWN_MAX_S, Viewers, looking, pages_about
from perf.load import LoadGenerator
from perf.machine import Moment
from perf.probe import quantile_of
from perf.seeding import seed
from perf.server import ServerFailed
from perf.workloads import Fleet

CONNECTIONS: Final = 4
WRITE_EVERY_S: Final = 0.05
WRITE_MAX_S: Final = 60.0
PROBE_EVERY_S: Final = 2.3
"""Between two changes of the probe: no multiple of the interval in which pages are made."""

SETTLE_S: Final = 3.0
"""From the opening of pages until something is measured: a new page is sent everything."""

WORST_AFTER_S: Final = 60.0
"""A pass finds that cells are lost within 30 s, and takes a while to make up for them."""

LAG: Final = "bbs_event_loop_lag_seconds"
COPY_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WideFleet(Fleet):
    """Of as many cells as are asked for."""

    cell_count: int

    @property
    def cells(self) -> int:
        return self.cell_count


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two servers. ``written`` counts, and so says which LRP is written next, and whether it is claimed or started."""

    bed: Bed
    fleet: WideFleet
    load: LoadGenerator
    probe_is_claimed: bool = False
    written: int = 0

    @property
    def debug(self) -> str:
        assert self.bed.probe.debug is not None
        return self.bed.probe.debug

    @property
    def cells(self) -> Cells:
        assert self.bed.cells is not None
        return self.bed.cells

    @classmethod
    @contextmanager
    def at(cls, bed: Bed, lrps: int, cells: int) -> Iterator["Side"]:
        fleet = WideFleet(target=bed.target, lrps=lrps, cell_count=cells)
        with LoadGenerator(bed.target, connections=CONNECTIONS) as load:
            yield cls(bed=bed, fleet=fleet, load=load)

    def write(self, writes: int) -> None:
        """Claim LRPs that run and start LRPs that are claimed, in turn; each is a write with an event.

        Raises:
          ServerFailed: one was not answered as it should be.
        """
        # The first one is the probe, which changes by itself.
        numbers = [1 + (self.written + place) // 2 % (self.fleet.lrps - 1) for place in range(writes)]
        requests = [
            next((self.fleet.starts_of if (self.written + place) % 2 else self.fleet.claims_of)((number,)))
            for place, number in enumerate(numbers)
        ]
        self.written += writes
        self._send(requests)

    def change_probe(self) -> str:
        """Write the probe; the state that it has then."""
        self.probe_is_claimed = not self.probe_is_claimed
        self._send([next((self.fleet.claims_of if self.probe_is_claimed else self.fleet.starts_of)((0,)))])
        return "CLAIMED" if self.probe_is_claimed else "RUNNING"

    def _send(self, requests: Sequence[bytes]) -> None:
        sample = self.load.run(requests, max_s=WRITE_MAX_S)
        if not sample.good:
            raise ServerFailed(f"a write: {sample.trouble()}")


def measure_dashboard(
    *,
    lrps: int,
    cells: int,
    lost_cells: int,
    rate: float,
    seconds: float,
    windows: int,
    say: Callable[[str], None],
) -> DashboardAccount:
    """Nobody looks, then ten do; at rest, while ``rate`` writes per second come to each server, and once ``lost_cells`` of the cells
    have vanished. ``seconds`` are those of a window, of which each condition has so many.

    Raises:
      ServerFailed, ViewersFailed: a server does not start, or does not answer as it should.
      ValueError: these numbers fit no fleet.
    """
    if not 2 <= cells <= lrps or not 0 <= lost_cells < cells:
        raise ValueError("at least two cells are needed, of which some stay, and an LRP for each")
    conditions: list[Condition] = []
    with _two_servers(lrps, cells, say) as (without, with_it):
        began = Moment.now()
        pages = pages_about(probe=with_it.fleet.process_guid(0), cell_id="cell-1")

        def measure(what: str, writes_per_s: float) -> None:
            for looks, who in ((False, "nobody looks"), (True, "ten look")):
                name = f"{what}, {who}"
                say(name)
                with ExitStack() as stack:
                    viewers = stack.enter_context(looking(with_it.debug, pages)) if looks else None
                    time.sleep(min(SETTLE_S, seconds))
                    measured = [
                        _window(without, with_it, viewers, writes_per_s, seconds) for _ in range(windows)
                    ]
                conditions.append(Condition(name=name, windows=measured))
                say(f"  {conditions[-1].in_short()}")

        measure("at rest", 0.0)
        measure("writes", rate)
        if lost_cells:
            say(f"{lost_cells:,} cells vanish")
            for side in (without, with_it):
                side.cells.release(range(cells - lost_cells, cells))
            time.sleep(min(WORST_AFTER_S, 10 * seconds))
            measure(f"{lost_cells:,} cells lost, writes", rate)
        others = Moment.now().others_since(began)
    return DashboardAccount(
        lrps=lrps,
        cells=cells,
        lost_cells=lost_cells,
        seconds=seconds,
        pages=[page.title for page in pages],
        others=others,
        conditions=conditions,
    )


@contextmanager
def _two_servers(lrps: int, cells: int, say: Callable[[str], None]) -> Iterator[tuple[Side, Side]]:
    """The one without and the one with the dashboard, of the same database, written once and copied."""
    with ExitStack() as stack:
        beds = [stack.enter_context(laid_bed(ServerSpec(flags=flags))) for flags in (("--no-dashboard",), ())]
        without, with_it = beds
        fleet = WideFleet(target=with_it.target, lrps=lrps, cell_count=cells)
        say(f"writing {lrps:,} LRPs into two databases, and reading them")

        def copy(seeded: Path, copied: Path) -> None:
            shutil.rmtree(copied)
            # Not `copytree`, which gives all to root where Postgres runs as somebody else.
            subprocess.run(
                ["cp", "-a", str(seeded), str(copied)],
                stdin=subprocess.DEVNULL,
                check=True,
                timeout=COPY_MAX_S,
            )

        def fill(data_dir: Path) -> None:
            seed(data_dir, fleet, range(lrps))
            without.restart(lambda copied: copy(data_dir, copied))
            _announce(without, cells)

        with_it.restart(fill)
        _announce(with_it, cells)
        sides = [stack.enter_context(Side.at(bed, lrps, cells)) for bed in beds]
        for side in sides:
            side._send([side.fleet.upsert_domain(0)])
        say("waiting until both have nothing to do")
        for bed in beds:
            bed.wait_until_idle()
        yield sides[0], sides[1]


def _announce(bed: Bed, cells: int) -> None:
    assert bed.cells is not None
    bed.cells.zones = 3
    bed.cells.register_up_to(cells)


def _window(
    without: Side, with_it: Side, viewers: Viewers | None, writes_per_s: float, seconds: float
) -> Window:
    sides = (without, with_it)
    metrics = [side.bed.probe.metrics() for side in sides]
    read = viewers.read_bytes() if viewers is not None else []
    used = [_cpu_s(side) for side in sides]
    written, began_s = with_it.written, time.monotonic()
    app_s, events_s = (
        _load(sides, viewers, writes_per_s, began_s + seconds) if writes_per_s else _rest(seconds)
    )
    took_s = time.monotonic() - began_s
    shares = [(_cpu_s(side) - before) / took_s for side, before in zip(sides, used, strict=True)]
    now_read = viewers.read_bytes() if viewers is not None else []
    lags_ms = [
        1e3 * quantile_of(before, side.bed.probe.metrics(), LAG, 1.0)
        for side, before in zip(sides, metrics, strict=True)
    ]
    return Window(
        without=shares[0],
        with_it=shares[1],
        lag_without_ms=lags_ms[0],
        lag_with_ms=lags_ms[1],
        writes_per_s=(with_it.written - written) / took_s,
        bytes_per_s=tuple((now - before) / took_s for before, now in zip(read, now_read, strict=True)),
        app_s=app_s,
        events_s=events_s,
    )


Lateness = tuple[tuple[float, ...], tuple[float, ...]]


def _rest(seconds: float) -> Lateness:
    time.sleep(seconds)
    return (), ()


def _load(sides: Sequence[Side], viewers: Viewers | None, per_s: float, until_s: float) -> Lateness:
    """Writes at that rate to both, one after the other and little by little; how late those of the probe were shown."""
    app_s: list[float] = []
    events_s: list[float] = []
    at_once = max(1, round(per_s * WRITE_EVERY_S))
    answered_s: float | None = None
    probe_s = began_s = time.monotonic()
    for turn in count(1):
        # Whoever comes second finds warmer caches, so they take turns at that too.
        for side in sides if turn % 2 else reversed(sides):
            side.write(at_once)
        if viewers is not None and answered_s is not None and viewers.are_shown():
            for late_s, viewer in ((app_s, viewers.app), (events_s, viewers.events)):
                assert viewer.shown_at_s is not None
                late_s.append(viewer.shown_at_s - answered_s)
            answered_s = None
        now_s = time.monotonic()
        if viewers is not None and answered_s is not None and now_s - answered_s > SHOWN_MAX_S:
            raise ServerFailed(f"a change was not shown within {SHOWN_MAX_S:g} s")
        if now_s >= until_s:
            return tuple(app_s), tuple(events_s)
        if viewers is not None and answered_s is None and now_s >= probe_s:
            probe_s = now_s + PROBE_EVERY_S
            # Before the write: events are on their way before its answer is.
            state = "CLAIMED" if not sides[1].probe_is_claimed else "RUNNING"
            viewers.expect(
                on_app=f'"state":"{state}"'.encode(), on_events=sides[1].fleet.process_guid(0).encode()
            )
            for side in sides:
                side.change_probe()
            answered_s = time.monotonic()
        time.sleep(max(0.0, began_s + turn * at_once / per_s - time.monotonic()))
    raise AssertionError("counts for ever")


def _cpu_s(side: Side) -> float:
    cpu = side.bed.probe.cpu()
    return math.nan if cpu is None else cpu.server_s
