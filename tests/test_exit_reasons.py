"""Every reason for which ``bbs -config FILE`` may end, and how it ends then (spec: config.md §1, §4, §6).

The table is the spec's, row by row, with what this server adds to it. What must not end it is in
`tests/test_daemon_failures.py`.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from bbs.client import TransportError
from bbs.models.errors import BBSError
from bbs.tls.development import DevelopmentCerts
from tests.daemons import Neighbours, Surroundings, daemon, end, locket_arguments, start_that_ends
from tests.databases import ON_BOTH, SomeDatabase
from tests.forked_starts import ForkedStarts
from tests.test_daemon import assert_order, upsert

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def locket_address(certs: DevelopmentCerts) -> Iterator[str]:
    """Of a Locket for daemons that end before they ask it for anything."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.locket_server", *locket_arguments(certs)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def neighbours(
    tmp_path: Path, certs: DevelopmentCerts, some_database: SomeDatabase, locket_address: str
) -> Neighbours:
    return Neighbours(tmp_path, certs, some_database, locket_address, "http://127.0.0.1:1")


def changed(**changes: Any) -> dict[str, Any]:
    return changes


EXPIRED = "expired.pem"
"""Stands for a file with a certificate of yesterday, and its key."""

PHASE_A = [
    # Step of the start, what is wrong, exit code, last message.
    (3, "metrics", changed(loggregator={"loggregator_ca_path": "nope"}), 1, "failed-to-initialize-metron-client"),
    (4, "no health address", changed(health_address=""), 2, "failed-invalid-health-address"),
    (4, "no health port", changed(health_address="127.0.0.1"), 2, "failed-invalid-health-address"),
    (4, "unknown port", changed(health_address="127.0.0.1:nope"), 2, "failed-invalid-health-port"),
    (5, "no keys", changed(encryption_keys={}), 2, "cannot-setup-encryption"),
    (5, "no active key", changed(active_key_label=""), 2, "cannot-setup-encryption"),
    (5, "another active key", changed(active_key_label="x"), 2, "cannot-setup-encryption"),
    (5, "long key label", changed(encryption_keys={"x" * 128: "p", "label": "k"}), 2, "cannot-setup-encryption"),
    (6, "no database", changed(database_driver=""), 2, "no-database-configured"),
    (6, "unknown driver", changed(database_driver="oracle"), 2, "invalid-driver-name"),
    (6, "bad connection string", changed(database_driver="postgres", database_connection_string="postgres://:x:y/"), 2, "invalid-db-connection-string"),
    (7, "no Postgres there", changed(database_driver="postgres", database_connection_string="postgres://u:secret@127.0.0.1:1/d"), 2, "sql-failed-to-connect"),
    (9, "the reps' TLS", changed(rep_ca_cert="x", rep_client_cert="y", rep_client_key="z"), 2, "new-rep-client-factory-failed"),
    (10, "no auctioneer", changed(auctioneer_address=""), 2, "auctioneer-address-validation-failed"),
    (10, "half the auctioneer's TLS", changed(auctioneer_ca_cert="x", auctioneer_client_key="y"), 2, "failed-to-construct-auctioneer-client"),
    (11, "access log", changed(access_log_path="/nope/x"), 1, "invalid-access-log-path"),
    (12, "no CA", changed(ca_file="nope"), 2, "tls-configuration-failed"),
    (12, "an expired certificate", changed(cert_file=EXPIRED, key_file=EXPIRED), 2, "tls-configuration-failed"),
    (13, "Locket's client certificate expired", changed(locket_client_cert_file=EXPIRED, locket_client_key_file=EXPIRED), 2, "failed-to-create-locket-client"),
    (13, "no Locket address", changed(locket_address=""), 2, "invalid-locket-config"),
    (13, "no Locket there", changed(locket_address="127.0.0.1:1"), 2, "failed-to-create-locket-client"),
    (14, "no uuid", changed(uuid=""), 2, "invalid-uuid"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "exit_code", "message"),
    [pytest.param(*case[2:], id=f"step {case[0]}: {case[1]}") for case in PHASE_A],
)
def test_a_start_that_fails_says_why(
    starts: ForkedStarts, neighbours: Neighbours, changes: dict[str, Any], exit_code: int, message: str
) -> None:
    if EXPIRED in changes.values():
        expired = str(neighbours.tmp_path / EXPIRED)
        ended = datetime.now(UTC) - timedelta(days=1)
        pair = trustme.CA().issue_cert("bbs", not_before=ended - timedelta(days=1), not_after=ended)
        pair.private_key_and_cert_chain_pem.write_to_path(expired)
        changes = dict.fromkeys(changes, expired)
    code, log = start_that_ends(starts, neighbours, {**neighbours.config("a"), **changes})

    assert code == exit_code
    assert log.messages()[-1] == message
    if EXPIRED in "".join(map(str, changes.values())):
        assert "certificate has expired: validity ended at " in log.data_of(message)["error"]
    assert "started" not in log.messages()
    said = str(log.lines) + str(log.other)
    assert "Traceback" not in "".join(log.other)
    assert "secret" not in said


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param(changed(log_level="loud"), "unknown log level: loud", id="step 2: log level"),
        pytest.param(changed(lock_ttl=5), "lock_ttl", id="step 1: a duration that is a number"),
        pytest.param(
            changed(redact_secrets=True, redact_patterns=["("]), "redact_patterns", id="step 2: pattern"
        ),
        pytest.param(changed(report_interval="0s"), "non-positive interval", id="step 15: report interval"),
    ],
)
def test_a_start_that_cannot_even_log_panics(
    starts: ForkedStarts, neighbours: Neighbours, changes: dict[str, Any], text: str
) -> None:
    code, log = start_that_ends(starts, neighbours, {**neighbours.config("a"), **changes})

    assert code == 2
    assert text in "\n".join(log.other)
    assert "started" not in log.messages()


