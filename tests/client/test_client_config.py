"""Making a client: its settings, its errors, and TLS over real sockets (spec: client.md §1, §2)."""

import math
import socket
import ssl
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import trio
import trustme
from trio.testing import MockClock

from bbs.client import (
    BBSClient,
    ClientConfig,
    ClientOptions,
    InvalidClientConfig,
    TransportError,
    UnexpectedStatus,
)
from bbs.client._client import STREAMS_KEEP_ALIVE_S
from bbs.client._connector import tcp_connector, unresolved
from tests.client.scripted_server import ScriptedServer, answer, stream

HTTPS = "https://bbs"


def a_config(url: str = "http://bbs", **options: Any) -> Callable[[], ClientConfig]:
    return lambda: ClientConfig(url=url, **options)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        pytest.param(a_config(":bad"), 'parse ":bad": missing protocol scheme', id="no URL"),
        pytest.param(
            a_config("ftp://bbs"),
            'unsupported protocol scheme "ftp": the URL of a BBS begins with https:// or http://',
            id="no HTTP",
        ),
        pytest.param(a_config("bbs:8889"), 'unsupported protocol scheme "bbs": ', id="no scheme"),
        pytest.param(a_config("http://"), "no Host in request URL", id="no host"),
        pytest.param(a_config("http://bbs:x"), 'parse "http://bbs:x": ', id="bad port"),
        pytest.param(
            a_config(ca_file="/ca", cert_file="/cert", key_file="/key"),
            "http://bbs is without TLS, so nothing would be made of ca_file /ca, cert_file /cert, key_file /key: "
            "give an https URL, or leave the files out",
            id="files without https",
        ),
        pytest.param(
            a_config(ca_file=Path("/ca")),
            "http://bbs is without TLS, so nothing would be made of ca_file /ca: ",
            id="one file without https",
        ),
        pytest.param(
            a_config(HTTPS, cert_file="/cert"),
            "cert_file /cert is given without key_file: a client's certificate is of no use without its key; "
            "give key_file, too, or leave cert_file out",
            id="no key",
        ),
        pytest.param(
            a_config(HTTPS, key_file="/key", cert_file=""),
            "key_file /key is given without cert_file: ",
            id="no cert",
        ),
        pytest.param(
            a_config(HTTPS, cert_file="/no/cert", key_file="/no/key"),
            "failed to load keypair: open /no/cert: no such file or directory",
            id="no such certificate",
        ),
        pytest.param(
            a_config(HTTPS, cert_file="/no/cert", key_file="/no/key", insecure_skip_verify=True),
            "failed to load keypair: ",
            id="the certificate is read even when the server's is not checked",
        ),
        pytest.param(
            a_config(HTTPS, ca_file="/no/ca"),
            'failed to read certificate(s) at path "/no/ca": ',
            id="no such CA file",
        ),
        pytest.param(
            a_config(request_timeout_s=0),
            "request_timeout_s is 0: give a number of seconds above 0, or None for no bound",
            id="no time",
        ),
        pytest.param(
            a_config(connect_timeout_s=-0.5),
            "connect_timeout_s is -0.5: give a number of seconds above 0",
            id="less than no time",
        ),
        pytest.param(
            a_config(stream_idle_timeout_s=math.nan), "stream_idle_timeout_s is nan: ", id="no number"
        ),
        pytest.param(
            a_config(tls_handshake_timeout_s=None),
            "tls_handshake_timeout_s is None: give a number of seconds above 0",
            id="connecting has a bound",
        ),
        pytest.param(
            a_config(request_timeout_s=math.inf),
            "request_timeout_s is inf: give a number of seconds above 0, or None for no bound",
            id="None is for ever",
        ),
        pytest.param(
            a_config(stream_reconnect_pause_s=math.nan),
            "stream_reconnect_pause_s is nan: it has to be 0 or more",
            id="no number for a pause",
        ),
        pytest.param(a_config(attempts=0), "attempts is 0: it has to be 1 or more", id="no attempt"),
        pytest.param(
            a_config(idle_connections_max=-1),
            "idle_connections_max is -1: it has to be 0 or more",
            id="less than none",
        ),
    ],
)
async def test_what_a_client_cannot_be_made_of(config: Callable[[], ClientConfig], text: str) -> None:
    with pytest.raises(InvalidClientConfig) as raised:
        async with BBSClient.connect(config()):
            raise AssertionError("made")

    assert str(raised.value).startswith(text)


def test_connect_takes_what_a_config_has() -> None:
    """The keywords of `BBSClient.connect` are typed by a class of their own."""
    assert ["url", *get_type_hints(ClientOptions)] == [field.name for field in fields(ClientConfig)]
    hints = get_type_hints(ClientConfig)
    assert {name: hints[name] for name in get_type_hints(ClientOptions)} == get_type_hints(ClientOptions)


