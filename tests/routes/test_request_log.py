"""The lines about requests, byte for byte. spec: metrics-and-logs.md §3.1, §4; api.md §5"""

import datetime
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bbs.http.endpoints import Answer, Call, Peer, Route, Unary
from bbs.log import LagerSink, Level, LineWriters, TimeFormat, go_json, root_logger
from bbs.routes.certificates import certificate_data
from bbs.routes.request_log import (
    AccessLog,
    AccessLogPathInvalid,
    RequestLog,
    open_access_log,
    request_data,
)
from tests.log_lines import Lines

NOW_NS = 1795466811_752160311
CN, O, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741


class Certificate:
    def __init__(self, der: bytes | None) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool) -> bytes | None:
        return self._der


def der(
    *, subject: list[tuple[x509.ObjectIdentifier, str]], issuer: list[tuple[x509.ObjectIdentifier, str]]
) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in subject]))
        .issuer_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in issuer]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


async def nothing(call: Call) -> Answer:
    return b""


PING = Route("Ping", "POST", "/v1/ping", Unary(nothing))


def call_from(certificate: bytes | None = None, target: str = "/v1/ping") -> Call:
    tls = None if certificate is None else Certificate(certificate)
    return Call(b"", "", target, Peer("127.0.0.1:42882", tls))


def access_log(lines: Lines) -> AccessLog:
    return AccessLog(LagerSink(lines, now_ns=lambda: NOW_NS))


def test_the_access_log_to_the_byte() -> None:
    lines = Lines()
    log = access_log(lines)
    call = call_from(der(subject=[(CN, "client")], issuer=[(CN, "server-ca")]))

    log.begin(PING, call)
    log.end(PING, call, 38227)

    head = '{"timestamp":"1795466811.752160311","source":"bbs-access","message":"bbs-access.request.'
    data = (
        '"method":"POST","peer_cert_issuer_common_name":"server-ca","peer_cert_issuer_organization":null,'
        '"peer_cert_issuer_organizational_unit":null,"peer_cert_subject_common_name":"client",'
        '"peer_cert_subject_organization":null,"peer_cert_subject_organizational_unit":null,'
        '"remote_addr":"127.0.0.1:42882","request":"/v1/ping","session":"1"}}\n'
    )
    assert lines.writes == [
        f'{head}serving","log_level":1,"data":{{{data}',
        f'{head}done","log_level":1,"data":{{"duration":38227,{data}',
    ]


def test_without_a_certificate_there_are_no_names() -> None:
    lines = Lines()

    access_log(lines).begin(PING, call_from(target="/v1/ping?a=<b>"))

    assert lines.writes[0].endswith(
        '"data":{"method":"POST","remote_addr":"127.0.0.1:42882","request":"/v1/ping?a=\\u003cb\\u003e","session":"1"}}\n'
    )


def test_a_target_of_a_megabyte_is_cut() -> None:
    lines = Lines()

    access_log(lines).begin(PING, call_from(target=f"/v1/ping?{'a' * (1 << 20)}"))

    assert lines.writes[0].endswith('-(truncated)","session":"1"}}\n')
    assert len(lines.writes[0]) < 17_000


@pytest.mark.parametrize("certificate", [None, b"not a certificate", der(subject=[(O, '"<')], issuer=[])])
@pytest.mark.parametrize("target", ["/v1/ping", '/v1/ping?"\\'])
def test_the_access_log_says_what_the_log_says(certificate: bytes | None, target: str) -> None:
    lines = Lines()
    log = access_log(lines)
    call = call_from(certificate, target)
    log.begin(PING, call)
    log.end(PING, call, 1)

    for line, more in zip(lines.writes, ({}, {"duration": 1}), strict=True):
        said = go_json({**request_data(PING, call), "session": "1", **more})
        assert line.endswith(f',"data":{said}}}\n')


