"""A MariaDB of the suite's own, in a directory of its own, on a Unix socket. Debian's mariadb-server brings it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.debian_packages import program
from tests.waiting import wait_until_blocking

NO_MARIADB: Final = "MariaDB is not installed: make test-packages"
"""Why a test is skipped."""

START_S: Final = 120.0
STOP_S: Final = 60.0


class MariaDB:
    """A server that runs. ``socket`` is where it listens."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "socket"

    def dsn_of(self, database: str) -> str:
        """In upstream's form."""
        return f"root@unix({self.socket})/{database}"

    def url_of(self, database: str) -> str:
        """For ``bbs serve --database-url``."""
        return f"mysql://root@/{database}?socket={self.socket}"

    def execute(self, statement: str, database: str = "") -> str:
        """Have the client run it; what it prints."""
        client = program("mariadb")
        assert client is not None, "Debian's mariadb-client comes with the server"
        return subprocess.run(
            [client, "--no-defaults", f"--socket={self.socket}", "--user=root", "-N", "-e", statement, database],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip


@contextmanager
def running_mariadb(directory: Path, *options: str, port: int | None = None) -> Iterator[MariaDB]:
    """Make the data below ``directory``, if there are none, and run a server on them, with a ``port`` on 127.0.0.1 too.

    It does not sync, unless ``options``, which are for the server, say so: no test cuts the power.
    """
    server, install = program("mariadbd"), program("mariadb-install-db")
    assert server is not None
    assert install is not None
    data = directory / "data"
    # It refuses to be root's unless told so in these words.
    identity = ["--user=root"] if os.geteuid() == 0 else []
    if not data.exists():
        made = subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", "--skip-name-resolve", *identity],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
    maria = MariaDB(directory)
    listening = ["--skip-networking"] if port is None else ["--bind-address=127.0.0.1", f"--port={port}"]
    with open(directory / "log", "ab") as log:
        process = subprocess.Popen(
            [server, "--no-defaults", f"--datadir={data}", f"--socket={maria.socket}", *listening,
             f"--pid-file={directory / 'pid'}", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
             "--innodb-log-file-size=64M", "--performance-schema=OFF", *identity, *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_blocking(
            lambda: maria.socket.exists() or process.poll() is not None,
            within_s=START_S,
            what="MariaDB listens",
        )
        assert process.poll() is None, (directory / "log").read_text()[-2000:]
        yield maria
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
