"""Which command a command line means, found as cobra finds it. Pure.

The command need not come first: flags may stand before it. Since they are not known yet, each is taken to have a value, which
is the word after it, unless it has a ``=``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bbs.cfdot.completion_command import SHELLS
from bbs.cfdot.errors import UnknownCommand
from bbs.cfdot.go_values import quote
from bbs.cfdot.table import Command
from bbs.cfdot.usage import unknown_command


@dataclass(frozen=True, slots=True)
class Found:
    """``command`` is ``None`` if none is named. ``words`` are the rest of the command line, flags before the command included."""

    command: Command | None
    words: Sequence[str]


def find(words: Sequence[str], program: str, commands: Mapping[str, Command]) -> Found:
    """``commands`` are those that there are, by their names.

    Raises:
      UnknownCommand: the first word that is neither a flag nor its value is no command.
    """
    names = _words_without_flags(words)
    if not names:
        return Found(None, words)
    command = commands.get(names[0])
    if command is None:
        raise UnknownCommand(unknown_command(names[0], quote(names[0]), program, commands))
    return Found(command, _without_first(words, names[0]))


def narrowed(found: Found) -> Found:
    """The command for one shell, if ``completion`` is followed by its name."""
    try:
        shell = find(found.words, "", SHELLS)
    except UnknownCommand:
        return found
    return found if shell.command is None else shell


def _takes_value(word: str) -> bool:
    return "=" not in word and (
        word.startswith("--") or (word.startswith("-") and len(word.encode(errors="replace")) == 2)
    )


def _words_without_flags(words: Sequence[str]) -> list[str]:
    names, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if _takes_value(word):
            del rest[:1]
        elif word and not word.startswith("-"):
            names.append(word)
    return names


def _without_first(words: Sequence[str], name: str) -> Sequence[str]:
    at = 0
    while at < len(words) and words[at] != "--":
        if _takes_value(words[at]):
            at += 1
        elif words[at] == name:
            return [*words[:at], *words[at + 1 :]]
        at += 1
    return words
