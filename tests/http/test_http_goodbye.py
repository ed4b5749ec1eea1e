"""A last answer arrives, though bytes that nobody will read are behind the request it answers."""

import pytest

from tests.http.serving import PATIENCE_S, Served, post
from tests.http.test_http_agreement import CHUNKED, H2C, HOST, LINE, PREFACE, WEBSOCKET
from tests.listening import is_all_read
from tests.waiting import wait_until

FOLLOWED_BY_MORE = {
    "two framings": (LINE + HOST + CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", b"400 Bad Request"),
    "two hosts": (LINE + HOST + HOST + b"\r\n", b"400 Bad Request"),
    "garbage": (b"\x00garbage\r\n\r\n", b"400 Bad Request"),
    "bad chunk": (LINE + HOST + CHUNKED + b"\r\nxyz\r\n", b"400 Bad Request"),
    "bad chunk, query": (
        b"POST /v1/echo? HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\nxyz\r\n",
        b"400 Bad Request",
    ),
    "an unknown path, its body unread": (
        b"POST /nope HTTP/1.1\r\n" + HOST + b"Content-Length: 8000000\r\n\r\n",
        b"404 Not Found",
    ),
    "too large a body": (
        LINE + HOST + b"Content-Length: 99999999999\r\n\r\n",
        b"413 Request Entity Too Large",
    ),
    "the preface of HTTP/2": (PREFACE + b"SM\r\n\r\n", b"404 Not Found"),
    "another version": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", b"505 HTTP Version Not Supported"),
}


@pytest.mark.parametrize("case", FOLLOWED_BY_MORE)
async def test_a_refusal_arrives_before_the_end(served: Served, case: str) -> None:
    request, status = FOLLOWED_BY_MORE[case]
    for _ in range(5):
        wire = await served.connect()
        await wire.send(request + b"\x00" * 2_000_000)
        # A reset, were there one, is here before we read: nothing is left that could be the reason for one.
        await wait_until(
            lambda: is_all_read(served.address[1]), within_s=PATIENCE_S, what="the server has read all"
        )

        received = await wire.read_to_end()

        assert received.startswith(b"HTTP/1.1 " + status + b"\r\n")
        assert received.count(b"HTTP/1.1 ") == 1
        if "unread" not in case:
            assert b"\r\nconnection: close\r\n" in received.lower()


@pytest.mark.parametrize("fields", [H2C, WEBSOCKET], ids=["h2c", "WebSocket"])
async def test_no_other_protocol_is_switched_to(served: Served, fields: bytes) -> None:
    wire = await served.connect()
    for path, status in (("/v1/echo", 200), ("/nope", 404)):
        await wire.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode() + fields + b"\r\n")

        response = await wire.read_response()

        assert response.status == status
        assert "upgrade" not in {name.lower() for name in response.headers}

    await wire.send(post("/v1/echo", b"still HTTP/1.1"))

    assert (await wire.read_response()).body == b"still HTTP/1.1"
