"""Instances and tasks counted by state and cell as they change, so that a frame does not go through a whole fleet. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from bbs.client import Added, Change, Changed, Removed
from bbs.models import pb

TASK_STATES: Final = frozenset(pb.Task.State.values())


class Tallies:
    """``changes`` counts what was told since the start, several changes of one record at times as one."""

    def __init__(self) -> None:
        self.instances: Counter[str] = Counter()
        self.presences: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.by_cell: Counter[str] = Counter()
        self.wanted = 0
        self.processes = 0
        self.changes = 0

    def begin(self, records: Iterable[object]) -> None:
        for record in records:
            self._add(record, 1)

    def take(self, change: Change) -> None:
        self.changes += 1
        if isinstance(change, Changed | Removed):
            self._add(change.before, -1)
        if isinstance(change, Changed | Added):
            self._add(change.after, 1)

    def _add(self, record: object, sign: int) -> None:
        match record:
            case pb.DesiredLRP():
                self.processes += sign
                self.wanted += sign * record.instances
            case pb.ActualLRP():
                self.instances[record.state] += sign
                if record.presence:
                    known = record.presence in pb.ActualLRP.Presence.values()
                    name = pb.ActualLRP.Presence.Name(record.presence) if known else str(record.presence)
                    self.presences[name.lower()] += sign
                if record.state in ("CLAIMED", "RUNNING"):
                    self.by_cell[record.actual_lrp_instance_key.cell_id] += sign
            case pb.Task():
                known = record.state in TASK_STATES
                self.tasks[pb.Task.State.Name(record.state) if known else str(record.state)] += sign

    def cells_with_instances(self) -> frozenset[str]:
        return frozenset(cell_id for cell_id, count in self.by_cell.items() if count > 0 and cell_id)
