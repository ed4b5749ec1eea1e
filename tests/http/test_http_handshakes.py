"""What is said of handshakes that failed. spec: metrics-and-logs.md §3"""

import contextlib
import re
import ssl
from dataclasses import dataclass, field

import pytest
import trio
import trustme

from bbs.http.handshakes import failure_line, tell_on_stderr
from bbs.http.listener import Hooks
from tests.http.serving import World, serving, tls_contexts

NO_CERTIFICATE = "tls: client didn't provide a certificate"


@dataclass
class Watched(World):
    told: list[tuple[str, str]] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)

    def hooks(self) -> Hooks:
        plain = super().hooks()
        return Hooks(
            on_bug=plain.on_bug,
            on_connection_failed=plain.on_connection_failed,
            on_accept_failed=plain.on_accept_failed,
            on_handshake_failed=self._tell,
        )

    def _tell(self, remote_addr: str, reason: str) -> None:
        self.told.append((remote_addr, reason))
        self.news.set()


def client(authority: trustme.CA | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if authority is not None:
        authority.issue_cert("cell").configure_cert(context)
    return context


def too_old() -> ssl.SSLContext:
    context = client(None)
    context.set_ciphers("AES128-SHA")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (lambda: client(None), NO_CERTIFICATE),
        (lambda: client(trustme.CA()), "tls: failed to verify certificate: x509: .+"),
        (too_old, "tls: no cipher suite supported by both client and server"),
        (b"GET / HTTP/1.1\r\n\r\n", "client sent an HTTP request to an HTTPS server"),
        (b"\x16garbage that is no handshake", "tls: first record does not look like a TLS handshake"),
        (b"", "EOF"),
    ],
    ids=["no certificate", "foreign certificate", "no cipher", "plain HTTP", "garbage", "nothing"],
)
async def test_the_reason_is_told_as_go_tells_it(sent: object, reason: str) -> None:
    world = Watched()
    server_tls, _ = tls_contexts()
    async with serving(world, fast_lane=True, server_tls=server_tls) as served:
        wire = await served.connect_plain()
        assert isinstance(wire.stream, trio.SocketStream)
        host, port = wire.stream.socket.getsockname()
        if isinstance(sent, bytes):
            await wire.stream.send_all(sent)
            await wire.stream.send_eof()
        else:
            assert callable(sent)
            secured = trio.SSLStream(wire.stream, sent(), https_compatible=True)
            # TLS 1.3's client is done before the server has judged its certificate.
            with contextlib.suppress(trio.BrokenResourceError):
                await secured.do_handshake()
        with trio.fail_after(5):
            await world.news.wait()

    [(remote_addr, told)] = world.told
    assert remote_addr == f"{host}:{port}"
    assert re.fullmatch(reason, told)


async def test_a_client_that_gets_through_is_not_told_of() -> None:
    world = Watched()
    server_tls, client_tls = tls_contexts()
    async with serving(world, fast_lane=True, server_tls=server_tls, client_tls=client_tls) as served:
        await served.connect()

    assert world.told == []


def test_the_line() -> None:
    line = failure_line("127.0.0.1:42918", NO_CERTIFICATE, now_s=1795466811.5)

    assert re.fullmatch(
        r"2026/11/2[34] \d\d:\d\d:51 http: TLS handshake error from 127\.0\.0\.1:42918: "
        + NO_CERTIFICATE
        + "\n",
        line,
    )


def test_it_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    tell_on_stderr("127.0.0.1:1", "EOF")

    out, err = capsys.readouterr()
    assert (out, err[19:]) == ("", " http: TLS handshake error from 127.0.0.1:1: EOF\n")
