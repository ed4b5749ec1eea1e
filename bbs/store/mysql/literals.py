"""Values as they are written into a statement.

A batch is one text, since only so is it one crossing: prepared statements are sent one by one. Sessions are in utf8mb4 and
without ``NO_BACKSLASH_ESCAPES`` (`bbs.store.mysql.session`), which is what makes this safe.
"""

from collections.abc import Iterable


def literal(value: str | int | bool | None) -> str:
    """A text, a number, a boolean as 0 or 1, or NULL."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if value is None:
        return "NULL"
    return str(int(value))


def row(values: Iterable[str | int | bool | None]) -> str:
    """Values in parentheses."""
    return f"({', '.join(map(literal, values))})"


def name(identifier: str) -> str:
    """A name of a table or column, whatever is in it."""
    return "`" + identifier.replace("`", "``") + "`"
