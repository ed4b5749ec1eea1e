"""Compares one list of two servers while everything is in motion, exactly.

The master is listed, then the follower, once its copy is known to be younger than the master's answer, then the master again. A
row that the master told both times alike was so all the time in between, since no two states of a row look the same
(`Kind.is_versioned`): the follower must have it just so. A row that is not told alike was changed meanwhile. It is *busy*, and
nothing can be said about it this time.

A row that only the follower has may be one that was made after the master's first answer and gone before its second. So the
follower is listed once more. If it still has that row in the same state, the row was there when the master was listed the
second time, and the master has not told of it. Domains and cells are not versioned: a difference in them counts when it was
found several times in a row, which is the caller's to see to.

Rows are given one by one, so that the caller may let others have a turn. Of the lists only digests are kept, and those
encoded rows that may be part of a difference.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from google.protobuf.message import Message

from bbs.shadow.kinds import Kind, canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that the two tell differently; ``None`` from a side that does not have it."""

    key: str
    master: Message | None
    follower: Message | None


@dataclass(slots=True, kw_only=True)
class Compared:
    """``rows`` were compared, equal or not; ``busy`` are the keys of those that could not be."""

    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)


class Comparison:
    """Of one list. The rows are given in this order: `master_first`, `follower`, `master_again`, and, if then there are
    `extras`, `follower_again`. Each raises `google.protobuf.message.DecodeError` for bytes that are no row.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._first: dict[str, bytes] = {}
        self._follower: dict[str, bytes] = {}
        self._kept: dict[str, bytes] = {}  # rows of the follower that are not what the master told first
        self._again: set[str] = set()
        self._extras: dict[str, bytes] | None = None
        self._once_more: set[str] = set()
        self._compared = Compared()

    def master_first(self, row: bytes) -> None:
        key, _, digest = self._read(row, self._first)
        self._first[key] = digest

    def follower(self, row: bytes) -> None:
        key, _, digest = self._read(row, self._follower)
        self._follower[key] = digest
        if self._first.get(key) != digest:
            self._kept[key] = row

    def master_again(self, row: bytes) -> None:
        key, message, digest = self._read(row, self._again)
        self._again.add(key)
        if self._first.get(key) != digest:
            self._compared.busy.add(key)
            return
        self._compared.rows += 1
        if (mine := self._follower.get(key)) != digest:
            other = None if mine is None else self._kind.decode(self._kept[key])
            self._compared.differences.append(Difference(key=key, master=message, follower=other))

    def extras(self) -> Collection[str]:
        """The keys of rows that only the follower has: once the master has been listed again."""
        if self._extras is None:
            self._compared.busy |= self._first.keys() - self._again
            only = self._follower.keys() - self._first.keys() - self._again
            self._extras = {key: self._follower[key] for key in sorted(only)}
        return self._extras.keys()

    def follower_again(self, row: bytes) -> None:
        key, message, digest = self._read(row, self._once_more)
        self._once_more.add(key)
        if self._extras is not None and self._extras.get(key) == digest:
            del self._extras[key]
            self._compared.rows += 1
            self._compared.differences.append(Difference(key=key, master=None, follower=message))

    def finish(self) -> Compared:
        self._compared.busy |= set(self.extras())
        return self._compared

    def _read(self, row: bytes, seen: Mapping[str, bytes] | set[str]) -> tuple[str, Message, bytes]:
        """The row's key, of which a second one in the same list is another; the row; a digest of what it says."""
        message = self._kind.decode(row)
        key = self._kind.key(message)
        while key in seen:
            key += " (again)"
        return key, message, blake2b(canonical(message), digest_size=16).digest()
