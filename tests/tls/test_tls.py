"""spec: security.md, sections 1 and 2; client.md, section 1. Real handshakes on loopback."""

import contextlib
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from bbs.http.tls_stream import TLSStream
from bbs.tls.contexts import TLSFilesInvalid, client_context, server_context
from bbs.tls.development import (
    DevelopmentCerts,
    _Authority,
    _key_pem,
    _name,
    _new_key,
)
from tests.made_once import copied_certs

PEM = serialization.Encoding.PEM
WAIT_S = 10


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCerts:
    return copied_certs(tmp_path_factory.mktemp("certs") / "copied")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCerts:
    return copied_certs(tmp_path_factory.mktemp("foreign") / "copied", of="strangers")


def server_of(certs: DevelopmentCerts) -> ssl.SSLContext:
    return server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)


def client_of(certs: DevelopmentCerts, *, ca: DevelopmentCerts | None = None) -> ssl.SSLContext:
    return client_context(
        ca_file=(ca or certs).ca_cert, cert_file=certs.client_cert, key_file=certs.client_key
    )


@dataclass(frozen=True)
class Met:
    """What the two agreed on, as the client sees it."""

    version: str
    suite: str
    alpn: str | None


async def meet(server: ssl.SSLContext, client: ssl.SSLContext, *, name: str = "localhost") -> Met:
    """Shake hands over a pair of sockets, then pass a byte to the client.

    Raises:
      trio.BrokenResourceError: either side refused; its cause says how the client noticed.
    """
    ours, theirs = (trio.SocketStream(side) for side in trio.socket.socketpair())
    outcome: list[Met | trio.BrokenResourceError] = []

    async def serve() -> None:
        async with theirs:
            with contextlib.suppress(trio.BrokenResourceError):
                tls = TLSStream(theirs, server)
                await tls.do_handshake()
                await tls.send_all(b"!")

    async def call() -> None:
        async with ours:
            tls = trio.SSLStream(ours, client, server_hostname=name)
            try:
                # With TLS 1.3 a server refuses after the client's part is done: noticed on the first read only.
                assert await tls.receive_some(1) == b"!"
                outcome.append(Met(tls.version(), tls.cipher()[0], tls.selected_alpn_protocol()))
            except trio.BrokenResourceError as error:
                outcome.append(error)

    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(call)
    if isinstance(outcome[0], Met):
        return outcome[0]
    raise outcome[0]


def alert(error: trio.BrokenResourceError) -> str:
    assert isinstance(error.__cause__, ssl.SSLError)
    return error.__cause__.reason or ""


async def test_both_sides_of_one_ca_meet_at_tls_1_3(certs: DevelopmentCerts) -> None:
    assert (await meet(server_of(certs), client_of(certs))).version == "TLSv1.3"


async def test_http_2_is_never_negotiated(certs: DevelopmentCerts) -> None:
    client = client_of(certs)
    client.set_alpn_protocols(["h2", "http/1.1"])

    assert (await meet(server_of(certs), client)).alpn is None


@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"])
async def test_tls_1_2_has_these_suites(certs: DevelopmentCerts, suite: str) -> None:
    client = client_of(certs)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(suite)

    met = await meet(server_of(certs), client)

    assert (met.version, met.suite) == ("TLSv1.2", suite)


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-SHA256",
        "AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
    ],
)
async def test_tls_1_2_has_no_other_suite(certs: DevelopmentCerts, suite: str) -> None:
    client = client_of(certs)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(suite)

    with pytest.raises(trio.BrokenResourceError) as caught:
        await meet(server_of(certs), client)

    assert "HANDSHAKE_FAILURE" in alert(caught.value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_older_versions_are_refused(certs: DevelopmentCerts, version: ssl.TLSVersion) -> None:
    client = client_of(certs)
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = version

    with pytest.raises(trio.BrokenResourceError) as caught:
        await meet(server_of(certs), client)

    assert "PROTOCOL_VERSION" in alert(caught.value)


async def test_a_client_needs_a_certificate(certs: DevelopmentCerts) -> None:
    anonymous = client_context(ca_file=certs.ca_cert, cert_file=None, key_file=None)

    with pytest.raises(trio.BrokenResourceError) as caught:
        await meet(server_of(certs), anonymous)

    assert "CERTIFICATE_REQUIRED" in alert(caught.value)


async def test_a_client_of_a_foreign_ca_is_refused(
    certs: DevelopmentCerts, foreign: DevelopmentCerts
) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await meet(server_of(certs), client_of(foreign, ca=certs))

    assert "UNKNOWN_CA" in alert(caught.value)


async def test_a_server_pair_may_act_as_client(certs: DevelopmentCerts) -> None:
    client = client_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)

    assert (await meet(server_of(certs), client)).version == "TLSv1.3"


