"""The pure parts: finding a route, reading a head, taking chunks apart, cutting answers."""

import socket
import tracemalloc
from dataclasses import replace
from typing import Any

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bbs.http.chunked import BadChunk, BodyTooLarge, ChunkedBody, FramingTooLarge
from bbs.http.endpoints import Route, RouteTable, WrongMethod
from bbs.http.error_answers import answer_bytes, slices
from bbs.http.limits import DEFAULT_LIMITS, Limits
from bbs.http.request_head import head_reader, read_head
from bbs.http.sockets import open_listeners, remote_addr
from tests.http.serving import World, post
from tests.listening import listening_sockets

TABLE = World().table()
ECHO = TABLE.by_request_line[b"POST /v1/echo HTTP/1.1"]


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", b"/v1/echo", ECHO),
        ("GET", b"/v1/echo", WrongMethod("POST")),
        ("post", b"/v1/echo", WrongMethod("POST")),
        ("POST", b"/v1/echo/", None),
        ("POST", b"/v1/Echo", None),
        ("POST", b"", None),
    ],
)
def test_routes_are_found_by_literal_path_then_method(
    method: str, path: bytes, found: Route | WrongMethod | None
) -> None:
    assert TABLE.find(method, path) == found


def test_the_methods_of_a_path_are_listed_in_allow() -> None:
    get = Route("G", "GET", "/p", ECHO.endpoint)

    assert RouteTable([replace(get, method="POST"), get]).find("PUT", b"/p") == WrongMethod("GET, POST")


def test_a_route_cannot_be_listed_twice() -> None:
    with pytest.raises(AssertionError, match="POST /v1/echo is listed twice"):
        RouteTable([ECHO, replace(ECHO, name="Other")])


@pytest.mark.parametrize(("method", "path"), [("get", "/a"), ("GET", "a"), ("GET", "/a?b"), ("GET", "/ä")])
def test_a_route_must_be_one_that_can_be_asked_for(method: str, path: str) -> None:
    with pytest.raises(AssertionError):
        Route("R", method, path, ECHO.endpoint)


@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(AssertionError, match=name):
        replace(DEFAULT_LIMITS, **{name: 0})


# -- heads


def test_what_matters_is_read_from_a_head() -> None:
    fields = ("CONNECTION: Close", "Expect: 100-Continue", "x-vcap-request-id: \t 8d7a \t", "Other: \xe4")

    head = read_head(post("/v1/echo", b"x" * 12, *fields)[:-12], TABLE.by_request_line, lines_max=99)

    assert head is not None
    assert head.route is ECHO
    assert (head.content_length, head.chunked, head.close, head.expects_continue) == (12, False, True, True)
    assert head.trace_id == "8d7a"


@given(
    trace_id=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40),
    length=st.integers(0, 10**15 - 1),
)
def test_a_head_that_is_read_is_one_that_h11_reads_alike(trace_id: str, length: int) -> None:
    block = f"POST /v1/echo HTTP/1.1\r\nHost: a\r\nX-Vcap-Request-Id: {trace_id}\r\nContent-Length: {length}\r\n\r\n".encode()
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(block)

    request = connection.next_event()
    head = head_reader(TABLE.by_request_line, lines_max=99)(block)

    assert isinstance(request, h11.Request)
    assert head is not None
    assert dict(request.headers)[b"x-vcap-request-id"] == head.trace_id.encode()
    assert int(dict(request.headers)[b"content-length"]) == head.content_length


@pytest.mark.parametrize(
    "fields",
    [
        ["Upgrade: websocket"],
        ["Connection: upgrade"],
        ["Connection: close, keep-alive"],
        ["Connection: close", "Connection: close"],
        ["Expect: something else"],
        ["X-Vcap-Request-Id: a", "x-vcap-request-id: b"],
        ["Host: again"],
        ["Content-Length: 0"],
        ["Transfer-Encoding: chunked"],
        ["A: b\r\n folded"],
        ["A: b\x7f"],
        ["no colon"],
    ],
)
def test_what_is_not_plain_is_left_to_h11(fields: list[str]) -> None:
    assert read_head(post("/v1/echo", b"", *fields), TABLE.by_request_line, lines_max=99) is None


# -- chunks


