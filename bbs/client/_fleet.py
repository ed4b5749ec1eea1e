"""What the consumer of a watch holds: the records as he was told of them, and the changes that he was not told of yet.

`Known` is the newest that the watch knows, `Fleet` what the consumer has been shown. Between the two there is no queue of
changes: only the keys of records that differ are kept, each once. So a consumer who takes his time costs no more memory
than a second copy of the fleet's keys, and finds the changes of a record that came meanwhile merged into one.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self, cast

import trio

from bbs.client._changes import Added, Change, Changed, Kind, Record, Removed, lrp_tag, task_tag
from bbs.client._errors import WatchFailed
from bbs.client._known_rows import KnownRows
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPKey

Known = Mapping[Kind, KnownRows[Any, Any]]


def nothing_known(kinds: Iterable[Kind]) -> Known:
    return {
        kind: KnownRows(task_tag, is_same=lambda one, other: one == other)
        if kind is Kind.TASK
        else KnownRows(lrp_tag)
        for kind in kinds
    }


@dataclass(frozen=True, slots=True)
class FleetStatistics:
    """``pending``: records whose changes the consumer has not taken yet. ``snapshots``: how often lists were taken;
    ``connections``: how often it was subscribed.
    """

    pending: int
    connections: int
    snapshots: int


class Fleet:
    """The records that are watched, as of the last change that was taken, and the changes to come. Made by `BBSClient.watch`.

    ``async for change in fleet`` gives an `Added`, `Changed` or `Removed` of a `pb.DesiredLRP`, `pb.ActualLRP` or `pb.Task`;
    the mappings show a change from the moment it is given. A record's changes follow from each other: the ``before`` of one
    is the ``after`` of the last one. Changes of one record that are not taken in time are merged into one, or into none if
    they come back to the same; a removal is put behind what else waits, so that a replacement is seen first.

    Records are the watch's own: do not change them.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._shown: dict[Kind, dict[Hashable, Record]] = {kind: {} for kind in Kind}
        self._pending: dict[tuple[Kind, Hashable], None] = {}
        self._news = trio.Event()
        self._current = trio.Event()
        self._failure: WatchFailed | None = None
        self._is_closed = False
        self._is_taken = False
        self.connections = 0
        self.snapshots = 0
        self.trouble = ""
        """Why it is not current, if the last connection ended; empty before."""

    @property
    def desired_lrps(self) -> Mapping[str, pb.DesiredLRP]:
        """By process guid, in the form of routing infos: guid, domain, log guid, instances, routes, modification tag and
        metric tags. Other fields are empty.
        """
        return cast(Mapping[str, pb.DesiredLRP], MappingProxyType(self._shown[Kind.DESIRED_LRP]))

    @property
    def actual_lrps(self) -> Mapping[ActualLRPKey, pb.ActualLRP]:
        """By process guid, index and presence: ``fleet.actual_lrps[ActualLRPKey("app", 0, Presence.ORDINARY)]``, with the
        `ActualLRPKey` of `bbs.client`, which is no message. Without internal routes and metric tags, which events lack.
        """
        return cast(Mapping[ActualLRPKey, pb.ActualLRP], MappingProxyType(self._shown[Kind.ACTUAL_LRP]))

    @property
    def tasks(self) -> Mapping[str, pb.Task]:
        """By task guid; empty unless tasks are watched."""
        return cast(Mapping[str, pb.Task], MappingProxyType(self._shown[Kind.TASK]))

    @property
    def is_current(self) -> bool:
        """Whether the watch is subscribed and has compared all it knows with lists. If not it is reconnecting, or a list
        contradicts what it was told before; the records are then the last that are known. Changes may still be pending.
        """
        return self._current.is_set()

    async def wait_current(self) -> None:
        """Wait until the watch is current; without a deadline, since the server may be away for as long as it likes.

        Raises:
          WatchFailed: it will never be.
          trio.ClosedResourceError: the watch has ended.
        """
        await trio.lowlevel.checkpoint()
        while not self._current.is_set():
            self._require_running()
            await self._current.wait()
        self._require_running()

    def statistics(self) -> FleetStatistics:
        return FleetStatistics(len(self._pending), self.connections, self.snapshots)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """The next change. Waits for as long as there is none: a quiet fleet is a healthy one.

        Raises:
          WatchFailed: there will be none, for a reason that does not go away; what was pending has been given.
          trio.ClosedResourceError: the watch has ended.
          trio.BusyResourceError: another task waits for a change: there is one consumer.
        Cancellation:
          Loses no change.
        """
        if self._is_taken:
            raise trio.BusyResourceError("another task is waiting for changes of this fleet")
        self._is_taken = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if (change := self._next_pending()) is not None:
                    return change
                self._require_running()
                self._news = trio.Event()
                await self._news.wait()
        finally:
            self._is_taken = False

    # For the watch

    def show_all(self) -> None:
        """Show what is known without a change: the first snapshot."""
        for kind, known in self._known.items():
            self._shown[kind] = dict(known.rows)
        self._pending.clear()

    def has_changed(self, kind: Kind, key: Hashable) -> None:
        """What is known of a record may differ from what is shown."""
        if key not in self._known[kind].rows:
            self._pending.pop((kind, key), None)  # to the end
        self._pending[kind, key] = None
        self._news.set()

    def caught_up(self) -> None:
        self.trouble = ""
        self._current.set()

    def fell_behind(self, trouble: str = "") -> None:
        self.trouble = trouble or self.trouble
        if self._current.is_set():
            self._current = trio.Event()

    def fail(self, failure: WatchFailed) -> None:
        self._failure = failure
        self._wake()

    def close(self) -> None:
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        waiting, self._current = self._current, trio.Event()
        waiting.set()

    def _next_pending(self) -> Change | None:
        while self._pending:
            kind, key = next(iter(self._pending))
            del self._pending[kind, key]
            known, shown = self._known[kind], self._shown[kind]
            before, after = shown.get(key), known.rows.get(key)
            if known.is_same(before, after):
                continue
            if after is None:
                assert before is not None
                del shown[key]
                return Removed(before)
            shown[key] = after
            return Added(after) if before is None else Changed(before, after)
        return None

    def _require_running(self) -> None:
        if self._failure is not None:
            raise WatchFailed(str(self._failure)) from self._failure
        if self._is_closed:
            raise trio.ClosedResourceError("the watch has ended")