async def test_a_certificate_for_servers_only_is_no_client(certs: DevelopmentCerts, tmp_path: Path) -> None:
    authority = _Authority.make()
    ca_file, cert_file, key_file = tmp_path / "ca", tmp_path / "cert", tmp_path / "key"
    key = _new_key()
    certificate = authority.issue(key, "server", usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    ca_file.write_bytes(authority.certificate.public_bytes(PEM))
    cert_file.write_bytes(certificate.public_bytes(PEM))
    key_file.write_bytes(_key_pem(key))
    server = server_context(ca_file=ca_file, cert_file=certs.server_cert, key_file=certs.server_key)

    with pytest.raises(trio.BrokenResourceError) as caught:
        await meet(server, client_context(ca_file=certs.ca_cert, cert_file=cert_file, key_file=key_file))

    assert "UNSUPPORTED_CERTIFICATE" in alert(caught.value)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "active.bbs.service.cf.internal"])
async def test_the_server_is_checked_by_name(certs: DevelopmentCerts, name: str) -> None:
    assert (await meet(server_of(certs), client_of(certs), name=name)).version == "TLSv1.3"


@pytest.mark.parametrize("name", ["bbs", "127.0.0.2", "a.b.bbs.service.cf.internal"])
async def test_a_server_of_another_name_is_refused_unless_verification_is_skipped(
    certs: DevelopmentCerts, name: str
) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await meet(server_of(certs), client_of(certs), name=name)

    assert alert(caught.value) == "CERTIFICATE_VERIFY_FAILED"

    trusting = client_context(
        ca_file="/is/not/read", cert_file=certs.client_cert, key_file=certs.client_key, skip_verify=True
    )
    assert (await meet(server_of(certs), trusting, name=name)).version == "TLSv1.3"


async def test_an_intermediate_ca_may_be_the_only_anchor(tmp_path: Path) -> None:
    middle = trustme.CA(key_type=trustme.KeyType.RSA).create_child_ca(key_type=trustme.KeyType.RSA)
    middle.cert_pem.write_to_path(tmp_path / "ca")
    for name in ("server", "client"):
        pair = middle.issue_cert("localhost", key_type=trustme.KeyType.RSA)
        pair.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
        pair.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    server = server_context(
        ca_file=tmp_path / "ca", cert_file=tmp_path / "server.crt", key_file=tmp_path / "server.key"
    )
    client = client_context(
        ca_file=tmp_path / "ca", cert_file=tmp_path / "client.crt", key_file=tmp_path / "client.key"
    )

    assert (await meet(server, client)).version == "TLSv1.3"


