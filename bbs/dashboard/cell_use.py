"""How full each cell is: what the BBS has on it, of what it announces to have.

Who announces itself is asked every few seconds, as long as somebody looks. What is on a cell is added up from its rows, and the
rows of a whole fleet are too many for each second: so at each look only those cells are added up whose number of rows has
changed, and beside these some of the others by turns, `ROWS_AT_A_LOOK` rows at most. A cell of which none come or go is thus
right within the time that a round takes, half a minute for 250,000 rows.

Rows do not say how much memory they need; their DesiredLRPs do. Instances that nobody desires any more count as containers only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from bbs.concurrency.turns import TimedTurns, in_turns
from bbs.log import null_logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState
from bbs.models.errors import Failure
from bbs.peers.interfaces import Cells
from bbs.store.tables import Tables

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
    _asked_at: float | None = None
    _round: Iterator[str] = field(default_factory=lambda: iter(()))

    async def look(self) -> None:
        """Bring everything up to date as far as it is this look's turn."""
        now = trio.current_time()
        if self._asked_at is None or now - self._asked_at >= ASK_INTERVAL_S:
            self._asked_at = now
            await self._ask()
        await self._add_up()

    def of(self, cell_id: str) -> Use:
        return self._uses.get(cell_id, EMPTY)

    def known(self) -> set[str]:
        """Cells that announce themselves, and those that do not and have something."""
        return {*self.announced, *self._uses}

    def missing(self) -> list[str]:
        """Cells on which there is something, and which do not announce themselves. None while nobody can say who does."""
        if self._asked_at is None or (self.trouble and not self.announced):
            return []
        return sorted(
            cell_id for cell_id, use in self._uses.items() if use.containers and cell_id not in self.announced
        )

    async def _ask(self) -> None:
        try:
            with trio.fail_after(ASK_S):
                listed = await self.cells.list_wire(log=null_logger())
        except (Failure, trio.TooSlowError) as error:
            # What was known is kept, as `PresenceWatch` does: a Locket that is away is no fleet that has vanished.
            self.trouble = str(error) or f"no answer within {ASK_S:g} s"
            return
        announced: dict[str, pb.CellPresence] = {}
        async for some in in_turns(listed, PRESENCES_OF_A_TURN):
            presences = pb.CellsResponse.FromString(b"".join(some)).cells
            announced.update((presence.cell_id, presence) for presence in presences)
        self.announced = announced
        self.trouble = ""

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
            cell_id for cell_id, _ in self.tables.tasks.running_by_cell.items() if cell_id.strip("\0")
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
