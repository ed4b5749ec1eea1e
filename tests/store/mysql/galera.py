"""Several MariaDB servers that are one Galera cluster, on loopback. Debian's mariadb-server brings Galera with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from perf.mariadb import MariaDB, running_mariadb
from perf.programs import program
from tests.daemons import free_port
from tests.databases import require_mariadb
from tests.debian_packages import GALERA
from tests.made_once import copy_mariadb_data
from tests.waiting import wait_until_blocking

JOIN_S: Final = 120.0

OWNER: Final = "mysql"
"""Whose the servers are if we are root: rsync, by which they bring those that join up to date, can't be root's here."""


@contextmanager
def running_galera(directory: Path, *, nodes: int) -> Iterator[list[MariaDB]]:
    """A cluster of so many nodes, all in step. Skips, by name, where MariaDB, Galera or rsync is missing."""
    require_mariadb()
    if not GALERA.exists() or program("rsync") is None:
        pytest.skip("Galera is not installed: make test-packages")
    is_root = os.geteuid() == 0
    ports = [free_port() for _ in range(nodes)]
    directory.chmod(0o755)
    with ExitStack() as stack:
        cluster: list[MariaDB] = []
        for number, port in enumerate(ports):
            home = directory / f"node-{number}"
            copy_mariadb_data(home)
            if is_root:
                _give_away(home)
            others = ",".join(f"127.0.0.1:{each}" for each in ports[:number])  # none: a new cluster
            node = stack.enter_context(
                running_mariadb(home, *_options(home, number, port, others, is_root=is_root))
            )
            cluster.append(node)
            _wait_until_in_step(cluster)
        yield cluster


def _give_away(home: Path) -> None:
    for path in (home, *home.rglob("*")):
        shutil.chown(path, OWNER, OWNER)


def _options(home: Path, number: int, port: int, others: str, *, is_root: bool) -> list[str]:
    return [
        *([f"--user={OWNER}"] if is_root else []),
        f"--tmpdir={home}",  # not everybody may write to ours
        "--wsrep-on=ON",
        f"--wsrep-provider={GALERA}",
        f"--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{port};ist.recv_addr=127.0.0.1:{free_port()}",
        f"--wsrep-cluster-address=gcomm://{others}",
        f"--wsrep-node-name=node-{number}",
        f"--wsrep-node-address=127.0.0.1:{port}",
        "--wsrep-sst-method=rsync",
        f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
        "--binlog-format=ROW",
        "--innodb-autoinc-lock-mode=2",
    ]


def _wait_until_in_step(cluster: list[MariaDB]) -> None:
    def are_in_step() -> bool:
        return all(
            status.get("wsrep_local_state_comment") == "Synced"
            and status.get("wsrep_cluster_size") == str(len(cluster))
            for status in map(_status, cluster)
        )

    wait_until_blocking(are_in_step, within_s=JOIN_S, what=f"{len(cluster)} Galera nodes are in step")


def _status(node: MariaDB) -> dict[str, str]:
    lines = node.execute("SHOW GLOBAL STATUS LIKE 'wsrep%'").splitlines()
    return dict(line.split("\t", 1) for line in lines if "\t" in line)
