"""Indexes that the tables keep up to date: rows by an attribute, rows by process in order, keys by a time."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from itertools import chain
from typing import Final, Generic, TypeVar

from sortedcontainers import SortedDict

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence

RecordT = TypeVar("RecordT")
KeyT = TypeVar("KeyT", bound=Hashable)


SLOT_BITS: Final = 27
"""A slot of a `TimeQueue` holds the keys whose times lie in the same 2**27 ns, about an eighth of a second."""


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

    def replace(self, key: object, before: RecordT, record: RecordT) -> None:
        """File ``record`` instead of ``before``, in its place if they have the attribute in common, as most changes do."""
        value = self._attribute(record)
        if value != self._attribute(before):
            self.discard(key, before)
            self.add(key, record)
        elif value:
            self._filed[value][key] = record

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

    def __len__(self) -> int:
        return len(self._filed)

    def items(self) -> Iterator[tuple[str, Collection[RecordT]]]:
        return ((value, rows.values()) for value, rows in self._filed.items())


PRESENCE_BITS: Final = 2
assert max(Presence) < 1 << PRESENCE_BITS


class ByProcess:
    """ActualLRPs by process guid, those of a process in the order of the primary key: by index, then by presence.

    A dictionary keeps the order in which its keys came. That is nearly always the right one: indices are created in
    order, and a row that is replaced, as every claim and start does, keeps its place. A row that comes late, such as an
    evacuating one, makes its process *disordered*, and the next who asks for its rows puts them in order, for all who
    ask after that. That takes 20 ms for 50,000 rows on a busy machine, and 2 ms if they are in order.

    Most processes have one row, and a dictionary for it would take more memory than the row's own object: it is filed bare until
    a second one comes.
    """

    __slots__ = ("_disordered", "_filed")

    def __init__(self) -> None:
        self._filed: dict[str, ActualLRP | dict[int, ActualLRP]] = {}
        self._disordered: set[str] = set()

    def put(self, key: ActualLRPKey, lrp: ActualLRP) -> None:
        """File ``lrp``, in the place of the row with its key if there is one."""
        process_guid = key.process_guid
        filed = self._filed.get(process_guid)
        if filed is None:
            self._filed[process_guid] = lrp
            return
        place = place_of(key)
        if type(filed) is ActualLRP:
            only = _place_of_row(filed)
            if only == place:
                self._filed[process_guid] = lrp
                return
            filed = self._filed[process_guid] = {only: filed}
        assert type(filed) is dict
        # Only a new row that belongs before the last one disturbs the order: one that is replaced keeps its place.
        if place not in filed and place < next(reversed(filed)):
            self._disordered.add(process_guid)
        filed[place] = lrp

    def discard(self, key: ActualLRPKey) -> None:
        filed = self._filed[key.process_guid]
        if type(filed) is dict:
            del filed[place_of(key)]
            if filed:
                return
            self._disordered.discard(key.process_guid)
        del self._filed[key.process_guid]

    def __getitem__(self, process_guid: str) -> Collection[ActualLRP]:
        """The rows of that process: live, or a copy, so copy before any checkpoint."""
        filed = self._filed.get(process_guid)
        if filed is None:
            return ()
        if type(filed) is ActualLRP:
            return (filed,)
        assert type(filed) is dict
        if process_guid in self._disordered:
            filed = self._filed[process_guid] = {place: filed[place] for place in sorted(filed)}
            self._disordered.remove(process_guid)
        return filed.values()

    def by_place(self, process_guid: str) -> Mapping[int, ActualLRP]:
        """The same in no order, each with its place, live or a copy. Costs next to nothing, however many there are."""
        filed = self._filed.get(process_guid, _NOTHING)
        return {_place_of_row(filed): filed} if isinstance(filed, ActualLRP) else filed

    def __len__(self) -> int:
        return len(self._filed)


_NOTHING: Final[Mapping[int, ActualLRP]] = {}


def place_of(key: ActualLRPKey) -> int:
    """A number by which the rows of a process are in the order of the primary key: index first, then presence."""
    return key.instance_index << PRESENCE_BITS | key.presence


def _place_of_row(lrp: ActualLRP) -> int:
    """`place_of` its key, which is not made for that: claims and starts come through here."""
    return lrp.index << PRESENCE_BITS | lrp.presence


def index_at(place: int) -> int:
    """The instance index in a number that `place_of` made."""
    return place >> PRESENCE_BITS


class TimeQueue(Generic[KeyT]):
    """Keys by a time of theirs, so that those that are due cost only themselves.

    Thousands of rows a second come and go here, and few of them are ever asked for. So only slots of time are kept in
    order, not the keys within a slot: adding and discarding are dictionary operations, and only the slot that the time
    asked for lies in has to be looked through.
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

    def __iter__(self) -> Iterator[KeyT]:
        """All keys, by slots the oldest first."""
        return chain.from_iterable(self._slots.values())

    def before(self, time_ns: int) -> list[KeyT]:
        """The keys whose time is earlier, by slots the oldest first."""
        due: list[KeyT] = []
        last = time_ns >> SLOT_BITS
        for slot in self._slots.irange(maximum=last):
            keys = self._slots[slot]
            due.extend(keys if slot != last else [key for key, at_ns in keys.items() if at_ns < time_ns])
        return due

    def count_before(self, time_ns: int) -> int:
        """How many there are of these. They are not copied."""
        last = time_ns >> SLOT_BITS
        count: int = sum(at_ns < time_ns for at_ns in self._slots.get(last, {}).values())
        for slot in self._slots.irange(maximum=last - 1):
            count += len(self._slots[slot])
        return count

    def __len__(self) -> int:
        return self._size
