"""Connection strings mean what they mean to upstream's driver (spec: config.md 2.3)."""

import getpass
import ssl
import traceback
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trustme
from trio_asyncio import aio_as_trio

from bbs.log import null_logger
from bbs.store import dsn
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.dsn import DSN, BadConnectionString, parse_dsn


def parse(text: str, **environment: str) -> DSN:
    return parse_dsn(text, environment)


def servers(parsed: DSN) -> list[tuple[str, int]]:
    return list(dict.fromkeys((attempt.host, attempt.port) for attempt in parsed.attempts))


def identity(parsed: DSN) -> tuple[str, str | None, str]:
    return parsed.user, parsed.password, parsed.database


@pytest.mark.parametrize(
    ("text", "who", "where"),
    [
        pytest.param(
            "user=diego password=diego_pw host=localhost dbname=diego_1",
            ("diego", "diego_pw", "diego_1"),
            [("localhost", 5432)],
            id="as upstream's tests",
        ),
        pytest.param("user=u database=d host=h", ("u", None, "d"), [("h", 5432)], id="database is dbname"),
        pytest.param("user=u host=h", ("u", None, "u"), [("h", 5432)], id="database is the user's"),
        pytest.param(
            "user=u user = 'v w' host=h", ("v w", None, "v w"), [("h", 5432)], id="blanks and quotes"
        ),
        pytest.param(
            r"user=u password='it\'s \\' host=h",
            ("u", r"it's \ ".strip(), "u"),
            [("h", 5432)],
            id="escapes in quotes",
        ),
        pytest.param(
            r"user=a\ b password=c\'d host=h", ("a b", "c'd", "a b"), [("h", 5432)], id="escapes outside"
        ),
        pytest.param("user=u password='' host=h", ("u", None, "u"), [("h", 5432)], id="empty quotes"),
        pytest.param("  host=h\n user=u\t", ("u", None, "u"), [("h", 5432)], id="white space around"),
        pytest.param("user=u host=a,b port=1,2", ("u", None, "u"), [("a", 1), ("b", 2)], id="several hosts"),
        pytest.param("user=u host=a,b port=7", ("u", None, "u"), [("a", 7), ("b", 7)], id="one port for all"),
        pytest.param("user=u host=/run/pg", ("u", None, "u"), [("/run/pg", 5432)], id="socket folder"),
        pytest.param("postgres://u:p@h:1/d", ("u", "p", "d"), [("h", 1)], id="URL"),
        pytest.param("postgresql://u@h", ("u", None, "u"), [("h", 5432)], id="short URL"),
        pytest.param("postgres://u:p@h:1//d", ("u", "p", "d"), [("h", 1)], id="two slashes"),
        pytest.param(
            "postgres://a%40b:p%2F%3A@h/d%20e?sslmode=disable",
            ("a@b", "p/:", "d e"),
            [("h", 5432)],
            id="percent",
        ),
        pytest.param("postgres://u:p@q@h/d", ("u", "p@q", "d"), [("h", 5432)], id="an @ in the password"),
        pytest.param(
            "postgres://u@a:1,b,[::1]:3/d", ("u", None, "d"), [("a", 1), ("b", 5432), ("::1", 3)], id="hosts"
        ),
        pytest.param(
            "postgres:///d?host=/run/pg&user=u", ("u", None, "d"), [("/run/pg", 5432)], id="keys in the query"
        ),
        pytest.param("postgres://u:p:q@h/d", ("u", "p:q", "d"), [("h", 5432)], id="a colon in the password"),
        pytest.param("postgres://u:a+b@h/d", ("u", "a+b", "d"), [("h", 5432)], id="a plus is no blank"),
        pytest.param(
            "postgres://u:a&b=c@h/d", ("u", "a&b=c", "d"), [("h", 5432)], id="an ampersand in the password"
        ),
        pytest.param(
            "postgres://u:it's!$(),;*~@h/d", ("u", "it's!$(),;*~", "d"), [("h", 5432)], id="marks Go lets be"
        ),
        pytest.param(
            "postgres://u:12/34@h/d",
            (getpass.getuser(), None, "34@h/d"),
            [("u", 12)],
            id="a slash ends the password",
        ),
        pytest.param(
            "postgres://u:%40%3A%2F%23%25%3F%26%3D%2B%20%27%22%5C%C3%A9@h/d",
            ("u", "@:/#%?&=+ '\"\\é", "d"),
            [("h", 5432)],
            id="everything, percent-encoded",
        ),
        pytest.param("postgres://u:%2541@h/d", ("u", "%41", "d"), [("h", 5432)], id="decoded once"),
        pytest.param("postgres://u@h/d?dbname=e&port=9", ("u", None, "e"), [("h", 9)], id="the query wins"),
    ],
)
def test_who_and_where(text: str, who: tuple[str, str | None, str], where: list[tuple[str, int]]) -> None:
    parsed = parse(text)

    assert identity(parsed) == who
    assert servers(parsed) == where


