"""What tables file their rows under: an attribute, or a time."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from sortedcontainers import SortedDict

RecordT = TypeVar("RecordT")
KeyT = TypeVar("KeyT", bound=Hashable)

_NONE_FILED: Final[Mapping[object, Any]] = MappingProxyType({})

SLOT_BITS: Final = 27
"""A slot of a `TimeQueue` holds the keys of 2**27 ns, an eighth of a second."""


class Index(Generic[RecordT]):
    """Rows filed under one attribute of theirs; rows whose attribute is empty are left out."""

    __slots__ = ("_attribute", "_filed")

    def __init__(self, attribute: Callable[[RecordT], str]) -> None:
        self._attribute = attribute
        self._filed: dict[str, dict[object, RecordT]] = {}

    def add(self, key: object, record: RecordT) -> None:
        if value := self._attribute(record):
            rows = self._filed.get(value)
            if rows is None:
                self._filed[value] = {key: record}
            else:
                rows[key] = record

    def discard(self, key: object, record: RecordT) -> None:
        if value := self._attribute(record):
            rows = self._filed[value]
            del rows[key]
            if not rows:
                del self._filed[value]

    def __getitem__(self, value: str) -> Collection[RecordT]:
        """The rows filed under ``value``: live, so copy before any checkpoint."""
        rows = self._filed.get(value)
        return rows.values() if rows is not None else ()

    def by_key(self, value: str) -> Mapping[object, RecordT]:
        """The same with their keys, live too."""
        return self._filed.get(value, _NONE_FILED)

    def __len__(self) -> int:
        return len(self._filed)

    def items(self) -> Iterator[tuple[str, Collection[RecordT]]]:
        return ((value, rows.values()) for value, rows in self._filed.items())


class TimeQueue(Generic[KeyT]):
    """Keys by a time of theirs, so that those that are due cost only themselves.

    A thousand rows a second come and go here, and few of them are ever asked for. So they are not kept in order, only
    thrown into slots of time, which are: adding and discarding are dictionary operations.
    """

    __slots__ = ("_size", "_slots")

    def __init__(self) -> None:
        self._slots: SortedDict[int, dict[KeyT, int]] = SortedDict()
        self._size = 0

    def add(self, key: KeyT, time_ns: int) -> None:
        slot = time_ns >> SLOT_BITS
        keys = self._slots.get(slot)
        if keys is None:
            self._slots[slot] = {key: time_ns}
        else:
            keys[key] = time_ns
        self._size += 1

    def discard(self, key: KeyT, time_ns: int) -> None:
        slot = time_ns >> SLOT_BITS
        keys = self._slots[slot]
        del keys[key]
        if not keys:
            del self._slots[slot]
        self._size -= 1

    def before(self, time_ns: int) -> list[KeyT]:
        """The keys whose time is earlier, by slots the oldest first."""
        due: list[KeyT] = []
        last = time_ns >> SLOT_BITS
        for slot in self._slots.irange(maximum=last):
            keys = self._slots[slot]
            due.extend(keys if slot != last else [key for key, at_ns in keys.items() if at_ns < time_ns])
        return due

    def __len__(self) -> int:
        return self._size
