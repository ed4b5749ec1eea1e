"""What a cluster needs beside the project: Patroni in an environment of its own, etcd, and the tool that gives up root.

`python -m tests.cluster.packages --install` installs what Debian has, if it runs as root on a Debian; then it says what is
missing. Patroni's environment is made by `make cluster-packages`, from `locks/cluster.txt`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PATRONI: Final = Path(__file__).parents[2] / ".venv-cluster" / "bin" / "patroni"
DEBIAN: Final = {"etcd": "etcd-server", "pgbouncer": "pgbouncer", "setpriv": "util-linux"}
"""Which package brings which program."""
APT_MAX_S: Final = 300

_SBIN: Final = "/usr/sbin"
"""Where Debian puts PgBouncer; not everybody's PATH has it."""


def program(name: str) -> str | None:
    """The path of a program, or None if it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_SBIN)


def missing_for_a_cluster() -> list[str]:
    """What has to be installed before a cluster can be started, in words."""
    missing = [
        f"{name} (Debian's package {DEBIAN[name]})" for name in ("etcd", "setpriv") if program(name) is None
    ]
    if not PATRONI.exists():
        missing.append("Patroni (`make cluster-packages`)")
    return missing


def install() -> None:
    """Install what Debian has of the missing ones. What goes wrong is said, and ends nothing."""
    packages = [package for name, package in DEBIAN.items() if program(name) is None]
    if not packages or os.geteuid() != 0 or program("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            done = subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=60", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=APT_MAX_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"apt-get {command[0]} took more than {APT_MAX_S} s", file=sys.stderr)
            return
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}", file=sys.stderr)


if __name__ == "__main__":
    if "--install" in sys.argv[1:]:
        install()
    for each in missing_for_a_cluster():
        print(f"missing for the tests of a cluster: {each}")
    if program("pgbouncer") is None:
        print("missing for the tests with PgBouncer: pgbouncer (Debian's package of that name)")
