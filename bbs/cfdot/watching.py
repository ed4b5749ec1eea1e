"""``--watch``: a command carried out again and again, its tables redrawn in place.

It draws on the terminal's other screen, which is left, with the cursor shown, however it ends: by an interrupt, by SIGTERM or by an
error of ours. What goes wrong with one round is told above what the last good one showed, and tried again with the next.
"""

import io
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO, Final

from bbs.cfdot.columns import harmless
from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.terminal_codes import ENTER, LEAVE, frame, height_of
from bbs.words.times import NS, age

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Frame(io.BytesIO):
    """What one round writes. It is as wide as the terminal, and takes colours if that does."""

    def __init__(self, terminal: BinaryIO) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()


Round = Callable[[BinaryIO, BinaryIO], None]
"""Carries the command out, with what it is to write results and warnings to. Raises `CommandFailed`."""


@dataclass(slots=True)
class Shown:
    """What the last round has left: its results, when they came, and what was wrong since."""

    text: str = ""
    seen_ns: int = 0
    trouble: str = ""


def watch(one_round: Round, terminal: BinaryIO, *, title: str, every_s: float) -> None:
    """Until a signal ends the process, or the terminal is gone.

    Raises:
      CommandFailed: the terminal can't be written to.
    """
    shown = Shown()
    with _other_screen(terminal.fileno()):
        while True:
            take_turn(one_round, terminal, shown, now_ns=time.time_ns())
            text = picture(shown, title=title, lines=height_of(terminal), now_ns=time.time_ns())
            try:
                terminal.write(text.encode())
                terminal.flush()
            except OSError as error:
                raise CommandFailed(f"write /dev/stdout: {os.strerror(error.errno or 0).lower()}") from error
            time.sleep(every_s)  # between rounds nothing else runs in this process


def take_turn(one_round: Round, terminal: BinaryIO, shown: Shown, *, now_ns: int) -> None:
    """Carry the command out once. Results that come before a failure count, as those of reachable cells do."""
    out, err = Frame(terminal), io.BytesIO()
    trouble = ""
    try:
        one_round(out, err)
    except CommandFailed as failed:
        trouble = f"{failed}\n{failed.advice.strip()}"
    warned = err.getvalue().decode(errors="replace")
    shown.trouble = "\n".join(filter(None, (warned.strip(), trouble.strip())))
    if out.getvalue() or not trouble:
        shown.text, shown.seen_ns = out.getvalue().decode(errors="replace"), now_ns


def picture(shown: Shown, *, title: str, lines: int, now_ns: int) -> str:
    """A whole screen of ``lines`` lines. Pure, but for the time zone."""
    clock = time.strftime("%H:%M:%S", time.localtime(now_ns / NS))
    head = [f"{harmless(title)}   {clock}"]
    head += [f"  {harmless(line)}" for line in shown.trouble.splitlines()]
    if shown.trouble and shown.text:
        head.append(f"  below is how it was {age(shown.seen_ns, now_ns)} ago")
    all_lines = [*head, "", *shown.text.splitlines()]
    if len(all_lines) > lines:
        kept = max(0, lines - 1)
        all_lines = [*all_lines[:kept], f"and {len(all_lines) - kept} more lines"]
    return frame(all_lines)


def can_redraw(terminal: BinaryIO, environment: Mapping[str, str]) -> bool:
    return terminal.isatty() and environment.get("TERM", "dumb") not in ("", "dumb", "unknown")


@contextmanager
def _other_screen(descriptor: int) -> Iterator[None]:
    """A signal may come anywhere, also in the middle of a write, so its handler writes past all buffers, and ends the process
    at once, by that signal.
    """

    def leave() -> None:
        with suppress(OSError):  # there may be no terminal any more
            os.write(descriptor, LEAVE)

    def end(number: int, _: FrameType | None) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def pause(number: int, _: FrameType | None) -> None:
        """Ctrl-Z: the shell gets a clean terminal, and we get ours back when it lets us go on."""
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here, until SIGCONT
        signal.signal(number, pause)
        os.write(descriptor, ENTER)

    before = {each: signal.signal(each, end) for each in SIGNALS}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, pause)
    os.write(descriptor, ENTER)
    try:
        yield
    finally:
        leave()
        for each, handler in before.items():
            signal.signal(each, handler)
