"""What is wrong with a connection: for each fault the words that a person must be told, and the exit code.

Each is met for real: a listener of the server's own on loopback, over TLS with real certificates.
"""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Thread

import pytest
import trio
from cryptography.x509.oid import ExtendedKeyUsageOID

from bbs.cfdot.target import NOBODY
from bbs.client import (
    BBSClient,
    CertificateRefused,
    ClientConfig,
    ConnectionRefused,
    Distrust,
    HostNotFound,
    NotMaster,
    NotTLS,
    ServerNotTrusted,
    TLSWanted,
    TransportError,
    UnexpectedStatus,
)
from bbs.console.faults import told_of
from bbs.http.endpoints import Refusal
from bbs.models.errors import BBSError
from bbs.tls.contexts import TLSFiles
from tests.cfdot.running import Ended, cfdot
from tests.console.authority import DAY, Authority, Pair
from tests.console.listening import listening, server_tls
from tests.daemons import free_port

FAILED, REFUSED = 5, 4


@dataclass(frozen=True, slots=True)
class Files:
    """What one deployment has, and what a stranger has."""

    directory: Path
    us: Authority
    stranger: Authority
    server: Pair
    client: Pair
    strangers_client: Pair

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "CA_CERT_FILE": self.us.ca,
            "CLIENT_CERT_FILE": self.client.cert,
            "CLIENT_KEY_FILE": self.client.key,
        }

    def tls(self, pair: Pair | None = None) -> ssl.SSLContext:
        return server_tls(pair or self.server, self.us.ca)

    def bbs(self, url: str, *words: str, **changes: str) -> Ended:
        environment = {**self.environment, "BBS_URL": url, **changes}
        return cfdot(*(words or ("domains",)), environment=environment, program="bbs")

    def config(self, url: str, **changes: str) -> ClientConfig:
        files = TLSFiles(ca_file=self.us.ca, cert_file=self.client.cert, key_file=self.client.key)
        return ClientConfig.with_files(url, replace(files, **changes), attempts=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("faults")
    us, stranger = Authority(directory, "our-ca"), Authority(directory, "another-ca")
    return Files(
        directory,
        us,
        stranger,
        server=us.issue("server"),
        client=us.issue("client"),
        strangers_client=stranger.issue("strangers-client"),
    )


def moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def assert_told(ended: Ended, code: int, *words: str) -> None:
    """Upstream's text comes first; below it is what a person needs."""
    first, *rest = ended.err.splitlines()
    assert (ended.code, ended.out, first.startswith("Error: ")) == (code, "", True), ended
    told = " ".join(rest)
    for word in words:
        assert word in told, f"{word!r} is not in:\n{ended.err}"


# Certificates of the server


def test_a_good_server_is_answered_by(files: Files) -> None:
    """The table below has one thing wrong each; with nothing wrong there is an answer."""
    with listening(files.tls()) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert (ended.code, ended.lines, ended.err) == (0, ['"d"'], "")


def test_the_wrong_ca(files: Files) -> None:
    with listening(files.tls()) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}", CA_CERT_FILE=files.stranger.ca)
    assert_told(
        ended, FAILED, f"127.0.0.1:{port}", "issued by CN=our-ca", f"of no CA in {files.stranger.ca}", "--caCertFile"
    )  # fmt: skip


def test_a_server_whose_certificate_has_expired(files: Files) -> None:
    pair = files.us.issue("expired-server", begins=-9 * DAY, ends=-2 * DAY)
    with listening(files.tls(pair)) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    since = moment(pair.certificate.not_valid_after_utc)
    assert_told(ended, FAILED, f"the server at 127.0.0.1:{port}", "not yours", "has expired", since, "Give the server a new one", "clock says")  # fmt: skip


def test_a_server_whose_certificate_is_not_valid_yet(files: Files) -> None:
    pair = files.us.issue("early-server", begins=2 * DAY, ends=9 * DAY)
    with listening(files.tls(pair)) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(
        ended, FAILED, "not yours", "not valid yet", moment(pair.certificate.not_valid_before_utc), "clock"
    )


def test_a_ca_that_has_expired(files: Files) -> None:
    ended_ca = Authority(files.directory, "expired-ca", ends=-DAY)
    with listening(server_tls(ended_ca.issue("its-server"), files.us.ca)) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}", CA_CERT_FILE=ended_ca.ca)
    assert_told(ended, FAILED, "is valid, but one that it was issued by is not", ended_ca.ca)


