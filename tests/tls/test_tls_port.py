"""What each kind of client meets at the API's port, and what operators read of it (spec: security.md §1, §2).

Real sockets, certificates from files as in production. After each of them a client with a good certificate is served.
"""

import contextlib
import socket
import ssl
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from OpenSSL import SSL

from bbs.http.limits import Limits
from bbs.tls.contexts import TLSFiles, server_context
from bbs.tls.reloading import server_certificate
from tests.http.serving import PATIENCE_S, Served, Wire, post, serving
from tests.http.test_http_handshakes import Watched

RSA = trustme.KeyType.RSA
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass
class Authorities:
    """Ours, whom the server trusts, and another with the same name; the server's files are in ``directory``."""

    directory: Path
    ours: trustme.CA = field(default_factory=lambda: trustme.CA(organization_name="ca", key_type=RSA))
    others: trustme.CA = field(default_factory=lambda: trustme.CA(organization_name="ca", key_type=RSA))

    @property
    def files(self) -> TLSFiles:
        return TLSFiles(
            ca_file=self.directory / "ca", cert_file=self.directory / "crt", key_file=self.directory / "key"
        )

    def write(self, authority: trustme.CA, server: trustme.LeafCert) -> None:
        """Make these the server's files."""
        authority.cert_pem.write_to_path(str(self.files.ca_file))
        server.cert_chain_pems[0].write_to_path(str(self.files.cert_file))
        server.private_key_pem.write_to_path(str(self.files.key_file))

    def server(self) -> ssl.SSLContext:
        return server_context(
            ca_file=self.files.ca_file, cert_file=self.files.cert_file, key_file=self.files.key_file
        )


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    made = Authorities(tmp_path)
    made.write(made.ours, server_pair(made.ours))
    return made


def server_pair(authority: trustme.CA, **dates: Any) -> trustme.LeafCert:
    return authority.issue_cert("localhost", key_type=RSA, **dates)


def client_pair(authority: trustme.CA, **dates: Any) -> trustme.LeafCert:
    return authority.issue_cert("cell", key_type=RSA, **dates)


