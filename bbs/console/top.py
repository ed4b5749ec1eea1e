"""``bbs top``: what the watch of a fleet and the server's /metrics tell, drawn again and again."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from bbs.cfdot.bbs_calls import client_config, refused
from bbs.cfdot.errors import CommandFailed, Invalid
from bbs.cfdot.given import Given
from bbs.cfdot.main import Surroundings
from bbs.cfdot.people import drawn_lines
from bbs.cfdot.rendering import written
from bbs.cfdot.target import Target
from bbs.client import BBSClient, Fleet, InvalidClientConfig, TransportError, WatchFailed
from bbs.console import screen
from bbs.console.debug_port import NoPage, debug_url, fetch
from bbs.console.readings import Between, NotMetrics, Reading, read
from bbs.console.tallies import Tallies
from bbs.console.top_flags import every_s
from bbs.console.top_view import Seen, lines
from bbs.models.errors import BBSError

METRICS_MAX_S: Final = 10.0
LIST_EVERY_S: Final = 5.0
LIST_MAX_S: Final = 30.0
SNAPSHOT_MAX_S: Final = 120.0
ONCE_S: Final = 1.0
"""Between the two readings of a single frame."""


@dataclass(slots=True)
class Top:
    """What is known; those who ask write here, and the one who draws reads. Nothing in it waits."""

    target: str
    url: str
    tallies: Tallies = field(default_factory=Tallies)
    cells: frozenset[str] | None = None
    domains: list[str] | None = None
    lists_trouble: str = ""
    readings: list[Reading] = field(default_factory=list)
    metrics_trouble: str = ""
    changes_before: int = 0
    drawn_at_s: float = 0.0

    def take_reading(self, reading: Reading) -> None:
        self.readings = [*self.readings[-1:], reading]
        self.metrics_trouble = ""

    def seen(self, fleet: Fleet, *, now_s: float) -> Seen:
        """A frame's matter; changes are those since the last one."""
        passed_s = max(now_s - self.drawn_at_s, 1e-9)
        changes_per_s = (self.tallies.changes - self.changes_before) / passed_s
        self.changes_before, self.drawn_at_s = self.tallies.changes, now_s
        has_rates = len(self.readings) == 2 and not self.metrics_trouble
        trouble = self.metrics_trouble
        if self.url and not trouble and not has_rates:
            trouble = f"rates and latencies: waiting for {self.url}"
        return Seen(
            target=self.target,
            clock=time.strftime("%H:%M:%S"),
            tallies=self.tallies,
            changes_per_s=changes_per_s,
            cells=self.cells,
            domains=self.domains,
            stale=self.lists_trouble if fleet.is_current else fleet.trouble or "connecting",
            between=Between(*self.readings) if has_rates else None,
            metrics_trouble=trouble,
        )


def call_top(given: Given, target: Target, surroundings: Surroundings) -> None:
    """
    Raises:
      Invalid: there is no terminal to draw on.
      CommandFailed: the BBS can't be asked.
    """
    is_once = given.flags.switch("once")
    can_draw = surroundings.out.isatty() and surroundings.environment.get("TERM", "dumb") not in ("", "dumb")
    if not is_once and not can_draw:
        raise Invalid("top draws on a terminal, and there is none here: --once prints one frame")
    top = Top(target.address, debug_url(given.flags.text("debug") or target.debug, "/metrics"))
    ended_by = trio.run(_call_top, top, target, surroundings, every_s(given), is_once)
    if ended_by:
        signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)


