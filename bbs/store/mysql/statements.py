"""The SQL of batches, pages and keys, as one text each.

A batch goes over as some statements in one text: the server runs them one by one and stops at the first that fails. What
must not be true is turned into such a failure by an INSERT of NULL where NULL can't be (`_fail_if`), so that the check of
the writer's token and that of colliding keys cost no crossing of their own, and COMMIT is never reached if one fails.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import Column, SQLType, Values
from bbs.store.mysql.literals import literal, row
from bbs.store.statements import TableWrite

WRITER_TOKEN_ID: Final = "bbs_writer"
"""Row of ``configurations`` that says who writes: its token, and the number of its last transaction."""


def token_value(token: str, number: int) -> str:
    return f"{token} {number}"


def is_of(value: str, token: str) -> bool:
    """Whether the row's value is of the writer ``token``."""
    return value.partition(" ")[0] == token


def number_in(value: str) -> int | None:
    """The number of the last transaction of whoever is the writer."""
    number = value.partition(" ")[2]
    return int(number) if number.isascii() and number.isdecimal() else None


def fence(token: str, number: int) -> list[str]:
    """Begin a transaction that fails unless ``token`` is still the writer's, and in which nobody can become the writer.

    The row is changed and not only read. On a Galera cluster, where two sessions may be on two nodes, a row that was only
    locked is no part of what nodes compare; two changes of one row are, and only the first to commit can.
    """
    return [
        "START TRANSACTION",
        f"UPDATE configurations SET value = {literal(token_value(token, number))}"
        f" WHERE id = {literal(WRITER_TOKEN_ID)} AND value LIKE {literal(token + ' %')}",
        _fail_if("ROW_COUNT() <> 1"),
    ]


FENCE_CHECK: Final = 2
"""Which of the statements of `fence` fails if another process is the writer."""


def put_statements(
    write: TableWrite, rows: Sequence[str], keys: Sequence[Values], *, bytewise: bool
) -> list[str]:
    """Put ``rows``, each the text of its values in parentheses. A second statement fails if one of them has met a row with
    another key that the database takes for the same, which is only looked for unless its keys are compared ``bytewise``.
    """
    codec = write.codec
    changes = ", ".join(
        f"{column.name} = VALUES({column.name})" for column in codec.columns[codec.key_columns :]
    )
    statements = [
        f"INSERT INTO {codec.table} ({names(codec.columns)}) VALUES {', '.join(rows)}"
        f" ON DUPLICATE KEY UPDATE {changes}"
    ]
    if not bytewise:
        there = f"SELECT COUNT(*) FROM {codec.table} WHERE {matches(codec, keys, bytewise=False)}"
        statements.append(_fail_if(f"({there}) <> {len(keys)}"))
    return statements


def delete_statement(write: TableWrite, keys: Sequence[Values], *, bytewise: bool) -> str:
    return f"DELETE FROM {write.codec.table} WHERE {matches(write.codec, keys, bytewise=bytewise)}"


def matches(codec: Codec, keys: Sequence[Values], *, bytewise: bool) -> str:
    """The condition that a row has one of these keys, byte by byte.

    Where the table's own equality is wider, the keys are compared both ways: so as the index does, to find them, and then as
    bytes.
    """
    wanted = ", ".join(map(row, keys) if len(codec.key) > 1 else (literal(key) for (key,) in keys))
    condition = f"({names(codec.key)}) IN ({wanted})"
    if bytewise:
        return condition
    exact = ", ".join(
        f"({', '.join(_as_bytes(literal(value), column) for value, column in zip(key, codec.key, strict=True))})"
        for key in keys
    )
    columns = ", ".join(_as_bytes(column.name, column) for column in codec.key)
    return f"{condition} AND ({columns}) IN ({exact})"


@cache
def page_prefix(codec: Codec, *, whole: bool) -> str:
    columns = names(codec.columns if whole else codec.key)
    # No row has a version here, so all have the same one.
    return f"SELECT {columns}, 0 FROM {codec.table}"


def page_statement(codec: Codec, after: Values, rows: int, *, whole: bool) -> str:
    """At most ``rows`` rows behind the key ``after`` (``()``: from the first), in the order of keys. Each has all columns or,
    unless ``whole``, the key only, and 0 for its version.
    """
    behind = f" WHERE {_behind(codec, after)}" if after else ""
    return f"{page_prefix(codec, whole=whole)}{behind} ORDER BY {names(codec.key)} LIMIT {rows}"


def rows_statement(codec: Codec, keys: Sequence[Values], *, bytewise: bool) -> str:
    """The rows of given keys, as `page_statement` gives them."""
    return f"{page_prefix(codec, whole=True)} WHERE {matches(codec, keys, bytewise=bytewise)}"


def booleans(codec: Codec, *, whole: bool = True) -> tuple[int, ...]:
    """The positions of columns whose 0 and 1 are read as booleans."""
    columns = codec.columns if whole else codec.key
    return tuple(number for number, column in enumerate(columns) if column.type is SQLType.BOOL)


def names(columns: Iterable[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _fail_if(condition: str) -> str:
    return f"INSERT INTO configurations (id, value) SELECT NULL, NULL FROM DUAL WHERE {condition}"


def _behind(codec: Codec, after: Values) -> str:
    # Not `(a, b) > (x, y)`: for that MariaDB and MySQL read the whole index from its beginning.
    def cases() -> Iterator[str]:
        for number, column in enumerate(codec.key):
            equal = [
                f"{before.name} = {literal(value)}"
                for before, value in zip(codec.key[:number], after[:number], strict=True)
            ]
            yield f"({' AND '.join([*equal, f'{column.name} > {literal(after[number])}'])})"

    return " OR ".join(cases())


def _as_bytes(expression: str, column: Column) -> str:
    if column.type is not SQLType.TEXT:
        return expression
    return f"CAST(CONVERT({expression} USING utf8mb4) AS BINARY)"