@ON_BOTH
async def test_step_8_a_database_in_which_no_table_may_be_made(around: Surroundings) -> None:
    database = around.database
    string = database.connection_string
    if database.on_postgres:
        await database.execute("DROP ROLE IF EXISTS reader")
        await database.execute("CREATE ROLE reader LOGIN")
        string = string.replace("postgres@/", "reader@/", 1)
    else:
        database.administer(f"REVOKE CREATE ON {database.name}.* FROM {database.name}@localhost")
    async with daemon(around, around.config("a", database_connection_string=string)) as bbs:
        assert await bbs.exit_code() == 2

    assert bbs.messages()[-1] == "sql-failed-create-configurations-table"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_during_phase_a_just_ends_it(neighbours: Neighbours, number: signal.Signals) -> None:
    """A Locket that accepts connections and says nothing holds the start at step 13."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with daemon(neighbours, neighbours.config("a", locket_address=address)) as bbs:
            await bbs.logs("starting")
            with trio.fail_after(30):
                connection, _ = await trio.to_thread.run_sync(silent.accept, abandon_on_cancel=True)
            with connection:
                bbs.process.send_signal(number)
                assert await bbs.exit_code() == -number

    assert bbs.messages() == ["starting"]
    assert bbs.other == []


# Phase B: a member that ends, and with it all the others. `exited-with-failure` has upstream's words about it.


@pytest.mark.parametrize("key", ["health_address", "debug_address", "listen_address"])
async def test_an_address_in_use(around: Surroundings, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with daemon(around, around.config("a", **{key: address})) as bbs:
            assert await bbs.exit_code() == 1

    member = {"health_address": "healthcheck", "debug_address": "debug-server", "listen_address": "server"}[
        key
    ]
    error = bbs.data_of("exited-with-failure")["error"]
    assert f"{member} exited with error: listen tcp {address}: bind: address already in use" in error
    assert bbs.other == []


async def test_a_newer_database(around: Surroundings) -> None:
    await around.database.execute(
        "CREATE TABLE configurations (id varchar(255) PRIMARY KEY, value varchar(255))"
    )
    await around.database.execute(
        """INSERT INTO configurations VALUES ('version', '{"CurrentVersion":1772581988}')"""
    )
    async with daemon(around, around.config("a")) as bbs:
        assert await bbs.exit_code() == 1

    error = bbs.data_of("exited-with-failure")["error"]
    assert "migration-manager exited with error" in error
    assert "existing DB version (1772581988) exceeds bbs version (1772581987)" in error
    assert_order(bbs.messages(), "migration-manager.migration-failed", "started", "exited-with-failure")


@ON_BOTH
async def test_a_migration_that_the_database_refuses(around: Surroundings) -> None:
    await around.database.execute("CREATE TABLE domains (something integer)")
    await around.database.execute("CREATE VIEW tasks AS SELECT * FROM domains")
    async with daemon(around, around.config("a")) as bbs:
        assert await bbs.exit_code() == 1

    assert "migration-manager exited with error: " in bbs.data_of("exited-with-failure")["error"]
    driver_words = (
        "SQLSTATE" if around.database.on_postgres else "Error 1050 (42S01): Table 'tasks' already exists"
    )
    assert driver_words in bbs.data_of("exited-with-failure")["error"]
    assert bbs.other == []


async def test_an_encryption_key_that_is_missing(around: Surroundings) -> None:
    async with daemon(
        around, around.config("a", encryption_keys={"old": "1"}, active_key_label="old")
    ) as bbs:
        await bbs.logs("started")
        assert await bbs.stop() == 0
    async with daemon(
        around, around.config("a", encryption_keys={"new": "1"}, active_key_label="new")
    ) as bbs:
        assert await bbs.exit_code() == 1

    error = bbs.data_of("exited-with-failure")["error"]
    assert "encryptor exited with error: Existing encryption key version (old) is not among" in error


async def test_the_new_keys_label_that_cannot_be_stored(around: Surroundings) -> None:
    async with daemon(
        around, around.config("a", encryption_keys={"old": "1"}, active_key_label="old")
    ) as bbs:
        await bbs.logs("started")
        assert await bbs.stop() == 0
    await around.database.execute(
        "ALTER TABLE configurations ADD CHECK (id <> 'encryption_key_label' OR value = 'old')"
    )
    both = {"old": "1", "new": "2"}
    async with daemon(around, around.config("a", encryption_keys=both, active_key_label="new")) as bbs:
        assert await bbs.exit_code() == 1

    driver_words = "ERROR: new row" if around.database.on_postgres else "Error 4025 (23000): CONSTRAINT"
    assert f"encryptor exited with error: {driver_words}" in bbs.data_of("exited-with-failure")["error"]


async def test_the_lock_is_lost(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")

        await end(around.locket)

        assert await bbs.exit_code() == 1
        assert_order(bbs.messages(), "locket-lock.lost-lock", "exited-with-failure")
        error = bbs.data_of("exited-with-failure")["error"]
        assert error.startswith("Exit trace for group:\nlock exited with error: lost lock (request ")
        assert "\nserver exited with nil\n" in error


@ON_BOTH
async def test_a_database_that_is_ill_if_it_is_to_be_watched(around: Surroundings) -> None:
    config = around.config(
        "a", enable_db_health_check=True, health_check_interval="100ms", health_check_failure_threshold=2
    )
    async with daemon(around, config) as bbs:
        await bbs.logs("started")
        await bbs.logs("db-health-check-runner.health-check-succeeded")
        await around.database.execute("DROP TABLE bbs_health_check")

        assert await bbs.exit_code() == 1
        assert (
            "db-healthcheck exited with error: failed upserting health check time"
            in (bbs.data_of("exited-with-failure")["error"])
        )


# What ends it well.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_a_master(around: Surroundings, number: signal.Signals) -> None:
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")
        bbs.process.send_signal(number)

        assert await bbs.exit_code() == 0
        assert bbs.messages()[-1] == "exited"
        assert bbs.data_of("locket-lock.signalled")["signal"] == number


async def test_a_signal_to_a_standby(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as first:
        await first.logs("started")
        async with daemon(around, around.config("b")) as second:
            await second.logs("locket-lock.started")

            assert await second.stop() == 0
            assert second.messages()[-1] == "exited"


async def test_a_table_that_is_gone(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")
        await around.database.execute("DROP TABLE domains")
        with pytest.raises((BBSError, TransportError), match="Unrecoverable"):
            await upsert(bbs, "d")

        assert await bbs.exit_code() == 0
        assert_order(bbs.messages(), "unrecoverable-error", "exited")


async def test_a_stack_dump_is_asked_for(around: Surroundings) -> None:
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")
        bbs.process.send_signal(signal.SIGQUIT)

        assert await bbs.exit_code() == 2
    assert any("run_members" in line for line in bbs.other)
