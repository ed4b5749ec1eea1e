"""From pgoutput's messages to transactions of our tables' rows. No I/O.

A transaction comes after its commit, so its end is on its way when it begins, and nothing that comes of it will be undone. So
one that is larger than `PIECE_ROWS` or `PIECE_BYTES` is handed out in pieces, and whatever its size no more than a piece is
held here. Turned down: to gather it whole, which a repair of every row by hand would make a hundred megabytes, and to refuse
it, since to load everything anew costs more than the transaction did.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from bbs.models.outcome import Record
from bbs.store.changes.errors import StreamLost
from bbs.store.changes.pgoutput import (
    UNCHANGED,
    BadMessage,
    Begin,
    Columns,
    Commit,
    Insert,
    Message,
    Relation,
    Truncate,
    Update,
)
from bbs.store.changes.pgoutput import Delete as DeleteMessage
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import SQLType, Values
from bbs.store.positions import unix_ns

PIECE_ROWS: Final = 1_000
PIECE_BYTES: Final = 32 * 1024 * 1024
"""How much of a transaction is handed out at once: rows, and bytes of their columns, the last row whatever its size. Both are more
than a batch of ours has, whose rows belong together: who hears of it hears of an instance's rows at once."""


class Put(NamedTuple):
    """A row was inserted or updated. ``values`` are in the order of its codec's columns, `UNCHANGED` for those that the server
    has not sent, since they are as they were in the row of the same key.

    ``moved_from``: the update has changed the key, and this is the former one. The row there has the unchanged values; a
    `Delete` of it follows.
    """

    record_class: type[Record]
    values: tuple[Any, ...]
    moved_from: Values | None = None


class Delete(NamedTuple):
    """The row with these key columns is gone."""

    record_class: type[Record]
    key: Values


class Clear(NamedTuple):
    """All rows of the table are gone: it was truncated."""

    record_class: type[Record]


Change: TypeAlias = Put | Delete | Clear


@dataclass(frozen=True, slots=True)
class Transaction:
    """Changes in the order in which they were made.

    Everything that was committed before ``position`` has come when this has. ``number`` is the transaction's, as rows remember
    it in ``xmin``. ``committed_at_ns`` is Unix time by the server's clock. ``goes_on``: this is a piece of a large transaction, and the next one is of the same; its position is that of the
    transaction before.
    """

    position: int
    number: int
    committed_at_ns: int
    changes: Sequence[Change]
    goes_on: bool = False


_READERS: Final[Mapping[SQLType, Callable[[bytes], Any]]] = {
    SQLType.TEXT: bytes.decode,
    SQLType.INT4: int,
    SQLType.INT8: int,
    SQLType.BOOL: {b"t": True, b"f": False}.__getitem__,
}

_TYPES: Final[Mapping[SQLType, frozenset[int]]] = {
    SQLType.TEXT: frozenset((25, 1043)),  # text, varchar
    SQLType.INT4: frozenset((20, 21, 23)),  # bigint, smallint, integer
    SQLType.INT8: frozenset((20, 21, 23)),
    SQLType.BOOL: frozenset((16,)),
}
"""The types, by Postgres' numbers, whose text the readers read. A migration that widens a number changes nothing here."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How rows come from one table: ``pick`` takes the columns of its codec out of a row, and each of ``readers`` reads one."""

    record_class: type[Record]
    pick: Callable[[Columns], Columns]
    readers: tuple[Callable[[bytes], Any], ...]
    key_columns: int

    @classmethod
    def of(cls, record_class: type[Record], relation: Relation) -> "_Layout":
        codec = CODECS[record_class]
        places = {column.name: place for place, column in enumerate(relation.columns)}
        missing = [column.name for column in codec.columns if column.name not in places]
        if missing:
            raise StreamLost(f"table {codec.table} has no column {', '.join(missing)} any more")
        for column in codec.columns:
            if relation.columns[places[column.name]].type_oid not in _TYPES[column.type]:
                raise StreamLost(f"column {column.name} of table {codec.table} is no {column.type} any more")
        if not all(relation.columns[places[column.name]].is_key for column in codec.key):
            raise StreamLost(f"table {codec.table} has a replica identity without its key")
        return cls(
            record_class,
            itemgetter(*(places[column.name] for column in codec.columns)),
            tuple(_READERS[column.type] for column in codec.columns),
            codec.key_columns,
        )

    def values(self, row: Columns) -> tuple[Any, ...]:
        return tuple(
            [
                value if value is None or value is UNCHANGED else read(value)
                for value, read in zip(self.pick(row), self.readers, strict=True)
            ]
        )

    def key(self, values: tuple[Any, ...]) -> Values:
        key = values[: self.key_columns]
        if None in key or UNCHANGED in key:
            raise BadMessage("a column of a key has no value")
        return key


