"""A flame graph of a server while it is measured, by py-spy, which reads the process from outside."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SAMPLES_PER_S: Final = 100
DURATION_MAX_S: Final = 3600
STOP_MAX_S: Final = 60.0


class NoProfiler(Exception):
    """py-spy is not installed, or may not look at the server."""


def profiler() -> str:
    """The path of py-spy.

    Raises:
      NoProfiler: it is not installed.
    """
    beside = Path(sys.executable).parent / "py-spy"
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise NoProfiler("py-spy is not installed: pip install 'bbs[perf]'")
    return found


@contextmanager
def profiled(pid: int, file: Path) -> Iterator[None]:
    """Write a flame graph of what the process does while the context is entered to ``file``.

    Raises:
      NoProfiler: it could not.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["--pid", str(pid), "--output", str(file), "--rate", str(SAMPLES_PER_S)]
    process = subprocess.Popen(
        [profiler(), "record", *arguments, "--duration", str(DURATION_MAX_S), "--nonblocking"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # the terminal's Ctrl-C is for the harness, which stops this one in its turn
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)  # which makes it write what it has
        try:
            _, said = process.communicate(timeout=STOP_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
    if not file.exists():
        raise NoProfiler(f"py-spy: {said.strip()[-500:]}")
