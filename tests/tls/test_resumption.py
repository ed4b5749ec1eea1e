"""Clients that come back resume their session, with a certificate from both sides; Go's keep one per server."""

import ssl
from dataclasses import dataclass

import pytest
import trio

from bbs.http.tls_stream import TLSStream
from bbs.tls.contexts import client_context, server_context
from bbs.tls.development import DevelopmentCerts
from tests.made_once import copied_certs

WAIT_S = 10
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCerts:
    return copied_certs(tmp_path_factory.mktemp("certs") / "copied")


def server_of(certs: DevelopmentCerts) -> ssl.SSLContext:
    return server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)


def client_of(certs: DevelopmentCerts, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = client_context(ca_file=certs.ca_cert, cert_file=certs.client_cert, key_file=certs.client_key)
    context.maximum_version = version
    return context


@dataclass(frozen=True, kw_only=True)
class Met:
    session: ssl.SSLSession
    reused: bool
    client_certificate: bytes | None


async def meet(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Met:
    ours, theirs = (trio.SocketStream(side) for side in trio.socket.socketpair())
    server = TLSStream(ours, server_tls)
    client = trio.SSLStream(theirs, client_tls, server_hostname="localhost", https_compatible=True)
    if session is not None:
        client.session = session
    with trio.fail_after(WAIT_S):
        async with server, client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.do_handshake)
                nursery.start_soon(client.do_handshake)
            await server.send_all(b"!")
            assert await client.receive_some(1) == b"!"  # and with it the ticket
            return Met(
                session=client.session,
                reused=client.session_reused,
                client_certificate=server.getpeercert(True),
            )


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_is_resumed_and_whose_it_is_still_known(
    certs: DevelopmentCerts, version: ssl.TLSVersion
) -> None:
    server_tls, client_tls = server_of(certs), client_of(certs, version)
    first = await meet(server_tls, client_tls)
    again = await meet(server_tls, client_tls, first.session)
    once_more = await meet(server_tls, client_tls, again.session)

    assert (first.reused, again.reused, once_more.reused) == (False, True, True)
    assert first.client_certificate
    assert [each.client_certificate for each in (again, once_more)] == [first.client_certificate] * 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_certificates_that_were_read_again_end_all_sessions(
    certs: DevelopmentCerts, version: ssl.TLSVersion
) -> None:
    client_tls = client_of(certs, version)
    first = await meet(server_of(certs), client_tls)

    again = await meet(server_of(certs), client_tls, first.session)

    assert not again.reused
    assert again.client_certificate == first.client_certificate


def test_a_handshake_makes_one_ticket(certs: DevelopmentCerts) -> None:
    assert server_of(certs).num_tickets == 1
