"""The server as a process on MariaDB: how it starts, refuses to, and loses its database (spec: mysql.md §1.3, §1.4, §5)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bbs.log import null_logger
from bbs.models.errors import InvalidRequest
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable
from bbs.store.database import Database, MySQLOptions, database_of
from bbs.store.mysql.session import Session
from bbs.tls.development import DevelopmentCerts
from perf.mariadb import MariaDB, running_mariadb
from tests.daemons import Surroundings, daemon, free_port
from tests.databases import SomeDatabase
from tests.made_once import copied_certs, copy_mariadb_data
from tests.processes import running_bbs
from tests.records import desired_message
from tests.scratch import scratch_directory
from tests.test_daemon import upsert
from tests.waiting import wait_until

pytestmark = [pytest.mark.mariadb, pytest.mark.slow]

ON_MARIADB = pytest.mark.parametrize("database_kind", ["mariadb"], indirect=True)


@pytest.mark.parametrize(
    ("changes", "message", "error"),
    [
        ({"database_connection_string": "diego"}, "invalid-db-connection-string",
         "invalid DSN: missing the slash separating the database name"),
        ({"database_connection_string": "u:hush@tcp(127.0.0.1:1)/d"}, "sql-failed-to-connect", "127.0.0.1"),
        ({"database_connection_string": "nobody:hush@unix({socket})/d"}, "sql-failed-to-connect",
         "Error 1045 (28000): Access denied for user 'nobody'@"),
        ({"database_connection_string": "root@unix({socket})/nope"}, "sql-failed-to-connect",
         "Error 1049 (42000): Unknown database 'nope'"),
        ({"database_connection_string": "root@unix({socket})/"}, "sql-failed-create-configurations-table",
         "Error 1046 (3D000): No database selected"),
        ({"sql_ca_cert_file": "nope"}, "failed-to-read-sql-ca-file", "open nope: no such file or directory"),
    ],
)  # fmt: skip
@ON_MARIADB
async def test_it_says_why_it_does_not_start(
    around: Surroundings, changes: dict[str, str], message: str, error: str
) -> None:
    socket = around.database.connection_string.partition("(")[2].partition(")")[0]
    changes = {key: value.replace("{socket}", socket) for key, value in changes.items()}
    async with daemon(around, around.config("a", **changes)) as bbs:
        assert await bbs.exit_code() == 2

    assert bbs.messages()[-1] == message
    assert error in bbs.lines[-1]["data"]["error"]
    assert "hush" not in json.dumps(bbs.lines) + "".join(bbs.other)


@ON_MARIADB
async def test_what_somebody_changes_by_hand_is_found_by_turns(around: Surroundings) -> None:
    config = around.config("a", converge_repeat_interval="300ms")
    async with daemon(around, config) as bbs, bbs.client() as client:
        await bbs.logs("started")
        await client.desire_lrp(desired_message("p", instances=3))
        await around.database.execute("DELETE FROM actual_lrps WHERE instance_index = 1")
        await around.database.execute(
            "UPDATE actual_lrps SET placement_error = 'by hand' WHERE instance_index = 2"
        )
        await bbs.logs("database-audit.memory-differed-from-database")

        async def is_repaired() -> bool:
            rows = sorted(
                (row.actual_lrp_key.index, row.placement_error) for row in await client.actual_lrps()
            )
            return rows == [(0, ""), (1, ""), (2, "by hand")]

        await wait_until(
            is_repaired, within_s=20, what="memory has what was changed, and what was deleted is back"
        )
        assert await bbs.stop() == 0


@ON_MARIADB
async def test_a_domain_without_a_life_may_be_set_twice(around: Surroundings) -> None:
    """Upstream's answer to the second is ResourceExists on MySQL."""
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")
        await upsert(bbs, "d")
        await upsert(bbs, "d")
        assert await bbs.stop() == 0


@ON_MARIADB
async def test_tags_that_fit_no_column_are_refused(tmp_path: Path, some_database: SomeDatabase) -> None:
    """A column of type text takes 65,535 bytes; upstream answers InvalidRequest (spec: mysql.md §6.3)."""
    async with (
        running_bbs(tmp_path, "--database-url", some_database.url) as bbs,
        bbs.client() as client,
    ):
        lrp = desired_message("p")
        lrp.PlacementTags[:] = ["x" * 65_532]
        with pytest.raises(InvalidRequest):
            await client.desire_lrp(lrp)
        assert await client.desired_lrps() == []


