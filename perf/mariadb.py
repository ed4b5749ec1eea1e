"""A MariaDB in a directory of its own, on a Unix socket: for the load harness, and for the tests. Debian's mariadb-server
brings it.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perf.programs import program

NO_MARIADB: Final = "MariaDB is not installed: make test-packages"
"""What whoever needs it says, and leaves it."""

DURABLE: Final = (
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=512M",
)
"""How an operator would run it, for what is measured."""

DATABASE: Final = "bbs"
"""What `fresh_mariadb` makes."""

START_S: Final = 120.0
STOP_S: Final = 60.0
POLL_S: Final = 0.02


class MariaDBFailed(Exception):
    """It is not installed, or does not start; the text holds what it printed."""


class MariaDB:
    """A server that runs. ``socket`` is where it listens."""

    def __init__(self, directory: Path, pid: int = 0) -> None:
        self.socket = directory / "socket"
        self.pid = pid

    def dsn_of(self, database: str, user: str = "root") -> str:
        """In upstream's form."""
        return f"{user}@unix({self.socket})/{database}"

    def url_of(self, database: str, user: str = "root") -> str:
        """For ``bbs serve --database-url``."""
        return f"mysql://{user}@/{database}?socket={self.socket}"

    def execute(self, statement: str, database: str = "", *, max_s: float = 60) -> str:
        """Have the client run it; what it prints. Blocks for ``max_s`` at most."""
        client = program("mariadb")
        assert client is not None, "Debian's mariadb-client comes with the server"
        return subprocess.run(
            [client, "--no-defaults", f"--socket={self.socket}", "--user=root", "-N", "-e", statement, database],
            check=True, capture_output=True, text=True, timeout=max_s,
        ).stdout  # fmt: skip

    def variables(self, *names: str) -> dict[str, str]:
        """Some of its settings."""
        wanted = ", ".join(f"'{name}'" for name in names)
        lines = self.execute(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({wanted})").splitlines()
        return dict(line.split("\t", 1) for line in lines)


def make_data(data: Path) -> None:
    """What a server needs to start, in a directory that is made for it.

    Raises:
      MariaDBFailed: MariaDB is not installed, or that can't be done.
    """
    install = program("mariadb-install-db")
    if install is None:
        raise MariaDBFailed(NO_MARIADB)
    made = subprocess.run(
        [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
         "--skip-test-db", "--skip-name-resolve", *_identity()],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S, check=False,
    )  # fmt: skip
    if made.returncode:
        raise MariaDBFailed(made.stdout + made.stderr)


def _identity() -> list[str]:
    """It refuses to be root's unless told so in these words."""
    return ["--user=root"] if os.geteuid() == 0 else []


@contextmanager
def running_mariadb(directory: Path, *options: str, port: int | None = None) -> Iterator[MariaDB]:
    """Make the data below ``directory``, if there are none, and run a server on them, with a ``port`` on 127.0.0.1 too.

    It does not sync, unless ``options``, which are for the server, say so (`DURABLE`): no test cuts the power.

    Raises:
      MariaDBFailed: there is none, or it does not start.
    """
    server = program("mariadbd")
    if server is None:
        raise MariaDBFailed(NO_MARIADB)
    data = directory / "data"
    if not data.exists():
        make_data(data)
    listening = ["--skip-networking"] if port is None else ["--bind-address=127.0.0.1", f"--port={port}"]
    with open(directory / "log", "ab") as log:
        process = subprocess.Popen(
            [server, "--no-defaults", f"--datadir={data}", f"--socket={directory / 'socket'}", *listening,
             f"--pid-file={directory / 'pid'}", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
             "--innodb-log-file-size=64M", "--performance-schema=OFF", *options, *_identity()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    maria = MariaDB(directory, process.pid)
    try:
        give_up_s = time.monotonic() + START_S
        while not maria.socket.exists():
            if process.poll() is not None or time.monotonic() > give_up_s:
                raise MariaDBFailed((directory / "log").read_text()[-2000:])
            time.sleep(POLL_S)
        yield maria
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()


@contextmanager
def fresh_mariadb(directory: Path) -> Iterator[MariaDB]:
    """One that is `DURABLE`, with an empty `DATABASE`.

    Raises:
      MariaDBFailed: there is none, or it does not start.
    """
    directory.mkdir()
    with running_mariadb(directory, *DURABLE) as server:
        server.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
        yield server
