"""What can be completed: commands, their options, and what values these and the arguments have. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.table import FLAGS_OF, OUTPUT, OUTPUT_FORMS, Command, Peer
from bbs.cfdot.target import TARGET


class Takes(Enum):
    TEXT = "text"
    """Nothing is known of it."""
    WORDS = "words"
    FILE = "file"
    DIRECTORY = "directory"
    SPEC = "spec"
    """JSON, or the name of a file after an ``@``."""
    TARGET = "target"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Value:
    takes: Takes
    words: tuple[str, ...] = ()


TEXT: Final = Value(Takes.TEXT)
FILE: Final = Value(Takes.FILE)


@dataclass(frozen=True, slots=True)
class Option:
    """``names`` with their dashes. ``value`` is ``None`` if it takes none."""

    names: tuple[str, ...]
    told: str
    value: Value | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A command. ``arguments`` are its arguments in order."""

    name: str
    told: str
    options: tuple[Option, ...]
    arguments: tuple[Value, ...]


def of_table(commands: Iterable[Command], program: str) -> list[Completed]:
    """Commands of the tables `bbs.cfdot.table` and `bbs.console.table`; deprecated ones are not offered."""
    return [
        Completed(
            command.name,
            command.short,
            tuple(map(of_flag, command.flags_as(program))),
            tuple(_of_word(word) for word in command.use.split()[1:]),
        )
        for command in commands
        if not command.deprecated
    ]


def of_flag(flag: Flag) -> Option:
    names = (f"--{flag.name}", *([f"-{flag.shorthand}"] if flag.shorthand else []))
    return Option(names, flag.usage, None if flag.kind is Kind.BOOL else _value_of(flag))


def before_command(program: str) -> tuple[Option, ...]:
    """The options that may stand before the command, since most commands have them."""
    flags = {flag.name: flag for peer in Peer for flag in FLAGS_OF[peer]}
    if program == "bbs":
        flags[TARGET.name] = TARGET
    return tuple(map(of_flag, flags.values()))


def names_with_value(commands: Iterable[Completed], program: str) -> list[str]:
    """The names of options that are followed by a value, whatever the command."""
    options = [*before_command(program), *(option for command in commands for option in command.options)]
    with_value = {name for option in options if option.value is not None for name in option.names}
    return sorted(with_value - {name for option in options if option.value is None for name in option.names})


def _value_of(flag: Flag) -> Value:
    if flag.name == OUTPUT.name:
        return Value(Takes.WORDS, OUTPUT_FORMS)
    if flag.name == TARGET.name:
        return Value(Takes.TARGET)
    return FILE if flag.name.endswith("File") else TEXT


def _of_word(word: str) -> Value:
    """What an argument is, by how a usage line writes it."""
    plain = word.strip("()[].")
    if plain == "SPEC|@FILE":
        return Value(Takes.SPEC)
    if plain == "CMD":
        return Value(Takes.COMMAND)
    if plain == "FILE":
        return FILE
    return Value(Takes.WORDS, tuple(plain.split("|"))) if _CHOICES.fullmatch(plain) else TEXT


def in_short(told: str) -> str:
    """What an option is for, without what is written in brackets, for lists that have little room."""
    return " ".join(_BRACKETED.sub("", told).split())


def function_name(program: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", f"_{program}")


def named(options: Sequence[Option]) -> list[str]:
    return [name for option in options for name in option.names]


_CHOICES: Final = re.compile(r"[a-z]+(\|[a-z]+)+")
_BRACKETED: Final = re.compile(r"\[[^\]]*\]")
