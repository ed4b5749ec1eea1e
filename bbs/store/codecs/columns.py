"""What a column is, and what a row's values are."""

from enum import StrEnum
from typing import Any, NamedTuple

Values = tuple[Any, ...]
"""Column values of one row, or of one key: text, integers, booleans."""


class SQLType(StrEnum):
    """Types of columns, as the arrays that a batch is sent in are cast to."""

    TEXT = "text"
    INT4 = "int4"
    INT8 = "int8"
    BOOL = "bool"


class Column(NamedTuple):
    """``characters_max`` is the width of a varchar column; columns of type text have none."""

    name: str
    type: SQLType
    characters_max: int | None = None
    sealed: bool = False
