"""Where the databases of the suite keep their files: in memory, if there is room.

To make and drop a database for a test took 1 s and 0.26 s of CPU time on the disk of a busy machine, however little it
syncs, and in memory 0.2 s and 0.05 s. No test cuts the power, so none can tell the difference.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

IN_MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 3 << 30
"""Of the file system as well as of memory: each process of the suite fills at most half a GB, most of it with logs of changes."""


@contextmanager
def scratch_directory(prefix: str = "bbs-tests-") -> Iterator[Path]:
    """A directory that is removed in the end. Not in pytest's own, which another session on this machine would close to the
    databases' user.
    """
    directory = made_scratch_directory(prefix)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def made_scratch_directory(prefix: str = "bbs-tests-") -> Path:
    """The same, for whoever removes it."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_in_memory_or_not()))


@cache
def _in_memory_or_not() -> Path | None:
    """None stands for where temporary files are."""
    try:
        has_room = shutil.disk_usage(IN_MEMORY).free >= ROOM_BYTES and _available_bytes() >= ROOM_BYTES
    except OSError:
        return None
    return IN_MEMORY if has_room and os.path.ismount(IN_MEMORY) and os.access(IN_MEMORY, os.W_OK) else None


def _available_bytes() -> int:
    meminfo = Path("/proc/meminfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in meminfo)
    return int(fields["MemAvailable"].split()[0]) * 1024
