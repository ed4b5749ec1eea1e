"""Help and usage texts, laid out as cobra and pflag lay them out, and the commands that an unknown one may stand for. Pure.

``program`` is the name that the texts have for the command line: ``cfdot``, or ``bbs`` where that carries out its commands.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bbs.cfdot.completion_command import COMPLETION
from bbs.cfdot.flags import Flag, Kind
from bbs.cfdot.table import COMMANDS, Command

ROOT: Final = "A command-line tool to interact with a Cloud Foundry Diego deployment"
HELP: Final = "help"

# cobra adds a command of this name, though there is one. It is listed, and is what `help help` tells about.
COBRAS_HELP_SHORT: Final = "Help about any command"
COBRAS_HELP_LONG: Final = (
    "Help provides help for any command in the application.\n"
    "Simply type {program} help [path to command] for full details."
)

DISTANCE_MAX: Final = 2
"""How many letters a name may differ by and still be suggested."""

NAME_COLUMN_MIN: Final = 11


def root_flags(program: str) -> tuple[Flag, ...]:
    return (Flag("help", f"help for {program}", Kind.BOOL, "h"),)


def root_help(program: str) -> str:
    return f"{ROOT}\n\n{root_usage(program)}"


def root_usage(program: str) -> str:
    listed = [(HELP, COBRAS_HELP_SHORT), (COMPLETION.name, COMPLETION.short)]
    listed += [(command.name, command.short) for command in COMMANDS if not command.deprecated]
    listed.sort(key=lambda each: each[0])
    width = max(NAME_COLUMN_MIN, *(len(command.name) for command in COMMANDS))
    return _usage_of_several(program, listed, root_flags(program), width=width)


def _usage_of_several(
    path: str, listed: Iterable[tuple[str, str]], flags: Sequence[Flag], *, width: int = NAME_COLUMN_MIN
) -> str:
    """The usage of what has commands below it."""
    lines = "\n".join(f"  {name:{width}} {short}" for name, short in listed)
    return (
        f"Usage:\n  {path} [command]\n\nAvailable Commands:\n{lines}\n\n"
        + (f"Flags:\n{flag_lines(flags)}\n\n" if flags else "")
        + f'Use "{path} [command] --help" for more information about a command.\n'
    )


def command_help(command: Command, program: str, *, with_help_flag: bool) -> str:
    return f"{command.long}\n\n{command_usage(command, program, with_help_flag=with_help_flag)}"


def command_usage(command: Command, program: str, *, with_help_flag: bool = True) -> str:
    """A command that is only told about has not got its help flag yet."""
    flags = [flag for flag in command.flags_as(program) if with_help_flag or flag.name != "help"]
    if command.below:
        return _usage_of_several(f"{program} {command.use}", command.below, flags)
    if not flags:
        return f"Usage:\n  {program} {command.use}\n"
    word = " [flags]" if command.tells_flags else ""
    return f"Usage:\n  {program} {command.use}{word}\n\nFlags:\n{flag_lines(flags)}\n"


def help_about_help(program: str) -> str:
    """What ``help help`` shows."""
    return f"{COBRAS_HELP_LONG.format(program=program)}\n\nUsage:\n  {program} help [command]\n"


def flag_lines(flags: Iterable[Flag]) -> str:
    named = [(_flag_name(flag), flag.usage) for flag in sorted(flags, key=lambda flag: flag.name)]
    width = max(len(name) for name, _ in named)
    return "\n".join(f"{name:{width}}   {usage}" for name, usage in named)


def _flag_name(flag: Flag) -> str:
    name = f"  -{flag.shorthand}, --{flag.name}" if flag.shorthand else f"      --{flag.name}"
    return f"{name} {flag.kind.value}" if flag.kind.value else name


def unknown_command(name: str, quoted: str, program: str, commands: Mapping[str, Command]) -> str:
    """The text of the error, with the commands that may have been meant."""
    text = f'unknown command {quoted} for "{program}"'
    if suggested := suggestions(name, commands):
        text += "\n\nDid you mean this?\n" + "".join(f"\t{each}\n" for each in suggested)
    return text


def suggestions(name: str, commands: Mapping[str, Command]) -> Sequence[str]:
    """Names that begin with ``name``, or differ from it in one or two letters, whatever their case."""
    typed = name.lower()
    return [
        command.name
        for command in commands.values()
        if not command.deprecated
        and (command.name.startswith(typed) or _distance(typed, command.name) <= DISTANCE_MAX)
    ]


def _distance(one: str, other: str) -> int:
    """Levenshtein's: how many letters are to be put in, taken out or changed."""
    row = list(range(len(other) + 1))
    for count, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], count
        for at, wanted in enumerate(other, start=1):
            diagonal, row[at] = (
                row[at],
                diagonal if letter == wanted else 1 + min(diagonal, row[at], row[at - 1]),
            )
    return row[-1]
