"""What one decision is about: what it may read, and what it waits for.

A decision rests on all that it has read, also on rows that are staged and not yet durable. So nobody may hear of it
before these are durable, and if they are undone, the decision is undone with them.

A *scope* makes sure of that. It is the only thing that a decision is given to read, and the store notes under the scope's
key what is staged in it (`Store.settle`). What a decision writes lies within its scope, too, which the store asserts: a row
outside of it would be changed unknown to those who wait for that row's own scope.
"""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Protocol

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import RowKey
from bbs.models.task import Task

if TYPE_CHECKING:
    from bbs.store.store import Store


class Scope(Protocol):
    """``key`` is equal for all scopes about the same thing in one store."""

    @property
    def store(self) -> "Store": ...
    @property
    def key(self) -> Hashable: ...
    def holds(self, key: RowKey) -> bool:
        """Whether a decision within this scope may write the row."""


class ProcessScope:
    """One process: its DesiredLRP and the rows of all its instances, as the next mutation must see them."""

    __slots__ = ("key", "process_guid", "store")

    def __init__(self, store: "Store", process_guid: str) -> None:
        self.store = store
        self.process_guid = process_guid
        self.key = RowKey(DesiredLRP, process_guid)

    def holds(self, key: RowKey) -> bool:
        if isinstance(key.key, ActualLRPKey):
            return key.key.process_guid == self.process_guid
        return key == self.key

    def desired_lrp(self) -> DesiredLRP | None:
        return self.store.head.desired_lrp(self.process_guid)

    def rows_at(self, index: int) -> Rows:
        """All rows of one instance."""
        return self.store.head.rows_at(self.process_guid, index)

    def rows(self) -> list[ActualLRP]:
        """All rows of the process, by index and then presence."""
        return self.store.head.rows_of(self.process_guid)

    def rows_in(self, indices: Iterable[int]) -> list[ActualLRP]:
        """The rows of some instances, by index as given and then presence. Costs what it looks at."""
        return self.store.head.rows_in(self.process_guid, indices)

    def rows_max(self) -> int:
        """See `Head.rows_max`."""
        return self.store.head.rows_max(self.process_guid)

    def places(self) -> list[int]:
        """See `Head.places_of`."""
        return self.store.head.places_of(self.process_guid)


class TaskScope:
    """One task, as the next mutation must see it."""

    __slots__ = ("key", "store", "task_guid")

    def __init__(self, store: "Store", task_guid: str) -> None:
        self.store = store
        self.task_guid = task_guid
        self.key = RowKey(Task, task_guid)

    def holds(self, key: RowKey) -> bool:
        return key == self.key

    def task(self) -> Task | None:
        return self.store.head.task(self.task_guid)


class DomainScope:
    """One domain, as the next mutation must see it."""

    __slots__ = ("key", "name", "store")

    def __init__(self, store: "Store", name: str) -> None:
        self.store = store
        self.name = name
        self.key = RowKey(Domain, name)

    def holds(self, key: RowKey) -> bool:
        return key == self.key

    def domain(self) -> Domain | None:
        return self.store.head.domain(self.name)
