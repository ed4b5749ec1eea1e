"""Requests made from the grammar of RFC 9112, and the damage that smugglers do to them."""

from collections.abc import Sequence

from hypothesis import strategies as st

CRLF = b"\r\n"

# Each list begins with what is right; Hypothesis shrinks towards it.
METHODS = [
    b"POST",
    b"GET",
    b"PUT",
    b"post",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"FROB",
    b"P\x00ST",
    b"PO ST",
    b"PRI",
]
TARGETS = [
    b"/v1/echo", b"/v1/nope", b"/v1/echo?a=b", b"/v1/echo#f", b"http://a/v1/echo", b"//v1/echo", b"/v1/%65cho", b"*",
    b"a:80", b"/v1/echo\x00", b"/v1/\xc3\xa4", b"/v1/echo HTTP/1.1", b"?", b"/v1/./echo", b"/v1/echo;a", b"\\v1\\echo",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b"", b"HTTP/1,1"]  # fmt: skip
BLANKS = [b" ", b"", b"\t", b"  ", b"\x0b", b"\x0c", b"\xa0", b"\r", b"\x00", b"\r\n ", b"\n "]
LINE_ENDS = [CRLF, b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x00\r\n", b" \r\n", b"\x85\r\n"]
CODINGS = [
    b"chunked", b"Chunked", b"CHUNKED", b"identity", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"xchunked",
    b"chunked;q=1", b'"chunked"', b"chunked,", b", chunked", b"chunk\xc3\xa9d", b"\x0bchunked", b"chunked\x00", b"chu nked",
    b"cow", b"", b"chunked\t", b"'chunked'", b"chunked\r\n ",
]  # fmt: skip
TE_NAMES = [
    b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING", b"Transfer_Encoding", b"Transfer-Encoding ",
    b" Transfer-Encoding", b"Transfer-Encoding\t", b"Transfer-Encoding\x00", b"X: y\nTransfer-Encoding",
    b"X: y\rTransfer-Encoding", b"Transfer\xadEncoding", b"Transfer-Encod\xc4\xb1ng",
]  # fmt: skip
LENGTH_NAMES = [
    b"Content-Length", b"content-length", b"Content_Length", b"Content-Length ", b"\x00Content-Length", b"\tContent-Length",
    b"X: y\nContent-Length", b"X: y\rContent-Length", b"Content-Length\x0b",
]  # fmt: skip
LENGTHS = [
    b"+%d", b"-%d", b"0%d", b"0x%x", b"%d,%d", b"%d, 0", b"0, %d", b"%d %d", b"%d.0", b"%de0", b"%d_0", b"1_%d", b" %d", b"%d;",
    b"\x0b%d", b"%d\x00", b"\xd9\xa3", b"", b'"%d"', b"%d, ", b",%d", b"9" * 30, b"9" * 15, b"9" * 20, b"101", b"18446744073709551616",
]  # fmt: skip
SIZES = [
    b"%x", b"%X", b"0%x", b"00000000000000000000%x", b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%x;a=b", b"%x;a", b"%x ;a",
    b"%x;a=\"b\\\"\r\n\"", b"%x;\n", b"%x;\r", b"%x;\x00", b"%x\n", b"%x_0", b"%xg", b"%x,1", b"%x.0", b"1_%x",
    b"ffffffff%016x", b"10000000000000000%x", b"100000000%x", b"ffffffffffffffff", b"\xd9\xa3%x", b"%x; a = b", b"%x;\xff",
]  # fmt: skip
TRAILERS = [
    b"A: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: x\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"A: b\n", b" folded\r\n", b"A: b\r\n c\r\n", b"no colon\r\n", b"A : b\r\n",
    b"A: \x00\r\n", b"A: \x01\r\n", b"A: \r\r\n", b"X-Vcap-Request-Id: t\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"\n", b"\r", b"A: " + b"x" * 320 + b"\r\n",
]  # fmt: skip
OTHER_FIELDS = [
    b"X-Vcap-Request-Id: t\r\n", b"A: b\r\n", b"A:\r\n", b"A: b\r\n c\r\n", b"A\r\n", b": b\r\n", b"A b\r\n", b"A: \x00\r\n", b"A: b\rc\r\n",
    b"A: b\nc: d\r\n", b"Expect: 100-continue\r\n", b"Expect: 200-ok\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Connection: close, keep-alive\r\n", b"Connection: Transfer-Encoding\r\n", b"Connection: Content-Length\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Host: b\r\n", b"Trailer: Content-Length\r\n", b"TE: trailers\r\n",
    b"X-HTTP-Method-Override: GET\r\n", b"\xff: b\r\n", b"A: \x0b\r\n", b"A: " + b"x" * 320 + b"\r\n", b"Proxy-Connection: close\r\n",
    b"X-Bbs-At-Least: 1:0/1\r\n", b"x-bbs-AT-least:\t 1:0/2 \r\n", b"X-Bbs-At-Least: 1:0/1\r\nX-Bbs-At-Least:\r\n",
    b"X-Vcap-Request-Id: \xe4\r\n", b"X-Vcap-Request-Id: u\r\nX-Vcap-Request-Id: v\r\n",
]  # fmt: skip
HOSTS = [b"Host: a\r\n", b"Host: a:8889\r\n", b"", b"Host:\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a/b\r\n", b"Host : a\r\n", b"Host: \xc3\xa4\r\n", b"host:a\r\n"]  # fmt: skip
BODIES = [
    b"",
    b"a",
    b"abc",
    b"0\r\n\r\n",
    b"0123456789abcdef",
    b"POST /v1/echo HTTP/1.1\r\nHost: s\r\n\r\n",
    b"\r\n",
    b"x" * 99,
]
BEHIND = [
    b"",
    CRLF,
    b"\n",
    b"\x00",
    b"0\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"POST /v1/echo HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]

FRAGMENTS = [
    *(bytes([byte]) for byte in b"\r\n\t :;,0137aAxX\x00\x0b\x7f\x80"),
    b"\r\n", b"\r\n\r\n", b"Host: a\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n",
]  # fmt: skip


def mostly(right: Sequence[bytes], odd: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """As a rule one of ``right``: a request with much wrong is refused for the first thing only."""
    return st.integers(0, 23).flatmap(lambda roll: st.sampled_from(odd if roll == 23 else right))


def filled(template: bytes, number: int) -> bytes:
    return template % ((number,) * template.count(b"%")) if b"%" in template else template


@st.composite
def fields(draw: st.DrawFn, name: st.SearchStrategy[bytes], value: bytes) -> bytes:
    blank, end = draw(mostly([b" ", b""], BLANKS)), draw(mostly([CRLF], LINE_ENDS))
    return draw(name) + b":" + blank + value + end


@st.composite
def chunked_bodies(draw: st.DrawFn, body: bytes) -> bytes:
    cut = draw(st.integers(0, len(body)))
    chunks = [piece for piece in (body[:cut], body[cut:]) if piece] + [b""]
    framed = b""
    for piece in chunks:
        wrong = draw(st.sampled_from([0] * 12 + [1, -1, 1 << 32]))
        size = filled(draw(mostly([b"%x", b"%x;a=b", b"0%x"], SIZES)), max(0, len(piece) + wrong))
        framed += size + draw(mostly([CRLF], LINE_ENDS))
        if piece:
            framed += piece + draw(mostly([CRLF], [*LINE_ENDS, b"", b"\r\n\r\n", b"ab"]))
    framed += b"".join(draw(st.lists(mostly(TRAILERS[:1], TRAILERS), max_size=2)))
    return framed + draw(mostly([CRLF], [*LINE_ENDS, b""]))


@st.composite
def framings(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Fields about a body, and the body as sent."""
    body = draw(st.sampled_from(BODIES))
    kind = draw(st.sampled_from(["length", "chunks", "none", "both", "two lengths", "two codings"]))
    exact = b"%d" % len(body)
    length = filled(draw(mostly([exact], LENGTHS)), len(body))
    coding = draw(mostly(CODINGS[:3], CODINGS))
    length_field = draw(fields(mostly(LENGTH_NAMES[:2], LENGTH_NAMES), length))
    coding_field = draw(fields(mostly(TE_NAMES[:3], TE_NAMES), coding))
    framed = draw(chunked_bodies(body))
    match kind:
        case "none":
            return [], draw(mostly([b""], BODIES))
        case "length":
            return [length_field], body
        case "chunks":
            return [coding_field], framed
        case "both":
            of_framing = b"Content-Length: %d\r\n" % draw(st.sampled_from([0, 3, len(framed)]))
            other = draw(st.sampled_from([of_framing, length_field]))
            return draw(st.permutations([other, coding_field])), draw(st.sampled_from([framed, body]))
        case "two lengths":
            second = draw(fields(st.sampled_from(LENGTH_NAMES), draw(st.sampled_from([exact, b"0", b"3"]))))
            return draw(st.permutations([length_field, second])), body
        case _:
            second = draw(fields(st.sampled_from(TE_NAMES), draw(st.sampled_from(CODINGS))))
            return draw(st.permutations([coding_field, second])), framed


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    blanks = [draw(mostly([b" "], BLANKS)) for _ in range(2)]
    line = (
        draw(mostly([b"POST"], METHODS)) + blanks[0]
        + draw(mostly([b"/v1/echo"], TARGETS)) + blanks[1]
        + draw(mostly([b"HTTP/1.1"], VERSIONS)) + draw(mostly([CRLF], LINE_ENDS))
    )  # fmt: skip
    about_body, body = draw(framings())
    others = draw(st.lists(mostly(OTHER_FIELDS[:2], OTHER_FIELDS), max_size=2))
    block = draw(st.permutations([draw(mostly(HOSTS[:2], HOSTS)), *about_body, *others]))
    return line + b"".join(block) + draw(mostly([CRLF], LINE_ENDS)) + body


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What one client sends: up to three requests, and sometimes something behind or a few bytes put in or taken out."""
    sent = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    sent += draw(mostly([b""], BEHIND))
    return draw(
        st.sampled_from([False, False, False, True]).flatmap(
            lambda is_damaged: damaged([sent]) if is_damaged else st.just(sent)
        )
    )


@st.composite
def damaged(draw: st.DrawFn, wholes: Sequence[bytes]) -> bytes:
    """One of ``wholes`` with a few pieces put in or taken out."""
    sent = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(sent)))
        sent = sent[:at] + draw(st.sampled_from([b"", *FRAGMENTS])) + sent[at + draw(st.integers(0, 3)) :]
    return sent


@st.composite
def cuts(draw: st.DrawFn, sent: bytes) -> list[bytes]:
    """``sent`` in pieces: some, or each byte by itself."""
    if len(sent) <= 200 and draw(st.sampled_from([False, False, False, True])):
        return [sent[at : at + 1] for at in range(len(sent))]
    at = sorted(draw(st.sets(st.integers(1, max(1, len(sent) - 1)), max_size=4)))
    return [sent[start:end] for start, end in zip([0, *at], [*at, len(sent)], strict=True) if start < end]