async def test_keywords_come_before_those_of_a_config(
    server: ScriptedServer, autojump_clock: MockClock
) -> None:
    server.plays(*[answer(status="500 Oops", content_type="text/plain")] * 2)
    config = ClientConfig(url="http://bbs.test", attempts=7)
    async with BBSClient.connect(config, connector=server.connect, attempts=2) as client:
        with pytest.raises(UnexpectedStatus):
            await client.domains()

    assert not server.script


async def test_an_unknown_keyword_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="cafile"):
        async with BBSClient.connect("https://bbs", cafile="ca.crt"):  # type: ignore[call-arg]  # what is tested
            raise AssertionError("made")


@pytest.mark.parametrize(
    "files", [{}, {"ca_file": "", "cert_file": "", "key_file": ""}], ids=["no files", "empty names"]
)
def test_without_files_https_trusts_the_systems_authorities(files: dict[str, str]) -> None:
    context = ClientConfig(url=HTTPS, **files).ssl_context()  # type: ignore[arg-type]  # all are texts

    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


class Files:
    """A CA with certificates for a server on loopback and a client, on disk."""

    def __init__(self, directory: Path) -> None:
        ca = trustme.CA()
        self.ca, self.cert, self.key = (str(directory / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        ca.cert_pem.write_to_path(self.ca)
        client = ca.issue_cert("client", key_type=trustme.KeyType.RSA)
        client.private_key_pem.write_to_path(self.key)
        client.cert_chain_pems[0].write_to_path(self.cert)
        self.server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        self.server_context.verify_mode = ssl.CERT_REQUIRED
        ca.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA).configure_cert(self.server_context)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("skip_verify", [False, True])
async def test_tls_over_loopback(files: Files, nursery: trio.Nursery, skip_verify: bool) -> None:
    server = ScriptedServer(nursery)
    server.plays(answer(b"\x12\x01d"), answer(b"\x12\x01d"), stream())
    port = await server.listen(files.server_context)
    with trio.fail_after(10):
        async with BBSClient.connect(
            f"https://127.0.0.1:{port}/",
            ca_file=None if skip_verify else files.ca,
            cert_file=files.cert,
            key_file=files.key,
            insecure_skip_verify=skip_verify,
            attempts=1,
        ) as client:
            assert await client.domains() == ["d"]
            assert await client.domains() == ["d"]
            async with await client.subscribe_to_task_events() as events:
                assert [event async for event in events] == []

    assert [asked.target for asked in server.asked] == ["/v1/domains/list"] * 2 + ["/v1/events/tasks.r1"]
    assert server.accepted == 2  # one for both calls, one for the stream


async def test_a_server_that_nobody_vouches_for_is_not_talked_to(
    files: Files, nursery: trio.Nursery, tmp_path: Path
) -> None:
    server = ScriptedServer(nursery)
    port = await server.listen(Files(tmp_path).server_context)
    config = ClientConfig(
        url=f"https://127.0.0.1:{port}",
        ca_file=files.ca,
        cert_file=files.cert,
        key_file=files.key,
        attempts=1,
    )
    with trio.fail_after(10):
        async with BBSClient.connect(config) as client:
            with pytest.raises(TransportError, match=r"tls: failed to verify certificate: "):
                await client.domains()

    assert server.asked == []


async def test_a_connection_that_the_server_closed_while_idle_is_not_used(nursery: trio.Nursery) -> None:
    server = ScriptedServer(nursery)
    server.plays(answer(b"\x12\x01d"), answer(b"\x12\x01d"))
    port = await server.listen(None)
    config = ClientConfig(url=f"http://127.0.0.1:{port}", attempts=1)
    with trio.fail_after(10):
        async with BBSClient.connect(config) as client:
            assert await client.domains() == ["d"]
            await server.hang_up()
            assert await client.domains() == ["d"]

    assert server.accepted == 2


async def test_a_refused_connection_says_so(nursery: trio.Nursery) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    config = ClientConfig(url=f"http://127.0.0.1:{port}", attempts=1)
    async with BBSClient.connect(config) as client:
        with pytest.raises(
            TransportError, match=rf"(?m)dial tcp 127.0.0.1:{port}: connect: connection refused$"
        ):
            await client.domains()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "lookup h: no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "lookup h: temporary failure"),
    ],
)
def test_why_a_name_is_not_resolved(error: socket.gaierror, text: str) -> None:
    assert unresolved("h", error) == text


async def test_a_peer_that_is_gone_is_noticed_within_two_minutes(nursery: trio.Nursery) -> None:
    """By keep-alive, also on an idle stream."""
    port = await ScriptedServer(nursery).listen(None)
    async with await tcp_connector(keep_alive_s=STREAMS_KEEP_ALIVE_S)("127.0.0.1", port) as stream:
        assert isinstance(stream, trio.SocketStream)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle_s, interval_s, probes = (stream.getsockopt(socket.IPPROTO_TCP, option) for option in options)

    assert idle_s + probes * interval_s == 120
