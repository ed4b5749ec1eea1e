"""The queue of lines and its thread, on real pipes and files."""

import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bbs.log import LineStatistics, LineWriter, LineWriters
from tests.waiting import wait_until_blocking

PATIENCE_S = 30.0
"""For what happens at once, on a machine that has other things to do."""

BYTES_MAX = 10_000
SMALL_PIPE_BYTES = 4096
FILLING = b"x" * (SMALL_PIPE_BYTES - 1) + b"\n"


class Pipe:
    """A pipe with room for one page."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)
        self.closed: set[int] = set()

    def read(self, bytes_max: int = 1 << 20) -> bytes:
        return os.read(self.reader, bytes_max)

    def read_all(self) -> bytes:
        """Until the other end is closed."""
        self.close(self.writer)
        return b"".join(iter(self.read, b""))

    def close(self, descriptor: int) -> None:
        if descriptor not in self.closed:
            os.close(descriptor)
            self.closed.add(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close(pipe.reader)
    pipe.close(pipe.writer)


class Reader:
    """Reads a pipe in a thread of its own, from when it is started until the other end is closed."""

    def __init__(self, pipe: Pipe, *, bytes_max: int = 1 << 20) -> None:
        self._pipe = pipe
        self._pieces: list[bytes] = []
        self._bytes_max = bytes_max
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while piece := self._pipe.read(self._bytes_max):
            self._pieces.append(piece)

    def lines(self) -> list[bytes]:
        """All that were written, without their ends."""
        self._pipe.close(self._pipe.writer)
        self._thread.join()
        return b"".join(self._pieces).splitlines()


def numbered(number: int, *, length: int = 100) -> bytes:
    return f"{number:06}".encode().ljust(length - 1, b".") + b"\n"


def numbers(lines: list[bytes]) -> list[int]:
    for line in lines:
        assert line == numbered(int(line[:6]), length=len(line) + 1).rstrip(), line
    return [int(line[:6]) for line in lines]


def flooded(writers: LineWriters, pipe: Pipe) -> LineWriter:
    """A writer to a full pipe, whose queue is full after 100 of 1000 lines."""
    os.write(pipe.writer, FILLING)
    writer = writers.open("log", pipe.writer, bytes_max=BYTES_MAX)
    writer.notice = lambda number: f"dropped {number}\n".encode()
    for number in range(1000):
        writer.write(numbered(number))
    return writer


def test_lines_come_out_whole_and_in_order(pipe: Pipe) -> None:
    reader = Reader(pipe)
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)
        for number in range(5_000):
            writer.write(numbered(number))

    assert numbers(reader.lines()) == list(range(5_000))


def test_a_line_comes_out_though_no_other_follows(pipe: Pipe) -> None:
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)
        for number in range(3):
            writer.write(numbered(number))

            assert select.select([pipe.reader], [], [], PATIENCE_S)[0]
            assert pipe.read() == numbered(number)


def test_a_full_queue_drops_new_lines_and_says_in_their_place_how_many(pipe: Pipe) -> None:
    with LineWriters() as writers:
        writer = flooded(writers, pipe)
        assert writer.statistics() == LineStatistics(queued_bytes=BYTES_MAX, dropped=900, lost=0)
        reader = Reader(pipe)
        assert writer.wait_written(PATIENCE_S)
        for number in range(1000, 1010):
            writer.write(numbered(number))

    _, *lines = reader.lines()
    assert lines[100] == b"dropped 900"
    assert numbers(lines[:100] + lines[101:]) == [*range(100), *range(1000, 1010)]
    assert writer.statistics() == LineStatistics(queued_bytes=0, dropped=900, lost=0)


def test_a_full_queue_takes_nothing_new_until_half_of_it_is_out(pipe: Pipe) -> None:
    with LineWriters() as writers:
        writer = flooded(writers, pipe)
        assert pipe.read(SMALL_PIPE_BYTES) == FILLING
        wait_until_blocking(
            lambda: writer.statistics().queued_bytes < BYTES_MAX,
            within_s=PATIENCE_S,
            what="there is room again",
        )
        assert writer.statistics().queued_bytes > BYTES_MAX // 2

        writer.write(numbered(1000))

        reader = Reader(pipe)
    assert reader.lines()[-1] == b"dropped 901"


def test_a_line_may_come_from_the_midst_of_the_bookkeeping(pipe: Pipe) -> None:
    """As from a finalizer, when the garbage collector runs just there."""

    def notice(number: int) -> bytes:
        writer.write(numbered(2000))
        return numbered(2001)

    with LineWriters() as writers:
        writer = flooded(writers, pipe)
        writer.notice = notice
        reader = Reader(pipe)

    assert numbers(reader.lines()[-2:]) == [2000, 2001]


def test_a_line_longer_than_the_queue_goes_out(pipe: Pipe) -> None:
    reader = Reader(pipe)
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer, bytes_max=BYTES_MAX)
        writer.write(numbered(1, length=10 * BYTES_MAX))
        assert writer.wait_written(PATIENCE_S)
        writer.write(numbered(2))

    assert numbers(reader.lines()) == [1, 2]


def test_lines_are_not_torn_by_another_writer_to_the_same_pipe(pipe: Pipe) -> None:
    reader = Reader(pipe, bytes_max=100)
    with LineWriters() as writers:
        ours = writers.open("ours", pipe.writer)
        others = writers.open("others", pipe.writer)
        for number in range(2_000):
            ours.write(numbered(number))
            others.write(numbered(number, length=77))

    lines = reader.lines()
    assert numbers([line for line in lines if len(line) == 99]) == list(range(2_000))
    assert numbers([line for line in lines if len(line) == 76]) == list(range(2_000))


def test_lines_of_several_threads_all_come_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file, LineWriters() as writers:
        writer = writers.open("log", file.fileno())

        def flood() -> None:
            for number in range(2_000):
                writer.write(numbered(number))

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = sorted(numbers(path.read_bytes().splitlines()))

    assert written == sorted([*range(2_000)] * 4)
    assert writer.statistics().queued_bytes == 0


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)
        for number in range(200):
            writer.write(numbered(number, length=5_000))
        reader = Reader(pipe)

    assert numbers(reader.lines()) == list(range(200))
    assert writer.statistics().lost == 0


def test_lines_that_cannot_be_written_are_lost_and_counted() -> None:
    with open("/dev/full", "wb", buffering=0) as full, LineWriters() as writers:
        writer = writers.open("log", full.fileno())
        for number in range(100):
            writer.write(numbered(number))

    assert writer.statistics().lost == 100
    assert writer.statistics().dropped == 0


def test_lines_whose_reader_is_gone_are_lost(pipe: Pipe) -> None:
    pipe.close(pipe.reader)
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)
        writer.write(numbered(1))

    assert writer.statistics().lost == 1


def test_a_line_that_the_disk_cut_short_is_lost_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("ab", buffering=0) as file, LineWriters() as writers:
        writer = writers.open("log", file.fileno())
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, limits[1]))
        try:
            for number in range(4):
                writer.write(numbered(number))
            assert writer.wait_written(PATIENCE_S)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.write(numbered(4))

    lines = path.read_bytes().splitlines()
    assert numbers([lines[0], lines[1], lines[3]]) == [0, 1, 4]
    assert lines[2] == numbered(2)[:50]
    assert writer.statistics().lost == 2


def test_the_end_does_not_wait_for_ever_for_a_reader(pipe: Pipe) -> None:
    with LineWriters(end_max_s=0.05) as writers:
        writer = flooded(writers, pipe)

    assert writer.statistics().queued_bytes > 0
    pipe.close(pipe.reader)
    writer.join(PATIENCE_S)
    assert writer.statistics().queued_bytes == 0


def test_a_line_that_comes_after_the_end_is_dropped(pipe: Pipe) -> None:
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)

    writer.write(numbered(1))

    assert writer.statistics().dropped == 1
    assert pipe.read_all() == b""


def test_writing_through_a_line_is_out_before_the_next_step(pipe: Pipe) -> None:
    os.set_blocking(pipe.reader, False)
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)
        writer.write_through(PATIENCE_S)
        for number in range(100):
            writer.write(numbered(number))
            assert pipe.read() == numbered(number)


def test_writing_through_waits_once_for_a_reader_that_is_not_there(pipe: Pipe) -> None:
    with LineWriters() as writers:
        writer = writers.open("log", pipe.writer)
        writer.write_through(0.2)
        began = time.monotonic()
        for number in range(1000):
            writer.write(numbered(number))

        assert time.monotonic() - began < PATIENCE_S  # each for itself would take 200 s
        pipe.close(pipe.reader)


CHATTY = """
import logging, sys, warnings
from bbs.log import standard_streams
with standard_streams(log="stdout") as streams:
    for number in range(int(sys.argv[1])):
        streams.log.write(b"line %06d\\n" % number)
        if number % 1000 == 0:
            print("printed", number, file=sys.stderr)
    warnings.warn("warned")
    logging.getLogger("other").warning("logged")
    if sys.argv[2] == "crash":
        raise ZeroDivisionError("crashed")
"""


def chatty(lines: int, end: str) -> list[str]:
    return [sys.executable, "-c", CHATTY, str(lines), end]


def test_a_crash_is_told_after_all_that_was_logged() -> None:
    result = subprocess.run(
        chatty(3_000, "crash"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        check=False,
        text=True,
    )

    lines = result.stdout.splitlines()
    assert result.returncode == 1
    assert [line for line in lines if line.startswith("line ")] == [f"line {n:06}" for n in range(3_000)]
    assert [line for line in lines if line.startswith("printed ")] == [
        f"printed {n}" for n in (0, 1000, 2000)
    ]
    assert "logged" in lines
    assert any("warned" in line for line in lines)
    trace = lines.index("Traceback (most recent call last):")
    assert trace > lines.index("line 002999")
    assert lines.count("Traceback (most recent call last):") == 1
    assert lines[-1] == "ZeroDivisionError: crashed"


@pytest.mark.parametrize(("end", "exit_code"), [("well", 0), ("crash", 1)])
def test_a_process_whose_output_nobody_reads_ends_all_the_same(end: str, exit_code: int) -> None:
    with subprocess.Popen(chatty(100_000, end), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.wait(timeout=PATIENCE_S) == exit_code
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
