"""What is read without h11 and httpx, beside what they make of it."""

import ssl

import h11
import httpcore
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bbs.peers.addresses import PLAIN_URL_MAX, Address, URLUnreadable
from bbs.peers.connection import Connection, Origin, plain_response
from tests.peers.scripted_network import Scripted, ScriptedStream

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nDate: Sat, 28 Nov 2026 05:00:00 GMT\r\nContent-Length: 0\r\n\r\n"

pieces = st.sampled_from(
    [
        b"HTTP/1.1 ", b"HTTP/1.0 ", b"202", b"200", b"204", b"304", b"307", b"101", b"103", b"999", b"20", b"500",
        b" Accepted", b" ", b"", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Length: ", b"content-length:", b"0", b"7", b"00",
        b"-1", b"0, 0", b"Connection: close", b"Transfer-Encoding: chunked", b"Date: today", b"Location: /x", b"X:", b": ",
        b"X : y", b"X: \xff", b"\x00", b" folded", b"\t", b"Date: Sat, 28 Nov 2026", b"Content-Length: 0\r\n\r\n",
    ]
)  # fmt: skip
heads = st.builds(
    lambda status, reason, lines, rest: b"\r\n".join(
        [b"HTTP/1.1 " + status + reason, *lines, b"", b""]
    ) + rest,
    st.sampled_from([b"200", b"202", b"204", b"304", b"307", b"103", b"500", b"600"]),
    st.sampled_from([b" Accepted", b" ", b"", b" \xe9"]),
    st.lists(
        st.one_of(
            st.sampled_from(
                [b"Content-Length: 0", b"content-length: 5", b"Content-Length: 00", b"Content-Length: 1, 1",
                 b"Connection: close", b"Connection: keep-alive", b"Transfer-Encoding: chunked", b"Location: /x y"]
            ),
            st.builds(lambda name, value: name + b": " + value,
                      st.sampled_from([b"Date", b"Server", b"X-Y_z", b"d\xe9", b"a b", b""]),
                      st.binary(max_size=8)),
        ),
        max_size=5,
    ),
    st.sampled_from([b"", b"", b"hello", b"HTTP/1.1 200 OK\r\n\r\n"]),
)  # fmt: skip


def by_h11(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], bool]:
    """Status, headers, and whether the connection may be used again at once.

    Raises:
      h11.RemoteProtocolError: it is no response.
    """
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="POST", target="/", headers=[("Host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    reader.next_event()
    is_over = reader.their_state is h11.DONE and reader.trailing_data == (b"", False)
    return response.status_code, list(response.headers), is_over


def test_the_usual_answer_is_read_without_h11() -> None:
    assert plain_response(ACCEPTED) is not None


@given(st.one_of(st.lists(pieces, max_size=12).map(b"".join), heads))
def test_what_is_read_without_h11_is_what_h11_reads(data: bytes) -> None:
    plain = plain_response(data)

    if plain is not None:
        response, is_over = plain
        status, headers, may_follow = by_h11(data)
        assert (response.status, sorted(response.headers.items())) == (status, sorted(headers))
        assert is_over == (may_follow and response.headers[b"content-length"].strip(b"0") == b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ACCEPTED[:-1], id="not all of it"),
        pytest.param(ACCEPTED.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(ACCEPTED.replace(b"202", b"103"), id="informational"),
        pytest.param(ACCEPTED.replace(b"202", b"204"), id="never a body"),
        pytest.param(ACCEPTED.replace(b"Content-Length: 0", b"Server: x"), id="a body up to the end"),
        pytest.param(ACCEPTED.replace(b"Date: ", b"Content-Length: 0\r\nDate: "), id="two lengths"),
        pytest.param(ACCEPTED.replace(b"Date: ", b"Connection: close\r\nDate: "), id="connection ends"),
        pytest.param(ACCEPTED.replace(b"Date: ", b"Transfer-Encoding: chunked\r\nDate: "), id="chunked"),
        pytest.param(ACCEPTED.replace(b"Date: ", b" "), id="folded"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_whatever_is_not_plain_is_left_to_h11(data: bytes) -> None:
    assert plain_response(data) is None


@pytest.mark.parametrize(("rest", "is_over"), [(b"", True), (b"more than was asked for", False)])
def test_a_connection_on_which_more_came_is_not_used_again(rest: bytes, is_over: bool) -> None:
    plain = plain_response(ACCEPTED + rest)

    assert plain is not None
    assert plain[1] == is_over


hosts = st.sampled_from(
    ["h", "cell-1.cell.service.cf.internal", "127.0.0.1", "999.1.1.1", "a..b", "xn--", "-", "H"]
)
ports = st.sampled_from(["", ":80", ":443", ":1801", ":0", ":00080", ":65536", ":x"])
paths = st.lists(
    st.sampled_from(["/", "/v1", "/lrps", "/.", "/..", "/a.b", "/.hidden", "/%41", "/ü", "/a b", "?q=1", "#f", "/~_-"]),
    max_size=5,
).map("".join)  # fmt: skip


def parsed(parse: object, url: str) -> object:
    assert callable(parse)
    try:
        return parse(url)
    except URLUnreadable as error:
        return str(error)


@given(scheme=st.sampled_from(["http", "https", "ftp"]), host=hosts, port=ports, path=paths)
def test_a_url_is_what_httpx_says(scheme: str, host: str, port: str, path: str) -> None:
    url = f"{scheme}://{host}{port}{path}"

    assert parsed(Address.parsed, url) == parsed(Address.parsed_by_httpx, url)


@pytest.mark.parametrize("length", [PLAIN_URL_MAX, PLAIN_URL_MAX + 1, 70_000])
def test_a_long_url_is_what_httpx_says(length: int) -> None:
    url = "http://h/".ljust(length, "x")

    assert parsed(Address.parsed, url) == parsed(Address.parsed_by_httpx, url)


class Deaf(Scripted):
    """Answers, and closes before it has read all."""

    async def connect_tcp(self, *address: object, **options: object) -> httpcore.AsyncNetworkStream:
        return DeafStream(self)


class DeafStream(ScriptedStream):
    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> None:
        await trio.lowlevel.checkpoint()
        raise httpcore.WriteError(BrokenPipeError())


@pytest.mark.parametrize(("network", "may_follow"), [(Scripted(), True), (Deaf(), False)])
async def test_an_answer_counts_even_if_the_request_was_not_read_but_nothing_follows(
    client_tls: ssl.SSLContext, network: Scripted, may_follow: bool
) -> None:
    connection = Connection(Origin("http", "h", 80), tls=client_tls, network=network, idle_max_s=90)

    response = await connection.exchange("POST", b"POST / HTTP/1.1\r\n\r\n", b"{}")

    assert response.status == 202
    assert connection.is_idle == may_follow
