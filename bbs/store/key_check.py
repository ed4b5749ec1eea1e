"""Whether our keys fit the database, asked before anything in it is changed for good.

Upstream deletes rows that it cannot decrypt. With a wrong passphrase under the right label, or a key left out of the
configuration, that is every row of that label. A label under which nothing opens is a matter of keys, and nobody starts;
one whose key opens other values is right, and what stays shut is damaged.

A sample is looked at before the load, so that the common mistake is told at once. The load itself then judges by all
rows, and deletes none before that: a label may be rare.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from bbs.models.outcome import Row
from bbs.models.task import Task
from bbs.store.codec import TABLES, Undecodable
from bbs.store.crypto import CannotDecrypt, KeyDoesNotFit, Keyring, KeyUnknown

SAMPLE_ROWS: Final = 100
"""Rows looked at per table."""

SHUT_MIN: Final = 2
"""A single value that stays shut, under a label of its own, is more likely damaged than the last of its kind."""

Fetch = Callable[..., Awaitable[list[Any]]]


class KeysDoNotFit(Exception):
    """What is stored under some label can't be opened with the configured keys. Names labels, never keys."""


class ShutValues:
    """What a reader could not open, by label. ``keyring`` is the one that it reads with."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._by_label: Counter[str] = Counter()

    def try_to_open(self, texts: Iterable[str | None]) -> None:
        for text in filter(None, texts):
            try:
                self._keyring.open(text)
            except CannotDecrypt as error:
                self.note(error)

    def look_at(self, rows: Iterable[Row], undecodable: Iterable[Undecodable]) -> None:
        """Take note of one slice of a load. Tasks are rows even when their definition stays shut."""
        for error in undecodable:
            self.note(error.__cause__)
        self.try_to_open(row.record.unreadable for row in rows if isinstance(row.record, Task))

    def note(self, error: BaseException | None) -> None:
        if isinstance(error, KeyUnknown | KeyDoesNotFit):
            self._by_label[error.label] += 1

    def refuse(self) -> None:
        """
        Raises:
          KeysDoNotFit: a label has values and none of them opens.
        """
        fitting = self._keyring.fitting_labels
        shut_min = SHUT_MIN if fitting else 1
        lost = {
            label: shut
            for label, shut in sorted(self._by_label.items())
            if label not in fitting and shut >= shut_min
        }
        if lost:
            labels = ", ".join(f'"{label}" ({shut} seen)' for label, shut in lost.items())
            raise KeysDoNotFit(
                f"no value stored under these labels can be opened with encryption_keys as configured: {labels}."
                " Give the keys of these labels that were in use when they were stored; or, if such a key is lost for"
                " good, delete its rows. Nothing was deleted; a server that started would delete what it can't open"
            )


async def check_keys(fetch: Fetch, keyring: Keyring) -> None:
    """Open a sample of all sealed values.

    Raises:
      KeysDoNotFit: a label has values in it and none of them opens.
    """
    shut = ShutValues(keyring)
    for table in TABLES.values():
        sealed = [column.name for column in table.columns if column.sealed]
        if sealed:
            for row in await fetch(f"SELECT {', '.join(sealed)} FROM {table.name} LIMIT {SAMPLE_ROWS}"):
                shut.try_to_open(row)
    shut.refuse()