@dataclass(slots=True)
class Assembler:
    """Puts transactions together. ``tables`` says which relations are ours, by their numbers in the database, and ``schemas``
    where they are. ``position`` is where the stream begins; it moves on when a transaction has been handed out whole.
    """

    tables: Mapping[int, type[Record]]
    schemas: Collection[str]
    position: int
    _layouts: dict[int, _Layout] = field(default_factory=dict)
    _begin: Begin | None = None
    _changes: list[Change] = field(default_factory=list)
    _bytes: int = 0
    _goes_on: bool = False

    @property
    def in_transaction(self) -> bool:
        return self._begin is not None

    def feed(self, message: Message, size: int) -> Transaction | None:
        """Take the next message, of ``size`` bytes. Returns a transaction, or a piece of one, when there is one: those that
        have not changed any of our tables are passed over.

        Raises:
          StreamLost: a table is not any more what our codec knows.
          BadMessage: it cannot come here, or its values are none of their column's type.
        """
        if isinstance(message, Insert | Update | DeleteMessage):
            return self._row_changed(message, size)
        match message:
            case Begin():
                self._begin = message
            case Commit(end_position=end):
                if self._begin is None:
                    raise BadMessage("a transaction ends that has not begun")
                # After pieces an end, if only an empty one.
                is_wanted = bool(self._changes) or self._goes_on
                transaction = self._handed_out(end, goes_on=False) if is_wanted else None
                self.position, self._begin = end, None
                return transaction
            case Relation():
                self._take_layout(message)
            case Truncate(relations=relations):
                self._changes += [Clear(self.tables[oid]) for oid in relations if oid in self.tables]
        return None

    def quiet_at(self, position: int) -> None:
        """The server has decoded up to ``position`` and sent all there was."""
        if not self.in_transaction:
            self.position = max(self.position, position)

    def _take_layout(self, relation: Relation) -> None:
        record_class = self.tables.get(relation.oid)
        if record_class is not None:
            self._layouts[relation.oid] = _Layout.of(record_class, relation)
            if relation.name != CODECS[record_class].table:
                raise StreamLost(f"table {CODECS[record_class].table} is called {relation.name} now")
            return
        # Another one with the name of ours: in another schema, or ours was dropped and made anew.
        names = {CODECS[record_class].table for record_class in self.tables.values()}
        if relation.name in names and relation.schema in self.schemas:
            raise StreamLost(f"table {relation.name} has been made anew")

    def _row_changed(self, message: Insert | Update | DeleteMessage, size: int) -> Transaction | None:
        if message.relation not in self.tables:
            return None
        layout = self._layouts.get(message.relation)
        if layout is None or self._begin is None:
            raise BadMessage("a row comes before its transaction, or before its table's description")
        try:
            self._changes += _changes(layout, message)
        except (ValueError, LookupError) as error:
            raise BadMessage(f"a row of {CODECS[layout.record_class].table} can't be read") from error
        self._bytes += size
        if len(self._changes) < PIECE_ROWS and self._bytes < PIECE_BYTES:
            return None
        return self._handed_out(self.position, goes_on=True)

    def _handed_out(self, position: int, *, goes_on: bool) -> Transaction:
        assert self._begin is not None
        changes, self._changes, self._bytes = self._changes, [], 0
        self._goes_on = goes_on
        return Transaction(
            position, self._begin.transaction, unix_ns(self._begin.committed_us), changes, goes_on
        )


def _changes(layout: _Layout, message: Insert | Update | DeleteMessage) -> Sequence[Change]:
    record_class = layout.record_class
    if isinstance(message, DeleteMessage):
        return (Delete(record_class, layout.key(layout.values(message.old))),)
    if isinstance(message, Insert) or message.old is None:
        values = layout.values(message.new)
        layout.key(values)
        return (Put(record_class, values),)
    # What is stored apart comes with the old row, if that is whole; and with the old key, if it is a part of that.
    new = tuple(
        before if after is UNCHANGED and before is not None else after
        for before, after in zip(message.old, message.new, strict=True)
    )
    values, key = layout.values(new), layout.key(layout.values(message.old))
    if key == layout.key(values):
        return (Put(record_class, values),)
    return Put(record_class, values, moved_from=key), Delete(record_class, key)
