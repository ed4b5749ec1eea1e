"""What convergence should look at: instances filed by why they may need attention (spec: convergence.md §3.4).

Most of a fleet runs as desired, and a pass over it should cost nothing. So every change of a row, of either table, is
passed on to here, where the row is taken from where it was filed and filed anew. Where that is follows from the row and
from its DesiredLRP alone: no file remembers anything, and whatever the history, each agrees with a scan of all rows.

A file says that a row may need attention, nothing more. Whether it does depends on the time, on the cells and on the
domains, which only a pass knows; and rows move on while it goes through them.

When the DesiredLRP of a process changes, its rows have to be filed anew. For a process with 100,000 rows that takes a
quarter of a second, in which nobody else would get a turn. So the rows of a large process stay where they are, noted as
*late*, until somebody has them filed anew some at a time (`Attention.catch_up`), or until they change themselves. Until then
the files are those of an earlier DesiredLRP, so whoever goes through them catches up first.

What every claim and every start passes through is kept to a few dictionary operations.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, ActualLRPState, Presence
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.drift import routes_differ, tags_differ
from bbs.store.indexes import ByProcess, Index, TimeQueue, place_of

UNCLAIMED: Final = ActualLRPState.UNCLAIMED
CLAIMED: Final = ActualLRPState.CLAIMED
RUNNING: Final = ActualLRPState.RUNNING
CRASHED: Final = ActualLRPState.CRASHED
ORDINARY: Final = Presence.ORDINARY
EVACUATING: Final = Presence.EVACUATING
SUSPECT: Final = Presence.SUSPECT

REFILED_AT_ONCE_MAX: Final = 200
"""Rows of a process that are filed anew as soon as their DesiredLRP changes: half a millisecond."""


class Attention:
    """Owned by `bbs.store.tables.Tables`, which tells it of every change once its own tables show it.

    ``desired`` are the rows of the one table by process guid, ``rows_of`` those of the other.
    """

    __slots__ = (
        "_counts", "_desired", "_late", "_rows_of", "beyond", "crashed", "crashing", "desired_instances", "nowhere", "orphans",
        "routes_drifted", "surplus", "suspects", "tags_drifted", "unclaimed",
    )  # fmt: skip

    def __init__(self, desired: Mapping[str, DesiredLRP], rows_of: ByProcess) -> None:
        self._desired = desired
        self._rows_of = rows_of
        # By process guid, the places of rows that are filed as for an earlier DesiredLRP, and which one that was. It is kept
        # because a row can only be taken from where it was put, and where that was follows from the DesiredLRP of then.
        self._late: dict[str, dict[int, DesiredLRP | None]] = {}
        self._counts: dict[Presence, dict[ActualLRPState, int]] = {
            presence: dict.fromkeys(ActualLRPState, 0) for presence in Presence
        }
        self.desired_instances = 0
        """How many instances are desired of all processes together."""

        self.surplus: dict[str, int] = {}
        """By process guid, how many ordinary rows there are beyond those desired. Negative if there are fewer; where
        it is 0 there is no entry, and where nothing is desired the number is that of the rows."""

        self.beyond: dict[str, int] = {}
        """By process guid, how many ordinary rows have an index beyond those desired. Where there are as many rows as
        desired, they are what is wrong: each stands for an index that lacks its row."""

        self.orphans: Index[ActualLRP] = Index(lambda lrp: lrp.domain)
        """By their domain, ordinary and suspect rows that nobody desires. They are in none of the files of ordinary
        rows below."""

        self.unclaimed: TimeQueue[ActualLRPKey] = TimeQueue()
        """Unclaimed ordinary rows by ``since_ns``, the time since which they wait for a cell."""

        self.crashed: dict[int, TimeQueue[ActualLRPKey]] = {}
        """Crashed ordinary rows, by how often they have crashed and then by when: how long one stays down follows from the
        number, so of each number the rows that are due are those that crashed before some time."""

        self.routes_drifted: dict[ActualLRPKey, None] = {}
        """Ordinary running rows with other internal routes than those desired."""

        self.tags_drifted: dict[ActualLRPKey, None] = {}
        """Ordinary running rows with other metric tags than those desired."""

        self.crashing: dict[str, int] = {}
        """By process guid, how many crashed ordinary rows there are, desired or not."""

        self.suspects: dict[ActualLRPKey, None] = {}
        """All suspect rows, whatever their state."""

        self.nowhere: dict[ActualLRPKey, ActualLRP] = {}
        """Rows that should have a cell and name none, which the index of rows by cell leaves out. This server never writes
        such a row; somebody else may have."""

    def count(self, presence: Presence, state: ActualLRPState) -> int:
        return self._counts[presence][state]

    def actual_lrp_changed(
        self, key: ActualLRPKey, before: ActualLRP | None, after: ActualLRP | None
    ) -> None:
        desired = self._desired.get(key.process_guid)
        # `surplus` counts rows, so it changes only when one comes or goes.
        if before is not None:
            self._take_out(key, before)
            self._take_out_by_desire(key, before, self._filed_under(key, desired) if self._late else desired)
        elif key.presence is ORDINARY and after is not None:
            _add_to(self.surplus, key.process_guid, 1)
        if after is not None:
            self._file(key, after)
            self._file_by_desire(key, after, desired)
        elif key.presence is ORDINARY and before is not None:
            _add_to(self.surplus, key.process_guid, -1)

    def desired_lrp_changed(
        self, process_guid: str, before: DesiredLRP | None, after: DesiredLRP | None
    ) -> None:
        more = (0 if after is None else after.instances) - (0 if before is None else before.instances)
        if more:
            self.desired_instances += more
            _add_to(self.surplus, process_guid, -more)
        # Most updates change neither the number nor what cells are told of; for these all rows are filed rightly already.
        if before is not None and after is not None:
            if not more and before.routes == after.routes and before.metric_tags == after.metric_tags:
                return
        elif before is after:
            return
        rows = self._rows_of.by_place(process_guid)
        if len(rows) > REFILED_AT_ONCE_MAX:
            # Those that are late already stay so, under the DesiredLRP that they are filed under.
            late: dict[int, DesiredLRP | None] = dict.fromkeys(rows, before)
            late.update(self._late.get(process_guid, {}))
            self._late[process_guid] = late
            return
        for lrp in rows.values():
            key = lrp.key
            self._take_out_by_desire(key, lrp, self._filed_under(key, before))
            self._file_by_desire(key, lrp, after)

    def catch_up(self, rows_max: int) -> bool:
        """File at most ``rows_max`` of the rows that are late, all of one process; returns whether there may be more."""
        for process_guid, late in self._late.items():
            # A late row is there: one that was removed was taken out of `late` by `_filed_under`.
            rows, desired = self._rows_of.by_place(process_guid), self._desired.get(process_guid)
            for place in list(islice(late, rows_max)):
                lrp = rows[place]
                self._take_out_by_desire(lrp.key, lrp, late.pop(place))
                self._file_by_desire(lrp.key, lrp, desired)
            if not late:
                del self._late[process_guid]  # and return: the dictionary that is gone through has changed
            return True
        return False

    def _filed_under(self, key: ActualLRPKey, desired: DesiredLRP | None) -> DesiredLRP | None:
        """The DesiredLRP by which a row is filed: ``desired``, unless the row is late. A late one is struck off the list, since
        the caller is about to file it anew.
        """
        late = self._late.get(key.process_guid)
        place = place_of(key)
        if late is None or place not in late:
            return desired
        filed_under = late.pop(place)
        if not late:
            del self._late[key.process_guid]
        return filed_under

    def _file(self, key: ActualLRPKey, lrp: ActualLRP) -> None:
        presence, state = lrp.presence, lrp.state
        self._counts[presence][state] += 1
        if state is CRASHED and presence is ORDINARY:
            _add_to(self.crashing, key.process_guid, 1)
        elif presence is SUSPECT:
            self.suspects[key] = None
        if not lrp.instance.cell_id and _should_have_a_cell(lrp):
            self.nowhere[key] = lrp

    def _take_out(self, key: ActualLRPKey, lrp: ActualLRP) -> None:
        presence, state = lrp.presence, lrp.state
        self._counts[presence][state] -= 1
        if state is CRASHED and presence is ORDINARY:
            _add_to(self.crashing, key.process_guid, -1)
        elif presence is SUSPECT:
            del self.suspects[key]
        if not lrp.instance.cell_id and _should_have_a_cell(lrp):
            del self.nowhere[key]

    def _file_by_desire(self, key: ActualLRPKey, lrp: ActualLRP, desired: DesiredLRP | None) -> None:
        presence, state = lrp.presence, lrp.state
        if desired is None:
            if presence is not EVACUATING:
                self.orphans.add(key, lrp)
            return
        if presence is not ORDINARY:
            return
        if lrp.index >= desired.instances:
            _add_to(self.beyond, key.process_guid, 1)
        if state is UNCLAIMED:
            self.unclaimed.add(key, lrp.since_ns)
        elif state is RUNNING:
            if routes_differ(desired, lrp):
                self.routes_drifted[key] = None
            if tags_differ(desired, lrp):
                self.tags_drifted[key] = None
        elif state is CRASHED:
            queue = self.crashed.get(lrp.crash_count)
            if queue is None:
                queue = self.crashed[lrp.crash_count] = TimeQueue()
            queue.add(key, lrp.since_ns)

    def _take_out_by_desire(self, key: ActualLRPKey, lrp: ActualLRP, desired: DesiredLRP | None) -> None:
        presence, state = lrp.presence, lrp.state
        if desired is None:
            if presence is not EVACUATING:
                self.orphans.discard(key, lrp)
            return
        if presence is not ORDINARY:
            return
        if lrp.index >= desired.instances:
            _add_to(self.beyond, key.process_guid, -1)
        if state is UNCLAIMED:
            self.unclaimed.discard(key, lrp.since_ns)
        elif state is RUNNING:
            # Whether it was filed here is found out faster by looking than by comparing routes and tags once more.
            self.routes_drifted.pop(key, None)
            self.tags_drifted.pop(key, None)
        elif state is CRASHED:
            queue = self.crashed[lrp.crash_count]
            queue.discard(key, lrp.since_ns)
            if not len(queue):
                del self.crashed[lrp.crash_count]


def _should_have_a_cell(lrp: ActualLRP) -> bool:
    return lrp.state.is_held or lrp.presence is EVACUATING


def _add_to(counts: dict[str, int], process_guid: str, more: int) -> None:
    """Add, leaving no entry behind where nothing remains."""
    count = counts.get(process_guid, 0) + more
    if count:
        counts[process_guid] = count
    else:
        del counts[process_guid]
