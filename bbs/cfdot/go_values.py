"""Values as Go's strconv reads and quotes them: what is taken for a number or a boolean, and the text for what is not."""

import re
from typing import Final

INT32_BITS: Final = 32
INT64_BITS: Final = 64

TRUE_WORDS: Final = ("1", "t", "T", "TRUE", "true", "True")
FALSE_WORDS: Final = ("0", "f", "F", "FALSE", "false", "False")


class BadValue(ValueError):
    """Not a value of that type. The text is Go's."""


def parse_bool(text: str) -> bool:
    if text in TRUE_WORDS:
        return True
    if text in FALSE_WORDS:
        return False
    raise BadValue(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_int(text: str, *, bits: int, any_base: bool = True) -> int:
    """A whole number that fits ``bits``. With ``any_base`` a prefix tells the base, as in Go's source text: 0x, 0o or 0, 0b; and
    underscores may stand between digits. Without, it is decimal digits.
    """
    match = (_ANY_BASE if any_base else _DECIMAL).fullmatch(text)
    if match is None:
        raise BadValue(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    digits = match["digits"].replace("_", "")
    base = 10
    if any_base:
        base = next((base for base, group in _BASES.items() if match[group] is not None), 10)
    # Longer numbers fit no type, and Python refuses to convert very long ones.
    value = int(digits, base) if len(digits.lstrip("0")) <= INT64_BITS else 1 << INT64_BITS
    if match["sign"] == "-":
        value = -value
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise BadValue(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value


_DECIMAL: Final = re.compile(r"(?P<sign>[+-]?)(?P<digits>[0-9]+)")
_ANY_BASE: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<digits>"
    r"(?P<hex>0[xX](?:_?[0-9a-fA-F])+)"
    r"|(?P<binary>0[bB](?:_?[01])+)"
    r"|(?P<octal>0[oO](?:_?[0-7])+)"
    r"|(?P<old_octal>0(?:_?[0-7])+)"
    r"|[1-9](?:_?[0-9])*|0)"
)
_BASES: Final = {16: "hex", 2: "binary", 8: "octal"}


def wrapped_int32(value: int) -> int:
    """What is left of a number that Go converts to 32 bits."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def quote(text: str) -> str:
    """``text`` as a double-quoted Go string. Bytes that are no UTF-8 come as Python's surrogate escapes."""
    return '"' + "".join(_escaped(character, '"') for character in text) + '"'


def quote_character(byte: int) -> str:
    """One byte of an argument as Go prints it as a character: one beyond ASCII is taken for the character of that number."""
    return "'" + _escaped(chr(byte), "'") + "'"


_ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
}


def _escaped(character: str, quotation_mark: str) -> str:
    if character == quotation_mark:
        return "\\" + character
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
