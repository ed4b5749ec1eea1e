"""Known ways to smuggle a request, by the names that the literature has for them, and what both lanes make of each.

Every stream of bytes ends with, or hides, a request for ``/v1/echo`` with the body ``smuggled``. Where a proxy before us may have
read another end of the first request than we do, nothing behind it is served.
"""

import pytest

from bbs.http.limits import Limits
from tests.http.serving import World, serving
from tests.http.verdicts import verdict

LIMITS = Limits(header_bytes_max=2000, body_bytes_max=1000, linger_s=0.05)

SMUGGLED = b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nsmuggled"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ZERO = b"0\r\n\r\n"


def request(*fields: bytes, body: bytes, line: bytes = b"POST /v1/echo HTTP/1.1\r\n") -> bytes:
    return line + b"Host: a\r\n" + b"".join(fields) + b"\r\n" + body


def length(number: int) -> bytes:
    return b"Content-Length: %d\r\n" % number


def in_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def coding(field: bytes) -> bytes:
    """With a length as well, as TE.TE has it: who does not see the coding goes by the length."""
    return request(field + b"\r\n", length(len(ZERO + SMUGGLED)), body=ZERO + SMUGGLED)


def coding_alone(field: bytes) -> bytes:
    return request(field + b"\r\n", body=ZERO + SMUGGLED)


def chunks(framed: bytes) -> bytes:
    return request(CHUNKED, body=framed)


