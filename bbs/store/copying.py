"""All rows of one database into another, of the same kind or the other, with nobody serving from either meanwhile.

Values are carried over as they are stored: sealed ones stay sealed, rows that nobody can read are carried along, and no key is
needed. While it goes on both databases say in ``configurations`` that they are of a version that no server knows, so that
neither this server nor upstream's starts with half of the rows, or writes to what has been copied already. The version is put
right at the end of a copy that was verified, in the source also when it failed. A copy that was killed is begun again with the
same command.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from bbs.models.outcome import Record
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import SQLType, Values
from bbs.store.migrations import SCHEMA_VERSION
from bbs.store.schema import KEY_LABEL_ID, VERSION_ID, version_of, version_text

PAGE_ROWS: Final = 500

BEING_COPIED: Final = 9_000_000_000_000
"""Added to the version of a database that is copied from or to. Any server refuses it as newer than itself."""

TOLD_MAX: Final = 20
"""Rows named that the target can't hold. All are counted."""

SAME_KEYS: Final = (
    "does it take two keys for the same? Then give a database without tables: those that are made here keep apart what"
    " differs in a byte. Else begin again"
)


class CannotCopy(Exception):
    """Nothing was copied, or not all; the text says why and what to do."""


class Tables(Protocol):
    """A database's rows as they are stored. Every call raises `BackendUnavailable` or `StatementRejected`."""

    name: str
    """What the operator calls it: kind and place, without a password."""

    async def server_version(self) -> str:
        """What the server calls itself. One round trip, once there is a connection."""

    async def others(self) -> list[str]:
        """Who else has a session in this database, as far as we may see."""

    async def make_schema(self) -> None:
        """Make the tables of the present version in a database that has none of them."""

    async def configuration(self, row_id: str) -> str | None:
        """A row of ``configurations``; ``None`` also if there is no such table."""

    async def configure(self, row_id: str, value: str) -> None: ...

    async def count(self, codec: Codec) -> int: ...

    async def page(self, record_class: type[Record], after: Values) -> Sequence[Values]:
        """The next `PAGE_ROWS` rows behind the key ``after`` (``()``: from the first), all columns, in the order of keys."""

    async def put(self, codec: Codec, rows: Sequence[Values]) -> None: ...

    async def delete(self, codec: Codec, keys: Sequence[Values]) -> None: ...

    def refusal(self, codec: Codec, row: Values) -> str | None:
        """Why this database could not hold a row, if so."""

    async def aclose(self) -> None: ...


Tell = Callable[[str], None]
"""Told, in a line, of what goes on."""


async def copy(source: Tables, target: Tables, tell: Tell) -> None:
    """Copy all rows of ``source`` to ``target``, which has none, or is what an earlier copy has left.

    Raises:
      CannotCopy: for a reason that is for the operator to remove.
      BackendUnavailable, StatementRejected: one of the databases failed; begin again.
    """
    for database in (source, target):
        if others := await database.others():
            raise CannotCopy(
                f"{database.name} is in use by {', '.join(others)}: stop all servers (and their standbys) that are"
                " configured with it, and whatever else is connected, and try again"
            )
    await _source_must_be_ready(source)
    await _make_target_ready(target)
    tell(f"looking whether {target.name} can hold all rows")
    found = await _look_through(source, target)
    await source.configure(VERSION_ID, version_text(BEING_COPIED + SCHEMA_VERSION))
    try:
        await target.configure(VERSION_ID, version_text(BEING_COPIED + SCHEMA_VERSION))
        for record_class, codec in CODECS.items():
            await _copy_table(source, target, record_class, tell)
            await _verify(target, record_class, found[record_class], tell)
            if await source.count(codec) != len(found[record_class]):
                raise CannotCopy(f"{codec.table} of {source.name} has changed meanwhile; begin again")
        label = await source.configuration(KEY_LABEL_ID)
        if label is not None:
            await target.configure(KEY_LABEL_ID, label)
        await target.configure(VERSION_ID, version_text(SCHEMA_VERSION))
    finally:
        await source.configure(VERSION_ID, version_text(SCHEMA_VERSION))
    rows = sum(map(len, found.values()))
    tell(
        f"{target.name} has all {rows} rows of {source.name}, and each was compared; both are free to be used"
    )


