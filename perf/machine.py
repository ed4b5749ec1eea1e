"""What the machine is, and how much of it others use while something is measured: a busy machine's figures are not a quiet one's."""

import os
import platform
import ssl
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import bbs
from perf.server import tree_cpu_s

QUIET_LOAD: Final = 0.25
"""Of the load average per core, before anything of ours runs."""

QUIET_SHARE: Final = 0.1
"""Of the machine's processor time, used by others while something is measured."""

COMMAND_MAX_S: Final = 10.0

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def facts() -> dict[str, str]:
    """The machine, and the versions of what is measured and measures."""
    return {
        "measured at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cores()} cores ({_processor()}), {_memory_gb():.0f} GB of memory",
        "kernel": platform.release(),
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "bbs": f"{bbs.__version__}{_revision(Path(bbs.__file__).parent)}",
    }


def cores() -> int:
    return len(os.sched_getaffinity(0))


def load_average() -> float:
    """The mean number of processes that ran or wanted to, over the last minute."""
    return os.getloadavg()[0]


def why_not_quiet() -> str:
    """Before a run: why its figures are going to be worse than the machine allows; empty if it is quiet."""
    load = load_average()
    if load <= QUIET_LOAD * cores():
        return ""
    return f"the machine is not quiet: its load average is {load:.1f} before anything was started"


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds: the clock, processor time that anybody used of this machine, and what this process and all below it did."""

    clock_s: float
    all_s: float
    ours_s: float

    @classmethod
    def now(cls) -> Self:
        return cls(time.monotonic(), _busy_s(), tree_cpu_s(os.getpid()))

    def others_since(self, before: "Moment") -> float:
        """The mean number of cores that others used in between. What a hypervisor gave to other machines is among it."""
        passed_s = max(self.clock_s - before.clock_s, 1e-3)
        return max(0.0, (self.all_s - before.all_s - (self.ours_s - before.ours_s)) / passed_s)


def _busy_s() -> float:
    """Of all cores together, see proc(5): all but idle and iowait; the time of guests is in that of user already."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _revision(directory: Path) -> str:
    """Of the checkout, marked if it was changed; empty without git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_MAX_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f" at {found.stdout.strip()}" if found.returncode == 0 else ""
