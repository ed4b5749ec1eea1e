"""Standard output and standard error of a server's process, which nobody may block on.

Not only our own lines: whatever Python code writes to ``sys.stdout`` or ``sys.stderr`` (tracebacks, warnings, other
libraries' logs) goes through the same queues.
"""

import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Final, Literal, cast

from bbs.log.lines import BYTES_MAX, LineWriter, LineWriters

STDOUT: Final = 1
STDERR: Final = 2

OTHER_BYTES_MAX: Final = 1 << 20
"""Bytes that may wait in the queue of the stream that is not the log's: ten thousand lines about failed handshakes of 100
bytes each, or hundreds of tracebacks."""

BEFORE_TRACE_S: Final = 1.0
"""How long the traceback of a crash waits for the lines that were logged before it."""

EXIT_CRASHED: Final = 1
"""As the interpreter itself exits after an exception that nobody caught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardStreams:
    """``log`` writes to the stream that the log goes to; ``writers`` owns both streams and may open more."""

    writers: LineWriters
    log: LineWriter


@contextmanager
def standard_streams(*, log: Literal["stdout", "stderr"]) -> Iterator[StandardStreams]:
    """Write both standard streams beside the event loop, until the process is about to end.

    An exception that leaves the block has its traceback written here, through the queue: left to the interpreter, the
    traceback would be written directly and could block for ever on a full pipe.

    Raises:
      SystemExit: with `EXIT_CRASHED`, in the place of such an exception.
    """
    with LineWriters() as writers:
        opened = {
            name: writers.open("log", descriptor, bytes_max=BYTES_MAX)
            if name == log
            else writers.open(name, descriptor, bytes_max=OTHER_BYTES_MAX)
            for name, descriptor in (("stdout", STDOUT), ("stderr", STDERR))
        }
        out, err = _text(opened["stdout"], STDOUT), _text(opened["stderr"], STDERR)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                yield StandardStreams(writers=writers, log=opened[log])
            except (Exception, BaseExceptionGroup) as crash:
                opened[log].wait_written(BEFORE_TRACE_S)
                traceback.print_exception(crash)
                raise SystemExit(EXIT_CRASHED) from crash
            finally:
                out.flush()
                err.flush()


class _RawLines(io.RawIOBase):
    """What a text stream writes its bytes to: each write goes into the queue and never blocks."""

    def __init__(self, lines: LineWriter, descriptor: int) -> None:
        self._lines = lines
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: object, /) -> int:
        line = bytes(cast(bytes, data))
        self._lines.write(line)
        return len(line)


def _text(lines: LineWriter, descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        cast(io.BufferedWriter, _RawLines(lines, descriptor)),  # as Python's own, when they are unbuffered
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
