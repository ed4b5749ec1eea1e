"""Runs ``bbs`` as ``python -m bbs`` does, and notes how long its garbage collector runs where the harness can read it.

    python -P perf/observed.py FILE serve …

FILE is a few bytes of shared memory, see `LAYOUT`. A collection costs the server a microsecond more for it. This module
imports nothing of the harness, so that it can run beside any version of ``bbs`` that PYTHONPATH names.
"""

import gc
import mmap
import struct
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

LAYOUT: Final = struct.Struct("qqq")
"""Number of collections, the longest in ns, and all together in ns. Whoever reads the second may set it back to zero."""


def note_collections(file: Path) -> None:
    """Write to ``file``, which is made anew, after each collection from now on."""
    file.write_bytes(bytes(LAYOUT.size))
    with file.open("r+b") as opened:
        shared = mmap.mmap(opened.fileno(), LAYOUT.size)
    began_ns = 0

    def on_collection(phase: str, info: dict[str, Any]) -> None:
        nonlocal began_ns
        if phase == "start":
            began_ns = perf_counter_ns()
            return
        took_ns = perf_counter_ns() - began_ns
        count, longest_ns, total_ns = LAYOUT.unpack_from(shared)
        LAYOUT.pack_into(shared, 0, count + 1, max(longest_ns, took_ns), total_ns + took_ns)

    gc.callbacks.append(on_collection)


if __name__ == "__main__":
    note_collections(Path(sys.argv[1]))
    from bbs.commands.entry import main

    sys.exit(main(sys.argv[2:]))
