"""The messages of Postgres' output plugin ``pgoutput``, protocol version 1, decoded. No I/O.

A transaction comes when it has been committed: `Begin`, its changes in the order in which they were made, `Commit`. Before
the first change of a table, and again after the table was altered, comes a `Relation` that says which columns its rows have.

Columns come as text, each as ``SELECT`` would show it. To ask for Postgres' binary format would not pay: nearly all of a row
is text, which is the same in both, and ``int(b"123")`` costs what unpacking four bytes does. Text goes on to work when a
later migration makes an ``integer`` a ``bigint``, and servers know it since version 10. So a binary column is an error here.
"""

import struct
from collections.abc import Callable, Mapping
from enum import Enum
from struct import Struct
from typing import Final, NamedTuple, TypeAlias


class BadMessage(Exception):
    """This is no message of pgoutput's version 1, or only a part of one. Says where and why, and shows no row's values."""


class Unchanged(Enum):
    """Stands for a column that was not sent: its value is stored apart (TOASTed), and the update left it as it was."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

Columns: TypeAlias = tuple[bytes | Unchanged | None, ...]
"""The columns of a row as a relation names them: text in UTF-8, NULL, or not sent."""


class Begin(NamedTuple):
    """``commit_position`` is where the transaction's commit stands in the log, which no later one stands before."""

    commit_position: int
    committed_us: int
    transaction: int


class Commit(NamedTuple):
    """``end_position`` is the first byte behind the commit: all that was committed before is behind us, too."""

    commit_position: int
    end_position: int
    committed_us: int


class Origin(NamedTuple):
    """The transaction was itself replicated from elsewhere."""

    position: int
    name: str


class RelationColumn(NamedTuple):
    """``is_key``: it is a part of the replica identity, so that old rows have it."""

    name: str
    type_oid: int
    is_key: bool


class Relation(NamedTuple):
    """``replica_identity`` is Postgres' letter: ``d`` the primary key, ``i`` another index, ``f`` the whole row, ``n`` nothing."""

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[RelationColumn, ...]


class Type(NamedTuple):
    """A type that is not built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    relation: int
    new: Columns


class Update(NamedTuple):
    """``old`` has the key as it was, the other columns NULL, if the update has changed the key; or the whole old row if the
    replica identity is that (``old_is_whole``); else it is None.
    """

    relation: int
    old: Columns | None
    old_is_whole: bool
    new: Columns


class Delete(NamedTuple):
    """``old`` has at least the key; if not ``old_is_whole``, all other columns are NULL."""

    relation: int
    old: Columns
    old_is_whole: bool


class Truncate(NamedTuple):
    relations: tuple[int, ...]


class LogicalMessage(NamedTuple):
    """What somebody wrote with ``pg_logical_emit_message``. Comes only if asked for."""

    is_transactional: bool
    position: int
    prefix: str
    content: bytes


Message: TypeAlias = (
    Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | LogicalMessage
)

_INT8: Final = Struct("!B")
_INT16: Final = Struct("!H")
_INT32: Final = Struct("!I")
_INT64: Final = Struct("!Q")
_TIME: Final = Struct("!q")  # may be before 2000

_NULL, _UNCHANGED, _TEXT, _BINARY = b"nutb"


class _Reader:
    """Takes a message apart, from its second byte on."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def number(self, kind: Struct) -> int:
        (number,) = kind.unpack_from(self.data, self.at)
        self.at += kind.size
        return int(number)

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise BadMessage("a name does not end")
        text = str(self.data[self.at : end], "utf-8")
        self.at = end + 1
        return text

    def taken(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.data):
            raise BadMessage(
                f"{length} bytes are announced at {self.at}, where {len(self.data) - self.at} are left"
            )
        taken, self.at = self.data[self.at : end], end
        return taken

    def letter(self, allowed: bytes) -> int:
        letter = self.number(_INT8)
        if letter not in allowed:
            raise BadMessage(f"byte {letter} stands at {self.at - 1} in place of one of {allowed!r}")
        return letter

    def row(self) -> Columns:
        # The only part that runs for every column of every changed row.
        data, at = self.data, self.at + 2
        unpack, size = _INT32.unpack_from, len(data)
        columns: list[bytes | Unchanged | None] = []
        for _ in range(self.number(_INT16)):
            kind = data[at]
            at += 1
            if kind == _TEXT:
                (length,) = unpack(data, at)
                at += 4
                end = at + length
                if end > size:
                    raise BadMessage(f"a column of {length} bytes is cut off after {size - at}")
                columns.append(data[at:end])
                at = end
            elif kind == _NULL:
                columns.append(None)
            elif kind == _UNCHANGED:
                columns.append(UNCHANGED)
            elif kind == _BINARY:
                raise BadMessage("a column is in binary format, which nobody has asked for")
            else:
                raise BadMessage(f"a column is of the unknown kind {kind}")
        self.at = at
        return tuple(columns)