# The bytes -> the bodies that handlers were called with, and the status of each answer.
REFUSED: tuple[list[bytes], list[int]] = ([], [400])
UNKNOWN_CODING: tuple[list[bytes], list[int]] = ([], [501])
BOTH_FRAMINGS = {
    "CL.TE": request(length(len(ZERO + SMUGGLED)), CHUNKED, body=ZERO + SMUGGLED),
    "TE.CL": request(CHUNKED, length(4), body=in_chunk(SMUGGLED) + ZERO),
    "CL.TE, length 0": request(length(0), CHUNKED, body=ZERO + SMUGGLED),
    "TE.0": request(CHUNKED, length(0), body=in_chunk(SMUGGLED) + ZERO),
    "CL.TE in HTTP/1.0": request(length(5), CHUNKED, body=ZERO + SMUGGLED, line=b"POST /v1/echo HTTP/1.0\r\n"),
    "CL.TE by GET": request(length(len(ZERO)), CHUNKED, body=ZERO + SMUGGLED, line=b"GET /v1/events HTTP/1.1\r\n"),
}  # fmt: skip
HIDDEN_CODINGS = {
    "blank before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "blank before the name": b" Transfer-Encoding: chunked\r\nX: y",
    "vertical tab before the value": b"Transfer-Encoding: \x0bchunked",
    "form feed behind the value": b"Transfer-Encoding: chunked\x0c",
    "NUL behind the value": b"Transfer-Encoding: chunked\x00",
    "NUL behind the name": b"Transfer-Encoding\x00: chunked",
    "bare CR before the name": b"X: y\rTransfer-Encoding: chunked",
    "bare CR behind the value": b"Transfer-Encoding: chunked\r",
    "name without a colon": b"Transfer-Encoding chunked",
    "dotless i": b"Transfer-Encod\xc4\xb1ng: chunked",
}
UNKNOWN_CODINGS = {
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked, then identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "chunked, then cow": b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
    "identity, then chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "xchunked": b"Transfer-Encoding: xchunked",
    "quoted": b'Transfer-Encoding: "chunked"',
    "chunked in a list": b"Transfer-Encoding: identity, chunked",
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1",
    "chunked and a comma": b"Transfer-Encoding: chunked,",
    "no-break space": b"Transfer-Encoding: \xa0chunked",
    "empty": b"Transfer-Encoding:",
    "folded with more": b"Transfer-Encoding: chunked,\r\n identity",
}
LENGTHS = {
    "CL.CL": length(0) + length(len(SMUGGLED)),
    "CL.CL in a list": b"Content-Length: 0, %d\r\n" % len(SMUGGLED),
    "plus": b"Content-Length: +0\r\n",
    "minus": b"Content-Length: -0\r\n",
    "hexadecimal": b"Content-Length: 0x0\r\n",
    "underscore": b"Content-Length: 0_0\r\n",
    "decimal": b"Content-Length: 0.0\r\n",
    "exponent": b"Content-Length: 0e1\r\n",
    "blank within": b"Content-Length: 0 0\r\n",
    "other digits": b"Content-Length: \xd9\xa0\r\n",
    "vertical tab": b"Content-Length: \x0b0\r\n",
    "NUL": b"Content-Length: 0\x00\r\n",
    "empty": b"Content-Length:\r\n",
    "semicolon": b"Content-Length: 0;\r\n",
    "quoted": b'Content-Length: "0"\r\n',
    "overflow of 64 bits": b"Content-Length: 18446744073709551616000\r\n",
    "blank before the colon": b"Content-Length : 0\r\n",
    "bare CR before the name": b"X: y\rContent-Length: 0\r\n",
}
FRAMINGS = {
    "overflow of 32 bits": (b"100000000\r\n" + SMUGGLED, 413),
    "overflow of 64 bits": (b"10000000000000000\r\n" + SMUGGLED, 400),
    "hexadecimal prefix": (b"0x0\r\n\r\n" + SMUGGLED, 400),
    "plus": (b"+0\r\n\r\n" + SMUGGLED, 400),
    "minus": (b"-0\r\n\r\n" + SMUGGLED, 400),
    "underscore": (b"0_0\r\n\r\n" + SMUGGLED, 400),
    "blank before the size": (b" 0\r\n\r\n" + SMUGGLED, 400),
    "other digits": (b"\xd9\xa0\r\n\r\n" + SMUGGLED, 400),
    "no size": (b"\r\n\r\n" + SMUGGLED, 400),
    "TERM.EXT: bare LF within an extension": (b"0;\n\r\n\r\n" + SMUGGLED, 400),
    "EXT.TERM: bare LF ends an extension": (b"2;\nxx\r\n0\r\n\r\n" + SMUGGLED, 400),
    "bare CR within an extension": (b"2;\rxx\r\nab\r\n0\r\n\r\n" + SMUGGLED, 400),
    "NUL within an extension": (b"2;\x00\r\nab\r\n0\r\n\r\n" + SMUGGLED, 400),
    "bare LF ends a size": (b"2\nab\r\n0\r\n\r\n" + SMUGGLED, 400),
    "bare CR ends a size": (b"2\rab\r\n0\r\n\r\n" + SMUGGLED, 400),
    "TERM.SPILL: no line end behind a chunk": (b"2\r\nab0\r\n\r\n" + SMUGGLED, 400),
    "SPILL.TERM: any two bytes behind a chunk": (b"2\r\nabXX0\r\n\r\n" + SMUGGLED, 400),
    "bare LF behind a chunk": (b"2\r\nab\n0\r\n\r\n" + SMUGGLED, 400),
    "bare CR behind a chunk": (b"2\r\nab\r0\r\n\r\n" + SMUGGLED, 400),
    "bare LF ends the trailers": (b"0\r\n\n" + SMUGGLED, 400),
    "bare LF between trailers": (b"0\r\nA: b\nC: d\r\n\r\n" + SMUGGLED, 400),
    "folded trailer": (b"0\r\nA: b\r\n c\r\n\r\n" + SMUGGLED, 400),
    "trailer without a colon": (b"0\r\nPOST /v1/echo HTTP/1.1\r\n\r\n" + SMUGGLED, 400),
    "a length among the trailers": (b"0\r\ncontent-length: 70\r\n\r\n" + SMUGGLED, 400),
    "a coding among the trailers": (b"0\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED, 400),
    "control character in a trailer": (b"0\r\nA: \x01\r\n\r\n" + SMUGGLED, 400),
}
SERVED: dict[str, tuple[bytes, list[bytes], list[int]]] = {
    "a pipeline is none": (request(length(1), body=b"a") + SMUGGLED, [b"a", b"smuggled"], [200, 200]),
    "0.CL: a body that looks like a request": (
        request(length(len(SMUGGLED)), body=SMUGGLED), [SMUGGLED], [200]
    ),
    "CL.0: a body where none is meant": (
        request(length(len(SMUGGLED)), body=SMUGGLED, line=b"GET /v1/nope HTTP/1.1\r\n"), [], [404]
    ),
    "the same length twice is one": (request(length(1) * 2, body=b"a") + SMUGGLED, [b"a", b"smuggled"], [200, 200]),
    "leading zeros": (request(b"Content-Length: 01\r\n", body=b"a") + SMUGGLED, [b"a", b"smuggled"], [200, 200]),
    "folded coding": (
        request(b"Transfer-Encoding:\r\n chunked\r\n", body=ZERO) + SMUGGLED, [b"", b"smuggled"], [200, 200]
    ),
    "names with an underscore are others": (
        request(b"Content_Length: 8\r\nTransfer_Encoding: chunked\r\n", body=SMUGGLED), [b"", b"smuggled"], [200, 200]
    ),
    "a coding that Connection names stays": (
        request(b"Connection: Transfer-Encoding\r\n", CHUNKED, body=ZERO) + SMUGGLED, [b"", b"smuggled"], [200, 200]
    ),
    "a quoted extension with a line end": (
        chunks(b'1;a="\r\n') + b'"' + b"\r\n0\r\n\r\n" + SMUGGLED, [b'"', b"smuggled"], [200, 200]
    ),
    "Expect, and the body at once": (
        request(b"Expect: 100-continue\r\n", length(1), body=b"a") + SMUGGLED, [b"a", b"smuggled"], [200, 200]
    ),
    "behind close": (request(b"Connection: close\r\n", length(1), body=b"a") + SMUGGLED, [b"a"], [200]),
    "behind close in a list": (request(b"Connection: close, x\r\n", length(1), body=b"a") + SMUGGLED, [b"a"], [200]),
    "behind HTTP/1.0": (
        request(length(1), body=b"a", line=b"POST /v1/echo HTTP/1.0\r\n") + SMUGGLED, [b"a"], [200]
    ),
    "chunks in HTTP/1.0 end the connection": (
        request(CHUNKED, body=ZERO, line=b"POST /v1/echo HTTP/1.0\r\n") + SMUGGLED, [b""], [200]
    ),
    "upgrade to h2c": (
        request(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", body=b"") + SMUGGLED,
        [b"", b"smuggled"], [200, 200],
    ),
    "a method override is none": (
        request(b"X-HTTP-Method-Override: GET\r\n", body=b"") + SMUGGLED, [b"", b"smuggled"], [200, 200]
    ),
    "a host in the target does not count": (
        request(body=b"", line=b"POST http://b/v1/echo HTTP/1.1\r\n") + SMUGGLED, [b"smuggled"], [404, 200]
    ),
}  # fmt: skip

CASES: dict[str, tuple[bytes, list[bytes], list[int]]] = {
    **{f"both framings: {name}": (sent, *REFUSED) for name, sent in BOTH_FRAMINGS.items()},
    **{f"TE.TE: {name}": (coding(field), *REFUSED) for name, field in HIDDEN_CODINGS.items()},
    **{f"TE alone: {name}": (coding_alone(field), *REFUSED) for name, field in HIDDEN_CODINGS.items()},
    **{f"TE.TE: {name}": (coding(field), *UNKNOWN_CODING) for name, field in UNKNOWN_CODINGS.items()},
    **{
        f"TE alone: {name}": (coding_alone(field), *UNKNOWN_CODING) for name, field in UNKNOWN_CODINGS.items()
    },
    **{f"length: {name}": (request(field, body=SMUGGLED), *REFUSED) for name, field in LENGTHS.items()},
    **{f"chunks: {name}": (chunks(framed), [], [status]) for name, (framed, status) in FRAMINGS.items()},
    **SERVED,
}


@pytest.mark.parametrize("fast_lane", [True, False], ids=["fast lane", "slow lane"])
@pytest.mark.parametrize("case", CASES)
async def test_smuggled_requests(case: str, fast_lane: bool) -> None:
    sent, bodies, statuses = CASES[case]
    async with serving(World(), fast_lane=fast_lane, limits=LIMITS) as served:
        whole = await verdict(served, [sent])
        cut = await verdict(served, [sent[at : at + 7] for at in range(0, len(sent), 7)])

    assert [body for _, body, *_ in whole.served] == bodies
    assert list(whole.statuses) == statuses
    assert (cut.served, cut.statuses) == (whole.served, whole.statuses)