def test_a_certificate_for_other_names(files: Files) -> None:
    pair = files.us.issue("elsewhere", hosts=("bbs.example", "*.bbs.example", "10.0.0.7"))
    with listening(files.tls(pair)) as port:
        for host in ("127.0.0.1", "localhost"):
            ended = files.bbs(f"https://{host}:{port}")
            assert_told(
                ended,
                FAILED,
                f"is not for '{host}', but for: bbs.example, *.bbs.example, 10.0.0.7",
                "Call the server",
            )


# Our certificate


@pytest.mark.parametrize(("begins", "ends"), [(-9, -2), (2, 9)], ids=["expired", "early"])
def test_our_certificate_is_not_valid_now(files: Files, begins: int, ends: int) -> None:
    ours = files.us.issue(f"ours{begins}", begins=begins * DAY, ends=ends * DAY)
    with listening(files.tls()) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}", CLIENT_CERT_FILE=ours.cert, CLIENT_KEY_FILE=ours.key)
    since = (moment(ours.certificate.not_valid_before_utc), moment(ours.certificate.not_valid_after_utc))
    assert_told(
        ended, FAILED, "your own certificate", ours.cert, "not the server's", *since, "--clientCertFile"
    )


def test_a_key_of_another_certificate(files: Files) -> None:
    ended = files.bbs("https://127.0.0.1:1", CLIENT_KEY_FILE=files.server.key)
    assert_told(ended, FAILED, files.server.key, "not that of", files.client.cert, "issued together")


@pytest.mark.parametrize("variable", ["CA_CERT_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE"])
def test_a_file_that_is_no_pem(files: Files, variable: str) -> None:
    odd = files.directory / "odd"
    odd.write_text("no certificate")
    ended = files.bbs("https://127.0.0.1:1", **{variable: str(odd)})
    assert_told(ended, FAILED, str(odd), "PEM", "-----BEGIN")
    at_lockets = files.bbs("", "locks", **{variable: str(odd)}, LOCKET_API_LOCATION="127.0.0.1:1")
    assert_told(at_lockets, REFUSED, str(odd), "PEM")


def test_a_file_that_can_be_opened_but_not_read(files: Files) -> None:
    ended = files.bbs("https://127.0.0.1:1", CA_CERT_FILE=str(files.directory))
    assert_told(ended, FAILED, f"{files.directory} can't be read")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
def test_the_server_does_not_accept_our_certificate(files: Files, newest: ssl.TLSVersion) -> None:
    pair = files.us.issue(f"rsa-server-{newest.name}", is_rsa=True)
    theirs = files.strangers_client
    with listening(server_tls(pair, files.us.ca, newest=newest)) as port:
        url = f"https://127.0.0.1:{port}"
        ended = files.bbs(url, CLIENT_CERT_FILE=theirs.cert, CLIENT_KEY_FILE=theirs.key)
    assert_told(
        ended, FAILED, f"127.0.0.1:{port} does not accept", theirs.cert, "issued by CN=another-ca",
        "not in the server's ca_file", "--clientCertFile",
    )  # fmt: skip


