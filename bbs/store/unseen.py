"""What to read from the database: every row, or what has changed since it was read before.

A process that loads for the first time pages through whole rows. One that has read everything before pages through keys
and versions, a small part of the work, and fetches only rows that are new or have another version.

While one page is decoded, the database works on the next: its statement is on its way before the page is handed out.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

from bbs.concurrency.turns import sliced
from bbs.models.outcome import Record, Row
from bbs.store.backend import Seen
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec, Undecodable
from bbs.store.codecs.columns import Values
from bbs.store.crypto import Keyring

PAGE_ROWS: Final = 1_000
"""Rows fetched at once: about 2 ms of asyncpg's time, and 3 ms of Postgres'."""

PAGE_KEYS: Final = 4_000
"""Keys fetched at once, in about as much time."""

SLICE_ROWS: Final = 64
"""Rows decoded or encoded between checkpoints: 1 ms for ActualLRPs, 3 ms for DesiredLRPs with much in them."""

Coming = Callable[[], Awaitable[list[Any]]]
"""Waits for the rows of a statement that has begun. Need not be called."""


class Reading(Protocol):
    """Begins statements, one at a time: the rows of the last one have come, or nobody wants them. Each row has its version
    as the last value.
    """

    def page(self, codec: Codec, after: Values, rows: int, *, whole: bool) -> Coming:
        """At most ``rows`` rows behind the key ``after`` (``()``: from the first), in the order of keys: all columns or, unless
        ``whole``, those of the key.
        """

    def rows(self, codec: Codec, keys: Sequence[Values]) -> Coming:
        """The rows of these keys, with all columns."""


Slice = tuple[Codec, list[Row], list[Undecodable]]
"""Rows of one table that can be read, or are gone, and what is wrong with the others."""


async def unseen(reading: Reading, keyring: Keyring, seen: Seen) -> AsyncGenerator[Slice, None]:
    """The rows that are new or have another version than in ``seen``, and those that are gone, in slices. ``seen`` is
    brought up to date with each slice before it is yielded.

    Rows that can't be read are never noted as seen, so they are read and reported again each time.

    Raises:
      Whatever waiting for rows raises. What was yielded is good, and a new call goes on from there.
    """
    for record_class, codec in CODECS.items():
        versions = seen.versions[record_class]
        if not versions or record_class in seen.elsewhere:
            async with aclosing(_pages(reading, codec, PAGE_ROWS, whole=True)) as pages:
                async for page in pages:
                    for slice_ in sliced(page, SLICE_ROWS):
                        yield _read(record_class, slice_, keyring, seen)
            for rows_gone in sliced(seen.gone_since_elsewhere(record_class), SLICE_ROWS):
                yield codec, list(rows_gone), []
            continue
        # What was seen before and does not come up while all keys are gone through has been deleted.
        gone = dict.fromkeys(versions)
        changed: list[Values] = []
        async with aclosing(_pages(reading, codec, PAGE_KEYS, whole=False)) as pages:
            async for page in pages:
                for *key_values, version in page:
                    key = tuple(key_values)
                    gone.pop(key, None)
                    if versions.get(key) != version:
                        changed.append(key)
        for some in sliced(changed, PAGE_ROWS):
            page = await reading.rows(codec, some)()
            for slice_ in sliced(page, SLICE_ROWS):
                yield _read(record_class, slice_, keyring, seen)
        for keys_gone in sliced(list(gone), SLICE_ROWS):
            yield codec, [seen.gone(record_class, key) for key in keys_gone], []


async def _pages(
    reading: Reading, codec: Codec, rows: int, *, whole: bool
) -> AsyncGenerator[list[Any], None]:
    # By the last key, not by a number of rows: somebody else may insert and delete meanwhile, and a row that was there all
    # the time is then neither skipped nor read twice.
    coming = reading.page(codec, (), rows, whole=whole)
    while page := await coming():
        coming = reading.page(codec, tuple(page[-1][: codec.key_columns]), rows, whole=whole)
        yield page


def _read(record_class: type[Record], stored: Sequence[Any], keyring: Keyring, seen: Seen) -> Slice:
    codec, versions = CODECS[record_class], seen.versions[record_class]
    rows, undecodable = codec.decode_rows([row[:-1] for row in stored], keyring)
    if not undecodable:
        # Filed under the keys that the records have, so that no guid is kept twice.
        key_values = codec.key_values
        versions.update(
            zip([key_values(key) for (_, key), _ in rows], [row[-1] for row in stored], strict=True)
        )
        return codec, rows, undecodable
    unread = {error.key for error in undecodable}
    for row in stored:
        key = tuple(row[: codec.key_columns])
        if key not in unread:
            versions[key] = row[-1]
        elif key in versions:
            # It could be read before: memory must not keep a version that the table does not have any more.
            rows.append(seen.gone(record_class, key))
    return codec, rows, undecodable
