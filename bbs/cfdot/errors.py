"""How a command ends that did not do as told: a text, an exit code, and whether the usage text follows (spec: client.md §5.1)."""

from typing import Final

EXIT_INVALID: Final = 3
EXIT_REFUSED: Final = 4
EXIT_FAILED: Final = 5
EXIT_OTHER: Final = 255

INVALID_ARGUMENT: Final = "invalid argument"
"""Upstream tells flags with bad values from its other errors by these words, wherever they stand in the text."""


class CommandFailed(Exception):
    """The text follows ``Error: ``, and ``advice``, if there is any, follows that: lines for people, which ``cfdot`` has none of."""

    exit_code = EXIT_FAILED
    shows_usage = False
    advice = ""


class Invalid(CommandFailed):
    """Missing or bad flags, arguments or settings."""

    exit_code = EXIT_INVALID
    shows_usage = True


class Refused(CommandFailed):
    """The BBS, Locket or a rep said no."""

    exit_code = EXIT_REFUSED


class Usage(CommandFailed):
    """What cobra and pflag find wrong by themselves, and CFDOT_TIMEOUT, whose error upstream does not wrap."""

    shows_usage = True

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.exit_code = EXIT_INVALID if INVALID_ARGUMENT in text else EXIT_OTHER


class UnknownCommand(Usage):
    """The text names commands that might have been meant. A hint follows instead of the usage text."""

    shows_usage = False
