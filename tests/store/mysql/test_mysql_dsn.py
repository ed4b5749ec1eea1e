"""Connection strings for MySQL, as upstream's driver reads them (spec: mysql.md §1.1, §1.4), and URLs."""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.store.dsn import BadConnectionString
from bbs.store.mysql.dsn import MySQLDSN, parse_mysql_dsn, parse_mysql_url
from bbs.tls.development import DevelopmentCerts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/diego", {"database": "diego"}),
        ("/", {"database": ""}),
        ("u@/d", {"user": "u", "database": "d"}),
        ("diego:secret@/diego_1", {"user": "diego", "password": "secret", "database": "diego_1"}),
        ("u:p@tcp/d", {"user": "u", "password": "p", "database": "d"}),
        ("u:p@tcp(db.internal)/d", {"host": "db.internal"}),
        ("u:p@tcp(db.internal:13306)/d", {"host": "db.internal", "port": 13306}),
        ("u:p@tcp([::1]:3307)/d", {"host": "::1", "port": 3307}),
        ("u:p@tcp([::1])/d", {"host": "::1"}),
        ("u:p@tcp6(::1)/d", {"host": "::1"}),
        ("u:p@tcp(:3307)/d", {"host": "127.0.0.1", "port": 3307}),
        ("u:p@(h)/d", {"host": "h"}),
        ("u:p@unix(/run/my.sock)/d", {"socket": "/run/my.sock"}),
        ("u:p@unix/d", {"socket": "/tmp/mysql.sock"}),
        # The last slash and the last @ divide, so a password may contain anything.
        ("u:p@/:?%41&#(x)@tcp(h:1)/d", {"user": "u", "password": "p@/:?%41&#(x)", "host": "h", "port": 1}),
        ("u:a:b@tcp(h)/d", {"password": "a:b"}),
        ("/diego%5Fa", {"database": "diego_a"}),
        ("/d?tls=true", {"tls_mode": "true"}),
        ("/d?tls=TRUE", {"tls_mode": "true"}),
        ("/d?tls=false", {"tls_mode": ""}),
        ("/d?tls=skip-verify", {"tls_mode": "skip-verify"}),
        ("/d?tls=preferred", {"tls_mode": "preferred"}),
        ("/d?parseTime=true&timeout=90s&readTimeout=1m30s&collation=utf8mb4_bin", {}),
        ("/d?interpolateParams=1&clientFoundRows=true&maxAllowedPacket=0", {}),
        ("/d?sql_mode=ANSI&nonsense=1&charset=latin1", {"unknown": ("sql_mode", "nonsense")}),
        ("/d?loc=Europe%2FBerlin", {}),
        ("/d?", {}),
    ],
)
def test_a_string_is_understood(text: str, parts: dict[str, Any]) -> None:
    dsn = parse_mysql_dsn(text)

    assert {name: getattr(dsn, name) for name in parts} == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid DSN: missing the slash separating the database name"),
        ("u:hush@tcp(h)", "invalid DSN: missing the slash separating the database name"),
        ("u:hush@tcp(h:1/d", "invalid DSN: network address not terminated (missing closing brace)"),
        ("u:hush@tcp(h:1)x/d", "invalid DSN: did you forget to escape a param value?"),
        ("u:hush@foo/db", "default addr for network 'foo' unknown"),
        ("mysql://u:hush@host/d", "default addr for network 'host' unknown"),
        ("u:hush@foo(h)/db", "dial foo: unknown network foo"),
        ("/d?parseTime=x", "invalid bool value: x"),
        ("/d?tls=nope", "invalid value / unknown config name: nope"),
        ("/d?timeout=5", "timeout: '5' is no duration, such as 10s"),
        ("/d?compress=1", "compression not implemented yet"),
        ("/d?strict=true", "strict mode is not a parameter any more: leave it out, it is always on"),
        ("/d?maxAllowedPacket=x", "maxAllowedPacket 'x' is no number of bytes"),
        ("/d?loc=%zz", "the value of 'loc' has a % without two hexadecimal digits"),
        ("/d%", "invalid dbname: the database name has a % without two hexadecimal digits"),
        (
            "u:hush@tcp(h:hush)/d",
            "what stands for a port in the database's address is not a port, 1 to 65535",
        ),
        ("u:hush@tcp(h:0)/d", "what stands for a port in the database's address is not a port, 1 to 65535"),
        ("u:hush@tcp([::1)/d", "the database's address has an IPv6 address without its closing bracket"),
        ("u:hu\0sh@tcp(h)/d", "the password of the connection string contains a NUL character"),
        ("u:hush@tcp(a..b)/d", "host 'a..b' is no name that could be looked up"),
    ],
)
def test_a_bad_string_is_refused_without_its_password(text: str, words: str) -> None:
    with pytest.raises(BadConnectionString) as refused:
        parse_mysql_dsn(text)

    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("mysql://", {"host": "127.0.0.1", "port": 3306, "user": "", "database": ""}),
        ("mysql://u:p%40%2F@h:3307/d", {"user": "u", "password": "p@/", "host": "h", "port": 3307, "database": "d"}),
        ("mysql://u@[::1]/d?tls=preferred", {"host": "::1", "tls_mode": "preferred"}),
        ("mysql://u@/d?socket=/run/my.sock", {"socket": "/run/my.sock", "database": "d"}),
    ],
)  # fmt: skip
def test_a_url_is_understood(url: str, parts: dict[str, Any]) -> None:
    dsn = parse_mysql_url(url)

    assert {name: getattr(dsn, name) for name in parts} == parts


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:hush@h:hush/d", "the database URL can't be read"),
        ("mysql://u:hush@[::1/d", "the database URL can't be read"),
        ("mysql://h/d?tls=maybe", "tls='maybe' is none of true, false"),
        ("mysql://h/d?sslmode=require", "the database URL has a parameter 'sslmode', and only tls and socket are known"),
        ("mysql://h/d%00", "the database of the connection string contains a NUL character"),
    ],
)  # fmt: skip
def test_a_bad_url_is_refused_without_its_password(url: str, words: str) -> None:
    with pytest.raises(BadConnectionString, match=words.replace("[", r"\[")) as refused:
        parse_mysql_url(url)

    assert "hush" not in str(refused.value)