def test_the_environment_stands_in_and_the_string_wins() -> None:
    environment = {
        "PGHOST": "eh",
        "PGPORT": "6",
        "PGDATABASE": "ed",
        "PGUSER": "eu",
        "PGPASSWORD": "ep",
        "PGTZ": "UTC",
    }
    environment |= {
        "PGAPPNAME": "ea",
        "PGOPTIONS": "-c x=y",
        "PGCONNECT_TIMEOUT": "3",
        "PGSSLMODE": "disable",
    }

    parsed = parse("", **environment)

    assert (identity(parsed), servers(parsed)) == (("eu", "ep", "ed"), [("eh", 6)])
    assert parsed.server_settings == {"timezone": "UTC", "application_name": "ea", "options": "-c x=y"}
    assert parsed.connect_timeout_s == 3
    assert [attempt.tls for attempt in parsed.attempts] == [None]
    parsed = parse("host=h port=7 dbname=d user=u password=p application_name=a", **environment)
    assert (identity(parsed), servers(parsed)) == (("u", "p", "d"), [("h", 7)])
    assert parsed.server_settings["application_name"] == "a"


def test_an_empty_user_is_as_if_not_given() -> None:
    assert parse("host=h user=", PGUSER="eu").user == "eu"
    assert parse("host=h user=").user == getpass.getuser()


def test_without_a_host_it_is_the_first_socket_folder_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsn, "SOCKET_FOLDERS", ("/does/not/exist", str(tmp_path)))
    assert servers(parse("user=u")) == [(str(tmp_path), 5432)]
    monkeypatch.setattr(dsn, "SOCKET_FOLDERS", ())
    assert servers(parse("user=u")) == [("localhost", 5432)]


def test_a_service_file_says_what_nobody_else_does(tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text("# ours\n[bbs]\nhost=sh\ndbname=sd\nuser=su\npassword=a%b=c\n")

    parsed = parse(f"service=bbs servicefile={file} user=u", PGHOST="eh")

    assert (identity(parsed), servers(parsed)) == (("u", "a%b=c", "sd"), [("sh", 5432)])
    assert parsed.server_settings == {}


def test_the_password_file_is_named_or_at_home(tmp_path: Path) -> None:
    assert parse("user=u host=h", HOME="/home/x").passfile == "/home/x/.pgpass"
    assert parse("user=u host=h passfile=/p", HOME="/home/x").passfile == "/p"
    assert parse("user=u host=h").arguments(parse("user=u host=h").attempts[0])["passfile"] == dsn.NO_FILE


PLAIN, UNVERIFIED, CHAIN, FULL = "plain", "unverified", "chain", "chain and name"


def ways(parsed: DSN) -> list[str]:
    def way(tls: ssl.SSLContext | None) -> str:
        if tls is None:
            return PLAIN
        if tls.verify_mode is ssl.CERT_NONE:
            return UNVERIFIED
        return FULL if tls.check_hostname else CHAIN

    return [way(attempt.tls) for attempt in parsed.attempts]


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", [UNVERIFIED, PLAIN]),
        ("sslmode=disable", [PLAIN]),
        ("sslmode=allow", [PLAIN, UNVERIFIED]),
        ("sslmode=prefer", [UNVERIFIED, PLAIN]),
        ("sslmode=require", [UNVERIFIED]),
        ("sslmode=verify-ca", [CHAIN]),
        ("sslmode=verify-full", [FULL]),
        ("sslmode=require sslrootcert=CA", [CHAIN]),
        ("sslmode=prefer sslrootcert=CA", [UNVERIFIED, PLAIN]),
        ("sslrootcert=system", [FULL]),
        ("sslmode=disable sslrootcert=system", [FULL]),
    ],
)
def test_sslmode_decides_how_and_in_which_order(settings: str, expected: Any, ca_file: Path) -> None:
    settings = settings.replace("CA", str(ca_file))

    assert ways(parse(f"user=u host=h {settings}")) == expected
    assert ways(parse(f"user=u host=/run/pg {settings}")) == [PLAIN]
    assert ways(parse(f"user=u host=a,b {settings}")) == expected * 2


