"""Cells that come and go are noticed: by looking, and at once where the Locket is ours."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import trio
from trio.testing import MockClock

from bbs.log import LagerSink, Logger, null_logger, root_logger
from bbs.models.errors import UnknownError
from bbs.peers.interfaces import Cell
from bbs.sync.locket.client import Resource
from bbs.sync.locket.presences import Presences
from bbs.sync.locket.table import LocalLocket, LocketTable, expire_on_time
from bbs.sync.locket.watch import PresenceWatch
from tests.log_lines import Lines

INTERVAL_S = 5.0


@dataclass
class ScriptedCells:
    present: set[str] | UnknownError = field(default_factory=set)
    looks: int = 0

    async def present_cells(self, *, log: Logger) -> Set[str]:
        await trio.lowlevel.checkpoint()
        self.looks += 1
        if isinstance(self.present, UnknownError):
            raise self.present
        return set(self.present)

    async def cell_by_id(self, cell_id: str, *, log: Logger) -> Cell:
        raise AssertionError("a watch asks for no single cell")

    async def list_wire(self, *, log: Logger) -> Sequence[bytes]:
        raise AssertionError("a watch asks for no list")


@dataclass
class Watched:
    cells: ScriptedCells = field(default_factory=ScriptedCells)
    lines: Lines = field(default_factory=Lines)
    news: list[tuple[float, set[str], set[str]]] = field(default_factory=list)

    def watch(self) -> PresenceWatch:
        log = root_logger("bbs", LagerSink(self.lines))
        return PresenceWatch(self.cells, poll_interval_s=INTERVAL_S, on_change=self.note, log=log)

    def note(self, came: frozenset[str], went: frozenset[str]) -> None:
        self.news.append((round(trio.current_time(), 6), set(came), set(went)))

    @property
    def said(self) -> list[str]:
        return [
            f"{line['message'].removeprefix('bbs.presence-watch.')} {line['data'].get('cell-id', '')}".strip()
            for line in self.lines.lines
        ]


async def test_cells_that_came_and_went_between_two_looks_are_told(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    watched = Watched(ScriptedCells({"c1", "c2"}))
    nursery.start_soon(watched.watch().run)
    await trio.sleep(1)
    watched.cells.present = {"c2", "c3", "c4"}
    await trio.sleep(INTERVAL_S)
    await trio.sleep(INTERVAL_S)
    watched.cells.present = set()
    await trio.sleep(INTERVAL_S)

    assert watched.news == [(5, {"c3", "c4"}, {"c1"}), (15, set(), {"c2", "c3", "c4"})]
    assert watched.said == [
        "cell-appeared c3", "cell-appeared c4", "cell-disappeared c1",
        "cell-disappeared c2", "cell-disappeared c3", "cell-disappeared c4",
    ]  # fmt: skip
    nursery.cancel_scope.cancel()


async def test_while_nobody_can_say_nothing_is_told_and_that_is_said_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    watched = Watched(ScriptedCells({"c1"}))
    nursery.start_soon(watched.watch().run)
    await trio.sleep(1)
    watched.cells.present = UnknownError("locket is away")
    await trio.sleep(4 * INTERVAL_S)
    assert watched.news == []
    assert watched.said == ["failed-to-look-for-cells"]

    watched.cells.present = {"c2"}
    await trio.sleep(INTERVAL_S)

    assert watched.news == [(25, {"c2"}, {"c1"})]
    assert watched.said == [
        "failed-to-look-for-cells", "looking-for-cells-again", "cell-appeared c2", "cell-disappeared c1",
    ]  # fmt: skip
    nursery.cancel_scope.cancel()


async def test_a_first_look_that_fails_is_not_taken_for_an_empty_fleet(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    watched = Watched(ScriptedCells(UnknownError("locket is away")))
    nursery.start_soon(watched.watch().run)
    await trio.sleep(1)
    watched.cells.present = {"c1"}
    await trio.sleep(3 * INTERVAL_S)

    assert watched.news == []
    nursery.cancel_scope.cancel()


async def test_a_watch_that_is_woken_looks_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    watched = Watched(ScriptedCells({"c1"}))
    watch = watched.watch()
    nursery.start_soon(watch.run)
    await trio.sleep(1)

    watched.cells.present = set()
    watch.wake()
    await trio.sleep(1)

    assert watched.news == [(1, set(), {"c1"})]
    assert watched.cells.looks == 2
    nursery.cancel_scope.cancel()


async def test_what_happens_during_a_look_is_looked_at_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    watched = Watched(ScriptedCells({"c1"}))
    watch = watched.watch()
    nursery.start_soon(watch.run)
    await trio.sleep(1)

    watch.wake()
    while watched.cells.looks < 2:
        await trio.lowlevel.checkpoint()
    watched.cells.present = set()
    watch.wake()
    await trio.sleep(1)

    assert watched.news == [(1, set(), {"c1"})]
    nursery.cancel_scope.cancel()


async def test_a_cell_that_expires_in_our_own_locket_is_noticed_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    watched = Watched()
    table = LocketTable(trio.current_time)
    cells = Presences(LocalLocket(table), deadline_s=1)
    watch = PresenceWatch(cells, poll_interval_s=1000, on_change=watched.note, log=quiet())
    nursery.start_soon(expire_on_time, table)
    nursery.start_soon(watch.run)
    with table.observed(lambda change: watch.wake()):
        await trio.sleep(1)
        table.lock(Resource.presence("c1", owner="rep", value='{"cell_id":"c1"}'), ttl_s=15)
        await trio.sleep(60)

    assert watched.news == [(1, {"c1"}, set()), (16, set(), {"c1"})]
    nursery.cancel_scope.cancel()


def quiet() -> Logger:
    return null_logger()
