"""The script for zsh: for a file ``_bbs`` in the path of functions, or to be sourced after ``compinit``."""

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
)

TEMPLATE: Final = """\
#compdef {program}
# Completion of {program} in zsh. Made by: {program} completion zsh

{function}_commands() {{
    local -a commands=(
{commands}
    )
    _describe -t commands command commands
}}

{function}_targets() {{
    local -a names=( ${{(f)"$(${{~program}} targets --names 2>/dev/null)"}} )
    compadd -a names
}}

{function}_spec() {{
    if compset -P @; then _files; else _message 'JSON, or @FILE'; fi
}}

{function}() {{
    local curcontext=$curcontext program=$words[1] state line
    local -A opt_args
    _arguments -C {before} '1: :{function}_commands' '*:: :->rest'
    if [[ $state == rest ]]; then
        case $words[1] in
{cases}
        esac
    fi
}}

if [[ $funcstack[1] == {function} ]]; then
    {function} "$@"
else
    compdef {function} {program}
fi
"""


def script(program: str, commands: Sequence[Completed], describes: bool) -> str:
    function = function_name(program)

    def arguments(options: Sequence[Option]) -> Iterator[str]:
        for option in options:
            yield from _specs(option, function, describes=describes)

    def case(command: Completed) -> str:
        specs = [*arguments(command.options)]
        specs += [
            _quoted(f"{at}: :{_action(value, function)}") for at, value in enumerate(command.arguments, 1)
        ]
        return f"            {command.name}) _arguments {' '.join(specs)} ;;"

    return TEMPLATE.format(
        program=program,
        function=function,
        before=" ".join(arguments(before_command(program))),
        commands="\n".join(f"        {_described(command, describes=describes)}" for command in commands),
        cases="\n".join(map(case, commands)),
    )


def _described(command: Completed, *, describes: bool) -> str:
    return _quoted(f"{command.name}:{in_short(command.told)}" if describes else command.name)


def _specs(option: Option, function: str, *, describes: bool) -> Iterator[str]:
    """One for each name; with either of them given, none is offered again."""
    told = f"[{_escaped(in_short(option.told))}]" if describes else ""
    others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    for name in option.names:
        if option.value is None:
            yield _quoted(f"{others}{name}{told}")
            continue
        equals = "=" if name.startswith("--") else "+" if len(name) == 2 else ""
        yield _quoted(f"{others}{name}{equals}{told}: :{_action(option.value, function)}")


ACTIONS: Final[Mapping[Takes, str]] = {
    Takes.TEXT: " ",
    Takes.FILE: "_files",
    Takes.DIRECTORY: "_files -/",
    Takes.SPEC: "{function}_spec",
    Takes.TARGET: "{function}_targets",
    Takes.COMMAND: "{function}_commands",
}


def _action(value: Value, function: str) -> str:
    if value.takes is Takes.WORDS:
        return f"({' '.join(value.words)})"
    return ACTIONS[value.takes].format(function=function)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("[", "\\[").replace("]", "\\]")


def _quoted(text: str) -> str:
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"
