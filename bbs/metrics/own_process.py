"""What the operating system and the interpreter say of this process. Sent under the names of Go's runtime statistics."""

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory in use; 0 where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def stack_bytes() -> int:
    """The main thread's stack; 0 where there is no /proc."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmStk:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def open_file_descriptors() -> int:
    """0 where there is no /proc. The one that reads the directory counts, too."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


class GCPauses:
    """``last_ns`` is how long the last collection took, of any generation; 0 before the first. Counted while `watched`."""

    def __init__(self) -> None:
        self.last_ns = 0
        self._began_ns = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        gc.callbacks.append(self._on_collection)
        try:
            yield
        finally:
            gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, info: Mapping[str, Any]) -> None:
        if phase == "start":
            self._began_ns = perf_counter_ns()
        else:
            self.last_ns = perf_counter_ns() - self._began_ns