def test_client_keys_are_kept_and_all_others_sent() -> None:
    parsed = parse(
        "postgres://u@h/d?application_name=a&search_path=s&statement_timeout=5&timezone=UTC&options=-c%20x%3Dy&nonsense=1"
        "&connect_timeout=4&target_session_attrs=read-write&default_query_exec_mode=exec&statement_cache_capacity=1"
        "&description_cache_capacity=2&sslmode=disable&sslsni=1"
    )

    assert parsed.server_settings == {
        "application_name": "a",
        "search_path": "s",
        "statement_timeout": "5",
        "timezone": "UTC",
        "options": "-c x=y",
        "nonsense": "1",
    }
    assert (parsed.connect_timeout_s, parsed.target_session_attrs) == (4, "read-write")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("host", "no key=value at character 1"),
        ("user=secret host", "no key=value at character 12"),
        ("password='secret", "does not end"),
        ("password='secret'more", "does not end"),
        ("host=h port=x", "not a port"),
        ("host=h port=0", "not a port"),
        ("host=a,b,c port=1,2", "3 hosts, but 2 ports"),
        ("host=h sslmode=maybe", "sslmode"),
        ("host=h sslcert=/c", 'both "sslcert" and "sslkey"'),
        ("host=h sslkey=/k", 'both "sslcert" and "sslkey"'),
        ("host=h sslmode=verify-ca sslrootcert=/does/not/exist", "certificates"),
        ("host=h connect_timeout=soon", "connect_timeout"),
        ("host=h target_session_attrs=best", "target_session_attrs"),
        ("host=h default_query_exec_mode=fast", "default_query_exec_mode"),
        ("host=h sslnegotiation=x", "sslnegotiation"),
        ("service=s servicefile=/does/not/exist", "No such file or directory: '/does/not/exist'"),
        ("password=top secret='x", "begins at character"),
        ("postgres://u:secret@h:x/d", "not a port"),
        ("postgres://u:secret@h:1:2/d", "more than one port"),
        ("postgres://u:secret%zz@h/d", "hexadecimal"),
        ("postgres://u:secret%@h/d", "hexadecimal"),
        ("postgres://u:secret/x@h/d", "not a port"),
        ("postgres://u:secret?x@h/d", "not a port"),
        ("postgres://u:secret#x@h/d", "not a port"),
        ("postgres://u:secret x@h/d", "percent-encoded there"),
        ('postgres://u:secret"x@h/d', "percent-encoded there"),
        ("postgres://u:secret\\\\x@h/d", "percent-encoded there"),
        ("postgres://u:secret<x@h/d", "percent-encoded there"),
        ("postgres://u:secreté@h/d", "percent-encoded there"),
        ("postgres://u:secret@[::1/d", "bracket"),
        ("postgres://u:secret@h/d?x=%ff", "parameters"),
    ],
)
def test_nonsense_is_refused_without_telling_the_password(text: str, reason: str) -> None:
    with pytest.raises(BadConnectionString) as refused:
        parse(f"user=u {text}" if "://" not in text and text != "host" and "user=" not in text else text)

    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"password=secret\n[s]\nhost=h\n", "lines of UTF-8"),
        (b"[s]\npassword secret\n", "lines of UTF-8"),
        (b"[s]\nhost=h\n  [secret\n]\n=secret\n", "lines of UTF-8"),
        (b"[s]\npassword=secret\xff\n", "lines of UTF-8"),
        (b"[other]\npassword=secret\n", "is not in"),
    ],
    ids=["no section", "no equals sign", "no key", "no UTF-8", "another service"],
)
def test_a_service_file_that_cannot_be_read_is_not_shown(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_bytes(content)

    with pytest.raises(BadConnectionString) as refused:
        parse(f"service=s servicefile={file}")

    told = "".join(traceback.format_exception(refused.value))
    assert reason in str(refused.value)
    assert "secret" not in told


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(parse("user=u password=secret host=h"))


async def fetch(parsed: DSN, query: str) -> Any:
    async def connect_and_ask() -> Any:
        connection = await parsed.connect(timeout_s=5)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async with open_asyncio_loop(null_logger()):
        return await aio_as_trio(connect_and_ask)()


async def test_settings_arrive_at_the_server(database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"
    parsed = parse(database_url + separator + "application_name=it%20is%20me&statement_cache_capacity=3")

    assert await fetch(parsed, "SHOW application_name") == "it is me"


async def test_a_server_that_is_not_there_is_passed_over(database_url: str) -> None:
    here = parse(database_url)
    host, port = servers(here)[0]

    there = parse(f"host=/does/not/exist,{host} port=1,{port} user={here.user} dbname={here.database}")

    assert await fetch(there, "SELECT 1") == 1


async def test_an_unknown_setting_fails_as_the_server_says(database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"

    # trio-asyncio's own nurseries wrap what passes through them.
    with pytest.RaisesGroup(asyncpg.UndefinedObjectError, flatten_subgroups=True) as refused:
        await fetch(parse(database_url + separator + "nonsense=1"), "SELECT 1")

    assert "unrecognized configuration parameter" in str(refused.value.exceptions)
