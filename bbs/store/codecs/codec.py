"""What every codec has: a table with columns, and the way from a record to a row's values and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from bbs.models.outcome import Record, Row, put
from bbs.store.codecs.columns import Column, Values
from bbs.store.crypto import Keyring


class Policy(StrEnum):
    """What becomes of a row that can't be read, as it would in upstream's lists (spec: storage.md §5)."""

    DELETE = "delete"
    LEAVE_OUT = "leave out"
    """It stays in the table, and nobody sees it."""


class Undecodable(Exception):
    """A stored row does not make a record. ``key`` has the values of the table's key columns."""

    def __init__(self, table: str, key: Values, reason: str, policy: Policy) -> None:
        super().__init__(f"{table} {key}: {reason}")
        self.table = table
        self.key = key
        self.reason = reason
        self.policy = policy


class Codec(ABC):
    """How records of one class are stored: which field lives in which column of ``table``, and how it is written there.

    The first ``key_columns`` columns are the primary key: statements read a page of rows on from the key of the last one.
    The sealed columns come last, so that `encode` can append them to what `plain` gives.
    """

    table: str
    columns: tuple[Column, ...]
    key_columns: int = 1

    def __init__(self) -> None:
        assert [column.sealed for column in self.columns] == sorted(column.sealed for column in self.columns)

    @property
    def key(self) -> tuple[Column, ...]:
        return self.columns[: self.key_columns]

    @abstractmethod
    def key_values(self, key: Any) -> Values:
        """The key columns' values for a record's key."""

    @abstractmethod
    def plain(self, record: Any) -> Values:
        """The values of the columns that are not sealed. Called for every write before it is staged, so it encrypts nothing."""

    @abstractmethod
    def encode(self, record: Any, keyring: Keyring) -> Values:
        """The values of all columns. Sealing takes a random nonce, so equal records have different values."""

    @abstractmethod
    def decode(self, row: Sequence[Any], keyring: Keyring) -> Record:
        """The record of a row.

        Raises:
          Undecodable: which also says what becomes of the row.
        """

    def decode_rows(
        self, stored: Iterable[Sequence[Any]], keyring: Keyring
    ) -> tuple[list[Row], list[Undecodable]]:
        """The rows that can be read, and what is wrong with the others."""
        rows, undecodable = [], []
        for values in stored:
            try:
                rows.append(put(self.decode(values, keyring)))
            except Undecodable as error:
                undecodable.append(error)
        return rows, undecodable

    def tag_index(self, row: Sequence[Any], index: int | None) -> int:
        """A modification tag's index. Upstream, where it is unsigned, skips a row in which it is negative.

        Raises:
          Undecodable: it is negative. Nobody could be told of the record: messages have no such index.
        """
        if index is not None and index < 0:
            negative = ValueError(f"{index} is negative")
            raise self.unreadable(row, "modification_tag_index", negative, Policy.LEAVE_OUT)
        return index or 0

    def unreadable(self, row: Sequence[Any], column: str, error: Exception, policy: Policy) -> Undecodable:
        reason = str(error) or type(error).__name__
        return Undecodable(self.table, tuple(row[: self.key_columns]), f"{column}: {reason}", policy)
