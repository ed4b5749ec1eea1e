"""Whether this machine has room for as many connections as somebody asks for: told before anything is started."""

import resource
from pathlib import Path
from typing import Final

DESCRIPTORS_BESIDE: Final = 100
"""That a process has open beside its connections, at most."""


class TooFewDescriptors(ValueError):
    """This machine does not let a process have so many connections."""


class TooLittleMemory(ValueError):
    """This machine has not the memory for so many connections."""


def expect_descriptors(connections: int, *, of: str, instead: str) -> None:
    """Raises TooFewDescriptors if a process may not have so many ``connections``. The text says whose they are, and what to ask
    for ``instead``.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + DESCRIPTORS_BESIDE
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptors(
            f"{of} need {needed:,} file descriptors, here and in the server, and a process may have {hard:,}:"
            f" raise the hard limit (ulimit -Hn), or ask for {instead}"
        )


def expect_memory(needed_bytes: int, *, of: str, instead: str) -> None:
    """Raises TooLittleMemory if there is less of it than is ``needed_bytes``."""
    available = available_bytes()
    if available < needed_bytes:
        raise TooLittleMemory(
            f"{of} need about {needed_bytes / 1e9:.1f} GB of memory, and {available / 1e9:.1f} are available here:"
            f" ask for {instead}"
        )


def available_bytes() -> int:
    """What programs could have without anything being swapped out, as the kernel estimates it: see proc(5)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kilobytes) * 1024


def take_all_descriptors() -> None:
    """Raise this process' limit as far as it may: the usual 1,024 are not enough for a thousand streams."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