def time_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "says"),
    [
        pytest.param(-2, -1, "certificate has expired: validity ended at {ends}", id="expired"),
        pytest.param(1, 2, "certificate is not yet valid: validity starts at {starts}", id="not yet valid"),
    ],
)
def test_a_certificate_must_be_valid_now(
    certs: DevelopmentCerts, tmp_path: Path, starts_in: int, ends_in: int, says: str
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    starts, ends = now + timedelta(days=starts_in), now + timedelta(days=ends_in)
    key, name = _new_key(), _name("dated")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, starts, ends)
    (tmp_path / "cert").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(PEM))
    (tmp_path / "key").write_bytes(_key_pem(key))
    expected = says.format(starts=time_text(starts), ends=time_text(ends)) + " but current time is "

    with pytest.raises(TLSFilesInvalid) as caught:
        server_context(ca_file=certs.ca_cert, cert_file=tmp_path / "cert", key_file=tmp_path / "key")

    text = str(caught.value)
    assert text.startswith(f"failed to load keypair: {expected}")
    told = datetime.strptime(text.removeprefix(f"failed to load keypair: {expected}"), "%Y-%m-%d %H:%M:%S %Z")
    assert abs(told.replace(tzinfo=UTC) - now) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("cert", "key", "says"),
    [
        pytest.param("absent", "server.key", "open {dir}/absent: no such file or directory", id="no cert"),
        pytest.param("server.crt", "absent", "open {dir}/absent: no such file or directory", id="no key"),
        pytest.param("", "server.key", "open : no such file or directory", id="empty path"),
        pytest.param(
            "server.key",
            "server.key",
            "tls: failed to find any PEM data in certificate input",
            id="key twice",
        ),
        pytest.param(
            "server.crt", "server.crt", "tls: failed to find any PEM data in key input", id="cert twice"
        ),
        pytest.param("server.crt", "client.key", "tls: private key does not match public key", id="mismatch"),
    ],
)
def test_a_bad_pair_is_told_in_upstreams_words(
    certs: DevelopmentCerts, cert: str, key: str, says: str
) -> None:
    directory = certs.ca_cert.parent
    paths = [str(directory / name) if name else "" for name in (cert, key)]

    for make in (server_context, client_context):
        with pytest.raises(TLSFilesInvalid) as caught:
            make(ca_file=certs.ca_cert, cert_file=paths[0], key_file=paths[1])

        assert str(caught.value) == "failed to load keypair: " + says.format(dir=directory)


def test_an_encrypted_key_is_an_error_and_no_prompt(certs: DevelopmentCerts, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(certs.server_key.read_bytes(), None)
    (tmp_path / "key").write_bytes(
        key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
        )
    )

    with pytest.raises(TLSFilesInvalid, match="failed to load keypair: tls: failed to parse private key"):
        server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=tmp_path / "key")


def with_headers(pem: bytes) -> bytes:
    first, rest = pem.split(b"\n", 1)
    return first + b"\nProc-Type: 4,ENCRYPTED\n\n" + rest


CA_FILES = [
    pytest.param(lambda certs: b"", 'no valid certificates read from file "{path}"', id="empty"),
    pytest.param(lambda certs: b"no PEM here\n", 'no valid certificates read from file "{path}"', id="prose"),
    pytest.param(
        lambda certs: certs.ca_cert.read_bytes() + certs.client_key.read_bytes(),
        'unexpected PEM block type "PRIVATE KEY" in file "{path}"',
        id="a key in it",
    ),
    pytest.param(
        lambda certs: with_headers(certs.ca_cert.read_bytes()),
        'unexpected PEM headers in file "{path}"',
        id="headers",
    ),
    pytest.param(
        lambda certs: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        'failed to parse certificate in file "{path}"',
        id="not a certificate",
    ),
]


@pytest.mark.parametrize(("content", "says"), CA_FILES)
def test_a_bad_ca_file_is_refused(
    certs: DevelopmentCerts, tmp_path: Path, content: Callable[[DevelopmentCerts], bytes], says: str
) -> None:
    path = tmp_path / "ca"
    path.write_bytes(content(certs))

    for make in (server_context, client_context):
        with pytest.raises(TLSFilesInvalid) as caught:
            make(ca_file=path, cert_file=certs.server_cert, key_file=certs.server_key)

        assert str(caught.value).startswith(says.format(path=path))


def test_an_absent_ca_file_is_refused(certs: DevelopmentCerts) -> None:
    with pytest.raises(TLSFilesInvalid) as caught:
        server_context(ca_file="/absent", cert_file=certs.server_cert, key_file=certs.server_key)

    expected = 'failed to read certificate(s) at path "/absent": open /absent: no such file or directory'
    assert str(caught.value) == expected


async def test_text_around_the_ca_does_not_matter(certs: DevelopmentCerts, tmp_path: Path) -> None:
    bundle = tmp_path / "ca"
    pem = certs.ca_cert.read_bytes()
    bundle.write_bytes(b"# ours\r\n" + pem.replace(b"\n", b"\r\n") + b"\n# again\n" + pem + b"# end")
    server = server_context(ca_file=bundle, cert_file=certs.server_cert, key_file=certs.server_key)

    assert (await meet(server, client_of(certs))).version == "TLSv1.3"
