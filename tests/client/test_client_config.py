"""Making a client: its settings, its errors, and TLS over real sockets (spec: client.md §1, §2)."""

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme

from bbs.client import BBSClient, ClientConfig, InvalidClientConfig, TransportError
from bbs.client._connector import unresolved
from tests.client.scripted_server import ScriptedServer, answer, stream


@pytest.mark.parametrize(
    ("config", "text"),
    [
        pytest.param(
            ClientConfig(url="http://bbs", is_tls=True), "expected https URL", id="TLS without https"
        ),
        pytest.param(ClientConfig(url=":bad"), 'parse ":bad": missing protocol scheme', id="no URL"),
        pytest.param(ClientConfig(url="ftp://bbs"), 'unsupported protocol scheme "ftp"', id="no HTTP"),
        pytest.param(ClientConfig(url="http://"), "no Host in request URL", id="no host"),
        pytest.param(ClientConfig(url="http://bbs:x"), 'parse "http://bbs:x": ', id="bad port"),
        pytest.param(
            ClientConfig(url="https://bbs", is_tls=True, cert_file="/no/cert", key_file="/no/key"),
            "failed to load keypair: open /no/cert: no such file or directory",
            id="no certificate",
        ),
        pytest.param(
            ClientConfig(url="https://bbs", is_tls=True, insecure_skip_verify=True),
            "failed to load keypair: ",
            id="the certificate is needed even when the server's is not checked",
        ),
    ],
)
async def test_what_a_client_cannot_be_made_of(config: ClientConfig, text: str) -> None:
    with pytest.raises(InvalidClientConfig) as raised:
        async with BBSClient.connect(config):
            raise AssertionError("made")

    assert str(raised.value).startswith(text)


@pytest.mark.parametrize(
    ("configured", "is_tls", "kept"),
    [(0, True, 2), (-1, True, 0), (7, True, 7), (7, False, 2), (-1, False, 2)],
)
def test_idle_connections(configured: int, is_tls: bool, kept: int) -> None:
    config = ClientConfig(url="https://bbs", is_tls=is_tls, max_idle_connections_per_host=configured)

    assert config.idle_connections_max == kept


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
    config = ClientConfig(
        url=f"https://127.0.0.1:{port}/",
        is_tls=True,
        ca_file="" if skip_verify else files.ca,
        cert_file=files.cert,
        key_file=files.key,
        insecure_skip_verify=skip_verify,
        retries=1,
    )
    with trio.fail_after(10):
        async with BBSClient.connect(config) as client:
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
        is_tls=True,
        ca_file=files.ca,
        cert_file=files.cert,
        key_file=files.key,
        retries=1,
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
    config = ClientConfig(url=f"http://127.0.0.1:{port}", retries=1)
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
    config = ClientConfig(url=f"http://127.0.0.1:{port}", retries=1)
    async with BBSClient.connect(config) as client:
        with pytest.raises(TransportError, match=rf"dial tcp 127.0.0.1:{port}: connect: connection refused$"):
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
