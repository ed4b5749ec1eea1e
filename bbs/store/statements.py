"""The SQL of batches: one statement for all rows of all tables, so that a batch is one round trip and one transaction.

Rows travel as one array per column. A batch is a ``WITH`` of a statement for each table and kind of change: Postgres
runs each of them to its end, and commits all or none.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from typing import NamedTuple

from bbs.store.codec import Column, Table

VERSION = "xmin::text::bigint AS row_version"
"""A row's version, which differs between any two committed versions of the row; see `bbs.store.backend.Seen`."""


class Operation(NamedTuple):
    """Put or delete rows of one table. Puts take an array per column, deletes one per key column."""

    table: Table
    deletes: bool

    @property
    def parameters(self) -> tuple[Column, ...]:
        return self.table.key if self.deletes else self.table.columns


@cache
def batch_statement(operations: tuple[Operation, ...]) -> str:
    """One statement for all ``operations``. Its parameters are those of the operations, one after another; its result is the
    id of its transaction.
    """
    numbers = count(1)
    changes = (
        (_delete if operation.deletes else _upsert)(operation.table, _arrays(operation.parameters, numbers))
        for operation in operations
    )
    return f"WITH {', '.join(f's{i} AS ({sql})' for i, sql in enumerate(changes))} SELECT txid_current()"


@cache
def page_statement(table: Table, *, first: bool, whole: bool) -> str:
    """Rows in the order of their keys: the first ones, or those after the key that the first parameters give.

    The last parameter is the greatest number of rows. Each has its version, and before it all columns or, unless
    ``whole``, the key only.
    """
    keys = _names(table.key)
    columns = _names(table.columns if whole else table.key)
    limit = 1 if first else 1 + len(table.key)
    after = "" if first else f"WHERE ({keys}) > ({', '.join(f'${i}' for i in range(1, limit))}) "
    return f"SELECT {columns}, {VERSION} FROM {table.name} {after}ORDER BY {keys} LIMIT ${limit}"


@cache
def rows_statement(table: Table) -> str:
    """The rows of given keys, an array per key column, each with its version."""
    keys = _names(table.key)
    wanted = _arrays(table.key, count(1))
    return f"SELECT {_names(table.columns)}, {VERSION} FROM {table.name} WHERE ({keys}) IN (SELECT * FROM unnest({wanted}))"


@cache
def audit_statement(table: Table) -> str:
    """How many rows there are, and the key and version of each that is newer than transaction ``$1`` and was written by
    none of the transactions ``$2``. One pass over the table, whatever there is to be found.

    Both parameters are the lower 32 bits of transaction ids, which is what a row remembers of its own.
    """
    strange = "age(xmin) <= age($1::xid) AND xmin NOT IN (SELECT unnest($2::xid[]))"
    row = f"ROW({_names(table.key)}, xmin::text::bigint)"
    return f"SELECT count(*), array_agg({row}) FILTER (WHERE {strange}) FROM {table.name}"


def _upsert(table: Table, arrays: str) -> str:
    changes = ", ".join(
        f"{column.name} = excluded.{column.name}" for column in table.columns[table.key_columns :]
    )
    return (
        f"INSERT INTO {table.name} ({_names(table.columns)}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT ({_names(table.key)}) DO UPDATE SET {changes}"
    )


def _delete(table: Table, arrays: str) -> str:
    matches = " AND ".join(f"{table.name}.{column.name} = gone.{column.name}" for column in table.key)
    return f"DELETE FROM {table.name} USING unnest({arrays}) AS gone ({_names(table.key)}) WHERE {matches}"


def _arrays(columns: Iterable[Column], numbers: Iterator[int]) -> str:
    return ", ".join(f"${next(numbers)}::{column.type}[]" for column in columns)


def _names(columns: Iterable[Column]) -> str:
    return ", ".join(column.name for column in columns)
