"""spec: peers.md §1. Real sockets; where only timers matter, a network of our own and virtual time."""

import ssl
from collections.abc import Iterable
from pathlib import Path

import httpcore
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bbs.peers.connections import DIAL_TIMEOUT_S, IDLE_S
from bbs.peers.http import (
    JSON_CONTENT,
    SENT_AT_ONCE_BYTES,
    BadStatus,
    ConnectionClosed,
    HTTPClient,
    NoResponse,
    TimedOut,
    URLInvalid,
)
from bbs.tls.contexts import client_context
from tests.made_once import copied_certs
from tests.peers.peer_server import (
    ACCEPTED,
    Do,
    Last,
    PeerServer,
    Step,
    answer,
    closed_port,
    peer_server,
    redirect,
)
from tests.peers.scripted_network import Scripted, scripted


async def test_a_post_has_the_headers_of_go_in_its_order(http: HTTPClient, server: PeerServer) -> None:
    headers = (*JSON_CONTENT, ("X-Vcap-Request-Id", ""))
    assert await http.send("POST", f"{server.address}/v1/lrps?a=b", headers=headers, body=b"[]") == 202

    [sent] = server.sent
    assert sent.lines == [
        "POST /v1/lrps?a=b HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: Go-http-client/1.1",
        "Content-Length: 2",
        "Content-Type: application/json",
        "X-Vcap-Request-Id: ",
        "Accept-Encoding: gzip",
    ]
    assert sent.body == b"[]"


async def test_user_and_password_of_the_url_become_basic_authentication(
    http: HTTPClient, server: PeerServer
) -> None:
    await http.send("POST", f"http://user:pass@127.0.0.1:{server.port}/")

    assert server.sent[0].header("Authorization") == "Basic dXNlcjpwYXNz"
    assert server.sent[0].header("Host") == f"127.0.0.1:{server.port}"


async def test_a_body_larger_than_a_slice_arrives_whole(http: HTTPClient, tls_server: PeerServer) -> None:
    body = bytes(range(256)) * (SENT_AT_ONCE_BYTES // 100)

    assert await http.send("POST", tls_server.address, body=body) == 202
    assert tls_server.sent[0].body == body


@pytest.mark.parametrize("status", [200, 202, 204, 300, 304, 400, 404, 500, 503])
async def test_any_status_is_a_response(http: HTTPClient, server: PeerServer, status: int) -> None:
    server.plays(answer(f"{status} Whatever"))

    assert await http.send("POST", server.address) == status


async def test_an_informational_response_is_passed_over(http: HTTPClient, server: PeerServer) -> None:
    server.plays(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ACCEPTED)

    assert await http.send("POST", server.address) == 202


async def test_a_connection_is_used_again(http: HTTPClient, tls_server: PeerServer) -> None:
    for _ in range(3):
        await http.send("POST", tls_server.address)

    assert tls_server.connections == 1


async def test_a_response_body_is_not_waited_for(http: HTTPClient, server: PeerServer) -> None:
    server.plays(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\nnot all of it")

    assert await http.send("POST", server.address) == 202
    assert await http.send("POST", server.address) == 202
    assert server.connections == 2


async def test_a_connection_that_the_server_closed_while_idle_is_not_noticed(
    http: HTTPClient, server: PeerServer
) -> None:
    server.plays(Last(ACCEPTED))
    await http.send("POST", server.address)
    await server.wait_for_connections(at_most=0)

    assert await http.send("POST", server.address) == 202
    assert server.connections == 2


async def test_a_connection_that_breaks_after_the_request_was_sent_is_no_response(
    http: HTTPClient, server: PeerServer
) -> None:
    server.plays(ACCEPTED, Do.HANG_UP)
    await http.send("POST", server.address)

    with pytest.raises(NoResponse):
        await http.send("POST", server.address)
    assert len(server.sent) == 2


async def test_at_most_two_idle_connections_are_kept_per_host(http: HTTPClient, server: PeerServer) -> None:
    server.otherwise = Do.HANG
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(http.send, "POST", server.address)
        await server.wait_for_requests(5)
        nursery.cancel_scope.cancel()
    server.otherwise = ACCEPTED
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(http.send, "POST", server.address)

    await http.send("POST", server.address)

    await server.wait_for_connections(at_most=2)


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", "301 Moved Permanently", "GET"),
        ("POST", "302 Found", "GET"),
        ("POST", "303 See Other", "GET"),
        ("PUT", "301 Moved Permanently", "GET"),
        ("PUT", "302 Found", "GET"),
        ("PUT", "303 See Other", "GET"),
        ("POST", "307 Temporary Redirect", "POST"),
        ("POST", "308 Permanent Redirect", "POST"),
        ("PUT", "307 Temporary Redirect", "PUT"),
        ("PUT", "308 Permanent Redirect", "PUT"),
    ],
)
async def test_a_redirect_is_followed(
    http: HTTPClient, server: PeerServer, method: str, status: str, then: str
) -> None:
    server.plays(redirect(status, "/elsewhere?x=1"), answer("200 OK"))

    assert await http.send(method, f"{server.address}/here", headers=JSON_CONTENT, body=b"{}") == 200

    again = server.sent[1]
    assert again.line == f"{then} /elsewhere?x=1 HTTP/1.1"
    assert again.body == (b"" if then == "GET" else b"{}")
    assert again.header("Content-Type") == (None if then == "GET" else "application/json")
    assert (again.header("Content-Length") is None) == (then == "GET")