def test_our_certificate_is_not_meant_for_clients(files: Files) -> None:
    ours = files.us.issue("servers-only", usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    with listening(files.tls()) as port:
        url = f"https://127.0.0.1:{port}"
        ended = files.bbs(url, CLIENT_CERT_FILE=ours.cert, CLIENT_KEY_FILE=ours.key)
    assert_told(ended, FAILED, ours.cert, "clientAuth")


# No connection, and no TLS


def test_nobody_listens(files: Files) -> None:
    port = free_port()
    ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(
        ended, FAILED, f"Nobody listens at 127.0.0.1:{port}", "standby", "/active", "Locket's lock 'bbs'"
    )
    plain = files.bbs(f"http://127.0.0.1:{port}")
    assert_told(plain, FAILED, f"Nobody listens at 127.0.0.1:{port}", "standby")


def test_a_name_that_nobody_knows(files: Files) -> None:
    ended = files.bbs("https://nowhere.invalid:1")
    assert_told(ended, FAILED, "No address is known for the name 'nowhere.invalid'", "spelt right")


@pytest.mark.slow
def test_somebody_who_does_not_answer(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for scheme in ("https", "http"):
            ended = files.bbs(f"{scheme}://{address}", "domains", "--timeout", "1")
            assert_told(
                ended, REFUSED, f"{address} did not answer within 1 s", "--timeout", "may have been made"
            )


def test_somebody_who_does_not_even_connect(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a firewall: its queue of connections is full, so Linux drops what comes."""
    defaults = ClientConfig.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "connect_timeout_s", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        ended = files.bbs(f"https://127.0.0.1:{address[1]}")
        for each in waiting:
            each.close()
    assert_told(ended, REFUSED, f"no connection to 127.0.0.1:{address[1]} in time", "firewall")


def test_http_spoken_to_https(files: Files) -> None:
    with listening(files.tls()) as port:
        ended = files.bbs(f"http://127.0.0.1:{port}")
        stream = files.bbs(f"http://127.0.0.1:{port}", "task-events")
    for each in (ended, stream):
        assert_told(each, REFUSED, f"127.0.0.1:{port} speaks TLS only", "https://", "--caCertFile")


def test_https_spoken_to_http(files: Files) -> None:
    with listening(None) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(ended, FAILED, f"127.0.0.1:{port} does not speak TLS", "http://")


@contextmanager
def hanging_up(tls: ssl.SSLContext) -> Iterator[int]:
    """Shakes hands, waits for a request, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            with tls.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.recv(65536)

        thread = Thread(target=hang_up)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(30)


def test_a_connection_that_ends_without_an_answer(files: Files) -> None:
    with hanging_up(files.tls()) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(
        ended, FAILED, f"connection to 127.0.0.1:{port} ended before", files.client.cert, "its log says why"
    )


# Answers


def test_an_older_server(files: Files) -> None:
    with listening(files.tls(), path="/v1/else") as port:
        url = f"https://127.0.0.1:{port}"
        for words in (["domains"], ["task-events"]):
            assert_told(files.bbs(url, *words), REFUSED, url, "older than the command", "404")


FOLLOWERS = Refusal(
    HTTPStatus.MISDIRECTED_REQUEST,
    "this is a follower, which only reads: the master is at https://m:8889 (uuid u)",
    ("X-Bbs-Master", "https://m:8889"),
)


def test_a_follower(files: Files) -> None:
    with listening(files.tls(), refusal=FOLLOWERS) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(
        ended, REFUSED, f"127.0.0.1:{port} is a follower", "--bbsURL https://m:8889", "It says: ", "uuid u"
    )


def test_a_server_that_is_migrating_or_loading(files: Files) -> None:
    with listening(files.tls(), is_ready=False) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(ended, REFUSED, f"127.0.0.1:{port} is there", "migrates", "loads", "/ready")


def test_a_follower_that_is_behind(files: Files) -> None:
    behind = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this follower has 1:0/1, and 1:0/2 was asked for")
    with listening(files.tls(), refusal=behind) as port:
        ended = files.bbs(f"https://127.0.0.1:{port}")
    assert_told(ended, REFUSED, "follower that is behind", "It says: this follower has 1:0/1")


def test_another_status(files: Files) -> None:
    with listening(None, refusal=Refusal(HTTPStatus.FORBIDDEN, "not you")) as port:
        ended = files.bbs(f"http://127.0.0.1:{port}")
    assert_told(ended, REFUSED, "a proxy on the way, answered 403", "It says: not you")


# Locket


def test_locket(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC does not say what is wrong, so it is found out without it."""
    monkeypatch.setattr("bbs.sync.locket.client.CONNECT_MAX_S", 0.3)
    port = free_port()
    nobody = files.bbs("", "locks", LOCKET_API_LOCATION=f"127.0.0.1:{port}")
    assert_told(nobody, REFUSED, f"Nobody listens at 127.0.0.1:{port}", "right address")
    assert "standby" not in nobody.err
    with listening(files.tls()) as port:
        location = f"127.0.0.1:{port}"
        wrong = files.bbs("", "locks", LOCKET_API_LOCATION=location, CA_CERT_FILE=files.stranger.ca)
        theirs = files.strangers_client
        refused = files.bbs(
            "", "locks", LOCKET_API_LOCATION=location, CLIENT_CERT_FILE=theirs.cert, CLIENT_KEY_FILE=theirs.key
        )  # fmt: skip
    assert_told(wrong, REFUSED, f"the server at {location}", f"of no CA in {files.stranger.ca}")
    assert_told(refused, REFUSED, f"{location} does not accept", theirs.cert)


# What is not about the target


def test_a_rep_that_does_not_answer_is_no_standby() -> None:
    error = ConnectionRefused("…")
    error.server = "10.0.0.1:1801"
    target = NOBODY.__class__(
        address="https://bbs:8889", ca_file="", cert_file="", key_file="", skip_verify=False
    )

    told = told_of(error, target)

    assert "Nobody listens at 10.0.0.1:1801" in told
    assert "standby" not in told


def test_upstreams_name_says_what_upstreams_says(files: Files) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    ended = cfdot("domains", environment={**files.environment, "BBS_URL": url})

    assert (
        ended.err == f'Error: Post "{url}/v1/domains/list": dial tcp {url[8:]}: connect: connection refused\n'
    )
    assert ended.err.splitlines()[0] == files.bbs(url).err.splitlines()[0]


@pytest.mark.slow
def test_a_process_that_writes_into_pipes(files: Files) -> None:
    with listening(files.tls()) as port:
        environment = {**os.environ, **files.environment, "BBS_URL": f"https://127.0.0.1:{port}"}
        ended = subprocess.run(
            [sys.executable, "-m", "bbs", "domains", "--caCertFile", files.stranger.ca],
            env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert_told(
        Ended(ended.returncode, ended.stdout, ended.stderr), FAILED, "issued by CN=our-ca", f"of no CA in {files.stranger.ca}"
    )  # fmt: skip


# The errors of the client, of which the above is made


def raised(config: ClientConfig) -> Exception:
    async def ask() -> None:
        with trio.fail_after(30):
            async with BBSClient.connect(config) as client:
                await client.domains()

    with pytest.raises((TransportError, BBSError)) as failed:
        trio.run(ask)
    return failed.value


def notes(error: Exception) -> Sequence[str]:
    """What a traceback says below the error: what to do."""
    return getattr(error, "__notes__", [])


@pytest.mark.slow
def test_the_clients_errors_are_of_their_kinds(files: Files) -> None:
    """So that whoever uses the client need not look at texts."""
    with listening(files.tls()) as port:
        url = f"https://127.0.0.1:{port}"
        wrong_ca = raised(files.config(url, ca_file=files.stranger.ca))
        refused = raised(
            files.config(url, cert_file=files.strangers_client.cert, key_file=files.strangers_client.key)
        )
        plain = raised(ClientConfig(url=f"http://127.0.0.1:{port}", attempts=1))
    assert isinstance(wrong_ca, ServerNotTrusted)
    assert (wrong_ca.why, wrong_ca.server) == (Distrust.UNKNOWN_AUTHORITY, f"127.0.0.1:{port}")
    assert str(wrong_ca) == (
        f'Post "{url}/v1/domains/list": tls: failed to verify certificate: x509: certificate signed by unknown authority'
    )
    assert notes(wrong_ca) == [
        "Give the CA file of this server (ca_file). Without one, the system's CAs are trusted."
    ]
    assert isinstance(refused, CertificateRefused)
    assert refused.alert == "unknown ca"
    assert notes(refused) == [
        "Give a client's certificate (cert_file, key_file) of a CA that this server trusts."
    ]
    assert isinstance(plain, TLSWanted)
    assert notes(plain) == [
        "The server speaks TLS only: give an https URL, with ca_file, cert_file and key_file."
    ]

    names = files.us.issue("other-name", hosts=("x.example",))
    with listening(files.tls(names)) as port:
        wrong_name = raised(files.config(f"https://127.0.0.1:{port}"))
    assert isinstance(wrong_name, ServerNotTrusted)
    assert wrong_name.why is Distrust.WRONG_NAME
    assert notes(wrong_name) == ["Give a URL with a name that is in the server's certificate."]

    with listening(None, refusal=FOLLOWERS) as port:
        follower = raised(ClientConfig(url=f"http://127.0.0.1:{port}", attempts=1))
        no_tls = raised(files.config(f"https://127.0.0.1:{port}"))
    assert isinstance(follower, NotMaster)
    assert (follower.master, str(follower)) == ("https://m:8889", "Invalid Response with status code: 421")
    assert notes(follower) == ["This server only reads. Who writes is at https://m:8889."]
    assert isinstance(no_tls, NotTLS)
    assert notes(no_tls) == ["If it is a server without certificates, give an http URL and no files."]

    with listening(None, is_ready=False) as port:
        loading = raised(ClientConfig(url=f"http://127.0.0.1:{port}", attempts=1))
    assert isinstance(loading, UnexpectedStatus)
    assert loading.status == 503
    nobody = raised(ClientConfig(url=f"http://127.0.0.1:{free_port()}", attempts=1))
    assert isinstance(nobody, ConnectionRefused)
    assert notes(nobody) == ["No server runs there, or it is a standby, which listens once it is master."]
    assert isinstance(raised(ClientConfig(url="http://nowhere.invalid:1", attempts=1)), HostNotFound)


def test_a_client_without_a_certificate_is_told_that_one_is_wanted(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `bbs` never does, since it demands a certificate first."""
    monkeypatch.setenv("SSL_CERT_FILE", files.us.ca)
    with listening(files.tls()) as port:
        error = raised(ClientConfig(url=f"https://127.0.0.1:{port}", attempts=1))

    assert isinstance(error, CertificateRefused)
    assert error.alert == "certificate required"
    assert notes(error) == ["The server wants a client's certificate: give cert_file and key_file."]
    target = NOBODY.__class__(
        address=f"https://127.0.0.1:{port}", ca_file="", cert_file="c", key_file="", skip_verify=False
    )
    assert "wants a client certificate" in told_of(error, target)
