"""The check that a record passes before it is staged, so that no batch fails because of one row in it.

spec: storage.md §6
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from bbs.models.errors import InvalidRequest, UnknownError
from bbs.models.outcome import Record
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec
from bbs.store.codecs.columns import SQLType, Values

Picker = Callable[[Values], Values]
"""Picks some of a row's values out, at C speed: every write goes through here."""

INTEGERS: Final = (("integer", SQLType.INT4, 32), ("bigint", SQLType.INT8, 64))
"""Postgres' names of its types of integers, and their bits."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the plain columns of one table take, a picker for all values of a kind. Sealed ones take any text.

    ``numbers`` come with the name of their type and the least and the greatest of it.
    """

    texts: Picker
    texts_by_width: tuple[tuple[int, Picker], ...]
    numbers: tuple[tuple[str, Picker, int, int], ...]

    @classmethod
    def of(cls, codec: Codec) -> "Bounds":
        plain = [column for column in codec.columns if not column.sealed]
        widths = {column.characters_max for column in plain if column.characters_max is not None}
        return cls(
            texts=_picker([column.type is SQLType.TEXT for column in plain]),
            texts_by_width=tuple(
                (width, _picker([column.characters_max == width for column in plain]))
                for width in sorted(widths)
            ),
            numbers=tuple(
                (
                    kind,
                    _picker([column.type is number for column in plain]),
                    -(2 ** (bits - 1)),
                    2 ** (bits - 1) - 1,
                )
                for kind, number, bits in INTEGERS
                if any(column.type is number for column in plain)
            ),
        )


def _picker(chosen: Sequence[bool]) -> Picker:
    """What picks the values of the chosen columns, at least one, out of a row."""
    positions = [position for position, is_chosen in enumerate(chosen) if is_chosen]
    if len(positions) == 1:
        (only,) = positions
        return lambda values: (values[only],)
    return itemgetter(*positions)


_BOUNDS: Final = {record_class: (codec, Bounds.of(codec)) for record_class, codec in CODECS.items()}


def must_be_storable(record: Record) -> None:
    """Find what Postgres would not take, before it gets into a batch with rows of others.

    Stricter than Postgres in one thing: it cuts blanks off the end of a text that is too long for a varchar, and memory
    would go on with the uncut text. Here such a text is refused.

    Raises:
      InvalidRequest: a text has more characters than its column.
      UnknownError: with Postgres' own words, for a NUL in a text or a number out of range.
    """
    codec, bounds = _BOUNDS[type(record)]
    values = codec.plain(record)
    # In this order, since Postgres finds NULs and numbers while it reads a statement's parameters, lengths when it runs it,
    # and the first thing it finds is the answer.
    if "\0" in "".join(bounds.texts(values)):
        raise UnknownError('ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)')
    for kind, numbers, low, high in bounds.numbers:
        taken = numbers(values)
        if min(taken) < low or max(taken) > high:
            raise UnknownError(f"ERROR: {kind} out of range (SQLSTATE 22003)")
    for characters_max, texts in bounds.texts_by_width:
        if max(map(len, texts(values))) > characters_max:
            raise InvalidRequest