async def test_a_redirect_may_lead_to_another_host_and_to_tls(
    http: HTTPClient, server: PeerServer, tls_server: PeerServer
) -> None:
    server.plays(redirect("307 Temporary Redirect", f"{tls_server.address}/there"))

    assert await http.send("POST", server.address, body=b"{}") == 202
    assert tls_server.sent[0].header("Host") == f"127.0.0.1:{tls_server.port}"
    assert tls_server.sent[0].body == b"{}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_nowhere_is_a_response(http: HTTPClient, server: PeerServer, status: int) -> None:
    server.plays(answer(f"{status} Somewhere"))

    assert await http.send("POST", server.address) == status


async def test_ten_requests_are_enough_of_redirects(http: HTTPClient, server: PeerServer) -> None:
    server.otherwise = redirect("307 Temporary Redirect", "/again")

    with pytest.raises(NoResponse, match="stopped after 10 redirects"):
        await http.send("POST", server.address)
    assert len(server.sent) == 10


@pytest.mark.parametrize("location", ["http://127.0.0.1:port/", "ftp://127.0.0.1/", "data:,"])
async def test_a_redirect_to_what_is_no_address_is_no_response(
    http: HTTPClient, server: PeerServer, location: str
) -> None:
    server.plays(redirect("302 Found", location))

    with pytest.raises(NoResponse):
        await http.send("POST", server.address)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="no status"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000, id="endless header"),
        pytest.param(Do.HANG_UP, id="nothing"),
    ],
)
async def test_garbage_is_no_response(impatient: HTTPClient, server: PeerServer, garbage: Step) -> None:
    server.plays(garbage)

    with pytest.raises(NoResponse):
        await impatient.send("POST", server.address)
    assert await impatient.send("POST", server.address) == 202


async def test_a_refused_connection_is_no_response(http: HTTPClient) -> None:
    port = await closed_port()

    with pytest.raises(NoResponse) as raised:
        await http.send("POST", f"http://127.0.0.1:{port}/x")
    assert str(raised.value) == (
        f'Post "http://127.0.0.1:{port}/x": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


async def test_a_password_is_not_told(http: HTTPClient) -> None:
    with pytest.raises(NoResponse) as raised:
        await http.send("POST", f"http://user:secret@127.0.0.1:{await closed_port()}/x")

    assert "secret" not in str(raised.value)


async def test_a_connection_is_closed_if_its_tls_handshake_takes_too_long(
    impatient: HTTPClient, server: PeerServer
) -> None:
    with pytest.raises(TimedOut):
        await impatient.send("POST", f"https://127.0.0.1:{server.port}")

    await server.wait_for_connections(at_most=0)
    assert server.connections == 1


async def test_a_server_of_another_authority_is_no_response(tls_server: PeerServer, tmp_path: Path) -> None:
    foreign = copied_certs(tmp_path / "foreign", of="strangers")
    tls = client_context(ca_file=foreign.ca_cert, cert_file=foreign.client_cert, key_file=foreign.client_key)
    client = HTTPClient(tls=tls, timeout_s=10)

    with pytest.raises(NoResponse, match="certificate"):
        await client.send("POST", tls_server.address)
    assert not tls_server.sent


async def test_proxies_of_the_environment_are_ignored(
    http: HTTPClient, server: PeerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{await closed_port()}")

    assert await http.send("POST", server.address) == 202


@pytest.mark.parametrize("url", ["http://h:port/", "http://[::1", "http://a\x00b/", "http://ho st/\n"])
async def test_what_is_no_url_is_told_apart(http: HTTPClient, url: str) -> None:
    with pytest.raises(URLInvalid):
        await http.send("POST", url)


@given(
    url=st.one_of(st.text(), st.text().map("http://{}".format), st.text().map("https://127.0.0.1{}".format))
)
def test_no_url_does_more_harm_than_to_get_no_response(url: str) -> None:
    async def send() -> None:
        tls = client_context(ca_file=None, cert_file=None, key_file=None, skip_verify=True)
        with pytest.raises(NoResponse):
            await HTTPClient(tls=tls, timeout_s=1, network=Unreachable()).send("POST", url)

    trio.run(send)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, "http error: status code 500 (Internal Server Error)"),
        (404, "http error: status code 404 (Not Found)"),
        (414, "http error: status code 414 (Request URI Too Long)"),
        (418, "http error: status code 418 (I'm a teapot)"),
        (299, "http error: status code 299 ()"),
    ],
)
def test_a_status_is_told_in_the_words_of_go(status: int, text: str) -> None:
    assert str(BadStatus(status)) == text


