"""``bbs`` at a pseudo-terminal, as a person has it in front of them: what it shows there, and Ctrl-C."""

import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

import trio

from tests.forked_starts import Ended, ForkedStarts
from tests.processes import START_MAX_S

ROWS: Final = 30
CTRL_C: Final = b"\x03"
BOTH: Final = ("stdout", "stderr")
LEFT_OUT: Final = ("NO_COLOR", "TERM", "COLUMNS")

Stream = Literal["stdout", "stderr"]


class Terminal:
    """The text that a start of ``bbs`` has shown so far. Lines end as they do in files."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._descriptor = descriptor
        self._news = trio.Event()
        self._ended: Ended | None = None

    async def until(self, shown: str) -> str:
        """All text so far, once it has ``shown`` in it."""
        with trio.fail_after(START_MAX_S):
            while shown not in self.text:
                assert self._ended is None, (self._ended, self.text)
                await self._news.wait()
        return self.text

    async def until_it_ends(self) -> Ended:
        """What it left on the streams that are not at the terminal."""
        with trio.fail_after(START_MAX_S):
            while self._ended is None:
                await self._news.wait()
        return self._ended

    def press_ctrl_c(self) -> None:
        os.write(self._descriptor, CTRL_C)

    async def read(self) -> None:
        """Until it has ended."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                piece = os.read(self._descriptor, 65_536)
            except OSError:  # as Linux tells that nobody has the other end open any more
                return
            self.text += piece.decode().replace("\r\n", "\n")
            self._tell()

    def note_the_end(self, ended: Ended) -> None:
        self._ended = ended
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def at_a_terminal(
    starts: ForkedStarts,
    *arguments: str,
    columns: int = 0,
    streams: Collection[Stream] = BOTH,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """A start with those ``streams`` at a terminal, the others in files. ``columns`` 0 is a terminal that does not say. Whatever
    has not ended with the block is hung up on.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    device = Path(os.ttyname(its))
    terminal = Terminal(ours)
    start = partial(
        starts.start,
        *arguments,
        terminal=device,
        at_terminal=streams,
        environment={**dict.fromkeys(LEFT_OUT), "TERM": "xterm", **(environment or {})},
    )
    has_read = trio.Event()

    async def run() -> None:
        ended = await trio.to_thread.run_sync(start)
        os.close(its)  # so that whoever reads comes to the end
        await has_read.wait()
        terminal.note_the_end(ended)

    async def read() -> None:
        with suppress(trio.ClosedResourceError):  # hung up
            await terminal.read()
        has_read.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(read)
        try:
            yield terminal
        finally:
            nursery.cancel_scope.shield = True  # what is hung up on ends at once
            trio.lowlevel.notify_closing(ours)
            os.close(ours)
