"""What takes a second of computing to make and may be the same each time: made once in a run, and copied for each test.

A test that is about how these things are made makes its own.
"""

import atexit
import shutil
import subprocess
from functools import cache
from pathlib import Path

from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.tls.development import DevelopmentCerts, make_development_certs
from perf.mariadb import make_data
from tests.scratch import made_scratch_directory


def copied_certs(directory: Path, *, of: str = "us") -> DevelopmentCerts:
    """As `make_development_certs` leaves them in ``directory``, which must not be there. Those ``of`` one name have one
    authority, keys and all; whoever is to be a stranger to them needs another name.
    """
    shutil.copytree(_certs(of), directory)
    return DevelopmentCerts.within(directory)


def copy_cluster(data_dir: Path) -> None:
    """Have an embedded Postgres find a database in ``data_dir`` that it made earlier, empty, as if it had only been stopped."""
    data_dir.mkdir(parents=True, exist_ok=True)
    # In a process, because Python's own copying does not keep whose the files are.
    subprocess.run(["cp", "--archive", _cluster(), data_dir / "postgres"], check=True)


def copy_mariadb_data(directory: Path) -> None:
    """Have `perf.mariadb.running_mariadb` find its data in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", _mariadb_data(), directory / "data"], check=True)


@cache
def _certs(of: str) -> Path:
    directory = _kept_directory() / "certs"
    make_development_certs(directory)
    return directory


@cache
def _cluster() -> Path:
    directory = _kept_directory()
    with embedded_postgres_blocking(directory, settings={"fsync": "off"}):
        pass
    return directory / "postgres"


@cache
def _mariadb_data() -> Path:
    data = _kept_directory() / "data"
    make_data(data)
    return data


def _kept_directory() -> Path:
    """Until the process ends."""
    directory = made_scratch_directory()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
