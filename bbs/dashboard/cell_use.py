"""How full each cell is: what the BBS has on it, of what it announces to have.

Who announces itself is asked every few seconds, as long as somebody looks, in a task of its own: pages do not wait for a Locket that
hangs, but for the very first answer. What is on a cell is added up from its rows, and the
rows of a whole fleet are too many for each second: so at each look only those cells are added up whose number of rows has
changed, and beside these some of the others by turns, `ROWS_AT_A_LOOK` rows at most. A cell of which none come or go is thus
right within the time that a round takes, half a minute for 250,000 rows.

Rows do not say how much memory they need; their DesiredLRPs do. Instances that nobody desires any more count as containers only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.concurrency.turns import TimedTurns, in_turns
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState
from bbs.models.errors import Failure
from bbs.peers.interfaces import Cells
from bbs.store.tables import NO_CELL, Tables

ROWS_AT_A_LOOK: Final = 8_000
"""Rows that are added up at one look: 5 to 12 ms, in turns with everything else."""

PRESENCES_OF_A_TURN: Final = 100

ASK_INTERVAL_S: Final = 5.0
"""Between two questions who announces itself."""

ASK_S: Final = 4.0
"""The deadline of such a question."""

assert ASK_S < ASK_INTERVAL_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the BBS has on a cell. Memory and disk are MB, those of running tasks included."""

    instances: int = 0
    running: int = 0
    tasks: int = 0
    memory_mb: int = 0
    disk_mb: int = 0

    @property
    def containers(self) -> int:
        return self.instances + self.tasks


EMPTY: Final = Use()


@dataclass(slots=True)
class CellUses:
    """``announced`` are the presences by cell id. ``trouble`` says why they may be old, '' if they are not."""

    tables: Tables
    cells: Cells
    announced: Mapping[str, pb.CellPresence] = field(default_factory=dict)
    trouble: str = ""
    _uses: dict[str, Use] = field(default_factory=dict)
    _wanted: ClearableEvent = field(default_factory=ClearableEvent)
    _answered: trio.Event = field(default_factory=trio.Event)
    """Once somebody has said who announces itself, or could not."""
    _round: Iterator[str] = field(default_factory=lambda: iter(()))

    async def run(self) -> NoReturn:
        """Ask who announces itself as long as somebody looks, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.ask()
            await trio.sleep(ASK_INTERVAL_S)

    async def look(self) -> None:
        """Bring what is used up to date as far as it is this look's turn. The first one waits for the answer, `ASK_S` at most."""
        self._wanted.set()
        await self._answered.wait()
        await self._add_up()

    def of(self, cell_id: str) -> Use:
        return self._uses.get(cell_id, EMPTY)

    def known(self) -> set[str]:
        """Cells that announce themselves, and those that do not and have something."""
        return {*self.announced, *self._uses}

    def missing(self) -> list[str]:
        """Cells on which there is something, and which do not announce themselves. None while nobody can say who does."""
        if not self._answered.is_set() or (self.trouble and not self.announced):
            return []
        return sorted(
            cell_id for cell_id, use in self._uses.items() if use.containers and cell_id not in self.announced
        )

    async def ask(self) -> None:
        """Find out who announces itself. What was known is kept if nobody can say, as `PresenceWatch` does: a Locket that is away is
        no fleet that has vanished.
        """
        try:
            with trio.fail_after(ASK_S):
                listed = await self.cells.list_wire(log=null_logger())
        except (Failure, trio.TooSlowError) as error:
            self.trouble = str(error) or f"no answer within {ASK_S:g} s"
            self._answered.set()
            return
        announced: dict[str, pb.CellPresence] = {}
        async for some in in_turns(listed, PRESENCES_OF_A_TURN):
            presences = pb.CellsResponse.FromString(b"".join(some)).cells
            announced.update((presence.cell_id, presence) for presence in presences)
        self.announced = announced
        self.trouble = ""
        self._answered.set()

    async def _add_up(self) -> None:
        """Also forgets cells that neither announce themselves nor have anything."""
        rows, tasks = self.tables.actual_lrps.by_cell, self.tables.tasks.running_by_cell
        budget, turns = ROWS_AT_A_LOOK, TimedTurns()
        changed = []
        for cell_id in self._everywhere():
            use = self._uses.get(cell_id, EMPTY)
            if len(rows[cell_id]) != use.instances or len(tasks[cell_id]) != use.tasks:
                changed.append(cell_id)
        for cell_id in self._by_turns(changed):
            use = _use(self.tables, cell_id)
            budget -= 1 + use.containers
            if use.containers or cell_id in self.announced:
                self._uses[cell_id] = use
            else:
                self._uses.pop(cell_id, None)
            # At the end: a cell that comes out of a round has had its turn.
            if budget <= 0:
                break
            await turns.checkpoint_if_due()

    def _everywhere(self) -> set[str]:
        named = {cell_id for cell_id, _ in self.tables.actual_lrps.by_cell.items()}
        # A task that names no cell is on none that could be shown: it is one of the troubles.
        with_tasks = {
            cell_id for cell_id, _ in self.tables.tasks.running_by_cell.items() if cell_id != NO_CELL
        }
        return {*self.announced, *self._uses, *named, *with_tasks}

    def _by_turns(self, first: list[str]) -> Iterator[str]:
        """``first``, then the others from where the last look came to, each at most once."""
        yield from first
        seen = set(first)
        cell_id = next(self._round, None)
        if cell_id is None:
            self._round = iter(sorted(self._everywhere()))
            cell_id = next(self._round, None)
        while cell_id is not None:
            if cell_id not in seen:
                yield cell_id
            cell_id = next(self._round, None)


def _use(tables: Tables, cell_id: str) -> Use:
    desired = tables.desired_lrps.rows
    running = memory_mb = disk_mb = 0
    rows, tasks = tables.actual_lrps.by_cell[cell_id], tables.tasks.running_by_cell[cell_id]
    for lrp in rows:
        running += lrp.state is ActualLRPState.RUNNING
        wanted = desired.get(lrp.process_guid)
        if wanted is not None:
            memory_mb += wanted.memory_mb
            disk_mb += wanted.disk_mb
    for task in tasks:
        if not task.unreadable:
            definition = task.definition_message()
            memory_mb += definition.memory_mb
            disk_mb += definition.disk_mb
    return Use(instances=len(rows), running=running, tasks=len(tasks), memory_mb=memory_mb, disk_mb=disk_mb)
