"""The fast lane accepts and refuses what Hypercorn and h11 do, however the bytes are cut.

Two servers that read one request differently are how requests get smuggled, so the slow lane is the fast lane's twin.
"""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bbs.http.limits import Limits
from tests.http.serving import Served, World, post, serving
from tests.http.verdicts import split_answers

LIMITS = Limits(header_bytes_max=2000, header_lines_max=100, body_bytes_max=1000, linger_s=0.05)
LINE = b"POST /v1/echo HTTP/1.1\r\n"
QUERY_LINE = b"POST /v1/echo?a=b HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def echo(*fields: bytes, body: bytes = b"", line: bytes = LINE, host: bytes = HOST) -> bytes:
    return line + host + b"".join(fields) + b"\r\n" + body


# What is sent, then the client ends its side -> the answers' status codes.
CASES: dict[str, tuple[bytes, list[int]]] = {
    "no body": (echo(), [200]),
    "length 0": (echo(b"Content-Length: 0\r\n"), [200]),
    "body": (echo(b"Content-Length: 3\r\n", body=b"abc"), [200]),
    "two requests": (post("/v1/echo", b"a") + post("/v1/echo", b"b"), [200, 200]),
    "then garbage": (post("/v1/echo", b"a") + b"\x00garbage\r\n\r\n", [200, 400]),
    "then an empty line": (post("/v1/echo", b"a") + b"\r\n" + post("/v1/echo", b"b"), [200, 400]),
    # Content-Length
    "same length twice": (echo(b"Content-Length: 3\r\n" * 2, body=b"abc"), [200]),
    "same length in a list": (echo(b"Content-Length: 3, 3\r\n", body=b"abc"), [200]),
    "two lengths": (echo(b"Content-Length: 3\r\n", b"Content-Length: 4\r\n", body=b"abcd"), [400]),
    "two lengths in a list": (echo(b"Content-Length: 3, 4\r\n", body=b"abcd"), [400]),
    "negative length": (echo(b"Content-Length: -1\r\n", body=b"abc"), [400]),
    "signed length": (echo(b"Content-Length: +3\r\n", body=b"abc"), [400]),
    "hex length": (echo(b"Content-Length: 0x3\r\n", body=b"abc"), [400]),
    "length with underscore": (echo(b"Content-Length: 1_0\r\n", body=b"0123456789"), [400]),
    "empty length": (echo(b"Content-Length:\r\n", body=b"abc"), [400]),
    "length of 30 digits": (echo(b"Content-Length: " + b"9" * 30 + b"\r\n"), [400]),
    "length over the limit": (echo(b"Content-Length: 1001\r\n", body=b"abc"), [413]),
    "length of 18 digits": (echo(b"Content-Length: " + b"9" * 18 + b"\r\n"), [413]),
    "body cut short": (echo(b"Content-Length: 9\r\n", body=b"abc"), [400]),
    # Transfer-Encoding
    "chunks": (echo(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), [200]),
    "chunks in capitals": (
        echo(b"TRANSFER-ENCODING: CHUNKED\r\n", body=b"A\r\n0123456789\r\n0\r\n\r\n"),
        [200],
    ),
    "chunk extension": (echo(CHUNKED, body=b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), [200]),
    "blank after chunk size": (echo(CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"), [200]),
    "trailers": (echo(CHUNKED, body=b"3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n"), [200]),
    "chunks, then a request": (
        echo(CHUNKED, body=b"1\r\na\r\n0\r\n\r\n") + post("/v1/echo", b"b"),
        [200, 200],
    ),
    "chunks and length": (echo(CHUNKED, b"Content-Length: 3\r\n", body=b"0\r\n\r\n"), [400]),
    "length and chunks": (echo(b"Content-Length: 3\r\n", CHUNKED, body=b"0\r\n\r\n"), [400]),
    "chunked twice": (echo(CHUNKED * 2, body=b"0\r\n\r\n"), [501]),
    "gzip": (echo(b"Transfer-Encoding: gzip\r\n", body=b"0\r\n\r\n"), [501]),
    "gzip, chunked": (echo(b"Transfer-Encoding: gzip, chunked\r\n", body=b"0\r\n\r\n"), [501]),
    "identity": (echo(b"Transfer-Encoding: identity\r\n", body=b""), [501]),
    "vertical tab before chunked": (echo(b"Transfer-Encoding: \x0bchunked\r\n", body=b"0\r\n\r\n"), [400]),
    "no chunk size": (echo(CHUNKED, body=b"\r\nabc\r\n0\r\n\r\n"), [400]),
    "chunk size no number": (echo(CHUNKED, body=b"xyz\r\nabc\r\n0\r\n\r\n"), [400]),
    "negative chunk size": (echo(CHUNKED, body=b"-3\r\nabc\r\n0\r\n\r\n"), [400]),
    "prefixed chunk size": (echo(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"), [400]),
    "chunk longer than it says": (echo(CHUNKED, body=b"2\r\nabc\r\n0\r\n\r\n"), [400]),
    "bare LF after a chunk": (echo(CHUNKED, body=b"3\r\nabc\n0\r\n\r\n"), [400]),
    "control character in an extension": (echo(CHUNKED, body=b"3;\x00\r\nabc\r\n0\r\n\r\n"), [400]),
    "bare LF between trailers": (echo(CHUNKED, body=b"0\r\nA: b\nC: d\r\n\r\n"), [400]),
    "length among trailers": (echo(CHUNKED, body=b"0\r\nContent-Length: 3\r\n\r\n"), [400]),
    "bad trailer": (echo(CHUNKED, body=b"0\r\nno colon\r\n\r\n"), [400]),
    "chunks cut short": (echo(CHUNKED, body=b"3\r\nabc\r\n"), [400]),
    "chunks over the limit": (echo(CHUNKED, body=b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"), [413]),
    # Host
    "no host": (echo(host=b""), [400]),
    "two hosts": (echo(HOST), [400]),
    "empty host": (echo(host=b"Host:\r\n"), [200]),
    "folded host": (echo(host=b"Host: a\r\n b\r\n"), [400]),
    "path in the host": (echo(host=b"Host: a/b\r\n"), [400]),
    "host outside ASCII": (echo(host=b"Host: \xc3\xa4\r\n"), [400]),
    "host of every kind of character": (echo(host=b"Host: [a-Z._~%41!$&'()*+,;=]:1\r\n"), [200]),
    "port": (echo(host=b"Host: [::1]:8889\r\n"), [200]),
    # Lines and names
    "bare LF": (b"POST /v1/echo HTTP/1.1\nHost: a\n\n", [200]),
    "bare LF at the end": (LINE + HOST + b"\n", [200]),
    "bare LF before the end, with a length": (LINE + HOST + b"Content-Length: 13\r\n\n" + b"x" * 13, [200]),
    "bare CR": (echo(b"A: b\rContent-Length: 3\r\n"), [400]),
    "folded": (echo(b"A: b\r\n c\r\n"), [200]),
    "folded length": (echo(b"Content-Length:\r\n 3\r\n", body=b"abc"), [200]),
    "fold at the start": (echo(host=b" Host: a\r\n"), [400]),
    "blank before colon": (echo(b"A : b\r\n"), [400]),
    "blank before colon of a length": (echo(b"Content-Length : 3\r\n", body=b"abc"), [400]),
    "no colon": (echo(b"A\r\n"), [400]),
    "empty name": (echo(b": b\r\n"), [400]),
    "name with a control character": (echo(b"A\x01: b\r\n"), [400]),
    "name outside ASCII": (echo(b"\xc3\xa4: b\r\n"), [400]),
    "NUL in a value": (echo(b"A: b\x00c\r\n"), [400]),
    "bell in a value": (echo(b"A: b\x07c\r\n"), [200]),
    "value outside ASCII": (echo(b"A: \xc3\xa4\r\n"), [200]),
    "tabs around a value": (echo(b"Content-Length:\t3\t\r\n", body=b"abc"), [200]),
    "an empty value": (echo(b"A:\r\n"), [200]),
    # The request line
    "empty line first": (b"\r\n" + echo(), [400]),
    "two blanks": (echo(line=b"POST  /v1/echo HTTP/1.1\r\n"), [400]),
    "blank at the end": (echo(line=b"POST /v1/echo HTTP/1.1 \r\n"), [400]),
    "no version": (echo(line=b"POST /v1/echo\r\n"), [400]),
    "version in lower case": (echo(line=b"POST /v1/echo http/1.1\r\n"), [400]),
    "HTTP/1.0": (echo(line=b"POST /v1/echo HTTP/1.0\r\n"), [200]),
    "path outside ASCII": (echo(line=b"POST /v1/ech\xc3\xb6 HTTP/1.1\r\n"), [400]),
    "control character in path": (echo(line=b"POST /v1/echo\x01 HTTP/1.1\r\n"), [400]),
    "query": (echo(line=QUERY_LINE), [200]),
    "query only": (echo(line=b"POST ?a=b HTTP/1.1\r\n"), [400]),
    "whole URL": (echo(line=b"POST http://a/v1/echo HTTP/1.1\r\n"), [404]),
    "asterisk": (echo(line=b"OPTIONS * HTTP/1.1\r\n"), [404]),
    "unknown path": (echo(line=b"POST /nope HTTP/1.1\r\n"), [404]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    "head cut short": (LINE + HOST, [400]),
    "whole head over the limit": (echo(b"A: " + b"x" * 2000 + b"\r\n"), [431]),
    "head over the limit": (LINE + HOST + b"A: " + b"x" * 2000, [431]),
    # How many lines there may be: 100, of which Host is one and Transfer-Encoding another
    "as many lines as may be": (echo(b"A:\r\n" * 99), [200]),
    "a line too many": (echo(b"A:\r\n" * 100), [431]),
    "as many lines as may be, by query": (echo(b"A:\r\n" * 99, line=QUERY_LINE), [200]),
    "a line too many, by query": (echo(b"A:\r\n" * 100, line=QUERY_LINE), [431]),
    "a line too many, without CR": (echo(b"A:\n" * 100), [431]),
    "a line too many, folded": (echo(b"A:\r\n" + b" b\r\n" * 99), [431]),
    "a line too many, behind another request": (post("/v1/echo", b"a") + echo(b"A:\r\n" * 100), [200, 431]),
    "lines of a body do not count": (echo(b"Content-Length: 300\r\n", body=b"\n" * 300), [200]),
    "as many trailers as may be": (echo(CHUNKED, body=b"0\r\n" + b"A:\r\n" * 100 + b"\r\n"), [200]),
    "a trailer too many": (echo(CHUNKED, body=b"0\r\n" + b"A:\r\n" * 101 + b"\r\n"), [431]),
    # Connection, Expect, Upgrade
    "close": (echo(b"Connection: close\r\n"), [200]),
    "close, then a request": (echo(b"Connection: close\r\n") + post("/v1/echo", b"b"), [200]),
    "HTTP/1.0, then a request": (echo(line=b"POST /v1/echo HTTP/1.0\r\n") + post("/v1/echo", b"b"), [200]),
    "close in a list": (echo(b"Connection: keep-alive, Close\r\n"), [200]),
    "unknown expectation": (echo(b"Expect: the unexpected\r\n"), [200]),
    "upgrade to who knows what": (echo(b"Connection: upgrade\r\n", b"Upgrade: foo\r\n"), [200]),
    "upgrade to h2c": (echo(H2C), [200]),
    "upgrade to h2c, with a body": (echo(H2C, b"Content-Length: 3\r\n", body=b"abc"), [200]),
    "upgrade to h2c of an unknown path": (echo(H2C, line=b"GET /nope HTTP/1.1\r\n"), [404]),
    "upgrade to h2c, then a request": (echo(H2C) + post("/v1/echo", b"b"), [200, 200]),
    "upgrade to a WebSocket": (echo(WEBSOCKET), [200]),
    "upgrade to a WebSocket by GET": (echo(WEBSOCKET, line=b"GET /nope HTTP/1.1\r\n"), [404]),
    "upgrade to a WebSocket, then a request": (echo(WEBSOCKET) + post("/v1/echo", b"b"), [200, 200]),
    # Versions. The preface of HTTP/2 is a request like any other, for a path that there is not, and the last one.
    "HTTP/2 preface": (PREFACE, [404]),
    "HTTP/2 preface with frames": (PREFACE + b"SM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", [404]),
    "HTTP/2 preface, then a request": (PREFACE + post("/v1/echo", b"b"), [404]),
    "preface of another path": (b"PRI /v1/echo HTTP/2.0\r\n\r\n", [505]),
    "HTTP/2.0": (echo(line=b"POST /v1/echo HTTP/2.0\r\n"), [505]),
    "HTTP/0.9": (echo(line=b"POST /v1/echo HTTP/0.9\r\n"), [505]),
}


@pytest.fixture
async def lanes(world: World) -> AsyncIterator[tuple[Served, Served]]:
    async with (
        serving(world, fast_lane=True, limits=LIMITS) as fast,
        serving(world, fast_lane=False, limits=LIMITS) as slow,
    ):
        yield fast, slow


async def answers(served: Served, *pieces: bytes) -> list[tuple[int, bytes]]:
    """Status codes and bodies of all that comes back for ``pieces``, each received on its own."""
    wire = await served.connect()
    try:
        for piece in pieces:
            await wire.send(piece)
            await wait_all_tasks_blocked()
        await wire.send_eof()
    except trio.BrokenResourceError:
        pass  # refused before the end
    received = await wire.read_to_end()
    await wire.stream.aclose()
    return split_answers(received)


@pytest.mark.parametrize("case", CASES)
async def test_both_lanes_decide_alike(lanes: tuple[Served, Served], case: str) -> None:
    request, statuses = CASES[case]
    fast, slow = lanes

    from_fast, from_slow = await answers(fast, request), await answers(slow, request)

    assert from_fast == from_slow
    assert [status for status, _ in from_fast] == statuses


BYTES_BETWEEN_CUTS = 8
"""Where nothing begins or ends, unless ``--every-byte`` is given. Each case begins at a byte of its own, so that between them
every byte of what they have in common has its turn. Short ones are sent byte by byte as well.
"""


def places(case: str, *, every_byte: bool) -> list[int]:
    """Where to cut the request of that case: before and after each end of a line and each colon, but where the bytes around it
    are those of an earlier place, and some on the way.
    """
    request, _ = CASES[case]
    end = min(len(request), 120)
    if every_byte:
        return list(range(1, end))
    first = 1 + list(CASES).index(case) % BYTES_BETWEEN_CUTS
    places = {*range(first, end, BYTES_BETWEEN_CUTS)}
    seen = set[bytes]()
    for place in range(1, end):
        around = request[max(0, place - 3) : place + 3]
        if around not in seen and {*request[place - 1 : place + 1]} & {*b"\r\n:"}:
            places.add(place)
        seen.add(around)
    return sorted(places)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
async def test_the_fast_lane_decides_alike_however_the_bytes_are_cut(
    lanes: tuple[Served, Served], case: str, every_byte: bool
) -> None:
    request, statuses = CASES[case]
    fast, _ = lanes
    whole = await answers(fast, request)

    for cut in places(case, every_byte=every_byte):
        assert await answers(fast, request[:cut], request[cut:]) == whole, f"cut at {cut}"
    if len(request) < 120:
        assert await answers(fast, *(bytes([byte]) for byte in request)) == whole, "byte by byte"
    assert [status for status, _ in whole] == statuses
