"""Whether our keys fit the database, asked before anything is read for good.

Upstream deletes rows that it cannot decrypt. With a wrong passphrase under the right label, or a key left out of the
configuration, that is all of them. So a sample is opened first, and if most of it stays shut, nobody starts.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from bbs.store.codecs import CODECS
from bbs.store.crypto import CannotDecrypt, KeyDoesNotFit, Keyring, KeyUnknown

SAMPLE_ROWS: Final = 100
"""Rows of each table whose values are opened."""

Fetch = Callable[..., Awaitable[list[Any]]]


class KeysDoNotFit(Exception):
    """Most of what is stored can't be opened with the configured keys. Names labels, never keys."""


async def check_keys(fetch: Fetch, keyring: Keyring) -> None:
    """Open a sample of all sealed values.

    Raises:
      KeysDoNotFit: more than half of it was sealed with keys that we don't have.
    """
    opened = 0
    missing: Counter[str] = Counter()
    for codec in CODECS.values():
        sealed = [column.name for column in codec.columns if column.sealed]
        if not sealed:
            continue
        for row in await fetch(f"SELECT {', '.join(sealed)} FROM {codec.table} LIMIT {SAMPLE_ROWS}"):
            for text in filter(None, row):
                try:
                    keyring.open(text)
                except (KeyUnknown, KeyDoesNotFit) as error:
                    missing[error.label] += 1
                except CannotDecrypt:
                    pass  # damaged, whatever the keys are
                else:
                    opened += 1
    if missing.total() > opened:
        labels = ", ".join(f'"{label}"' for label, _ in missing.most_common())
        raise KeysDoNotFit(
            f"most stored values ({missing.total()} of {missing.total() + opened} looked at) can't be opened with"
            f" encryption_keys as configured; they were sealed under {labels}: give the keys of these labels that"
            " were in use then. Nothing was changed; a server that started would delete what it can't open"
        )
