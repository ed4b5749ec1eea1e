"""Lines that go out beside the event loop: a bounded queue for each stream, and a thread that writes what is in it.

A write to a pipe blocks while the pipe is full, for as long as nobody reads; so does one to a disk that hangs. Only the
stream's own thread may wait for that. Whoever has a line puts it into the queue and goes on.

The policy for "full" is drop and count. Once a queue is full, new lines are dropped until half of it is written: one
gap rather than many. A line of its own stands in the place of the gap and says how many are missing.

The thread writes what it finds, then rests for `REST_S` before it looks again. Under load it so writes many lines at
once, and needs neither be woken nor take the interpreter's lock from the event loop for each of them.
"""

import os
import select
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, RLock, Thread
from types import TracebackType
from typing import Final

BYTES_MAX: Final = 16 << 20
"""Bytes of lines that may wait in one queue. Full load at info is about 3,000 requests a second with two lines of 400
bytes each, 2.4 MB: so readers may stop for five seconds or more (a log shipper that starts anew) before anything is
missing. It is small beside the memory of a server with many LRPs, which is hundreds of megabytes."""

REST_S: Final = 0.01
"""Pause of a thread that has written all there was: how old a line may grow before it is written."""

IDLE_S: Final = 1.0
"""How long a thread that nobody wakes waits before it looks again all the same."""

END_MAX_S: Final = 5.0
"""How long the end of the process waits for readers, for all streams together."""

FILE_BYTES: Final = 64 << 10
"""Bytes of one write to a file. A pipe or terminal may have several writers and gets at most PIPE_BUF bytes at a time:
POSIX promises that such a write is not mixed with those of others, so lines stay whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStatistics:
    queued_bytes: int
    """Bytes of lines that wait or are being written."""
    dropped: int
    """Lines since the start that found the queue full."""
    lost: int
    """Lines since the start whose write failed: the disk is full, or the reader gone."""


def plain_notice(number: int) -> bytes:
    """What stands for lines that were dropped, in the style of Go's log package."""
    return f"{time.strftime('%Y/%m/%d %H:%M:%S')} log-lines-dropped: {number}\n".encode()


