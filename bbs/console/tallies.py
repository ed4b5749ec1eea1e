"""Instances and tasks counted by state and cell as they change, so that a frame does not go through a whole fleet. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bbs.client import Added, Change, Changed, Removed
from bbs.models import pb

TASK_STATES: Final = frozenset(pb.Task.State.values())


@dataclass(frozen=True, slots=True)
class Uneven:
    """How many instances are ``missing``, ``extra``, or of what nobody desires: ordinary ones, as passes count them."""

    missing: int = 0
    extra: int = 0
    not_desired: int = 0


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
        self._desired: dict[str, int] = {}
        self._indices: dict[str, set[int]] = {}
        self._suspects: Counter[str] = Counter()
        # By process, where it is not even; and the processes of which that is to be worked out anew.
        self._uneven: dict[str, Uneven] = {}
        self._changed: set[str] = set()

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
                self._note_desired(record, sign)
            case pb.ActualLRP():
                self.instances[record.state] += sign
                self._note_row(record, sign)
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

    def uneven(self) -> Uneven:
        """Of the whole fleet. Looks only at the processes that have changed since it was asked last."""
        for guid in self._changed:
            found = self._uneven_of(guid)
            if found == Uneven():
                self._uneven.pop(guid, None)
            else:
                self._uneven[guid] = found
        self._changed.clear()
        every = self._uneven.values()
        return Uneven(
            missing=sum(each.missing for each in every),
            extra=sum(each.extra for each in every),
            not_desired=sum(each.not_desired for each in every),
        )

    def _uneven_of(self, guid: str) -> Uneven:
        indices, wanted = self._indices.get(guid, set()), self._desired.get(guid)
        if wanted is None:
            return Uneven(not_desired=len(indices) + self._suspects[guid])
        extra = sum(index >= wanted for index in indices)
        return Uneven(missing=wanted - (len(indices) - extra), extra=extra)

    def _note_desired(self, lrp: pb.DesiredLRP, sign: int) -> None:
        if sign > 0:
            self._desired[lrp.process_guid] = lrp.instances
        else:
            self._desired.pop(lrp.process_guid, None)
        self._changed.add(lrp.process_guid)

    def _note_row(self, row: pb.ActualLRP, sign: int) -> None:
        guid, index = row.actual_lrp_key.process_guid, row.actual_lrp_key.index
        if row.presence == pb.ActualLRP.SUSPECT:
            self._suspects[guid] += sign
            if not self._suspects[guid]:
                del self._suspects[guid]
        elif row.presence == pb.ActualLRP.ORDINARY:
            indices = self._indices.setdefault(guid, set())
            if sign > 0:
                indices.add(index)
            else:
                indices.discard(index)
            if not indices:
                del self._indices[guid]
        self._changed.add(guid)