async def test_a_call_that_takes_too_long_is_given_up(impatient: HTTPClient, server: PeerServer) -> None:
    server.plays(Do.HANG)

    with pytest.raises(TimedOut, match=r"Client\.Timeout"):
        await impatient.send("POST", server.address)
    assert await impatient.send("POST", server.address) == 202


class Unreachable(httpcore.AsyncNetworkBackend):
    """A network where nobody is at home."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("connection refused")


async def test_connecting_is_given_up_sooner_than_the_whole_call(
    client_tls: ssl.SSLContext, autojump_clock: trio.testing.MockClock
) -> None:
    http = scripted(client_tls, Scripted(dial_s=3600), timeout_s=20)

    with pytest.raises(NoResponse, match="dial tcp h:80: i/o timeout") as raised:
        await http.send("POST", "http://h/")
    assert not isinstance(raised.value, TimedOut)
    assert trio.current_time() == pytest.approx(DIAL_TIMEOUT_S)


@pytest.mark.parametrize(
    ("network", "url"),
    [
        pytest.param(Scripted(answer_s=3600), "http://h/", id="no answer"),
        pytest.param(Scripted(), "https://h/", id="no TLS handshake"),
        pytest.param(Scripted(dial_s=4, answer_s=7), "http://h/", id="slow in all"),
    ],
)
async def test_the_whole_call_has_one_deadline(
    client_tls: ssl.SSLContext, autojump_clock: trio.testing.MockClock, network: Scripted, url: str
) -> None:
    with pytest.raises(TimedOut):
        await scripted(client_tls, network, timeout_s=10).send("POST", url)

    assert trio.current_time() == pytest.approx(10)


async def test_without_a_timeout_a_call_waits_for_its_answer(
    client_tls: ssl.SSLContext, autojump_clock: trio.testing.MockClock
) -> None:
    http = scripted(client_tls, Scripted(answer_s=86_400), timeout_s=0)

    assert await http.send("POST", "http://h/") == 202


async def test_hosts_that_are_not_called_any_more_are_forgotten(
    client_tls: ssl.SSLContext, autojump_clock: trio.testing.MockClock
) -> None:
    network = Scripted()
    http = scripted(client_tls, network, timeout_s=10)
    for n in range(3):
        await http.send("POST", f"http://h{n}/")

    await trio.sleep(IDLE_S + 1)
    await http.send("POST", "http://another/")
    await http.send("POST", "http://another/")

    assert network.closed == 3


async def test_connections_are_bounded_over_all_hosts_and_those_beyond_wait(
    client_tls: ssl.SSLContext, autojump_clock: trio.testing.MockClock
) -> None:
    network = Scripted(answer_s=1)
    http = HTTPClient(tls=client_tls, timeout_s=100, network=network, connections_max=3)
    async with trio.open_nursery() as nursery:
        for n in range(30):
            nursery.start_soon(http.send, "POST", f"http://h{n}/")

    assert network.open_at_most == 3
    assert trio.current_time() == pytest.approx(10)

    for n in range(30, 40):
        await http.send("POST", f"http://h{n}/")

    assert network.open_at_most == 3  # idle ones of other hosts made room
    assert network.opened - network.closed == 3


async def test_waiting_for_a_connection_is_part_of_the_calls_time(
    client_tls: ssl.SSLContext, autojump_clock: trio.testing.MockClock
) -> None:
    http = HTTPClient(tls=client_tls, timeout_s=10, network=Scripted(answer_s=3600), connections_max=1)

    async def is_too_slow() -> None:
        with pytest.raises(TimedOut):
            await http.send("POST", "http://h/")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(is_too_slow)

    assert trio.current_time() == pytest.approx(10)


async def test_a_connection_that_we_closed_ourselves_is_told_apart(
    client_tls: ssl.SSLContext, server: PeerServer
) -> None:
    server.plays(Do.HANG)
    http = HTTPClient(tls=client_tls, timeout_s=10)

    async def send() -> None:
        with pytest.raises(ConnectionClosed, match="use of closed network connection"):
            await http.send("POST", server.address)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await server.wait_for_requests(1)
        await http.aclose()


async def test_one_server_that_hangs_does_not_delay_another(http: HTTPClient, server: PeerServer) -> None:
    server.otherwise = Do.HANG
    async with peer_server() as other, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(http.send, "POST", server.address)
        await server.wait_for_requests(50)

        assert await http.send("POST", other.address) == 202

        nursery.cancel_scope.cancel()
