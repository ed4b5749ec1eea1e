"""How a process tells that it failed, whatever it failed with: a line in the log, and never a bare traceback.

A failure that we know has a text that says it all. Any other is a bug: the line then has a ``trace`` as well, for whoever
is to mend it.
"""

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from bbs.log import Logger
from bbs.ports import profiles

EXIT_STACK_DUMP: Final = 2

STACK_DUMP_MAX_S: Final = 5
"""How long a dump may take that nobody reads."""


def exited_with_failure(log: Logger, text: str, *, bug: BaseException | None) -> None:
    """The last line of a process that ends with exit code 1. ``text`` may be empty where the bug has none."""
    if bug is None:
        log.error("exited-with-failure", error=text)
    else:
        log.error(
            "exited-with-failure",
            error=text or type(bug).__name__,
            trace="".join(traceback.format_exception(bug)),
        )


def dump_stacks_on_quit() -> None:
    """Have SIGQUIT end the process as it ends a Go program: all stacks on standard error, exit code 2 (spec: config.md
    §6). For a server that hangs: what it was doing is the last that it can tell.
    """
    signal.signal(signal.SIGQUIT, _dump_stacks)


def _dump_stacks(number: int, frame: FrameType | None) -> None:
    # The signal may have come in the middle of anything, so nothing is used that may be half done or locked: no log, no
    # buffered stream, no clean-up. If nobody reads standard error, the alarm's default action ends the process.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(STACK_DUMP_MAX_S)
    try:
        text = profiles.task_tree()
    except RuntimeError:  # no event loop is running
        text = profiles.threads()
    rest = f"SIGQUIT: quit\n\n{text}\n".encode()
    while rest:
        rest = rest[os.write(2, rest) :]
    os._exit(EXIT_STACK_DUMP)


@contextmanager
def unraisable_errors_told(log: Logger) -> Iterator[None]:
    """Log what Python can raise nowhere (a finalizer that fails, say), instead of a traceback on standard error."""

    def tell(unraisable: "sys.UnraisableHookArgs") -> None:
        error = unraisable.exc_value
        log.error(
            "error-that-could-not-be-raised",
            {"report": unraisable.err_msg or "", "about": type(unraisable.object).__qualname__},
            error=unraisable.exc_type.__name__ if error is None else f"{type(error).__name__}: {error}",
        )

    before = sys.unraisablehook
    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = before