def client(trusted: trustme.CA, pair: trustme.LeafCert | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    trusted.configure_trust(context)
    if pair is not None:
        pair.configure_cert(context)
    return context


def at_most_tls_1_2(context: ssl.SSLContext, suite: str = "") -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if suite:
        context.set_ciphers(f"{suite}:@SECLEVEL=0")
    return context


def tls_1_1(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


MakeClient = Callable[[Authorities], ssl.SSLContext]

SERVED: dict[str, MakeClient] = {
    "TLS 1.3": lambda a: client(a.ours, client_pair(a.ours)),
    "TLS 1.2": lambda a: at_most_tls_1_2(client(a.ours, client_pair(a.ours))),
    "a certificate that ends today": lambda a: client(
        a.ours, client_pair(a.ours, not_after=NOW + timedelta(hours=1))
    ),
    "the server's own pair": lambda a: client(a.ours, server_pair(a.ours)),
}

# The alert that the client gets, and the reason that operators read.
UNKNOWN_CA = ("UNKNOWN_CA", "tls: failed to verify certificate: x509: unable to get local issuer certificate")
NO_CIPHER = ("HANDSHAKE_FAILURE", "tls: no cipher suite supported by both client and server")
REFUSED: dict[str, tuple[MakeClient, tuple[str, str]]] = {
    "no certificate": (
        lambda a: client(a.ours, None),
        ("CERTIFICATE_REQUIRED", "tls: client didn't provide a certificate"),
    ),
    "no certificate, TLS 1.2": (
        lambda a: at_most_tls_1_2(client(a.ours, None)),
        ("HANDSHAKE_FAILURE", "tls: client didn't provide a certificate"),
    ),
    "another CA": (
        lambda a: client(a.ours, client_pair(trustme.CA(organization_name="x", key_type=RSA))),
        UNKNOWN_CA,
    ),
    "another CA of the same name": (
        lambda a: client(a.ours, client_pair(a.others)),
        UNKNOWN_CA,
    ),
    "an expired certificate": (
        lambda a: client(a.ours, client_pair(a.ours, not_before=NOW - 2 * DAY, not_after=NOW - DAY)),
        ("CERTIFICATE_EXPIRED", "tls: failed to verify certificate: x509: certificate has expired"),
    ),
    "a certificate of tomorrow": (
        lambda a: client(a.ours, client_pair(a.ours, not_before=NOW + DAY, not_after=NOW + 2 * DAY)),
        ("BAD_CERTIFICATE", "tls: failed to verify certificate: x509: certificate is not yet valid"),
    ),
    "TLS 1.1": (
        lambda a: tls_1_1(client(a.ours, client_pair(a.ours))),
        ("PROTOCOL_VERSION", "tls: client offered only unsupported versions"),
    ),
    "CBC": (
        lambda a: at_most_tls_1_2(client(a.ours, client_pair(a.ours)), "ECDHE-RSA-AES128-SHA256"),
        NO_CIPHER,
    ),
    "no forward secrecy": (
        lambda a: at_most_tls_1_2(client(a.ours, client_pair(a.ours)), "AES128-GCM-SHA256"),
        NO_CIPHER,
    ),
    "no encryption": (
        lambda a: at_most_tls_1_2(client(a.ours, client_pair(a.ours)), "NULL-SHA256"),
        NO_CIPHER,
    ),
    "nobody's key exchange": (
        lambda a: at_most_tls_1_2(client(a.ours, client_pair(a.ours)), "AECDH-AES128-SHA"),
        NO_CIPHER,
    ),
}  # fmt: skip


async def secured(
    served: Served, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> "trio.SSLStream[trio.SocketStream]":
    """A connection whose handshake is still to come. A ``session`` is one to take up again."""
    wire = await served.connect_plain()
    assert isinstance(wire.stream, trio.SocketStream)
    stream = trio.SSLStream(wire.stream, context, server_hostname="localhost", https_compatible=True)
    if session is not None:
        stream._ssl_object.session = session
    return stream


async def is_served(stream: "trio.SSLStream[trio.SocketStream]", body: bytes = b"good") -> bool:
    wire = Wire(stream)
    await wire.send(post("/v1/echo", body))
    return (await wire.read_response()).body == body


async def alert(stream: "trio.SSLStream[trio.SocketStream]") -> str:
    """The reason that the client is refused for. With TLS 1.3 it is heard with the first read only."""

    async def hear() -> None:
        await stream.do_handshake()
        await stream.receive_some()

    with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError) as refused:
        await hear()
    assert isinstance(refused.value.__cause__, ssl.SSLError)
    return refused.value.__cause__.reason or ""


@pytest.mark.parametrize("kind", SERVED)
async def test_clients_that_are_served(kind: str, authorities: Authorities) -> None:
    world = Watched()
    async with serving(world, fast_lane=True, server_tls=authorities.server()) as served:
        assert await is_served(await secured(served, SERVED[kind](authorities)))

    assert world.told == []


@pytest.mark.parametrize("kind", REFUSED)
async def test_clients_that_are_refused(kind: str, authorities: Authorities) -> None:
    make, (heard, reason) = REFUSED[kind]
    world = Watched()
    async with serving(world, fast_lane=True, server_tls=authorities.server()) as served:
        reasons = await alert(await secured(served, make(authorities)))
        with trio.fail_after(PATIENCE_S):
            await world.news.wait()
        assert await is_served(await secured(served, SERVED["TLS 1.3"](authorities)))

    assert heard in reasons
    assert [told for _, told in world.told] == [reason]
    assert len(world.calls) == 1  # of the good client


async def test_a_server_whose_certificate_has_expired_while_it_ran(authorities: Authorities) -> None:
    """It goes on serving it, as upstream's: clients refuse it, and operators read that they do."""
    expired = server_pair(authorities.ours, not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    server = authorities.server()
    expired.configure_cert(server)
    world = Watched()
    async with serving(world, fast_lane=True, server_tls=server) as served:
        with trio.fail_after(PATIENCE_S):
            refused = await trio.to_thread.run_sync(connect, SERVED["TLS 1.3"](authorities), served.address)
            await world.news.wait()

    assert "certificate has expired" in refused
    assert [told for _, told in world.told] == ["remote error: tls: expired certificate"]


def connect(context: ssl.SSLContext, address: tuple[str, int]) -> str:
    """Why the client refuses the server. Blocks: unlike Trio's, Python's own stream also tells the server."""
    with (
        socket.create_connection(address, timeout=PATIENCE_S) as plain,
        pytest.raises(ssl.SSLError) as refused,
    ):
        context.wrap_socket(plain, server_hostname="localhost")
    return str(refused.value)


async def test_a_client_that_speaks_tls_to_a_port_without_it() -> None:
    """Mutual TLS is off with `bbs serve` alone, and only as a whole."""
    authority = trustme.CA()
    world = Watched()
    async with serving(world, fast_lane=True) as served:
        assert "WRONG_VERSION_NUMBER" in await alert(await secured(served, client(authority, None)))
        plain = await served.connect_plain()
        await plain.send(post("/v1/echo", b"good"))
        assert (await plain.read_response()).body == b"good"


@pytest.mark.parametrize("version", ["TLS 1.3", "TLS 1.2"])
async def test_the_ca_is_changed(version: str, authorities: Authorities) -> None:
    """From the reload on a client of the CA before is refused, also one that would take up its session again. A connection
    that is open goes on.
    """
    old = SERVED[version](authorities)
    certificate = server_certificate(authorities.files)
    world = Watched()
    async with serving(world, fast_lane=True, server_tls=certificate.context) as served:
        before = await secured(served, old)
        assert await is_served(before)
        session = before._ssl_object.session
        resumed = await secured(served, old, session)
        assert await is_served(resumed)
        assert resumed._ssl_object.session_reused, "so the next one could have been, too"

        authorities.write(authorities.others, server_pair(authorities.others))
        certificate.reload()

        new = client(authorities.others, client_pair(authorities.others))
        assert await is_served(await secured(served, new))
        # It trusts both CAs, so that it is the server who refuses.
        authorities.others.configure_trust(old)
        for taken_up in (None, session):
            await alert(await secured(served, old, taken_up))
        assert await is_served(before), "what was open goes on"

    assert len(world.told) == 2
    assert all("tls: failed to verify certificate" in told for _, told in world.told)


async def test_a_certificate_and_its_key_are_replaced_one_after_the_other(authorities: Authorities) -> None:
    """Whoever looks in between finds a pair that does not match, and goes on with the one before."""
    certificate = server_certificate(authorities.files)
    good = SERVED["TLS 1.3"](authorities)
    async with serving(Watched(), fast_lane=True, server_tls=certificate.context) as served:
        server_pair(authorities.ours).cert_chain_pems[0].write_to_path(str(authorities.files.cert_file))
        with contextlib.suppress(Exception):
            certificate.reload()

        assert await is_served(await secured(served, good))


async def test_a_renegotiation_ends_the_connection(authorities: Authorities) -> None:
    """TLS 1.2 lets a client ask for a new handshake at any time. Answers to those who ask again and again would pile up."""
    pair = client_pair(authorities.ours)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    pair.configure_cert(context)
    world = Watched()
    async with serving(
        world, fast_lane=True, server_tls=authorities.server(), limits=Limits(idle_timeout_s=600)
    ) as served:
        with trio.fail_after(PATIENCE_S):
            said = await trio.to_thread.run_sync(renegotiate, context, served.address)
        assert said.startswith(b"HTTP/1.1 200")
        assert await is_served(await secured(served, SERVED["TLS 1.2"](authorities)))

    assert world.told == []


def renegotiate(context: SSL.Context, address: tuple[str, int]) -> bytes:
    """Have one request answered, then ask for a new handshake until the server ends the connection. Returns the answer.

    Blocks: Python's own TLS has no renegotiation.
    """
    with socket.create_connection(address) as plain:
        # Python's own timeouts make a socket non-blocking, and OpenSSL is to wait.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE_S, 0))
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        connection.sendall(post("/v1/echo", b"good"))
        answer: bytes = connection.recv(4096)
        assert connection.renegotiate()
        with pytest.raises(
            (SSL.SysCallError, SSL.ZeroReturnError)
        ):  # not WantReadError: the patience ran out
            connection.do_handshake()
        return answer
