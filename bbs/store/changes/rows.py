"""From a transaction's changes to rows, as `bbs.store.tables.Tables.apply` takes them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import trio

from bbs.concurrency.turns import in_turns
from bbs.models.outcome import Record, Row, RowKey, put
from bbs.store.backend import row_key
from bbs.store.changes.pgoutput import UNCHANGED
from bbs.store.changes.transactions import Change, Clear, Delete, Put
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Undecodable
from bbs.store.codecs.columns import Values
from bbs.store.crypto import Keyring
from bbs.store.tables import Tables

CHANGES_IN_A_TURN: Final = 64
"""Rows decoded between two checkpoints, as `bbs.store.unseen.SLICE_ROWS`."""

GONE_IN_A_TURN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Decoded:
    """What changes mean for memory: ``rows``, in the order of the changes, each whole or gone.

    Rows that can't be read are ``undecodable``, and gone from memory. Of those in ``to_read`` only a part came, and memory does
    not have the rest, since it could not be read before: they are gone from memory, too, until somebody reads them from the
    database.
    """

    rows: list[Row] = field(default_factory=list)
    undecodable: list[Undecodable] = field(default_factory=list)
    to_read: list[RowKey] = field(default_factory=list)


async def decode_changes(changes: Iterable[Change], tables: Tables, keyring: Keyring) -> Decoded:
    """Decode changes that follow upon what is in ``tables``. The rows are to be applied before the next ones are decoded, and
    nobody else may change the tables meanwhile.

    Columns that are stored apart and were not sent are taken from the record in memory, which is encoded again for that.

    Cancellation:
      Between two turns; nothing has been changed.
    """
    decoded = Decoded()
    # What the changes before have made of rows.
    latest: dict[RowKey, Record | None] = {}

    def now(key: RowKey) -> Record | None:
        return latest[key] if key in latest else tables.get(key)

    def take(row: Row) -> None:
        if row.record is not None or now(row.key) is not None:
            latest[row.key] = row.record
            decoded.rows.append(row)

    for number, change in enumerate(changes, start=1):
        match change:
            case Put():
                _take_put(change, now, take, keyring, decoded)
            case Delete(record_class, key):
                if (gone := _known(record_class, key)) is not None:
                    take(Row(gone, None))
            case Clear(record_class):
                keys = [key for table, key in latest if table is record_class]
                async for some in in_turns([*tables.keys(record_class), *keys], GONE_IN_A_TURN):
                    for each in some:
                        take(Row(RowKey(record_class, each), None))
        if number % CHANGES_IN_A_TURN == 0:
            await trio.lowlevel.checkpoint()
    return decoded


def _take_put(
    change: Put,
    now: Callable[[RowKey], Record | None],
    take: Callable[[Row], None],
    keyring: Keyring,
    decoded: Decoded,
) -> None:
    codec = CODECS[change.record_class]
    values = change.values
    own_key = values[: codec.key_columns]
    key = _known(change.record_class, own_key)
    if UNCHANGED in values:
        there = _known(change.record_class, own_key if change.moved_from is None else change.moved_from)
        before = None if there is None else now(there)
        if before is None:
            if key is not None:
                take(Row(key, None))
                decoded.to_read.append(key)
            return
        values = _completed(values, codec.encode(before, keyring))
    try:
        take(put(codec.decode(values, keyring)))
    except Undecodable as error:
        decoded.undecodable.append(error)
        if key is not None:
            take(Row(key, None))


def _completed(values: Values, before: Values) -> Values:
    return tuple(old if new is UNCHANGED else new for old, new in zip(before, values, strict=True))


def _known(record_class: type[Record], key: Values) -> RowKey | None:
    """None if no record has such a key, so that memory never had the row."""
    try:
        return row_key(record_class, key)
    except ValueError:
        return None
