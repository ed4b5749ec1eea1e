"""What is known of the rows of one kind, from events and lists that may come late, twice or in the wrong order. No I/O.

A row has a modification tag. Within one epoch the index says which of two versions is later; two epochs are two rows of the
same key, one after the other, and nothing in them says which came first. `KnownRows` finds out from the order in which it is
told, and from what it remembers:

*told*: the keys that events have told of since a list confirmed them. If the present stream has told of a key since it was `subscribed`,
or since `listing` for any but the first list, the list is compared with what the stream said, and the stream tells whatever is missing.

*buried*: the last versions of rows that are gone. What is told of them later is old news. An event may say so too early, and
what follows from that version then shows that the row goes on. Where a list has shown that it is gone, by an answer that knows
all that was told of it, what follows from that version is old news, too: the list has overtaken the stream.

*held*: rows that do not follow from what is known: of another epoch than the known one, told of without a word about its end,
or changed where there is none. Either the news is older than the list, and their own end will be told, or what lies between is
still under way, since upstream's server does not keep the order of two requests' events.

*doubted*: where a list contradicts what a former stream told. The list may come from a follower that has not heard of it yet,
and then the present stream will tell of it, or it may be newer. Doubts, and rows that are held, go with the next event of
their key, or with another list; one that `SETTLES` leaves none.
"""

from collections.abc import Callable, Hashable, Mapping, Set
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from bbs.models.actual_lrp import ModificationTag

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

BURIED_MAX: Final = 20_000
"""A row is buried for the sake of events that are late, and of followers that are seconds behind. At the 5,000 changes a second
that the server is measured with, of which at most half are removals, this is eight seconds of them.
"""


class Trust(Enum):
    """How a list compares with what events told before it was asked for."""

    MAY_BE_BEHIND = auto()
    """It may be older; but not older than the list before it."""
    SETTLES = auto()
    """It may be, and is to be believed all the same."""
    KNOWS_ALL = auto()
    """It is not: the one server that there is has made it."""


class _Verdict(Enum):
    KEEP = auto()
    TAKE = auto()
    DOUBT = auto()


@dataclass(frozen=True, slots=True)
class _Grave:
    index: int
    by_list: bool


@dataclass(frozen=True, slots=True)
class _Held(Generic[R]):
    row: R
    mark: int


