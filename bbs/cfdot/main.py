"""The ``cfdot`` command line: finds the command, reads its flags, checks what it was given, and has it carried out."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final

from bbs.cfdot import flags as flag_reading
from bbs.cfdot import usage
from bbs.cfdot.completion_command import COMPLETION, Script, script_for
from bbs.cfdot.errors import EXIT_FAILED, CommandFailed, Invalid, UnknownCommand
from bbs.cfdot.finding import Found, find, narrowed
from bbs.cfdot.flags import Flags
from bbs.cfdot.given import Given
from bbs.cfdot.table import BY_NAME, OUTPUT, Command, Peer, output_form, watch_every_s
from bbs.cfdot.target import NOBODY, Target, bbs_target, locket_target

if TYPE_CHECKING:
    from bbs.cfdot.rendering import Renderer

PROGRAM: Final = "cfdot"
STDOUT: Final = 1
STDERR: Final = 2
WATCH_TIMEOUT_S: Final = 30
"""Of each round of ``--watch``'s requests, unless a timeout is given. A list of a whole fleet takes some seconds."""


@dataclass(frozen=True, slots=True)
class More:
    """What ``bbs`` has beside upstream's ``cfdot``.

    Attributes:
      commands: by their names.
      call: carries one of them out: its flags and arguments have been checked.
      settings: what a command takes for its environment: there may be other places where settings are.
      advice: what to do about a command that failed, as lines for people; '' if there is nothing to say.
    """

    commands: Mapping[str, Command]
    call: "Callable[[Command, Given, Target, Surroundings], None]"
    settings: Callable[[Flags, Mapping[str, str]], Mapping[str, str]] = lambda _, environment: environment
    advice: Callable[[CommandFailed, Target], str] = lambda *_: ""


