"""``bbs completion SHELL``: a script for a shell that completes all commands of ``bbs``, those that run something and those that ask."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from bbs.cfdot.completion import SCRIPTS
from bbs.cfdot.completion.model import TEXT, Completed, Option, Takes, Value, of_table
from bbs.cfdot.table import BY_NAME
from bbs.console import MORE

PROGRAM = "bbs"
DIRECTORY = "DIR"


def add_completion(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    completion = commands.add_parser(
        "completion",
        help="print a script for a shell that completes commands, flags, targets and files",
        description="Print a script that completes the commands of bbs. Keep it where the shell looks:"
        ' bbs completion bash > /etc/bash_completion.d/bbs; bbs completion zsh > "${fpath[1]}/_bbs";'
        " bbs completion fish > ~/.config/fish/completions/bbs.fish. Print it again after an upgrade.",
    )
    completion.add_argument("shell", choices=sorted(SCRIPTS))


def print_completion(shell: str, parser: argparse.ArgumentParser) -> int:
    """Write the script to standard output; returns the exit code. ``parser`` has the commands that are ours."""
    asking = of_table({**BY_NAME, **MORE.commands}.values(), PROGRAM)
    commands = sorted([*asking, *of_parser(parser)], key=lambda command: command.name)
    sys.stdout.write(SCRIPTS[shell](PROGRAM, commands, True))
    sys.stdout.flush()
    return 0


def of_parser(parser: argparse.ArgumentParser) -> Iterator[Completed]:
    """The commands of a parser that has some."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {each.dest: each.help or "" for each in action._choices_actions}
            for name, each in action.choices.items():
                yield Completed(name, told.get(name, ""), tuple(_options(each)), tuple(_arguments(each)))


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if action.option_strings:
            told = (action.help or "") % {"default": action.default, "prog": PROGRAM}
            yield Option(tuple(action.option_strings), told, None if action.nargs == 0 else _value(action))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Value]:
    return (_value(action) for action in parser._actions if not action.option_strings)


def _value(action: argparse.Action) -> Value:
    """What it takes, by its choices, else by what its help calls it."""
    if action.choices is not None:
        return Value(Takes.WORDS, tuple(map(str, action.choices)))
    if action.metavar == DIRECTORY:
        return Value(Takes.DIRECTORY)
    is_file = action.metavar in ("F", "FILE") or action.type is Path
    return Value(Takes.FILE) if is_file else TEXT