class KnownRows(Generic[K, R]):
    """``tag_of`` gives a row's tag. ``is_same`` tells whether two rows with the same tag are the same version; it is there for
    tasks, whose tags are made of times.
    """

    def __init__(
        self,
        tag_of: Callable[[R], ModificationTag],
        *,
        is_same: Callable[[R, R], bool] = lambda one, other: True,
    ) -> None:
        self.rows: Final[dict[K, R]] = {}
        self._tag_of = tag_of
        self._is_same_version = is_same
        self._mark = 0
        self._told: dict[K, int] = {}
        self._buried: dict[tuple[K, str], _Grave] = {}
        self._held: dict[K, _Held[R]] = {}
        self._doubted: set[K] = set()

    @property
    def doubts(self) -> Set[K]:
        """The keys that another list should be asked for, unless events settle them first."""
        return self._doubted | self._held.keys()

    @property
    def has_doubts(self) -> bool:
        return bool(self._doubted or self._held)

    def is_same(self, one: R | None, other: R | None) -> bool:
        """Whether both are the same version of a row, or both are none."""
        if one is None or other is None:
            return one is other
        return self._tag_of(one) == self._tag_of(other) and self._is_same_version(one, other)

    def subscribed(self) -> None:
        """Another stream has begun. The first list is asked for after this."""
        self._held.clear()
        self._mark += 1

    def listing(self) -> None:
        """Another list is asked for while the stream goes on."""
        self._mark += 1

    def told(self, key: K, *, before: ModificationTag | None, after: R | None) -> bool:
        """Take an event: the row with the tag ``before`` became ``after``. Either is None where there was, or is, no row.

        Returns whether `rows` has changed.
        """
        held = self._held.get(key)
        if held is not None and _has_come_to(before, self._tag_of(held.row)):
            del self._held[key]
        if after is not None:
            changed = self._told_of(key, before, after)
            if before is not None and before.epoch != self._tag_of(after).epoch:
                self._bury(key, before)
            return changed
        return before is not None and self._told_gone(key, before)

    def merge(self, listed: Mapping[K, R], trust: Trust) -> tuple[list[K], list[K]]:
        """Take a list, asked for after `subscribed`, or `listing`. Returns the keys of rows that are new or others, and of those gone."""
        new, gone = [], []
        doubted: set[K] = set()
        told: dict[K, int] = {}
        for key in [*listed, *(key for key in self.rows if key not in listed)]:
            mine, theirs = self.rows.get(key), listed.get(key)
            verdict = self._verdict(key, mine, theirs, trust)
            if verdict is _Verdict.TAKE and mine is not None and self._has_overtaken(key, trust):
                self._bury(key, self._tag_of(mine), by_list=True)
            match verdict:
                case _Verdict.TAKE if theirs is None:
                    del self.rows[key]
                    gone.append(key)
                case _Verdict.TAKE:
                    assert theirs is not None
                    self.rows[key] = theirs
                    self._buried.pop((key, self._tag_of(theirs).epoch), None)
                    new.append(key)
                case _Verdict.DOUBT:
                    doubted.add(key)
                    told[key] = self._told.get(key, 0)
                case _Verdict.KEEP if not self.is_same(mine, theirs):
                    told[key] = self._told[key]
        self._told = told
        self._doubted = doubted
        held_before, self._held = self._held, {}
        for key, held in held_before.items():
            if held.mark == self._mark and key not in self.rows:
                self._held[key] = held
            elif held.mark == self._mark and self._told_of(key, None, held.row):
                new.append(key)
        return new, [key for key in gone if key not in self.rows]

    def _verdict(self, key: K, mine: R | None, theirs: R | None, trust: Trust) -> _Verdict:
        told = self._told.get(key)
        if mine is not None and theirs is not None:
            if self.is_same(mine, theirs):
                return _Verdict.KEEP
            my_tag, their_tag = self._tag_of(mine), self._tag_of(theirs)
            if my_tag.epoch != their_tag.epoch:
                is_older = self._is_buried(key, their_tag)
            elif my_tag.index == their_tag.index:
                is_older = told == self._mark
            else:
                is_older = their_tag.index < my_tag.index
        elif theirs is not None:
            is_older = self._is_buried(key, self._tag_of(theirs))
        else:
            is_older = told is not None
        if not is_older:
            return _Verdict.TAKE
        if told == self._mark:
            return _Verdict.KEEP
        return _Verdict.DOUBT if trust is Trust.MAY_BE_BEHIND else _Verdict.TAKE

    def _has_overtaken(self, key: K, trust: Trust) -> bool:
        """Whether a list that takes away what is known of ``key`` is surely newer than that."""
        return trust is Trust.KNOWS_ALL or key not in self._told

    def _told_of(self, key: K, before: ModificationTag | None, after: R) -> bool:
        tag, mine = self._tag_of(after), self.rows.get(key)
        if mine is None:
            if self._is_buried(key, tag) or self._was_overtaken(key, before, tag):
                return False
            if before is not None and (key, before.epoch) not in self._buried:
                self._hold(key, after)
                return False
            held = self._held.pop(key, None)
            self._put(
                key, after if held is None or not _has_come_to(self._tag_of(held.row), tag) else held.row
            )
            return True
        my_tag = self._tag_of(mine)
        if self.is_same(mine, after):
            self._settle(key)
            return False
        if tag.epoch == my_tag.epoch:
            # The times in a task's tag may go back, so that what follows from the known version is always taken.
            if tag.index < my_tag.index and before != my_tag:
                return False
        elif self._is_buried(key, tag):
            return False
        elif tag.epoch and my_tag.epoch and not _has_come_to(before, my_tag):
            self._hold(key, after)
            return False
        else:
            self._bury(key, my_tag)
        self._put(key, after)
        return True

    def _told_gone(self, key: K, before: ModificationTag) -> bool:
        self._bury(key, before)
        mine = self.rows.get(key)
        if mine is None:
            self._settle(key)
            return False
        my_tag = self._tag_of(mine)
        # The former version of a row that goes on may be told to be gone after the new one was told (spec: events.md §7.3).
        if my_tag.epoch and before.epoch and not _has_come_to(before, my_tag):
            return False
        del self.rows[key]
        self._settle(key)
        if (held := self._held.pop(key, None)) is not None:
            self._put(key, held.row)
        return True

    def _hold(self, key: K, row: R) -> None:
        held = self._held.get(key)
        if held is None or not _has_come_to(self._tag_of(held.row), self._tag_of(row)):
            self._held[key] = _Held(row, self._mark)

    def _put(self, key: K, row: R) -> None:
        self.rows[key] = row
        self._settle(key)

    def _settle(self, key: K) -> None:
        self._told[key] = self._mark
        self._doubted.discard(key)

    def _bury(self, key: K, tag: ModificationTag, *, by_list: bool = False) -> None:
        former = self._buried.pop((key, tag.epoch), None)
        if former is not None:
            self._buried[key, tag.epoch] = _Grave(max(tag.index, former.index), by_list or former.by_list)
        else:
            self._buried[key, tag.epoch] = _Grave(tag.index, by_list)
        if len(self._buried) > BURIED_MAX:
            oldest = next(iter(self._buried))
            del self._buried[oldest]
            if oldest[0] not in self.rows:
                self._told.pop(oldest[0], None)

    def _is_buried(self, key: K, tag: ModificationTag) -> bool:
        grave = self._buried.get((key, tag.epoch))
        return bool(tag.epoch) and grave is not None and tag.index <= grave.index

    def _was_overtaken(self, key: K, before: ModificationTag | None, tag: ModificationTag) -> bool:
        """Whether ``tag`` follows from a row that a list has shown to be gone."""
        grave = None if before is None else self._buried.get((key, before.epoch))
        if grave is None or not grave.by_list:
            return False
        self._bury(key, tag, by_list=True)
        return True


def _has_come_to(tag: ModificationTag | None, other: ModificationTag) -> bool:
    """Whether ``tag`` is of the same row as ``other``, of that version or a later one."""
    return tag is not None and tag.epoch == other.epoch and tag.index >= other.index