class LineWriter:
    """One stream's queue and thread. Made by `LineWriters.open`, which also ends it.

    ``notice`` makes the line that stands for dropped ones, of their number; it is called from the thread.
    """

    def __init__(self, descriptor: int, *, bytes_max: int, closes_descriptor: bool) -> None:
        self.notice: Callable[[int], bytes] = plain_notice
        self._descriptor = descriptor
        self._closes_descriptor = closes_descriptor
        self._bytes_max = bytes_max
        self._write_bytes_max = _write_bytes_max(descriptor)
        self._through_s = 0.0
        self._lost = 0
        self._is_cut = False  # the last line that is out lacks its end
        # All below is guarded by one lock, which nobody holds during a write or a wait. A thread may take it twice: the
        # garbage collector can run while the lock is held, and a finalizer that it calls may log something. With a plain
        # lock that thread would wait for itself.
        self._lock = RLock()
        self._is_news = Condition(self._lock)  # for the thread
        self._is_written = Condition(self._lock)  # for those who wait until all is out
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_idle = False  # the thread waits for the next line
        self._drops = False
        self._untold = 0  # dropped since the last notice
        self._dropped = 0
        self._is_ending = False
        # A daemon, so that the interpreter does not wait for a write that never returns: `LineWriters` waits, for a
        # bounded time.
        self._thread = Thread(target=self._run, name=f"lines-{descriptor}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def write(self, line: bytes, /) -> None:
        """Have a whole line, or several, written. May be called from any thread; does not block, and does not raise."""
        line_bytes = len(line)
        with self._lock:
            if self._drops:
                self._untold += 1
                self._dropped += 1
                return
            self._lines.append(line)
            self._queued_bytes += line_bytes
            if self._queued_bytes >= self._bytes_max:
                self._drops = True
            if self._is_idle:
                self._is_idle = False
                self._is_news.notify()
        if self._through_s and not self.wait_written(self._through_s):
            self._through_s = 0.0

    def write_through(self, within_s: float) -> None:
        """From now on `write` waits until its line is out, but at most ``within_s`` seconds.

        After one vain wait none waits any more: nobody reads, and each further line would add to the delay.
        """
        self._through_s = within_s

    def write_behind(self) -> None:
        """Undo `write_through`: `write` does not wait any more."""
        self._through_s = 0.0

    def wait_written(self, within_s: float) -> bool:
        """Block until all lines are out or lost, but no longer than that; whether they are."""
        with self._lock:
            self._is_news.notify()
            return self._is_written.wait_for(lambda: self._queued_bytes == 0, within_s)

    def statistics(self) -> LineStatistics:
        return LineStatistics(queued_bytes=self._queued_bytes, dropped=self._dropped, lost=self._lost)

    def end(self) -> None:
        """Have the thread end once all that waits is written."""
        with self._lock:
            self._is_ending = True
            self._is_news.notify()

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)

    def _run(self) -> None:
        written_bytes = 0
        while lines := self._next(written_bytes):
            self._write_out(lines)
            written_bytes = sum(map(len, lines))
        if self._closes_descriptor:
            os.close(self._descriptor)

    def _next(self, written_bytes: int) -> list[bytes]:
        """Take ``written_bytes`` off the queue's account, wait for lines, and return those for the next write; an empty
        list if the thread is to end.
        """
        with self._lock:
            self._queued_bytes -= written_bytes
            if self._drops and self._queued_bytes <= self._bytes_max // 2:
                self._accept_again()
            if not self._lines:
                self._is_written.notify_all()
                if not self._is_ending:
                    self._is_news.wait(REST_S)
            while not self._lines:
                if self._is_ending:
                    self._drops = True
                    return []
                self._is_idle = True
                # Not for ever: a finalizer's line that comes just before the wait wakes nobody.
                self._is_news.wait(IDLE_S)
            self._is_idle = False
            return self._taken()

    def _accept_again(self) -> None:
        self._drops = False
        if self._untold:
            notice = self.notice(self._untold)
            self._untold = 0
            self._lines.append(notice)
            self._queued_bytes += len(notice)

    def _taken(self) -> list[bytes]:
        """Whole lines from the queue, as many as fit into one write, and at least one even if it is longer."""
        line = self._lines.popleft()
        taken, room = [line], self._write_bytes_max - self._is_cut - len(line)
        while self._lines and (room := room - len(self._lines[0])) >= 0:
            taken.append(self._lines.popleft())
        return taken

    def _write_out(self, lines: list[bytes]) -> None:
        # A full disk may have taken only the first part of a line. Without the missing line end the next line would be
        # appended to that part, and readers would lose both.
        cut_end = b"\n" if self._is_cut else b""
        data = b"".join((cut_end, *lines))
        written = 0
        try:
            while written < len(data):  # a signal or a nearly full disk may cut a write short
                written += self._write_some(data[written:])
            self._is_cut = False
        except OSError:
            if written:
                self._is_cut = data[written - 1 : written] != b"\n"
            end = len(cut_end)
            for line in lines:
                end += len(line)
                self._lost += end > written

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Somebody who shares this stream made it non-blocking. Without a deadline, as a write that blocks.
            writable = select.poll()
            writable.register(self._descriptor, select.POLLOUT)
            writable.poll()
            return 0


class LineWriters:
    """Owns the threads of all streams: those opened inside the ``with`` end with it.

    The end waits until all that was put into their queues is written, together at most ``end_max_s``. A thread whose
    write is stuck longer is left behind, and ends with the process.
    """

    def __init__(self, *, end_max_s: float = END_MAX_S) -> None:
        self._end_max_s = end_max_s
        self._writers: dict[str, LineWriter] = {}

    def open(
        self, name: str, descriptor: int, *, bytes_max: int = BYTES_MAX, closes_descriptor: bool = False
    ) -> LineWriter:
        """Start to write to a descriptor, which belongs to the caller unless it is to be closed in the end.

        ``name`` is for `statistics`.
        """
        assert name not in self._writers
        writer = LineWriter(descriptor, bytes_max=bytes_max, closes_descriptor=closes_descriptor)
        writer.start()
        self._writers[name] = writer
        return writer

    def statistics(self) -> dict[str, LineStatistics]:
        """The statistics of each stream, by the name it was opened with."""
        return {name: writer.statistics() for name, writer in self._writers.items()}

    def __enter__(self) -> "LineWriters":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + self._end_max_s
        for writer in self._writers.values():
            writer.end()
        for writer in self._writers.values():
            writer.join(max(0.0, deadline - time.monotonic()))


def _write_bytes_max(descriptor: int) -> int:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:  # it is closed, and all lines will be lost
        return select.PIPE_BUF
    return FILE_BYTES if stat.S_ISREG(mode) else select.PIPE_BUF
