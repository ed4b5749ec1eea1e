"""JSON documents that pass through unread: checked, made compact, otherwise kept to the byte."""

import json
import re
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn


def compact_raw_json(data: bytes) -> bytes:
    """``data`` as Go stores it: no white space, and ``<``, ``>``, ``&``, U+2028 and U+2029 escaped.

    The order of keys, duplicate keys, the spelling of numbers and other escapes stay (spec: storage.md §3.4).

    Raises:
      ValueError: not one valid JSON document, or one nested more than `NESTING_MAX` deep (Go takes 10,000).
    """
    if _is_nested_too_deeply(data):
        raise ValueError("nested too deeply")
    check(data.decode("latin-1"))
    if WHITE_SPACE.search(data):
        data = b"".join(STRING_OR_BLACK.findall(data))
    # A valid document has these characters inside strings only, so they can be replaced wherever they are.
    for character, escape in ESCAPED_BYTES:
        if character in data:
            data = data.replace(character, escape)
    return data


def _is_nested_too_deeply(data: bytes) -> bool:
    """Whether brackets outside of strings open more than `NESTING_MAX` at a time."""
    if data.count(b"[") + data.count(b"{") <= NESTING_MAX:
        return False
    depth = deepest = 0
    for bracket in BRACKET.findall(STRING_OR_WHITE_SPACE.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest > NESTING_MAX


def quote(text: str) -> str:
    """``text`` as a JSON string, with the characters escaped that Go escapes: those that HTML or JavaScript could trip over."""
    quoted = encode_basestring(text)
    if MAY_NEED_ESCAPES.search(quoted):
        for character, escape in ESCAPED:
            quoted = quoted.replace(character, escape)
    return quoted


def check(text: str) -> None:
    """Raise a ValueError, which says where, if ``text`` is not one JSON document that Go would read.

    Bytes may be given decoded as Latin-1, one character a byte: JSON's own characters are all ASCII.
    """
    try:
        STRICT.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        if not text.strip(JSON_BLANKS):
            raise ValueError("expected JSON, is empty") from error
        if error.pos >= len(text.rstrip(JSON_BLANKS)):
            raise ValueError("expected JSON, which ends too early") from error
        raise ValueError(f"expected JSON, is none from character {error.pos + 1} on") from error


def _raise_for_constant(name: str) -> NoReturn:
    raise ValueError(f"expected JSON, which has no {name}")


# Numbers are not converted: nobody looks at them, and Python refuses to convert very long ones.
STRICT: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_raise_for_constant)

NESTING_MAX: Final = 500
"""How deeply a document may be nested. Python's parser takes about 1,000 levels on 3.11, less what the stack of its caller
has used. A route that is accepted must be readable again at the next start, from another depth of the stack; so the bound
is far enough below, and counted by ourselves."""

BRACKET: Final = re.compile(rb"[][{}]")
JSON_BLANKS: Final = " \t\r\n"
WHITE_SPACE: Final = re.compile(rb"[ \t\r\n]")
STRING_OR_BLACK: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^" \t\r\n]++')
STRING_OR_WHITE_SPACE: Final = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+')
MAY_NEED_ESCAPES: Final = re.compile("[<>&\u2028\u2029]")
ESCAPED: Final = tuple((character, f"\\u{ord(character):04x}") for character in "<>&\u2028\u2029")
ESCAPED_BYTES: Final = tuple((character.encode(), escape.encode()) for character, escape in ESCAPED)


def members(text: str) -> list[tuple[str, str]]:
    """The keys of a valid, stripped JSON object, each with the very text of its value."""
    found = []
    at = _to_token(text, 1)
    while text[at] != "}":
        key, at = _scan(text, at)
        value_at = _to_token(text, _to_token(text, at) + 1)
        _, at = _scan(text, value_at)
        found.append((key, text[value_at:at]))
        at = _past_comma(text, at)
    return found


def elements(text: str) -> list[str]:
    """The very texts of the elements of a valid, stripped JSON array."""
    found = []
    at = _to_token(text, 1)
    while text[at] != "]":
        _, end = _scan(text, at)
        found.append(text[at:end])
        at = _past_comma(text, end)
    return found


def _scan(text: str, at: int) -> tuple[Any, int]:
    return STRICT.raw_decode(text, at)


def _past_comma(text: str, at: int) -> int:
    at = _to_token(text, at)
    return _to_token(text, at + 1) if text[at] == "," else at


def _to_token(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