NO_MORE: Final = More({}, lambda *_: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a command is carried out. ``program`` is what usage texts call it, ``words`` the whole command line with its name."""

    program: str
    words: Sequence[str]
    environment: Mapping[str, str]
    out: BinaryIO
    err: BinaryIO
    more: More = NO_MORE

    @property
    def commands(self) -> Mapping[str, Command]:
        """By name. ``bbs`` completes more, and so has a command of its own for that."""
        cobras = {} if self.program == "bbs" else {COMPLETION.name: COMPLETION}
        return {**BY_NAME, **cobras, **self.more.commands}

    def tell(self, text: str) -> None:
        """Write to standard error."""
        _write(self.err, text)

    def show(self, text: str) -> None:
        """Write a help text to standard output."""
        _write(self.out, text)


class NowhereToWrite(Exception):
    """Help, or the text of an error, could not be written, and so there is no way to say that."""


def _write(stream: BinaryIO, text: str) -> None:
    """Arguments in the text that are no UTF-8 are written as they were."""
    try:
        stream.write(text.encode("utf-8", "surrogateescape"))
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NowhereToWrite from error


def main(argv: Sequence[str] | None = None, *, program: str = PROGRAM, more: More = NO_MORE) -> int:
    """Carry out the command line of this process; returns the exit code.

    An interrupt ends the process by its signal, as it does a Go program; and so does an output that nobody reads any more.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Of their own, so that what could not be written is not tried once more when Python ends.
    out, err = _stream(STDOUT), _stream(STDERR)
    surroundings = Surroundings(
        program=program,
        words=sys.argv if argv is None else [program, *argv],
        environment=os.environ,
        out=out,
        err=err,
        more=more,
    )
    try:
        return carry_out(surroundings)
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
        raise
    except NowhereToWrite:
        return EXIT_FAILED


def _stream(descriptor: int) -> BinaryIO:
    """A standard stream; of one that was closed before we began, a place where everything vanishes."""
    try:
        return open(descriptor, "wb", closefd=False)
    except OSError:
        return open(os.devnull, "wb")


def carry_out(surroundings: Surroundings) -> int:
    """Do what the command line says; returns the exit code.

    Raises:
      NowhereToWrite: what there is to say could not be written.
      BrokenPipeError: nobody reads it any more.
    """
    program, command = surroundings.program, None
    try:
        found = find(surroundings.words[1:], program, surroundings.commands)
        if found.command is COMPLETION:
            found = narrowed(found)
        command = found.command
        _execute(found, surroundings)
    except UnknownCommand as unknown:
        surroundings.tell(f"Error: {unknown}\nRun '{program} --help' for usage.\n")
        return unknown.exit_code
    except CommandFailed as failed:
        surroundings.tell(f"Error: {failed}\n{failed.advice}")
        if failed.shows_usage:
            text = usage.command_usage(command, program) if command else usage.root_usage(program)
            surroundings.tell(f"{text}\n")
        return failed.exit_code
    return 0


def _execute(found: Found, surroundings: Surroundings) -> None:
    command, program = found.command, surroundings.program
    if command is None:
        flag_reading.parse(usage.root_flags(program), found.words)
        surroundings.show(usage.root_help(program))
        return
    if command.deprecated:
        surroundings.tell(f'Command "{command.name}" is deprecated, {command.deprecated}\n')
    flags = flag_reading.parse(command.flags_as(program), found.words)
    if flags.switch("help") or command is COMPLETION:
        surroundings.show(usage.command_help(command, program, with_help_flag=True))
    elif isinstance(command, Script):
        surroundings.show(script_for(command, flags, program))
    elif command is BY_NAME["help"]:
        _help(command, flags, surroundings)
    else:
        _call(command, flags, surroundings)


def _help(command: Command, flags: Flags, surroundings: Surroundings) -> None:
    name, program = next(iter(flags.arguments), ""), surroundings.program
    if not name:
        surroundings.show(usage.command_help(command, program, with_help_flag=True))
    elif name == usage.HELP:
        surroundings.show(usage.help_about_help(program))
    elif name in surroundings.commands:
        surroundings.show(usage.command_help(surroundings.commands[name], program, with_help_flag=False))
    else:
        raise Invalid(f"'{name}' is not a valid command")


def _call(command: Command, flags: Flags, surroundings: Surroundings) -> None:
    target = NOBODY
    try:
        target = _target(command, flags, surroundings)
        _call_target(command, flags, target, surroundings)
    except CommandFailed as failed:
        failed.advice = surroundings.more.advice(failed, target)
        raise


def _call_target(command: Command, flags: Flags, target: Target, surroundings: Surroundings) -> None:
    """Arguments are checked once flags and environment have been (spec: client.md §5.1)."""
    given = Given(flags, surroundings.words)
    command.check(given)
    output_form(given)
    if every_s := watch_every_s(given):
        _watch(command, given, target, surroundings, every_s)
    else:
        _carry_out_once(command, given, target, surroundings)


def _watch(command: Command, given: Given, target: Target, surroundings: Surroundings, every_s: int) -> None:
    from bbs.cfdot.watching import can_redraw, watch

    if not can_redraw(surroundings.out, surroundings.environment):
        raise Invalid("--watch redraws a terminal, and there is none here that can be redrawn")
    # A server that hangs is to be told of, and tried again.
    bounded = replace(target, timeout_s=target.timeout_s or WATCH_TIMEOUT_S)

    def one_round(out: BinaryIO, err: BinaryIO) -> None:
        _carry_out_once(command, given, bounded, replace(surroundings, out=out, err=err))

    words = " ".join((surroundings.program, *surroundings.words[1:]))
    watch(one_round, surroundings.out, title=f"Every {every_s}s: {words}", every_s=every_s)


def _carry_out_once(command: Command, given: Given, target: Target, surroundings: Surroundings) -> None:
    # From here on it takes Trio, the client and the messages, which are most of the time that a short command takes.
    if command.name in surroundings.more.commands:
        surroundings.more.call(command, given, target, surroundings)
    elif command.peer is Peer.LOCKET:
        from bbs.cfdot.locket_calls import call_locket

        call_locket(command.name, given, target, _renderer(surroundings, given))
    else:
        from bbs.cfdot.bbs_calls import call_bbs

        call_bbs(command.name, given, target, _renderer(surroundings, given))


def _target(command: Command, flags: Flags, surroundings: Surroundings) -> Target:
    if command.peer is Peer.NOBODY:
        return NOBODY
    settings = surroundings.more.settings(flags, surroundings.environment)
    find_target = locket_target if command.peer is Peer.LOCKET else bbs_target
    return find_target(flags, settings, may_be_plain=surroundings.program == "bbs")


def form_for(given: Given, surroundings: Surroundings) -> str:
    """In which of `OUTPUT_FORMS` to show results: as asked for; else ``bbs`` shows tables at a terminal, and JSON elsewhere."""
    if form := output_form(given):
        return form
    return "table" if OUTPUT.name in given.flags.defined and surroundings.out.isatty() else "json"


def _renderer(surroundings: Surroundings, given: Given) -> "Renderer":
    form = form_for(given, surroundings)
    if form == "json":
        from bbs.cfdot.rendering import JSONLines

        return JSONLines(surroundings.out, surroundings.err)
    from bbs.cfdot.people import Tables

    return Tables(surroundings.out, surroundings.err, surroundings.environment, wide=form == "wide")