async def _call_top(top: Top, target: Target, surroundings: Surroundings, every: int, is_once: bool) -> int:
    """The number of the signal that has ended it, or 0."""
    try:
        async with BBSClient.connect(client_config(target)) as client:
            # The first question tells what is wrong with the target: a watch would try again for ever.
            top.cells = frozenset(cell.cell_id for cell in await client.cells())
            async with client.watch(tasks=True, start_within_s=SNAPSHOT_MAX_S) as fleet:
                top.tallies.begin([*fleet.desired_lrps.values(), *fleet.actual_lrps.values()])
                top.tallies.begin(fleet.tasks.values())
                top.drawn_at_s = trio.current_time()
                async with _kept_up_to_date(top, client, fleet, ONCE_S if is_once else every) as asked_twice:
                    if is_once:
                        await asked_twice.wait()
                        _print(top, fleet, surroundings)
                        return 0
                    return await _draw(top, fleet, surroundings, every)
    except BBSError as error:
        raise refused(error) from error
    except (TransportError, InvalidClientConfig, WatchFailed) as error:
        raise CommandFailed(str(error)) from error


@asynccontextmanager
async def _kept_up_to_date(
    top: Top, client: BBSClient, fleet: Fleet, every: float
) -> AsyncIterator[trio.Event]:
    """As long as the block runs. The event: all has been asked, the metrics twice or in vain."""
    failures: list[Exception] = []
    asked = trio.Event()
    async with trio.open_nursery() as nursery:

        async def take_changes() -> None:
            try:
                async for change in fleet:
                    top.tallies.take(change)
            except WatchFailed as error:
                top.lists_trouble = str(error)

        nursery.start_soon(take_changes)
        nursery.start_soon(_ask, top, client, every, asked)
        try:
            yield asked
        except (CommandFailed, BrokenPipeError) as error:
            failures.append(error)  # raised outside, where it is in no group
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def _ask(top: Top, client: BBSClient, every: float, asked: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask_for_lists, top, client)
        times = 0
        while True:
            if top.url:
                await _ask_for_metrics(top)
            times += 1
            has_metrics = not top.url or bool(top.metrics_trouble) or times >= 2
            if has_metrics and (top.domains is not None or top.lists_trouble):
                asked.set()
            await trio.sleep(every)


async def _ask_for_metrics(top: Top) -> None:
    try:
        page = (await fetch(top.url, timeout_s=METRICS_MAX_S)).decode(errors="replace")
        at_s = trio.current_time()
        top.take_reading(read(page, at_s=at_s))
    except (TransportError, NoPage, NotMetrics) as error:
        top.readings.clear()
        top.metrics_trouble = f"rates and latencies: {error}"


async def _ask_for_lists(top: Top, client: BBSClient) -> None:
    while True:
        try:
            with trio.fail_after(LIST_MAX_S):
                top.cells = frozenset(cell.cell_id for cell in await client.cells())
                top.domains = list(await client.domains())
            top.lists_trouble = ""
        except (BBSError, TransportError) as error:
            top.lists_trouble = str(error)
        except trio.TooSlowError:
            top.lists_trouble = f"no list of cells within {LIST_MAX_S:g} s"
        await trio.sleep(LIST_EVERY_S)


def _print(top: Top, fleet: Fleet, surroundings: Surroundings) -> None:
    shown = lines(top.seen(fleet, now_s=trio.current_time()))
    with written():
        for line in drawn_lines(surroundings.out, surroundings.environment, shown):
            surroundings.out.write(f"{line}\n".encode())
        surroundings.out.flush()


async def _draw(top: Top, fleet: Fleet, surroundings: Surroundings, every: int) -> int:
    """Until a key or a signal ends it; the terminal is as before by then."""
    ended_by = 0
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals,
        screen.opened(surroundings.out) as opened,
    ):
        async with trio.open_nursery() as nursery:

            async def until_key() -> None:
                await screen.wait_key(b"q")
                nursery.cancel_scope.cancel()

            async def until_signal() -> None:
                nonlocal ended_by
                async for number in signals:
                    ended_by = number
                    nursery.cancel_scope.cancel()
                    return

            async def redraw() -> None:
                while True:
                    shown = lines(top.seen(fleet, now_s=trio.current_time()))
                    try:
                        opened.draw(list(drawn_lines(surroundings.out, surroundings.environment, shown)))
                    except OSError:
                        nursery.cancel_scope.cancel()  # the terminal is gone, and nobody to tell
                    await trio.sleep(every)

            for work in (until_key, until_signal, redraw):
                nursery.start_soon(work)
    return ended_by
