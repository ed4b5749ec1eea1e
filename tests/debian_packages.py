"""What tests need that is no Python package: Debian's packages of databases, of shells, of other languages, of a clock that jumps,
of a browser, and of what reads the files of `packaging/`.

`python -m tests.debian_packages --install` installs those that are missing, if it runs as root on a Debian; `make test` runs
it. Nothing is started by that. It then says which tests are skipped for want of what.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from perf.programs import program

APT_MAX_S: Final = 600


def faketime() -> Path | None:
    """The library that fakes the clock of a program it is loaded into."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


GALERA: Final = Path("/usr/lib/galera/libgalera_smm.so")
"""What makes MariaDB servers a cluster."""

PROGRAMS: Final = {
    "chromium": ("chromium", "of the dashboard in a browser"),
    "etcd": ("etcd-server", "of a Postgres cluster"),
    "pgbouncer": ("pgbouncer", "with PgBouncer"),
    "setpriv": ("util-linux", "of a Postgres cluster"),
    "mariadbd": ("mariadb-server", "on MariaDB"),
    "rsync": ("rsync", "on a Galera cluster"),
    "fish": ("fish", "of completion in fish"),
    "zsh": ("zsh", "of completion in zsh"),
    "ruby": ("ruby", "of stubs in Ruby, and of the BOSH job's templates"),
    "promtool": ("prometheus", "of the rules for Prometheus"),
    "protoc": ("protobuf-compiler", "of stubs in Ruby and Go"),
    "go": ("golang-go", "of stubs in Ruby and Go"),
    "protoc-gen-go": ("protoc-gen-go", "of stubs in Ruby and Go"),
}
"""Which package brings which program, and which tests need it."""

LIBRARIES: Final = {
    Path("/usr/lib/ruby/vendor_ruby/google/protobuf.rb"): ("ruby-google-protobuf", "of stubs in Ruby and Go"),
    Path("/usr/share/gocode/src/google.golang.org/protobuf"): (
        "golang-google-protobuf-dev",
        "of stubs in Ruby and Go",
    ),
}
"""The same for what is no program."""


def missing() -> dict[str, str]:
    """The packages that are missing, and which tests are skipped without them."""
    found = {package: tests for name, (package, tests) in PROGRAMS.items() if program(name) is None}
    found |= {package: tests for path, (package, tests) in LIBRARIES.items() if not path.exists()}
    if not GALERA.exists():
        found["galera-4"] = "on a Galera cluster"
    if faketime() is None:
        found["libfaketime"] = "of clock jumps"
    return found


def install() -> None:
    """Install what is missing. What goes wrong is said, and ends nothing."""
    packages = list(missing())
    if not packages or os.geteuid() != 0 or program("apt-get") is None:
        return
    print(f"installing {', '.join(packages)}: a minute or so", flush=True)
    # With this run level Debian's packages do not start the servers that they bring.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
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
    for package, tests in missing().items():
        print(f"tests {tests} are skipped: Debian's package {package} is not installed")
