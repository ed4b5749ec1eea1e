"""The script for fish."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bbs.cfdot.completion.model import (
    Completed,
    Option,
    Takes,
    Value,
    before_command,
    function_name,
    in_short,
    names_with_value,
)

TEMPLATE: Final = """\
# Completion of {program} in fish. Made by: {program} completion fish

# The words after the options and their values: the command, and its arguments.
function {function}_words
    set -l words (commandline -opc)
    set -e words[1]
    set -l is_value 0
    for word in $words
        if test $is_value = 1
            set is_value 0
        else if contains -- $word {with_value}
            set is_value 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

function {function}_needs_command
    test (count ({function}_words)) = 0
end

function {function}_is
    set -l words ({function}_words)
    test "$words[1]" = $argv[1]
end

# Whether so many arguments of a command have been written.
function {function}_has
    set -l words ({function}_words)
    test "$words[1]" = $argv[1]; and test (count $words) = (math $argv[2] + 1)
end

function {function}_targets
    set -l words (commandline -opc)
    $words[1] targets --names 2>/dev/null
end

function {function}_spec
    set -l current (commandline -ct)
    if string match -q -- '@*' $current
        __fish_complete_path (string sub -s 2 -- $current) | string replace -r '^' '@'
    end
end

complete -c {program} -f
{lines}
"""


def script(program: str, commands: Sequence[Completed], describes: bool) -> str:
    function = function_name(program)
    lines = [*_lines(program, function, commands, describes=describes)]
    return TEMPLATE.format(
        program=program,
        function=function,
        with_value=" ".join(names_with_value(commands, program)),
        lines="\n".join(f"complete -c {program} {line}" for line in lines),
    )


def _lines(program: str, function: str, commands: Sequence[Completed], *, describes: bool) -> Iterator[str]:
    def told(text: str) -> str:
        return f" -d {_quoted(in_short(text))}" if describes else ""

    names = " ".join(command.name for command in commands)
    needs_command = f"-n {function}_needs_command"
    for command in commands:
        yield f"{needs_command} -a {command.name}{told(command.told)}"
    for option in before_command(program):
        yield f"{needs_command} {_option(option, function, names)}{told(option.told)}"
    for command in commands:
        for option in command.options:
            yield f"-n '{function}_is {command.name}' {_option(option, function, names)}{told(option.told)}"
        for count, value in enumerate(command.arguments):
            if action := _action(value, function, names):
                yield f"-n '{function}_has {command.name} {count}' {action}"


def _option(option: Option, function: str, names: str) -> str:
    return f"{' '.join(map(_spelt, option.names))} {_wanted(option.value, function, names)}".rstrip()


def _spelt(name: str) -> str:
    if name.startswith("--"):
        return f"-l {name[2:]}"
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]}"


def _wanted(value: Value | None, function: str, names: str) -> str:
    if value is None:
        return ""
    return "-r -F" if value.takes is Takes.FILE else f"-x {_action(value, function, names)}"


ACTIONS: Final[Mapping[Takes, str]] = {
    Takes.TEXT: "",
    Takes.FILE: "-F",
    Takes.DIRECTORY: "-a '(__fish_complete_directories)'",
    Takes.SPEC: "-a '({function}_spec)'",
    Takes.TARGET: "-a '({function}_targets)'",
    Takes.COMMAND: "-a '{names}'",
}


def _action(value: Value, function: str, names: str) -> str:
    if value.takes is Takes.WORDS:
        return f"-a '{' '.join(value.words)}'"
    return ACTIONS[value.takes].format(function=function, names=names)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
