"""Flags, read as Go's pflag reads them. Pure.

A flag is ``--name value``, ``--name=value``, or one letter: ``-n value``, ``-nvalue``, ``-n=value``; letters of booleans may be
written together, and the last letter of such a cluster may take a value. A boolean takes a value only after ``=``. Flags and
arguments may be mixed, until ``--``. The last of several values counts.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bbs.cfdot.errors import Usage
from bbs.cfdot.go_values import (
    INT32_BITS,
    INT64_BITS,
    BadValue,
    parse_bool,
    parse_int,
    quote,
    quote_character,
)
from bbs.config.go_duration import BadDuration, parse_duration

Value = str | bool | int


class Kind(Enum):
    """The types of flags, by the word that usage texts have for them."""

    STRING = "string"
    BOOL = ""
    INT = "int"
    INT32 = "int32"
    DURATION = "duration"
    """In nanoseconds."""


ZERO: Final[Mapping[Kind, Value]] = {
    Kind.STRING: "",
    Kind.BOOL: False,
    Kind.INT: 0,
    Kind.INT32: 0,
    Kind.DURATION: 0,
}
READERS: Final[Mapping[Kind, Callable[[str], Value]]] = {
    Kind.STRING: str,
    Kind.BOOL: parse_bool,
    Kind.INT: lambda text: parse_int(text, bits=INT64_BITS),
    Kind.INT32: lambda text: parse_int(text, bits=INT32_BITS),
    Kind.DURATION: parse_duration,
}


@dataclass(frozen=True, slots=True)
class Flag:
    """``shorthand`` is its letter, or ''."""

    name: str
    usage: str
    kind: Kind = Kind.STRING
    shorthand: str = ""

    @property
    def told(self) -> str:
        """As error texts name it."""
        return f"-{self.shorthand}, --{self.name}" if self.shorthand else f"--{self.name}"


@dataclass(slots=True)
class Flags:
    """What was given: the values of flags that were, and the arguments that are none."""

    defined: Mapping[str, Flag]
    values: dict[str, Value] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        value = self._value(name)
        assert isinstance(value, str)
        return value

    def switch(self, name: str) -> bool:
        value = self._value(name)
        assert isinstance(value, bool)
        return value

    def number(self, name: str) -> int:
        value = self._value(name)
        assert isinstance(value, int)
        return value

    def _value(self, name: str) -> Value:
        return self.values.get(name, ZERO[self.defined[name].kind])


def parse(defined: Sequence[Flag], words: Sequence[str]) -> Flags:
    """
    Raises:
      Usage: a flag is unknown, lacks its value, or has a bad one. The text is pflag's.
    """
    flags = Flags({flag.name: flag for flag in defined})
    letters = {flag.shorthand: flag for flag in defined if flag.shorthand}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            flags.arguments += rest
            break
        if word.startswith("--"):
            _long(flags, word, rest)
        elif word.startswith("-") and word != "-":
            _cluster(flags, letters, word, rest)
        else:
            flags.arguments.append(word)
    return flags


def _long(flags: Flags, word: str, rest: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise Usage(f"bad flag syntax: {word}")
    flag = flags.defined.get(name)
    if flag is None:
        raise Usage(f"unknown flag: --{name}")
    if equals:
        _set(flags, flag, value)
    elif flag.kind is Kind.BOOL:
        _set(flags, flag, "true")
    elif rest:
        _set(flags, flag, rest.pop(0))
    else:
        raise Usage(f"flag needs an argument: {word}")


def _cluster(flags: Flags, letters: Mapping[str, Flag], word: str, rest: list[str]) -> None:
    """Letters after one dash. They are bytes, as in Go, so a character beyond ASCII is told by its first byte."""
    cluster = os.fsencode(word)[1:]
    while cluster:
        if cluster.startswith(b"test."):  # a flag of Go's own tests, which pflag passes over
            return
        told = os.fsdecode(cluster)
        flag = letters.get(chr(cluster[0]))
        if flag is None:
            raise Usage(f"unknown shorthand flag: {quote_character(cluster[0])} in -{told}")
        if len(cluster) > 2 and cluster[1:2] == b"=":
            _set(flags, flag, os.fsdecode(cluster[2:]))
            return
        if flag.kind is Kind.BOOL:
            _set(flags, flag, "true")
            cluster = cluster[1:]
        elif len(cluster) > 1:
            _set(flags, flag, os.fsdecode(cluster[1:]))
            return
        elif rest:
            _set(flags, flag, rest.pop(0))
            return
        else:
            raise Usage(f"flag needs an argument: {quote_character(cluster[0])} in -{told}")


def _set(flags: Flags, flag: Flag, text: str) -> None:
    try:
        flags.values[flag.name] = READERS[flag.kind](text)
    except (BadValue, BadDuration) as error:
        raise Usage(f"invalid argument {quote(text)} for {quote(flag.told)} flag: {error}") from error
