"""What a line may be made of at most, whatever the configuration says: clients choose much of what is logged.

Only lines that are long already are looked at, so the others pay for one comparison.
"""

import re
from collections.abc import Mapping, Sized
from typing import Final

from bbs.log.redaction import CUT_MARK

TEXT_CHARACTERS_MAX: Final = 16 * 1024
"""Characters of one text in a line's data: sixteen times the longest reason that is stored."""

LINE_CHARACTERS_MAX: Final = 64 * 1024
"""Characters of all data of a line, as JSON and but for some punctuation: what collectors of logs take as one line."""

_GROWS_IN_JSON: Final = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029]')
_GROWTH_MAX: Final = 5
"""Characters by which one character is longer in JSON: an ``&`` is written as ``\\u0026``."""

_NUMBER_CHARACTERS: Final = 24
"""Characters that are counted for a number, or anything else that is not a text, a list or an object."""

_BITS_PER_DIGIT: Final = 3

_PUNCTUATION: Final = 6
"""Quotes, brackets and commas of one text, list or object."""


def cut(text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """``text`` if it is short enough, else its beginning and the mark, as `Truncation` leaves it."""
    if len(text) <= characters_max:
        return text
    return text[: max(characters_max - len(CUT_MARK), 0)] + CUT_MARK


def bounded(data: Mapping[str, object]) -> dict[str, object]:
    """``data`` cut so that no text exceeds `TEXT_CHARACTERS_MAX`, and the whole `LINE_CHARACTERS_MAX`.

    All keys at the top stay. Their values share the room, the short ones first: otherwise one long list could leave
    nothing for the error or the session's number, which say what the line is about.
    """
    room = _Room()
    shortest_first = sorted(data, key=lambda key: _rank(data[key]))
    return {key: room.fitting(data[key]) for key in shortest_first}


def _rank(value: object) -> tuple[bool, int]:
    is_single = isinstance(value, str) or not isinstance(value, Sized)
    return not is_single, len(value) if isinstance(value, Sized) else 0


class _Room:
    """What is left of a line's `LINE_CHARACTERS_MAX`; every value that is let in takes its part."""

    def __init__(self) -> None:
        self._left = LINE_CHARACTERS_MAX

    def fitting(self, value: object) -> object:
        match value:
            case str():
                return self._text(value)
            case BaseException():
                return self._text(str(value))
            case bytes() | bytearray() | memoryview():
                return self._text(bytes(value[:TEXT_CHARACTERS_MAX]).hex())
            case Mapping():
                self._left -= _PUNCTUATION
                members: dict[str, object] = {}
                for key, inner in value.items():
                    if self._left <= 0:
                        members[CUT_MARK] = ""
                        break
                    members[self._text(str(key))] = self.fitting(inner)
                return members
            case list() | tuple() | set() | frozenset():
                self._left -= _PUNCTUATION
                elements: list[object] = []
                for element in sorted(value) if isinstance(value, set | frozenset) else value:
                    if self._left <= 0:
                        elements.append(CUT_MARK)
                        break
                    elements.append(self.fitting(element))
                return elements
            case int():
                # No number of ours has more than 64 bits, but a longer one must not break the bound either.
                self._left -= value.bit_length() // _BITS_PER_DIGIT
        self._left -= _NUMBER_CHARACTERS
        return value

    def _text(self, text: str) -> str:
        whole, room = text, min(TEXT_CHARACTERS_MAX, max(self._left, 0))
        text = text[:room]
        while _length_in_json(text) > room:
            text = text[: len(text) // 2]
        if len(text) < len(whole):
            text = cut(whole, len(text))
        self._left -= _length_in_json(text) + _PUNCTUATION
        return text


def _length_in_json(text: str) -> int:
    return len(text) + _GROWTH_MAX * len(_GROWS_IN_JSON.findall(text))
