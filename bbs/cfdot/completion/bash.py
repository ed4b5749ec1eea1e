"""The script for bash. It needs nothing but bash itself, and shows no descriptions: bash has no place for them.

bash cuts the line at ``=``, ``:`` and ``@`` as well as at spaces, so these come as words of their own; but what it takes for the
current word begins with the ``@``.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bbs.cfdot.completion.model import Completed, Takes, Value, before_command, function_name, named

TEMPLATE: Final = """\
# Completion of {program} in bash. Made by: {program} completion bash

{function}_options() {{
    case $1 in
{options}
    esac
}}

# What follows an option of a command.
{function}_value() {{
    case "$1 $2" in
{values}
    esac
}}

# What an argument of a command is, counted from 0.
{function}_argument() {{
    case "$1 $2" in
{arguments}
    esac
}}

{function}() {{
    local IFS=$' \\t\\n' at word command= option= count=0 only_arguments= current=$2 kind
    COMPREPLY=()
    for (( at = 1; at < COMP_CWORD; at++ )); do
        word=${{COMP_WORDS[at]}}
        if [[ $word == '=' || $word == ':' ]]; then
            option=${{option:-=}}
        elif [[ $word == '@' ]]; then
            continue
        elif [[ $option ]]; then
            option=
        elif [[ $word == '--' ]]; then
            only_arguments=1
        elif [[ $word == -* && ! $only_arguments ]]; then
            if [[ $({function}_value "$command" "$word") ]]; then option=$word; fi
        elif [[ ! $command ]]; then
            command=$word
        else
            count=$(( count + 1 ))
        fi
    done
    if [[ ${{COMP_WORDS[COMP_CWORD]}} == '=' ]]; then current=; fi

    if [[ $option ]]; then
        kind=$({function}_value "$command" "$option")
    elif [[ $current == -* && ! $only_arguments ]]; then
        kind="words $({function}_options "$command")"
    elif [[ ! $command ]]; then
        kind=command
    else
        kind=$({function}_argument "$command" "$count")
    fi
    case $kind in
        'words '*) COMPREPLY=( $(compgen -W "${{kind#words }}" -- "$current") ) ;;
        command) COMPREPLY=( $(compgen -W '{commands}' -- "$current") ) ;;
        target)
            while IFS= read -r word; do
                if [[ $word == "$current"* ]]; then COMPREPLY+=( "$(printf %q "$word")" ); fi
            done < <("$1" targets --names 2>/dev/null) ;;
        spec)
            if [[ $current == @* ]]; then
                IFS=$'\\n'
                COMPREPLY=( $(compgen -P @ -f -- "${{current#@}}") )
            fi ;;
        file)
            compopt -o filenames 2>/dev/null
            IFS=$'\\n'
            COMPREPLY=( $(compgen -f -- "$current") ) ;;
        directory)
            compopt -o filenames 2>/dev/null
            IFS=$'\\n'
            COMPREPLY=( $(compgen -d -- "$current") ) ;;
    esac
}}

complete -F {function} {program}
"""


def script(program: str, commands: Sequence[Completed], _: bool) -> str:
    return TEMPLATE.format(
        program=program,
        function=function_name(program),
        commands=" ".join(command.name for command in commands),
        options="\n".join(_options(program, commands)),
        values="\n".join(_values(program, commands)),
        arguments="\n".join(_arguments(commands)),
    )


def _options(program: str, commands: Sequence[Completed]) -> Iterator[str]:
    yield f"        '') echo '{' '.join(('--help', *named(before_command(program))))}' ;;"
    for command in commands:
        yield f"        {command.name}) echo '{' '.join(named(command.options))}' ;;"


def _values(program: str, commands: Sequence[Completed]) -> Iterator[str]:
    for name, options in (
        ("", before_command(program)),
        *((command.name, command.options) for command in commands),
    ):
        for option in options:
            if option.value is not None:
                cases = " | ".join(f"'{name} {each}'" for each in option.names)
                yield f"        {cases}) echo '{_kind(option.value)}' ;;"


def _arguments(commands: Sequence[Completed]) -> Iterator[str]:
    for command in commands:
        for count, value in enumerate(command.arguments):
            if value.takes is not Takes.TEXT:
                yield f"        '{command.name} {count}') echo '{_kind(value)}' ;;"
    yield "        *) ;;"


def _kind(value: Value) -> str:
    return " ".join((value.takes.value, *value.words))
