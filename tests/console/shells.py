"""Real shells at a terminal of their own, to see what a TAB does."""

import os
import pty
import re
import select
import shutil
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

PROMPT: Final = "READY> "
PATIENCE_S: Final = 60.0
"""Bounds each wait; none comes near it."""

LISTS_ALL: Final[Mapping[str, str]] = {
    "bash": "bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0'; bind 'set page-completions off';"
    " bind 'set enable-bracketed-paste off'; bind 'set bell-style none'",
    "zsh": "autoload -U compinit; compinit -u -D; LISTMAX=10000; unsetopt beep list_ambiguous zle_bracketed_paste 2>/dev/null;"
    " unset zle_bracketed_paste; bindkey -e",
}
"""What has a shell show all that may follow at the first TAB, without a question."""

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
}


def require(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: make test-packages")


class Shell:
    """A shell at a terminal, to which it says when it is ready for a line, and what it makes of it."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._answers = 0
        self._unread = ""

    def do(self, line: str) -> str:
        """What the terminal shows of a line that is carried out."""
        self._answers += 1
        # The line that is typed is echoed, so the sign of its end is spelt differently there.
        os.write(self._terminal, f"{line}; echo 'EN''D'{self._answers}.\r".encode())
        return self._answer()

    def completions(self, line: str) -> set[str]:
        """The words that the terminal shows after a TAB: the line itself, completed, and a list if more than one may follow."""
        self._answers += 1
        # Control-U takes the line away again.
        os.write(self._terminal, f"{line}\t\x15echo 'EN''D'{self._answers}.\r".encode())
        shown = self._answer()
        return set(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[\x00-\x08\x0e-\x1f]", " ", shown).split())

    def _answer(self) -> str:
        """Up to the sign of its end. What is typed before the prompt has come back would be the terminal's, and not the shell's."""
        answer = self._until(f"END{self._answers}.")
        self._until(PROMPT)
        return answer

    def _until(self, sign: str) -> str:
        while sign not in self._unread:
            if not select.select([self._terminal], [], [], PATIENCE_S)[0]:
                raise AssertionError(f"the shell does not go on: {self._unread}")
            self._unread += os.read(self._terminal, 65536).decode(errors="replace")
        text, _, self._unread = self._unread.partition(sign)
        return text


@contextmanager
def running_shell(name: str, script: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """With ``script`` sourced, in the directory that it lies in."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (500, 200))
    with subprocess.Popen(
        COMMANDS[name],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=script.parent,
        env={**environment, "TERM": "dumb", "PS1": "$ ", "LINES": "500", "COLUMNS": "200"},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            shell = Shell(ours)
            # It shows a prompt of its own until this has been done.
            shell.do(f"PS1='{PROMPT[:3]}''{PROMPT[3:]}'; {LISTS_ALL[name]}")
            shell.do(f"source {script}")
            yield shell
        finally:
            process.kill()
            os.close(ours)