@pytest.fixture(scope="module")
def tls_server(certs: DevelopmentCerts) -> Iterator[tuple[MariaDB, int]]:
    """A MariaDB with TLS, and its port."""
    port = free_port()
    tls = [f"--ssl-ca={certs.ca_cert}", f"--ssl-cert={certs.server_cert}", f"--ssl-key={certs.server_key}"]
    with scratch_directory("bbs-tls-") as directory:
        copy_mariadb_data(directory)
        with running_mariadb(directory, *tls, port=port) as maria:
            maria.execute(
                "CREATE DATABASE d; CREATE USER 'u'@'127.0.0.1' IDENTIFIED BY 'p@/:?(x)';"
                " GRANT ALL ON d.* TO 'u'@'127.0.0.1'; CREATE USER 'u'@'localhost' IDENTIFIED BY 'p@/:?(x)';"
                " GRANT ALL ON d.* TO 'u'@'localhost'"
            )
            yield maria, port


async def connected(database: Database) -> tuple[bool | None, str]:
    """Whether a session is encrypted, or ``None`` and the reason why there is none."""
    async with open_asyncio_loop(null_logger()):
        audit: Any = database.audit()
        try:
            [[_, cipher]] = await audit.connection.run(Session.fetch, "SHOW STATUS LIKE 'Ssl_cipher'")
            return bool(cipher), ""
        except BackendUnavailable as refused:
            return None, str(refused)
        finally:
            await audit.aclose()


@pytest.mark.parametrize(
    ("parameters", "ca", "verify_identity", "is_encrypted"),
    [
        ("", None, False, False),
        ("?tls=skip-verify", None, False, True),
        ("?tls=preferred", None, False, True),
        ("", "right", False, True),
        ("", "right", True, True),
        ("?tls=skip-verify", "right", True, True),
        ("?tls=true", None, False, None),
        ("", "wrong", False, None),
        ("?tls=preferred", "wrong", False, None),
    ],
)
async def test_tls_is_as_the_configuration_says(
    tls_server: tuple[MariaDB, int],
    certs: DevelopmentCerts,
    tmp_path: Path,
    parameters: str,
    ca: str | None,
    verify_identity: bool,
    is_encrypted: bool | None,
) -> None:
    """``None`` is refused."""
    wrong = copied_certs(tmp_path / "wrong", of="strangers") if ca == "wrong" else None
    options = MySQLOptions(
        ca_file=None if ca is None else str((wrong or certs).ca_cert), verify_identity=verify_identity
    )
    _, port = tls_server
    database = database_of("mysql", f"u:p@/:?(x)@tcp(127.0.0.1:{port})/d{parameters}", options)
    encrypted, refusal = await connected(database)

    assert encrypted == is_encrypted, refusal
    assert "p@" not in refusal


@pytest.mark.parametrize(
    ("parameters", "with_ca", "connects"),
    [
        ("", False, True),
        ("?tls=preferred", False, True),
        ("?tls=skip-verify", False, False),
        ("", True, False),
        # Upstream goes on without encryption here.
        ("?tls=preferred", True, False),
    ],
)
async def test_a_server_without_tls_is_used_only_where_that_is_allowed(
    tmp_path: Path, certs: DevelopmentCerts, mariadb_port: int, parameters: str, with_ca: bool, connects: bool
) -> None:
    options = MySQLOptions(ca_file=str(certs.ca_cert) if with_ca else None)
    database = database_of("mysql", f"u@tcp(127.0.0.1:{mariadb_port})/d{parameters}", options)
    encrypted, refusal = await connected(database)

    assert encrypted == (False if connects else None), refusal


@pytest.fixture(scope="module")
def mariadb_port() -> Iterator[int]:
    """The port of a MariaDB without TLS."""
    port = free_port()
    with scratch_directory("bbs-plain-") as directory:
        copy_mariadb_data(directory)
        with running_mariadb(directory, "--skip-ssl", port=port) as maria:
            maria.execute(
                "CREATE DATABASE d; CREATE USER 'u'@'127.0.0.1'; GRANT ALL ON d.* TO 'u'@'127.0.0.1';"
                " CREATE USER 'u'@'localhost'; GRANT ALL ON d.* TO 'u'@'localhost'"
            )
            yield port