def dechunk(*pieces: bytes, body_bytes_max: int = 1 << 20, framing_bytes_max: int = 1000) -> ChunkedBody:
    chunks = ChunkedBody(body_bytes_max=body_bytes_max, framing_bytes_max=framing_bytes_max, trailers_max=99)
    for piece in pieces:
        chunks.feed(piece)
    return chunks


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=5),
    extension=st.sampled_from([b"", b";", b";name=value", b" "]),
    trailers=st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n"]),
    rest=st.binary(max_size=20),
    data=st.data(),
)
def test_chunks_come_apart_however_they_are_cut(
    pieces: list[bytes], extension: bytes, trailers: bytes, rest: bytes, data: st.DataObject
) -> None:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    sent = framed + b"0\r\n" + trailers + b"\r\n" + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent) - len(rest)), max_size=8)))

    chunks = dechunk(*(sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)))

    assert chunks.complete
    assert chunks.body == b"".join(pieces)
    assert chunks.rest == rest


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"\r\n", BadChunk),
        (b"g\r\n", BadChunk),
        (b"11111111111111111\r\n", BadChunk),
        (b"1\r\nab", BadChunk),
        (b"1\r\na\n", BadChunk),
        (b"0\r\n\n", BadChunk),
        (b"0\r\nA : b\r\n\r\n", BadChunk),
        (b"0\r\nA: b\n\r\n", BadChunk),
        (b"65\r\n", BodyTooLarge),
        (b"ffffffffffffffff\r\n", BodyTooLarge),
        (b"1" * 201, FramingTooLarge),
        (b"1;" + b"e" * 200, FramingTooLarge),
        (b"0\r\n" + b"A: b\r\n" * 40, FramingTooLarge),
    ],
)
def test_bad_chunks_are_refused_whole_and_byte_by_byte(sent: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        dechunk(sent, body_bytes_max=100, framing_bytes_max=200)
    with pytest.raises(error):
        dechunk(*(bytes([byte]) for byte in sent), body_bytes_max=100, framing_bytes_max=200)


def test_small_chunks_take_no_more_memory_than_what_is_in_them() -> None:
    framed = b"2\r\nab\r\n" * 50_000
    received = [framed[start : start + 7_000] for start in range(0, len(framed), 7_000)]
    tracemalloc.start()
    try:
        chunks = dechunk(*received)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert not chunks.complete
    assert peak < 300_000  # of which 100,000 are the body


# -- answers


@given(
    pieces=st.lists(st.binary(max_size=50), max_size=8),
    first=st.binary(max_size=10),
    slice_bytes=st.integers(10, 60),
    joined=st.booleans(),
)
def test_slices_are_the_answer_in_bounded_pieces(
    pieces: list[bytes], first: bytes, slice_bytes: int, joined: bool
) -> None:
    answer = b"".join(pieces) if joined else pieces

    cut = [bytes(piece) for piece in slices(answer, slice_bytes, first=first)]

    assert b"".join(cut) == first + b"".join(pieces)
    assert answer_bytes(answer) == len(b"".join(pieces))
    assert all(0 < len(piece) <= slice_bytes for piece in cut)


# -- addresses


@pytest.mark.parametrize("address", ["", "8889", "localhost", "a:b", "127.0.0.1:99999", "127.0.0.1:-1"])
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        await open_listeners(address)


async def test_a_port_may_be_left_to_the_kernel() -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    async with listener:
        host, port = listener.socket.getsockname()

        assert host == "127.0.0.1"
        assert port > 0
        assert listener.socket.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]", "127.0.0.1", "[::1]", "localhost"])
async def test_one_address_is_one_listening_socket(host: str) -> None:
    """BOSH's post-start script reads one line of lsof."""
    [listener] = await open_listeners(f"{host}:0")
    async with listener:
        port = listener.socket.getsockname()[1]

        assert len(listening_sockets(port)) == 1


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]"])
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
async def test_every_interface_is_those_of_both_families(host: str, client: str) -> None:
    [listener] = await open_listeners(f"{host}:0")
    async with listener:
        stream = await trio.open_tcp_stream(client, listener.socket.getsockname()[1])
        accepted = await listener.accept()

        assert remote_addr(accepted).rpartition(":")[0].strip("[]") == client
        await stream.aclose()
        await accepted.aclose()


async def test_a_name_is_its_first_ipv4_address() -> None:
    """As Go has it; the machine's own resolver puts IPv6 first."""

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: Any, *rest: Any) -> list[Any]:
            if host != b"bbs.example":
                return await trio.to_thread.run_sync(socket.getaddrinfo, host, *rest)
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
            ]

        async def getnameinfo(self, *arguments: Any) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    [listener] = await open_listeners("bbs.example:0")
    async with listener:
        assert listener.socket.getsockname()[0] == "127.0.0.1"
