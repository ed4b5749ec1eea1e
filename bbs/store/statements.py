"""The SQL of batches: one statement for all rows of all tables, so that a batch is one round trip and one transaction.

Rows travel as one array per column. A batch is a ``WITH`` of a statement for each table and kind of change: Postgres
runs each of them to its end, and commits all or none.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from typing import NamedTuple

from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import Column

VERSION = "xmin::text::bigint AS row_version"
"""A row's version, which differs between any two committed versions of the row; see `bbs.store.backend.Seen`."""


class TableWrite(NamedTuple):
    """Puts or deletes rows of one table. Puts take an array per column, deletes one per key column."""

    codec: Codec
    deletes: bool

    @property
    def parameters(self) -> tuple[Column, ...]:
        return self.codec.key if self.deletes else self.codec.columns


IS_FOLLOWED = "EXISTS (SELECT FROM pg_get_replication_slots() WHERE slot_type = 'logical')"
"""Whether somebody follows the server's log, or has just begun to."""


@cache
def batch_statement(writes: tuple[TableWrite, ...], *, for_followers: bool = False) -> str:
    """One statement for all ``writes``. Its parameters are theirs, one after another; its result is the
    id of its transaction and, ``for_followers``, whether that is going to be answered before it is written to disk, and
    whether there are any.
    """
    numbers = count(1)
    changes = (
        (_delete if write.deletes else _upsert)(write.codec, _arrays(write.parameters, numbers))
        for write in writes
    )
    result = "txid_current()"
    if for_followers:
        result += f", current_setting('synchronous_commit') = 'off', {IS_FOLLOWED}"
    return f"WITH {', '.join(f's{i} AS ({sql})' for i, sql in enumerate(changes))} SELECT {result}"


@cache
def page_statement(codec: Codec, *, first: bool, whole: bool) -> str:
    """Rows in the order of their keys: the first ones, or those after the key that the first parameters give.

    The last parameter is the greatest number of rows. Each has its version, and before it all columns or, unless
    ``whole``, the key only.
    """
    keys = _names(codec.key)
    columns = _names(codec.columns if whole else codec.key)
    limit = 1 if first else 1 + len(codec.key)
    after = "" if first else f"WHERE ({keys}) > ({', '.join(f'${i}' for i in range(1, limit))}) "
    return f"SELECT {columns}, {VERSION} FROM {codec.table} {after}ORDER BY {keys} LIMIT ${limit}"


@cache
def rows_statement(codec: Codec) -> str:
    """The rows of given keys, an array per key column, each with its version."""
    keys = _names(codec.key)
    wanted = _arrays(codec.key, count(1))
    return f"SELECT {_names(codec.columns)}, {VERSION} FROM {codec.table} WHERE ({keys}) IN (SELECT * FROM unnest({wanted}))"


@cache
def audit_statement(codec: Codec) -> str:
    """How many rows there are, and the key and version of each that is newer than transaction ``$1`` and was written by
    none of the transactions ``$2``. One pass over the table, whatever there is to be found.

    Both parameters are the lower 32 bits of transaction ids, which is what a row remembers of its own.
    """
    strange = "age(xmin) <= age($1::xid) AND xmin NOT IN (SELECT unnest($2::xid[]))"
    row = f"ROW({_names(codec.key)}, xmin::text::bigint)"
    return f"SELECT count(*), array_agg({row}) FILTER (WHERE {strange}) FROM {codec.table}"


def _upsert(codec: Codec, arrays: str) -> str:
    changes = ", ".join(
        f"{column.name} = excluded.{column.name}" for column in codec.columns[codec.key_columns :]
    )
    return (
        f"INSERT INTO {codec.table} ({_names(codec.columns)}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT ({_names(codec.key)}) DO UPDATE SET {changes}"
    )


def _delete(codec: Codec, arrays: str) -> str:
    matches = " AND ".join(f"{codec.table}.{column.name} = gone.{column.name}" for column in codec.key)
    return f"DELETE FROM {codec.table} USING unnest({arrays}) AS gone ({_names(codec.key)}) WHERE {matches}"


def _arrays(columns: Iterable[Column], numbers: Iterator[int]) -> str:
    return ", ".join(f"${next(numbers)}::{column.type}[]" for column in columns)


def _names(columns: Iterable[Column]) -> str:
    return ", ".join(column.name for column in columns)