@given(st.text())
def test_any_text_is_understood_or_refused(text: str) -> None:
    for parse in (parse_mysql_dsn, lambda text: parse_mysql_url(f"mysql://{text}")):
        with suppress(BadConnectionString):
            parse(text)


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(parse_mysql_dsn("u:hush@tcp(h)/d"))


@pytest.mark.parametrize(
    ("string", "verified", "named"),
    [
        ("u@tcp(h)/d?tls=true", True, True),
        ("u@tcp(h)/d?tls=skip-verify", False, False),
        ("u@tcp(h)/d?tls=preferred", False, False),
    ],
)
def test_tls_is_begun_as_the_string_says(string: str, verified: bool, named: bool) -> None:
    context = parse_mysql_dsn(string).tls_context()

    assert context is not None
    assert (context.verify_mode is ssl.CERT_REQUIRED, context.check_hostname) == (verified, named)


def test_a_socket_needs_no_tls() -> None:
    assert parse_mysql_dsn("u@unix(/s)/d?tls=true").tls_context() is None


@pytest.mark.parametrize("verify_identity", [True, False])
def test_a_ca_overrules_what_the_string_says(certs: DevelopmentCerts, verify_identity: bool) -> None:
    dsn = parse_mysql_dsn("u@tcp(h)/d?tls=preferred").with_ca(
        str(certs.ca_cert), verify_identity=verify_identity
    )
    context = dsn.tls_context()

    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is verify_identity
    assert not dsn.falls_back_to_plain_text


def test_a_ca_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")

    with pytest.raises((OSError, ValueError)):
        MySQLDSN().with_ca(str(tmp_path / "ca"), verify_identity=True)