def _begin(reader: _Reader) -> Begin:
    return Begin(reader.number(_INT64), reader.number(_TIME), reader.number(_INT32))


def _commit(reader: _Reader) -> Commit:
    reader.number(_INT8)  # flags, none of them in use
    return Commit(reader.number(_INT64), reader.number(_INT64), reader.number(_TIME))


def _origin(reader: _Reader) -> Origin:
    return Origin(reader.number(_INT64), reader.text())


def _relation(reader: _Reader) -> Relation:
    oid, schema, name = reader.number(_INT32), reader.text(), reader.text()
    identity = chr(reader.letter(b"dnfi"))
    columns = []
    for _ in range(reader.number(_INT16)):
        flags, column = reader.number(_INT8), reader.text()
        type_oid, _ = (
            reader.number(_INT32),
            reader.number(_INT32),
        )  # and its modifier, such as a varchar's width
        columns.append(RelationColumn(column, type_oid, bool(flags & 1)))
    # Tables of Postgres' own come without their schema.
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def _type(reader: _Reader) -> Type:
    return Type(reader.number(_INT32), reader.text() or "pg_catalog", reader.text())


def _insert(reader: _Reader) -> Insert:
    relation = reader.number(_INT32)
    reader.letter(b"N")
    return Insert(relation, reader.row())


def _update(reader: _Reader) -> Update:
    relation = reader.number(_INT32)
    old, kind = None, reader.letter(b"KON")
    if kind != ord("N"):
        old = reader.row()
        reader.letter(b"N")
    return Update(relation, old, kind == ord("O"), reader.row())


def _delete(reader: _Reader) -> Delete:
    relation = reader.number(_INT32)
    kind = reader.letter(b"KO")
    return Delete(relation, reader.row(), kind == ord("O"))


def _truncate(reader: _Reader) -> Truncate:
    count = reader.number(_INT32)
    reader.number(_INT8)  # whether it cascades and restarts sequences
    if count * _INT32.size > len(reader.data):
        raise BadMessage(f"{count} truncated tables do not fit into {len(reader.data)} bytes")
    return Truncate(tuple(reader.number(_INT32) for _ in range(count)))


def _logical_message(reader: _Reader) -> LogicalMessage:
    flags, position, prefix = reader.number(_INT8), reader.number(_INT64), reader.text()
    return LogicalMessage(bool(flags & 1), position, prefix, reader.taken(reader.number(_INT32)))


_DECODERS: Final[Mapping[int, Callable[[_Reader], Message]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _logical_message,
}


def decode(data: bytes) -> Message:
    """The message that ``data`` is, from its first byte to its last.

    Raises:
      BadMessage: it is none.
    """
    decoder = _DECODERS.get(data[0]) if data else None
    if decoder is None:
        raise BadMessage(f"no message begins with {data[:1]!r}")
    kind = chr(data[0])
    reader = _Reader(data)
    try:
        message = decoder(reader)
    except (struct.error, IndexError) as error:
        raise BadMessage(f"message {kind} is cut off after {len(data)} bytes") from error
    except UnicodeDecodeError as error:
        raise BadMessage(f"message {kind}: a name is not UTF-8") from error
    except BadMessage as error:
        raise BadMessage(f"message {kind}: {error}") from error
    if reader.at != len(data):
        raise BadMessage(f"message {kind} goes on for {len(data) - reader.at} bytes behind its end")
    return message
