"""spec: config.md, section 6 (process rules). Real processes, so real time."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
import trio

from bbs import embedded_postgres as module
from bbs.embedded_postgres import EmbeddedPostgresFailed, embedded_postgres, embedded_postgres_blocking

pytestmark = pytest.mark.postgres

CHECKOUT = Path(module.__file__).parent.parent
UNSYNCED = {"fsync": "off"}

# Serves until killed; says its postmaster's pid.
PARENT = """
import sys
from pathlib import Path
from bbs.embedded_postgres import embedded_postgres_blocking
with embedded_postgres_blocking(Path(sys.argv[1]), settings={"fsync": "off"}) as postgres:
    print(postgres.pid, flush=True)
    sys.stdin.read()
"""


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


async def test_it_runs_while_the_context_is_entered(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path, settings=UNSYNCED) as postgres:
        answer = await trio.to_thread.run_sync(query, postgres.dsn, "SELECT 40 + 2")

        assert answer == 42
        assert is_running(postgres.pid)

    assert not is_running(postgres.pid)
    assert not postgres.socket_directory.exists()
    assert sorted(os.listdir(tmp_path)) == ["postgres", "postgres.log"]


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        query(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS n")

    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        assert query(postgres.dsn, "SELECT n FROM kept") == 7


def test_it_syncs_unless_told_otherwise_and_has_neither_tcp_nor_locale(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path) as postgres:
        assert query(postgres.dsn, "SHOW fsync") == "on"
        assert query(postgres.dsn, "SHOW listen_addresses") == ""
        assert query(postgres.dsn, "SHOW server_encoding") == "UTF8"
        assert query(postgres.dsn, "SELECT datcollate FROM pg_database WHERE datname = 'template0'") == "C"


def test_nobody_else_can_enter_the_socket_directory(tmp_path: Path) -> None:
    with embedded_postgres_blocking(tmp_path, settings=UNSYNCED) as postgres:
        assert stat.S_IMODE(postgres.socket_directory.stat().st_mode) == 0o700


def test_private_and_very_long_parents_do_not_matter(tmp_path: Path) -> None:
    private = Path(tempfile.mkdtemp(dir=tmp_path))
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
    monkeypatch.setattr(module, "LEFTOVER_MAX_S", 0.0)
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
def test_an_unfit_directory_is_refused(tmp_path: Path, prepare: Callable[[Path], object], says: str) -> None:
    data_dir = tmp_path / "data"
    prepare(data_dir)

    with pytest.raises(EmbeddedPostgresFailed, match=says), embedded_postgres_blocking(data_dir):
        pytest.fail("started on it")


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    with trio.move_on_after(0.1) as scope:
        async with embedded_postgres(tmp_path, settings=UNSYNCED):
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert module._postgres_pids_in(tmp_path / "postgres.new") == []
    assert module._postgres_pids_in(tmp_path / "postgres") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_runs_as_an_ordinary_user(tmp_path: Path) -> None:
    # In a user namespace we are that user and still own the interpreter's files, wherever they lie.
    as_user = ["unshare", "--user", f"--map-user={module._postgres_user().pw_uid}"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*as_user, "true"], capture_output=True).returncode != 0
    ):
        pytest.skip("no user namespaces here")

    done = subprocess.run(
        [*as_user, sys.executable, "-c", PARENT, str(tmp_path)],
        input=b"",
        capture_output=True,
        cwd=CHECKOUT,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "postgres" / "PG_VERSION").exists()


async def test_each_test_has_an_empty_database(database_url: str) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

    assert await trio.to_thread.run_sync(query, database_url, tables) == 0