async def _source_must_be_ready(source: Tables) -> None:
    stored = await source.configuration(VERSION_ID)
    if stored is None:
        raise CannotCopy(f"{source.name} has no version, so no BBS has ever used it: nothing to copy")
    if version_of(stored) not in (SCHEMA_VERSION, BEING_COPIED + SCHEMA_VERSION):
        raise CannotCopy(
            f"{source.name} has version {version_of(stored)}, and {SCHEMA_VERSION} is needed: start this server with it"
            " once, which brings it there, and stop it again"
        )


async def _make_target_ready(target: Tables) -> None:
    stored = await target.configuration(VERSION_ID)
    if stored is not None and version_of(stored) == BEING_COPIED + SCHEMA_VERSION:
        return
    if stored is None:
        await target.make_schema()
        return
    if version_of(stored) != SCHEMA_VERSION:
        raise CannotCopy(f"{target.name} has version {version_of(stored)}, and {SCHEMA_VERSION} is needed")
    for codec in CODECS.values():
        if rows := await target.count(codec):
            raise CannotCopy(
                f"{target.name} has {rows} rows in {codec.table}: give an empty database, so that nothing is mixed or lost"
            )


async def _look_through(source: Tables, target: Tables) -> dict[type[Record], dict[Values, bytes]]:
    """A digest of each row, by its key.

    Raises:
      CannotCopy: some rows do not fit the target.
    """
    digests: dict[type[Record], dict[Values, bytes]] = {}
    refusals: list[str] = []
    for record_class, codec in CODECS.items():
        of_table: dict[Values, bytes] = {}
        digests[record_class] = of_table
        async with aclosing(_pages(source, record_class)) as pages:
            async for page in pages:
                for row in page:
                    of_table[row[: codec.key_columns]] = _digest(codec, row)
                    if why := target.refusal(codec, row):
                        refusals.append(f"{codec.table} {list(row[: codec.key_columns])}: {why}")
    if refusals:
        more = f", and {len(refusals) - TOLD_MAX} more" if len(refusals) > TOLD_MAX else ""
        raise CannotCopy(
            f"{target.name} can't hold {len(refusals)} rows; nothing was copied: {'; '.join(refusals[:TOLD_MAX])}{more}"
        )
    return digests


async def _copy_table(source: Tables, target: Tables, record_class: type[Record], tell: Tell) -> None:
    codec = CODECS[record_class]
    done = 0
    async with aclosing(_pages(source, record_class)) as pages:
        async for page in pages:
            await target.put(codec, page)
            done += len(page)
            if done % (20 * PAGE_ROWS) == 0:
                tell(f"{codec.table}: {done} rows so far")
    tell(f"{codec.table}: {done} rows copied")


async def _verify(
    target: Tables, record_class: type[Record], wanted: Mapping[Values, bytes], tell: Tell
) -> None:
    """Compare all rows, and delete those that an earlier copy has left and that are not there any more.

    Raises:
      CannotCopy: a row is missing, or is another.
    """
    codec = CODECS[record_class]
    missing = dict(wanted)
    left_over: list[Values] = []
    async with aclosing(_pages(target, record_class)) as pages:
        async for page in pages:
            for row in page:
                key = row[: codec.key_columns]
                digest = missing.pop(key, None)
                if digest is None:
                    left_over.append(key)
                elif digest != _digest(codec, row):
                    raise CannotCopy(
                        f"{codec.table} {list(key)} of {target.name} is not what was copied; {SAME_KEYS}"
                    )
    if missing:
        raise CannotCopy(
            f"{codec.table} of {target.name} lacks {len(missing)} rows that were copied, {list(next(iter(missing)))} for"
            f" one; {SAME_KEYS}"
        )
    for begin in range(0, len(left_over), PAGE_ROWS):
        await target.delete(codec, left_over[begin : begin + PAGE_ROWS])
    tell(f"{codec.table}: {len(wanted)} rows compared")


async def _pages(tables: Tables, record_class: type[Record]) -> AsyncGenerator[Sequence[Values], None]:
    """All rows of a table."""
    after: Values = ()
    while page := await tables.page(record_class, after):
        after = page[-1][: CODECS[record_class].key_columns]
        yield page


def _digest(codec: Codec, row: Values) -> bytes:
    return hashlib.sha256(repr(list(_plain(codec, row))).encode()).digest()


def _plain(codec: Codec, row: Values) -> Iterable[object]:
    """The values as both kinds of database give them."""
    for value, column in zip(row, codec.columns, strict=True):
        yield bool(value) if column.type is SQLType.BOOL and value is not None else value
