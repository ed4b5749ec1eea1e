"""What a cluster needs beside the project: Patroni in an environment of its own, etcd, and the tool that gives up root.

Patroni's environment is made by `make cluster-packages`, from `locks/cluster.txt`; for the others see
`tests/debian_packages.py`.
"""

from pathlib import Path
from typing import Final

from perf.programs import program
from tests.debian_packages import PROGRAMS

PATRONI: Final = Path(__file__).parents[2] / ".venv-cluster" / "bin" / "patroni"


def missing_for_a_cluster() -> list[str]:
    """What has to be installed before a cluster can be started, in words."""
    missing = [
        f"{name} (Debian's package {PROGRAMS[name][0]})"
        for name in ("etcd", "setpriv")
        if program(name) is None
    ]
    if not PATRONI.exists():
        missing.append("Patroni (`make cluster-packages`)")
    return missing
