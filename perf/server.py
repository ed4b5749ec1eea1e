"""A BBS of our own to measure: a subprocess with a database of its own, and what the two cost the machine.

Everything lives in a fresh temporary directory, which is removed at the end; the server is ended by its pid.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from perf.load import Target

START_MAX_S: Final = 240.0  # makes a Postgres data directory first, or reads 250,000 LRPs on a busy machine
STOP_MAX_S: Final = 30.0
CERTS_MAX_S: Final = 30.0
DATABASE_MAX_S: Final = 10.0
POLL_S: Final = 0.02
POSTGRES_PORT: Final = 5432  # of the embedded one; only names its socket

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ServerFailed(Exception):
    """The server did not start, or ended by itself; the text holds the end of what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CPU:
    """User and system time, in seconds; in steps of a clock tick, which is 10 ms on most kernels."""

    server_s: float
    database_s: float

    def __sub__(self, earlier: "CPU") -> "CPU":
        return CPU(server_s=self.server_s - earlier.server_s, database_s=self.database_s - earlier.database_s)

    def __add__(self, other: "CPU") -> "CPU":
        return CPU(server_s=self.server_s + other.server_s, database_s=self.database_s + other.database_s)


NO_CPU: Final = CPU(server_s=0.0, database_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. ``target`` shows the client certificate of ``certs_dir``, made by ``bbs certs``."""

    url: str
    pid: int
    target: Target
    certs_dir: Path
    data_dir: Path

    def cpu(self) -> CPU:
        """What server and the Postgres below it have used since they started, dead backends included."""
        return cpu_of(self.pid)

    def resident_bytes(self) -> int:
        """Memory of the server's process, without Postgres."""
        return resident_bytes_of(self.pid)

    def database_settings(self, *names: str) -> dict[str, str]:
        """What its Postgres says to ``SHOW name``: whether a figure was measured with fsync on."""
        return asyncio.run(_show((self.data_dir / "postgres.socket").resolve(), names))


def cpu_of(pid: int, database_pid: int | None = None) -> CPU:
    """What a server and its database have used since they started, dead backends included. The database is the process with
    ``database_pid``, else the Postgres below the server.

    Raises:
      ServerFailed: there is no such process any more.
    """
    database_s = 0.0
    if database_pid is not None:
        database = _stat(database_pid)
        if database is None:
            raise ServerFailed("the database has ended")
        database_s = database.cpu_s
    else:
        for descendant in _descendants(pid, _parents()):
            # A postmaster's own children (backends, writers) come up here while they live, and in its
            # waited-for time once they are dead.
            fields = _stat(descendant)
            if fields is not None and fields.command == "postgres":
                database_s += fields.cpu_s + fields.dead_children_cpu_s
    own = _stat(pid)
    if own is None:
        raise ServerFailed("the server has ended")
    return CPU(server_s=own.cpu_s, database_s=database_s)


def tree_cpu_s(pid: int) -> float:
    """What a process and all below it have used since they started, in seconds; the dead are included once somebody waited for
    them.
    """
    parents = _parents()
    found = (_stat(each) for each in (pid, *_descendants(pid, parents)))
    return sum(each.cpu_s + each.dead_children_cpu_s for each in found if each is not None)


def walsenders_cpu_s(postmaster_pid: int) -> dict[int, float]:
    """What the processes of a Postgres that send its log have used since they started, in seconds, by pid: one for each follower
    and standby.
    """
    found = {}
    for pid, parent in _parents().items():
        if parent != postmaster_pid:
            continue
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b" walsender " in title and (stat := _stat(pid)) is not None:
            found[pid] = stat.cpu_s
    return found


def resident_bytes_of(pid: int) -> int:
    """Memory of a process, without its children.

    Raises:
      ServerFailed: there is no such process any more.
    """
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except FileNotFoundError:
        raise ServerFailed("the server has ended") from None


@contextmanager
def fresh_home() -> Iterator[Path]:
    """A temporary directory with development certificates in ``certs``."""
    home = Path(tempfile.mkdtemp(prefix="bbs-perf-"))
    try:
        _run("certs", str(home / "certs"))
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A server's process; a standby's does not listen. ``log`` is what it writes to its standard error."""

    process: "subprocess.Popen[bytes]"
    home: Path
    printed: Path
    log: Path

    def running(self) -> Server:
        """Wait until it answers, at most `START_MAX_S`.

        Raises:
          ServerFailed: it does not, or ended.
        """
        url = _wait_until_listening(self.process, self.printed, self.log)
        certs = self.home / "certs"
        target = Target.from_url(
            url, ca=certs / "ca.crt", cert=certs / "client.crt", key=certs / "client.key"
        )
        return Server(
            url=url, pid=self.process.pid, target=target, certs_dir=certs, data_dir=self.home / "data"
        )

    def expect_alive(self) -> None:
        """Raises ServerFailed if it has ended."""
        if self.process.poll() is not None:
            raise ServerFailed(f"the server ended with code {self.process.returncode}:\n{tail_of(self.log)}")


BBS: Final = (sys.executable, "-m", "bbs")


@contextmanager
def spawned_server(
    home: Path,
    *arguments: str,
    name: str = "bbs",
    program: Sequence[str] = BBS,
    checkout: Path | None = None,
) -> Iterator[Spawned]:
    """``bbs serve`` in ``home``, stopped in the end. Two in one home share its keys, and so may share a database.

    ``checkout`` is the directory of another version of the code, which is run instead of this one.
    """
    certs = home / "certs"
    environment = os.environ if checkout is None else {**os.environ, "PYTHONPATH": str(checkout)}
    printed, log = home / f"{name}.stdout", home / f"{name}.stderr"
    with printed.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                *(*program, "serve"),
                *("--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0"),
                *("--data-dir", str(home / "data"), "--ca-file", str(certs / "ca.crt")),
                *("--cert-file", str(certs / "server.crt"), "--key-file", str(certs / "server.key")),
                *("--log-level", "error"),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=checkout,
            env=environment,
            process_group=0,  # the terminal's Ctrl-C is for the harness, which stops this one in its turn
        )
    try:
        yield Spawned(process=process, home=home, printed=printed, log=log)
    finally:
        stop(process)


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bbs", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CERTS_MAX_S,
        check=False,
    )
    if done.returncode != 0:
        raise ServerFailed(f"bbs {arguments[0]} ended with code {done.returncode}:\n{done.stderr}")


def _wait_until_listening(process: "subprocess.Popen[bytes]", printed: Path, complaints: Path) -> str:
    give_up_s = time.monotonic() + START_MAX_S
    while time.monotonic() < give_up_s:
        found = re.search(r"^listening on (\S+)$", printed.read_text(errors="replace"), re.MULTILINE)
        if found is not None:
            return found[1]
        if process.poll() is not None:
            raise ServerFailed(f"the server ended with code {process.returncode}:\n{tail_of(complaints)}")
        time.sleep(POLL_S)
    raise ServerFailed(f"the server does not answer after {START_MAX_S:.0f} s:\n{tail_of(complaints)}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server that we started, if it has not ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its Postgres ends with it
            process.wait()


def tail_of(file: Path) -> str:
    """The last lines of a log."""
    return "\n".join(file.read_text(errors="replace").splitlines()[-20:])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stat:
    command: str
    parent_pid: int
    cpu_s: float
    dead_children_cpu_s: float


def _stat(pid: int) -> _Stat | None:
    """``/proc/PID/stat``, see proc(5); None if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command is in parentheses and may hold some itself, so the numbers start after the last one.
    start, end = text.index("("), text.rindex(")")
    fields = text[end + 2 :].split()
    user, system, dead_user, dead_system = map(int, fields[11:15])
    return _Stat(
        command=text[start + 1 : end],
        parent_pid=int(fields[1]),
        cpu_s=(user + system) / _TICKS_PER_S,
        dead_children_cpu_s=(dead_user + dead_system) / _TICKS_PER_S,
    )


def _parents() -> dict[int, int]:
    stats = {
        int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    }
    return {pid: stat.parent_pid for pid, stat in stats.items() if stat is not None}


def _descendants(ancestor: int, parents: dict[int, int]) -> list[int]:
    found = [ancestor]
    for pid in found:  # grows while it is walked: generation by generation
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


@asynccontextmanager
async def own_postgres(socket_directory: Path) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A connection to the Postgres of a `bbs serve`. Runs under asyncio."""
    connection = await asyncpg.connect(
        host=str(socket_directory),
        port=POSTGRES_PORT,
        user="postgres",
        database="postgres",
        timeout=DATABASE_MAX_S,
        command_timeout=DATABASE_MAX_S,
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=DATABASE_MAX_S)


async def _show(socket_directory: Path, names: Sequence[str]) -> dict[str, str]:
    async with own_postgres(socket_directory) as connection:
        return {name: await connection.fetchval("SELECT current_setting($1)", name) for name in names}
