"""A Locket without its service: the rules of its server, and a `Locket` that follows them in this process.

A resource has one owner, who renews it before its time is up; then it is gone, as if it had been released. Whoever asks
gets the state of now: what is overdue is dropped first. `expire_on_time` drops it without anybody asking, so that those
who observe the table hear of it (spec: locking-and-presence.md §1).

Upstream's servers share a database, and tell by a version in each row whether it was renewed behind their back. Here a
renewal replaces the row and the time it is due in one step, so there is nothing to compare.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import trio
from sortedcontainers import SortedSet

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.sync.locket.client import TYPE_NAMES, Code, LocketError, Resource

KEY_CHARS_MAX: Final = 255
OWNER_CHARS_MAX: Final = 255
VALUE_CHARS_MAX: Final = 4096
"""Widths of the columns that upstream's Locket keeps a resource in. What does not fit is refused with the errors of its
database."""

ROWS_MAX: Final = 20_000
"""Resources at once, twenty times a large fleet's cells, about 40 MB. When the table is full new ones are refused: whoever
registers tries again, and a client that makes up names must not fill the memory."""


@dataclass(frozen=True, slots=True)
class LocketRow:
    """A resource, and when it is dropped unless it is renewed."""

    resource: Resource
    expires_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """A resource that came, or went: expired or released. Renewals are no changes."""

    resource: Resource
    is_present: bool


@dataclass(frozen=True, slots=True)
class _Observer:
    on_change: Callable[[Change], None] | None
    on_earlier_expiry: Callable[[], None] | None


class LocketTable:
    """The rows. ``now_s`` is a clock that never goes back, in seconds. Belongs to one thread."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._rows: dict[str, LocketRow] = {}
        self._due: SortedSet[tuple[float, str]] = SortedSet()
        self._observers: list[_Observer] = []

    def lock(self, resource: Resource, *, ttl_s: int) -> None:
        """Take or renew ``resource``; its value and type are replaced.

        Raises:
          LocketError: the type is unknown, the time not positive, there is no owner, or another one.
        """
        if resource.type_code not in TYPE_NAMES:
            raise LocketError(Code.NOT_FOUND, "invalid-type")
        if ttl_s <= 0:
            raise LocketError(Code.INVALID_ARGUMENT, "invalid-ttl")
        if not resource.owner:
            raise LocketError(Code.INVALID_ARGUMENT, "invalid-owner")
        _require_storable(resource)
        self.expire(self.now_s())
        before = self._held_by(resource)
        if before is None and len(self._rows) >= ROWS_MAX:
            raise LocketError(Code.RESOURCE_EXHAUSTED, "too many resources")
        first_due_s = self.next_expiry()
        if before is not None:
            self._due.remove(_due(before))
        row = LocketRow(replace(resource, type=TYPE_NAMES[resource.type_code]), self.now_s() + ttl_s)
        self._rows[resource.key] = row
        self._due.add(_due(row))
        if before is None:
            self._tell(Change(row.resource, is_present=True))
        if first_due_s is None or row.expires_s < first_due_s:
            for observer in tuple(self._observers):
                if observer.on_earlier_expiry is not None:
                    observer.on_earlier_expiry()

    def fetch(self, key: str) -> Resource:
        """The resource of that name.

        Raises:
          LocketError: nobody holds it.
        """
        row = self.row(key)
        if row is None:
            raise LocketError(Code.NOT_FOUND, "resource-not-found")
        return row.resource

    def release(self, resource: Resource) -> None:
        """Drop ``resource``, of which only key and owner matter. One that nobody holds is no error.

        Raises:
          LocketError: somebody else holds it.
        """
        self.expire(self.now_s())
        held = self._held_by(resource)
        if held is not None:
            self._drop(held)

    def fetch_all(self, type_code: int) -> list[Resource]:
        """All resources of a type.

        Raises:
          LocketError: there is no such type.
        """
        if type_code not in TYPE_NAMES:
            raise LocketError(Code.NOT_FOUND, "invalid-type")
        self.expire(self.now_s())
        return [row.resource for row in self._rows.values() if row.resource.type_code == type_code]

    def row(self, key: str) -> LocketRow | None:
        self.expire(self.now_s())
        return self._rows.get(key)

    def next_expiry(self) -> float | None:
        """When the next row is due, by the table's clock; ``None`` if there are none."""
        return self._due[0][0] if self._due else None

    def expire(self, now_s: float) -> None:
        """Drop every row whose time is up at ``now_s``, and tell the observers."""
        while self._due and self._due[0][0] <= now_s:
            _, key = self._due[0]
            self._drop(self._rows[key])

    @contextmanager
    def observed(
        self,
        on_change: Callable[[Change], None] | None = None,
        *,
        on_earlier_expiry: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Be told of changes, at once and in the table's thread, while the block runs."""
        observer = _Observer(on_change, on_earlier_expiry)
        self._observers.append(observer)
        try:
            yield
        finally:
            self._observers.remove(observer)

    def _held_by(self, resource: Resource) -> LocketRow | None:
        row = self._rows.get(resource.key)
        if row is not None and row.resource.owner != resource.owner:
            raise LocketError(Code.ALREADY_EXISTS, "lock-collision")
        return row

    def _drop(self, row: LocketRow) -> None:
        del self._rows[row.resource.key]
        self._due.remove(_due(row))
        self._tell(Change(row.resource, is_present=False))

    def _tell(self, change: Change) -> None:
        for observer in tuple(self._observers):
            if observer.on_change is not None:
                observer.on_change(change)


def _due(row: LocketRow) -> tuple[float, str]:
    return row.expires_s, row.resource.key


def _require_storable(resource: Resource) -> None:
    for text, chars_max in (
        (resource.key, KEY_CHARS_MAX),
        (resource.owner, OWNER_CHARS_MAX),
        (resource.value, VALUE_CHARS_MAX),
    ):
        if "\0" in text:
            text = 'ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)'
            raise LocketError(Code.UNKNOWN, text)
        if len(text) > chars_max:
            text = f"ERROR: value too long for type character varying({chars_max}) (SQLSTATE 22001)"
            raise LocketError(Code.UNKNOWN, text)


async def expire_on_time(table: LocketTable) -> NoReturn:
    """Drop each row when it is due, until cancelled. The table's clock runs as fast as Trio's."""
    earlier = ClearableEvent()
    with table.observed(on_earlier_expiry=earlier.set):
        while True:
            table.expire(table.now_s())
            due_s = table.next_expiry()
            earlier.clear()
            # Without rows there is nothing to do until one comes.
            with trio.move_on_after(math.inf if due_s is None else max(0.0, due_s - table.now_s())):
                await earlier.wait()


class LocalLocket:
    """A `Locket` on a table in this process. While ``unreachable`` is set, calls behave as if Locket were away."""

    def __init__(self, table: LocketTable) -> None:
        self.table = table
        self._reachable = ClearableEvent()
        self._reachable.set()

    @property
    def unreachable(self) -> bool:
        return not self._reachable.is_set()

    @unreachable.setter
    def unreachable(self, unreachable: bool) -> None:
        if unreachable:
            self._reachable.clear()
        else:
            self._reachable.set()

    async def lock(
        self,
        resource: Resource,
        *,
        ttl_s: int,
        request_uuid: str = "",
        deadline_s: float | None,
        wait_for_ready: bool,
    ) -> None:
        await self._reach(deadline_s, wait_for_ready=wait_for_ready)
        self.table.lock(resource, ttl_s=ttl_s)

    async def fetch(self, key: str, *, deadline_s: float | None) -> Resource:
        await self._reach(deadline_s)
        return self.table.fetch(key)

    async def release(self, resource: Resource) -> None:
        await self._reach(None)
        self.table.release(resource)

    async def fetch_all(self, type_code: int, *, deadline_s: float | None) -> list[Resource]:
        await self._reach(deadline_s)
        return self.table.fetch_all(type_code)

    async def _reach(self, deadline_s: float | None, *, wait_for_ready: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        if deadline_s is not None and deadline_s <= 0:
            raise LocketError.out_of_time()
        if self.unreachable and not wait_for_ready:
            raise LocketError(Code.UNAVAILABLE, "Locket is unreachable")
        with trio.move_on_after(math.inf if deadline_s is None else deadline_s) as scope:
            await self._reachable.wait()
        if scope.cancelled_caught:
            raise LocketError.out_of_time()