def test_requests_are_counted_in_each_log_by_its_own_count() -> None:
    out, access = Lines(), Lines()
    sink = LagerSink(out, min_level=Level.DEBUG)
    log = root_logger("bbs", sink)
    log.session("something-else")
    requests = RequestLog(log, access_log=access_log(access))
    first, second = call_from(), call_from()

    requests.begin(PING, first)
    requests.begin(PING, second)
    requests.end(PING, second, 2)
    requests.end(PING, first, 1)

    def seen(lines: Lines) -> list[tuple[str, str]]:
        return [(line["message"], line["data"]["session"]) for line in lines.lines]

    assert seen(out) == [
        ("bbs.request.serving", "2"), ("bbs.request.serving", "3"),
        ("bbs.request.done", "3"), ("bbs.request.done", "2"),
    ]  # fmt: skip
    assert seen(access) == [
        ("bbs-access.request.serving", "1"), ("bbs-access.request.serving", "2"),
        ("bbs-access.request.done", "2"), ("bbs-access.request.done", "1"),
    ]  # fmt: skip


def test_the_log_tells_no_duration() -> None:
    out = Lines()
    sink = LagerSink(out, min_level=Level.DEBUG, time_format=TimeFormat.RFC3339, now_ns=lambda: NOW_NS)
    requests = RequestLog(root_logger("bbs", sink))
    call = call_from()

    requests.begin(PING, call)
    requests.end(PING, call, 5)

    head = (
        '{"timestamp":"2026-11-23T20:46:51.752160311Z","level":"debug","source":"bbs","message":"bbs.request.'
    )
    data = '"data":{"method":"POST","remote_addr":"127.0.0.1:42882","request":"/v1/ping","session":"1"}}\n'
    assert out.writes == [f'{head}serving",{data}', f'{head}done",{data}']


def test_above_debug_only_the_access_log_speaks() -> None:
    out, access = Lines(), Lines()
    requests = RequestLog(root_logger("bbs", LagerSink(out)), access_log=access_log(access))
    call = call_from()

    requests.begin(PING, call)
    requests.end(PING, call, 5)

    assert (len(out.writes), len(access.writes)) == (0, 2)
    assert call.session == 1


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ([], {"common_name": "", "organization": None, "organizational_unit": None}),
        ([(CN, "a"), (CN, "b")], {"common_name": "b", "organization": None, "organizational_unit": None}),
        (
            [(O, "o"), (OU, "app:1"), (OU, "space:2"), (CN, "c")],
            {"common_name": "c", "organization": ["o"], "organizational_unit": ["app:1", "space:2"]},
        ),
    ],
    ids=["none", "two common names", "units"],
)
@pytest.mark.parametrize("whose", ["subject", "issuer"])
def test_the_names_of_certificates(
    whose: str, subject: list[tuple[x509.ObjectIdentifier, str]], names: dict[str, object]
) -> None:
    certificate = (
        der(subject=subject, issuer=[(CN, "x")])
        if whose == "subject"
        else der(subject=[(CN, "x")], issuer=subject)
    )

    data = certificate_data(certificate)

    assert {key: data[f"peer_cert_{whose}_{key}"] for key in names} == names
    assert len(data) == 6


@pytest.mark.parametrize("certificate", [None, b"", b"\x30\x00"])
def test_what_is_no_certificate_has_no_names(certificate: bytes | None) -> None:
    assert certificate_data(certificate) == {}


def test_the_access_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("earlier\n")

    with LineWriters() as writers:
        open_access_log(str(path), writers).begin(PING, call_from())

    assert path.read_text().startswith('earlier\n{"timestamp":"')


def test_a_new_access_log_is_for_all_to_read(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    before = os.umask(0)
    try:
        with LineWriters() as writers:
            open_access_log(str(path), writers)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("name", "reason"), [("none/access.log", "no such file or directory"), (".", "is a directory")]
)
def test_a_path_that_cannot_be_opened(tmp_path: Path, name: str, reason: str) -> None:
    path = f"{tmp_path}/{name}"
    with LineWriters() as writers, pytest.raises(AccessLogPathInvalid) as caught:
        open_access_log(path, writers)

    assert str(caught.value) == f"open {path}: {reason}"
