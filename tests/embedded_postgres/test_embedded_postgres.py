"""spec: config.md, section 6 (process rules). Real processes, so real time."""

import asyncio
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trio

from bbs.embedded_postgres import (
    EmbeddedPostgresFailed,
    EmbeddedPostgresLost,
    account,
    embedded_postgres,
    embedded_postgres_blocking,
    postmaster,
    watch,
)
from bbs.log import null_logger
from tests.log_lines import Lines
from tests.made_once import copy_cluster
from tests.scratch import scratch_directory

pytestmark = pytest.mark.postgres

CHECKOUT = Path(__file__).parents[2]
UNSYNCED = {"fsync": "off"}

# Serves until killed; says its postmaster's pid.
PARENT = """
import sys
from pathlib import Path
from typing import Any
from bbs.embedded_postgres import embedded_postgres_blocking
with embedded_postgres_blocking(Path(sys.argv[1]), settings={"fsync": "off"}) as postgres:
    print(postgres.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def empty_path() -> Iterator[Path]:
    with scratch_directory("bbs-embedded-") as directory:
        yield directory


@pytest.fixture
def tmp_path(empty_path: Path) -> Path:
    """With data that were made before, which saves a second of computing."""
    copy_cluster(empty_path)
    return empty_path


def query(dsn: str, statement: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def is_running(pid: int) -> bool:
    """A zombie has ended: whoever adopts orphans here may be slow to take note of it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_it_runs_while_the_context_is_entered(empty_path: Path) -> None:
    async with embedded_postgres(empty_path, settings=UNSYNCED) as postgres:
        answer = await trio.to_thread.run_sync(query, postgres.dsn, "SELECT 40 + 2")

        assert answer == 42
        assert is_running(postgres.pid)

    assert not is_running(postgres.pid)
    assert not postgres.socket_directory.exists()
    assert sorted(os.listdir(empty_path)) == ["postgres", "postgres.log"]


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        query(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS n")

    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        assert query(postgres.dsn, "SELECT n FROM kept") == 7


def test_it_syncs_unless_told_otherwise_and_has_neither_tcp_nor_locale(empty_path: Path) -> None:
    with embedded_postgres_blocking(empty_path) as postgres:
        assert query(postgres.dsn, "SHOW fsync") == "on"
        assert query(postgres.dsn, "SHOW listen_addresses") == ""
        assert query(postgres.dsn, "SHOW server_encoding") == "UTF8"
        assert query(postgres.dsn, "SELECT datcollate FROM pg_database WHERE datname = 'template0'") == "C"


def test_nobody_else_can_enter_the_socket_directory(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        assert stat.S_IMODE(postgres.socket_directory.stat().st_mode) == 0o700


def test_private_and_very_long_parents_do_not_matter(empty_path: Path) -> None:
    private = Path(tempfile.mkdtemp(dir=empty_path))
    data_dir = private / ("long-" * 30) / "data"

    with embedded_postgres_blocking(data_dir, settings=UNSYNCED) as postgres:
        assert query(postgres.dsn, "SELECT 1") == 1

    assert not private.stat().st_mode & stat.S_IRWXO


def test_the_postmaster_gets_no_ctrl_c_of_ours(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        assert os.getsid(postgres.pid) == postgres.pid


def test_a_killed_parent_takes_its_postmaster_along_and_can_be_followed_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        old_socket_directory = (tmp_path / "postgres.socket").readlink()

        parent.send_signal(signal.SIGKILL)

        # The end of the pipe: the postmaster holds no copy of our standard output.
        assert parent.stdout.read() == b""
        with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
            assert not is_running(pid)
            assert not old_socket_directory.exists()
            assert query(postgres.dsn, "SELECT 1") == 1


def test_a_directory_in_use_is_refused_by_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "LEFTOVER_MAX_S", 0.0)
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as first:
        with (
            pytest.raises(
                EmbeddedPostgresFailed, match=rf"another Postgres \(pid .*\b{first.pid}\b.*\) still runs"
            ),
            embedded_postgres_blocking(tmp_path),
        ):
            pytest.fail("started twice")

        assert query(first.dsn, "SELECT 1") == 1


def test_a_failed_start_tells_the_end_of_the_log(tmp_path: Path) -> None:
    with (
        pytest.raises(EmbeddedPostgresFailed, match='parameter "fsync" requires a Boolean value'),
        embedded_postgres_blocking(tmp_path, settings={"fsync": "perhaps"}),
    ):
        pytest.fail("started with a bad setting")

    assert not (tmp_path / "postgres.socket").is_symlink()


def test_data_of_another_major_version_is_told_apart(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("9.6\n")

    with (
        pytest.raises(EmbeddedPostgresFailed, match="another major version"),
        embedded_postgres_blocking(tmp_path, settings=UNSYNCED),
    ):
        pytest.fail("started on foreign data")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        pytest.param(lambda path: path.write_text(""), "cannot run Postgres in .*File exists", id="a file"),
        pytest.param(
            lambda path: (path / "postgres" / "letters").mkdir(parents=True),
            "neither empty nor a Postgres data directory",
            id="somebody's files",
        ),
    ],
)
def test_an_unfit_directory_is_refused(
    empty_path: Path, prepare: Callable[[Path], object], says: str
) -> None:
    data_dir = empty_path / "data"
    prepare(data_dir)

    with pytest.raises(EmbeddedPostgresFailed, match=says), embedded_postgres_blocking(data_dir):
        pytest.fail("started on it")


async def test_a_start_that_is_cancelled_leaves_no_process(empty_path: Path) -> None:
    with trio.move_on_after(0.1) as scope:
        async with embedded_postgres(empty_path, settings=UNSYNCED):
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert postmaster.postgres_pids_in(empty_path / "postgres.new") == []
    assert postmaster.postgres_pids_in(empty_path / "postgres") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_runs_as_an_ordinary_user(empty_path: Path) -> None:
    # In a user namespace we are that user and still own the interpreter's files, wherever they lie.
    as_user = ["unshare", "--user", f"--map-user={account.postgres_user().pw_uid}"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*as_user, "true"], capture_output=True).returncode != 0
    ):
        pytest.skip("no user namespaces here")

    done = subprocess.run(
        [*as_user, sys.executable, "-c", PARENT, str(empty_path)],
        input=b"",
        capture_output=True,
        cwd=CHECKOUT,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert (empty_path / "postgres" / "PG_VERSION").exists()


async def test_each_test_has_an_empty_database(database_url: str) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

    assert await trio.to_thread.run_sync(query, database_url, tables) == 0


class AwaitedLines(Lines):
    """A log whose lines can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._news = trio.Event()

    def write(self, data: bytes, /) -> int:
        self._news.set()
        return super().write(data)

    def of(self, message: str) -> list[dict[str, Any]]:
        return [line["data"] for line in self.lines if line["message"] == f"bbs.{message}"]

    async def wait_for(self, message: str, times: int) -> None:
        with trio.fail_after(60):
            while len(self.of(message)) < times:
                self._news = trio.Event()
                await self._news.wait()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def test_one_that_is_killed_is_started_again_where_it_was(tmp_path: Path) -> None:
    lines = AwaitedLines()
    async with embedded_postgres(tmp_path) as postgres, trio.open_nursery() as nursery:
        nursery.start_soon(partial(postgres.keep_running, log=lines.logger()))
        dsn, pids = postgres.dsn, [postgres.pid]
        for number in range(1, 4):
            await trio.to_thread.run_sync(query, dsn, f"CREATE TABLE kept_{number} ()")
            kill(postgres.pid)
            await lines.wait_for("embedded-postgres-started-again", number)
            pids.append(postgres.pid)

        tables = await trio.to_thread.run_sync(
            query, dsn, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'kept_%'"
        )
        assert tables == 3
        assert len(set(pids)) == 4
        assert postgres.dsn == dsn
        nursery.cancel_scope.cancel()

    assert [died["how"] for died in lines.of("embedded-postgres-died")] == ["killed by SIGKILL"] * 3
    assert [died["pid"] for died in lines.of("embedded-postgres-died")] == pids[:3]
    assert [again["attempt"] for again in lines.of("embedded-postgres-started-again")] == [1, 1, 1]
    assert not any(map(is_running, pids))
    assert sorted(os.listdir(tmp_path)) == ["postgres", "postgres.log"]


async def test_its_end_is_noticed_without_a_descriptor_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int) -> int:
        raise PermissionError(errno.EPERM, "forbidden")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres:
        kill(postgres.pid)

        assert await postgres._postmaster.wait_ended() == "killed by SIGKILL"


async def test_its_socket_directory_is_made_again(tmp_path: Path) -> None:
    lines = AwaitedLines()
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres, trio.open_nursery() as nursery:
        nursery.start_soon(partial(postgres.keep_running, log=lines.logger()))
        shutil.rmtree(postgres.socket_directory)
        kill(postgres.pid)
        await lines.wait_for("embedded-postgres-started-again", 1)

        assert await trio.to_thread.run_sync(query, postgres.dsn, "SELECT 1") == 1
        assert stat.S_IMODE(postgres.socket_directory.stat().st_mode) == 0o700
        nursery.cancel_scope.cancel()


def garbage_settings(data_dir: Path) -> None:
    (data_dir / "postgres" / "postgresql.auto.conf").write_text("garbage\n")


def no_version(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").unlink()


def no_data(data_dir: Path) -> None:
    (data_dir / "postgres").rename(data_dir / "elsewhere")


def no_log(data_dir: Path) -> None:
    (data_dir / "postgres.log").unlink()
    (data_dir / "postgres.log").mkdir()


@pytest.mark.parametrize(
    ("ruin", "says"),
    [
        pytest.param(garbage_settings, "syntax error in file", id="garbage for settings"),
        pytest.param(no_version, "is not a Postgres data directory any more", id="no PG_VERSION"),
        pytest.param(no_data, "is not a Postgres data directory any more", id="no data"),
        pytest.param(no_log, "cannot run Postgres in .*Is a directory", id="a directory for a log"),
    ],
)
async def test_one_that_cannot_be_started_again_is_given_up(
    ruin: Callable[[Path], object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAUSE_MIN_S", 0.01)
    lines = AwaitedLines()
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres:
        ruin(tmp_path)
        kill(postgres.pid)
        with pytest.raises(EmbeddedPostgresLost, match=says) as lost:
            await postgres.keep_running(log=lines.logger())

    assert "killed by SIGKILL" in str(lost.value)
    assert "5 times in a row" in str(lost.value)
    assert [failed["attempt"] for failed in lines.of("embedded-postgres-start-failed")] == [1, 2, 3, 4, 5]
    assert postmaster.postgres_pids_in(tmp_path / "postgres") == []


async def test_binaries_that_are_gone_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_MIN_S", 0.01)
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres:
        monkeypatch.setattr(postmaster, "binaries", lambda: tmp_path / "no" / "such" / "bin")
        kill(postgres.pid)
        with pytest.raises(EmbeddedPostgresLost, match=r"No such file or directory: '.*/no"):
            await postgres.keep_running(log=null_logger())


def test_a_binary_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "bin" / "postgres"
    binary.parent.mkdir()
    binary.write_text("")
    with (
        pytest.MonkeyPatch.context() as patch,
        embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as running,
    ):
        patch.setattr(postmaster, "binaries", lambda: binary.parent)
        kill(running.pid)
        with pytest.raises(
            EmbeddedPostgresFailed, match=r"cannot run .*/bin/postgres: Permission denied"
        ) as failed:
            for _ in running._postmaster.start_again():
                pass

    assert "Traceback" not in str(failed.value)


async def test_pauses_grow_and_are_bounded(tmp_path: Path) -> None:
    pauses, pause_s = [], 0.0
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres:
        for _ in range(2):
            kill(postgres.pid)
            await postgres._postmaster.wait_ended()
            pause_s = await watch._start_again(postgres._postmaster, "", pause_s, null_logger())
            pauses.append(pause_s)

    assert pauses == [0.5, 1.0]
    assert watch.PAUSE_MAX_S == 10.0


async def test_a_restart_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres:
        kill(postgres.pid)
        await postgres._postmaster.wait_ended()
        with trio.CancelScope() as scope:
            for wait_s in postgres._postmaster.start_again():
                await trio.sleep(wait_s)
                if postgres._postmaster._process is not None and not postgres._postmaster._ended():
                    scope.cancel()

        assert scope.cancelled_caught
        assert is_running(postgres.pid)

    assert not is_running(postgres.pid)
    assert postmaster.postgres_pids_in(tmp_path / "postgres") == []


def test_an_initdb_that_is_killed_can_be_followed_at_once(empty_path: Path) -> None:
    making = postmaster.Postmaster(empty_path, UNSYNCED)
    waits = making.start()
    while not (empty_path / "postgres.new" / "PG_VERSION").exists():
        next(waits)
    kill(making.pid)
    with pytest.raises(EmbeddedPostgresFailed, match="cannot make a Postgres data directory"):
        for _ in waits:
            pass
    for _ in making.stop():
        pass

    with embedded_postgres_blocking(empty_path, settings=UNSYNCED) as postgres:
        assert query(postgres.dsn, "SELECT 1") == 1


def interrupted_before_it_begins() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_comes_before_its_session_is_its_own_ends_no_process_of_postgres() -> None:
    """Ctrl-C while it is being started is for `bbs serve`, which ends it in order."""
    status = [sys.executable, "-c", "print(open('/proc/self/status').read())"]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", postmaster._LAUNCHER, str(os.getpid()), "", "", "", *status],
        preexec_fn=interrupted_before_it_begins,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    signals = dict(line.split(":\t") for line in ended.stdout.splitlines() if line.startswith("Sig"))
    assert int(signals["SigBlk"], 16) == 0, "later ones are for Postgres, by which it shuts down fast"


def test_an_interrupt_is_held_back_while_a_process_of_postgres_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_back: list[bool] = []
    popen = subprocess.Popen

    def started(*words: Any, **more: Any) -> "subprocess.Popen[bytes]":
        held_back.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return popen(*words, **more)

    monkeypatch.setattr(subprocess, "Popen", started)
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED):
        assert held_back == [True]
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
