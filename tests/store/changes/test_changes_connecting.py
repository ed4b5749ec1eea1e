"""The project's own connection strings, given to libpq: all of what they say, and nothing else."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import trio
import trio.testing
from psycopg.pq import Conninfo
from trio_asyncio import aio_as_trio

from bbs.store.backend import BackendUnavailable
from bbs.store.changes import follow_changes
from bbs.store.changes.connecting import connect, conninfo, libpq_settings
from bbs.store.changes.session import Refused
from bbs.store.dsn import NO_FILE, Attempt, parse_dsn
from bbs.tls.development import DevelopmentCerts
from tests.store.changes.conftest import OwnServer
from tests.store.changes.follower import WITHIN_S
from tests.store.changes.tls_front import tls_front
from tests.store.tcp_proxy import Line, tcp_proxy
from tests.store.worlds import PostgresWorld

PASSWORD = 'it\'s a \\ "secret"'


def given(text: str, *addresses: str, attempt: int = 0, replication: bool = True) -> dict[str, str]:
    """What libpq itself reads of what it is told."""
    dsn = parse_dsn(text, {})
    settings = libpq_settings(dsn, dsn.attempts[attempt], addresses, replication=replication)
    read = {option.keyword.decode(): option.val for option in Conninfo.parse(conninfo(settings))}
    return {name: value.decode() for name, value in read.items() if value is not None}


def test_every_setting_is_given_by_name() -> None:
    text = f"host=db port=7 user=u password='{PASSWORD.replace(chr(92), chr(92) * 2).replace(chr(39), chr(92) + chr(39))}'"
    settings = given(
        f"{text} dbname='d b' sslmode=disable target_session_attrs=read-write options='-c geqo=off' "
        "search_path='a, b' work_mem=8MB application_name=mine client_encoding=LATIN1",
        "10.0.0.1",
        "::1",
    )

    assert settings == {
        "host": "db,db",
        "hostaddr": "10.0.0.1,::1",
        "port": "7,7",
        "user": "u",
        "password": PASSWORD,
        "passfile": NO_FILE,
        "dbname": "d b",
        "target_session_attrs": "read-write",
        "application_name": "bbs-changes",
        "client_encoding": "UTF8",
        "options": "-c geqo=off -c search_path=a,\\ b -c work_mem=8MB",
        "gssencmode": "disable",
        "replication": "database",
        "sslmode": "disable",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
    }


def test_an_ordinary_session_over_a_socket() -> None:
    settings = given("host=/run/pg user=u passfile=/p", replication=False)

    assert settings["host"] == "/run/pg"
    assert settings["passfile"] == "/p"
    assert settings["sslmode"] == "disable"
    assert {"hostaddr", "password", "replication", "options"}.isdisjoint(settings)


@pytest.mark.parametrize(
    ("text", "attempt", "expected"),
    [
        ("sslmode=prefer", 0, {"sslmode": "require", "sslrootcert": NO_FILE, "sslcertmode": "disable"}),
        ("sslmode=prefer", 1, {"sslmode": "disable"}),
        ("sslmode=allow", 0, {"sslmode": "disable"}),
        ("sslmode=allow sslrootcert={ca}", 1, {"sslmode": "require", "sslrootcert": NO_FILE}),
        ("sslmode=require", 0, {"sslmode": "require", "sslrootcert": NO_FILE}),
        ("sslmode=require sslrootcert={ca}", 0, {"sslmode": "verify-ca", "sslrootcert": "{ca}"}),
        ("sslmode=verify-full sslrootcert={ca} sslnegotiation=direct", 0,
         {"sslmode": "verify-full", "sslrootcert": "{ca}", "sslnegotiation": "direct"}),
        ("sslmode=require sslcert={cert} sslkey={key}", 0, {"sslcert": "{cert}", "sslkey": "{key}"}),
    ],
)  # fmt: skip
def test_tls_is_what_the_connection_string_says(
    certs: DevelopmentCerts, text: str, attempt: int, expected: dict[str, str]
) -> None:
    files = {"ca": str(certs.ca_cert), "cert": str(certs.client_cert), "key": str(certs.client_key)}

    settings = given(f"host=db user=u {text.format(**files)}", "10.0.0.1", attempt=attempt)

    for name, value in expected.items():
        assert settings[name] == value.format(**files)


@pytest.mark.parametrize("root", ["", "sslrootcert=system"])
def test_without_a_file_the_systems_certificates_count(root: str) -> None:
    settings = given(f"host=db user=u sslmode=verify-full {root}", "10.0.0.1")

    assert settings["sslmode"] == "verify-full"
    assert settings["sslrootcert"] == "system" or Path(settings["sslrootcert"]).is_file()


@pytest.fixture
async def guarded(
    small_server: OwnServer, server_tls: ssl.SSLContext, postgres: PostgresWorld
) -> AsyncIterator[OwnServer]:
    """Lets the role ``follower`` in with a certificate and a password, at its port over TLS."""
    hba = small_server.directory / "pg_hba.conf"
    before = await trio.Path(hba).read_text()
    connection = await aio_as_trio(asyncpg.connect)(small_server.url)
    execute = aio_as_trio(connection.execute)
    quoted = PASSWORD.replace("'", "''")
    await execute(f"CREATE ROLE follower LOGIN REPLICATION PASSWORD '{quoted}'")
    try:
        await trio.Path(hba).write_text(f"local all follower scram-sha-256\n{before}")
        await execute("SELECT pg_reload_conf()")
        async with tls_front(small_server.socket, server_tls) as port:
            yield small_server._replace(port=port)
    finally:
        await trio.Path(hba).write_text(before)
        await execute("SELECT pg_reload_conf()")
        await execute("DROP ROLE follower")
        await aio_as_trio(connection.close)()


@pytest.mark.postgres
async def test_a_session_over_mutual_tls_with_a_password(
    guarded: OwnServer, certs: DevelopmentCerts, tmp_path: Path
) -> None:
    passfile = tmp_path / "passfile"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passfile.write_text(f"*:*:*:follower:{escaped}\n")
    passfile.chmod(0o600)
    dsn = parse_dsn(
        f"host=localhost port={guarded.port} user=follower dbname=postgres passfile={passfile} sslmode=verify-full "
        f"sslrootcert={certs.ca_cert} sslcert={certs.client_cert} sslkey={certs.client_key}",
        {},
    )

    session, [server] = await connect(dsn, replication=True, attempt_s=WITHIN_S)
    with trio.fail_after(WITHIN_S):
        [(system, *_)] = await session.fetch("IDENTIFY_SYSTEM", within_s=WITHIN_S)
        assert await session.fetch("SHOW application_name", within_s=WITHIN_S) == [("bbs-changes",)]
    session.close()

    assert server.host == "localhost"
    assert system


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["password", "certificate", "name"])
async def test_who_is_refused_is_told_why_without_secrets(
    guarded: OwnServer, certs: DevelopmentCerts, what: str
) -> None:
    certificate = "" if what == "certificate" else f"sslcert={certs.client_cert} sslkey={certs.client_key}"
    host = "127.0.0.2" if what == "name" else "127.0.0.1"
    dsn = parse_dsn(
        f"host={host} port={guarded.port} user=follower dbname=postgres password=hush-hush sslmode=verify-full "
        f"sslrootcert={certs.ca_cert} {certificate}",
        {},
    )

    with trio.fail_after(WITHIN_S), pytest.raises(BackendUnavailable) as caught:
        async with follow_changes(dsn):
            pass

    chain = [str(error) for error in (caught.value, caught.value.__cause__) if error]
    assert "hush" not in " ".join(chain)
    # A server that misses a certificate may be gone before libpq has read why.
    says = {"password": "password authentication failed", "name": "does not match host name"}
    assert says.get(what, "connection to server at") in chain[0]


@pytest.mark.postgres
async def test_a_server_that_says_nothing_does_not_keep_us_from_the_next(
    small_server: OwnServer, postgres: PostgresWorld
) -> None:
    line = Line()
    line.cut()
    with trio.fail_after(WITHIN_S):
        async with tcp_proxy(small_server.socket, line) as silent:
            dsn = parse_dsn(
                f"host=127.0.0.1,127.0.0.1,127.0.0.1 port=1,{silent},{small_server.port} user=postgres sslmode=disable",
                {},
            )

            session, server = await connect(dsn, replication=True, attempt_s=3600)

            assert server == (Attempt(host="127.0.0.1", port=small_server.port),)
            session.close()


@pytest.mark.postgres
async def test_when_nobody_answers_it_is_said_in_time(
    small_server: OwnServer, postgres: PostgresWorld
) -> None:
    line = Line()
    line.cut()
    with trio.fail_after(WITHIN_S):
        async with tcp_proxy(small_server.socket, line) as silent:
            for where, says in (
                (f"host=127.0.0.1 port={silent}", "no session within 0.3 s"),
                ("host=nowhere.invalid", "cannot look up"),
            ):
                with pytest.raises(BackendUnavailable, match=says):
                    await connect(
                        parse_dsn(f"{where} user=u sslmode=disable", {}), replication=True, attempt_s=0.3
                    )


@pytest.mark.postgres
async def test_a_session_is_never_half_used(database_url: str, postgres: PostgresWorld) -> None:
    dsn = parse_dsn(database_url, {})

    session, _ = await connect(dsn, replication=False, attempt_s=WITHIN_S)
    with pytest.raises(Refused, match=r'relation "nothing" does not exist .*42P01') as refused:
        await session.fetch("SELECT * FROM nothing", within_s=WITHIN_S)
    assert refused.value.state == "42P01"
    assert await session.fetch("SELECT 1, NULL", within_s=WITHIN_S) == [("1", None)]

    with trio.move_on_after(0.05) as scope:
        await session.fetch("SELECT pg_sleep(3600)", within_s=WITHIN_S)
    assert scope.cancelled_caught
    assert session.is_closed
    with pytest.raises(BackendUnavailable, match="the session is closed"):
        await session.fetch("SELECT 1", within_s=WITHIN_S)
    session.close()

    session, _ = await connect(dsn, replication=False, attempt_s=WITHIN_S)
    with pytest.raises(BackendUnavailable, match=r"no answer within 0\.05 s"):
        await session.fetch("SELECT pg_sleep(3600)", within_s=0.05)
    assert session.is_closed

    session, _ = await connect(dsn, replication=False, attempt_s=WITHIN_S)
    async with trio.open_nursery() as nursery:

        async def asks() -> None:
            with pytest.raises(BackendUnavailable, match="the session is closed"):
                await session.fetch("SELECT pg_sleep(3600)", within_s=WITHIN_S)

        nursery.start_soon(asks)
        await trio.testing.wait_all_tasks_blocked()
        session.close()

    session, _ = await connect(dsn, replication=False, attempt_s=WITHIN_S)
    with pytest.raises((BackendUnavailable, Refused), match=r"terminating connection|closed"):
        await session.fetch("SELECT pg_terminate_backend(pg_backend_pid())", within_s=WITHIN_S)
