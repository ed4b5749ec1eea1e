"""Where the ``bbs`` command begins: as upstream's server if it is called like it, else as ours.

``bbs -config FILE`` knows Go's four spellings of its one flag (one dash or two, the value after a ``=`` or as the next
argument), and nothing else (spec: config.md §1). Other modules are imported where they are needed, after Python's own
handler of SIGINT has been taken out: an interrupt during a long import would end in a traceback.
"""

import gc
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

USAGE: Final = """Usage of bbs:
  -config string
    \tThe path to the JSON configuration file.
For what this server offers beyond upstream's, see: bbs --help
"""

EXIT_USAGE: Final = 2
OURS: Final = ("--help", "--version")


class FlagWrong(Exception):
    """The command line is not upstream's; the text is Go's."""


class HelpWanted(Exception):
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if _is_for_operators(arguments):
        from bbs.cfdot.main import main as cfdot
        from bbs.console import MORE

        return cfdot(argv, program="bbs", more=MORE)
    if not arguments or not arguments[0].startswith("-") or arguments[0] in OURS:
        with _importing():
            from bbs.commands.cli import main as serve_or_else
        return serve_or_else(arguments)
    # Until the server is up, a signal simply ends the process, as it does upstream's (spec: config.md §6).
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        path = config_path(arguments)
    except HelpWanted:
        sys.stderr.write(USAGE)
        return 0
    except FlagWrong as wrong:
        sys.stderr.write(f"{wrong}\n{USAGE}")
        return EXIT_USAGE
    with _importing():
        from bbs.commands.daemon import run
    return run(path)


@contextmanager
def _importing() -> Iterator[None]:
    """Imports make 150,000 objects that stay. The garbage collector would go through them several times, which is
    a tenth of the time to start.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _is_for_operators(arguments: Sequence[str]) -> bool:
    """Whether this is a command that asks a BBS, upstream's ``cfdot``'s or ours, and not one that runs something. Flags may stand
    before its name, as in ``--bbsURL URL domains``, but not upstream's flag for its server.
    """
    if not arguments or arguments[0].lstrip("-").partition("=")[0] == "config":
        return False
    from bbs.cfdot.errors import UnknownCommand
    from bbs.cfdot.finding import find
    from bbs.cfdot.table import BY_NAME
    from bbs.console import MORE

    try:
        return find(arguments, "bbs", {**BY_NAME, **MORE.commands}).command is not None
    except UnknownCommand:
        return False


def config_path(arguments: Sequence[str]) -> str:
    """What ``-config`` says, the last time if more than once; '' if nothing. Flags end at the first other argument.

    Raises:
      HelpWanted: ``-h`` or ``-help``.
      FlagWrong: another flag, or no value.
    """
    path, rest = "", list(arguments)
    while rest:
        argument = rest.pop(0)
        if len(argument) < 2 or argument[0] != "-" or argument == "--":
            return path
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name[0] in "-=":
            raise FlagWrong(f"bad flag syntax: {argument}")
        if name in ("h", "help"):
            raise HelpWanted
        if name != "config":
            raise FlagWrong(f"flag provided but not defined: -{name}")
        if not equals:
            if not rest:
                raise FlagWrong("flag needs an argument: -config")
            value = rest.pop(0)
        path = value
    return path
