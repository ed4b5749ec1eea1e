"""Takes the chunk framing off a request body.

Strict on purpose. A proxy before us that understood a broken framing otherwise than we do would see the next request
start elsewhere, and a client could smuggle one past it. So whatever is not exactly a chunk ends the connection, in both
lanes: the slow one looks for that as well (`bbs.http.strict_h11`). Only with blanks after a size are we lenient, as h11 is.
"""

import re
from typing import Final

from bbs.http.request_head import END_OF_HEAD

# Sixteen digits are 2**64 bytes; the body limit refuses long before. Blanks at the end are wrong but common, and both
# h11 and Go's server take them.
_CHUNK_HEADER: Final = re.compile(rb"([0-9a-fA-F]{1,16}+)(?:;[\t\x20-\x7e\x80-\xff]*+|[ \t]*+)")
# None that would be about framing, had it come before the body: h11 refuses most of those, and no client sends any.
_TRAILER: Final = re.compile(
    rb"(?!(?:content-length|transfer-encoding):)[-!#$%&'*+.^_`|~0-9a-zA-Z]++:[\t\x20-\x7e\x80-\xff]*+",
    re.IGNORECASE,
)


class BadChunk(Exception):
    """The framing is broken, so nobody knows where the next request starts: answer 400 and close."""


class FramingTooLarge(Exception):
    """One chunk's size line, or all trailers together, are longer than the limit of header blocks, or have more lines: answer
    431 and close.
    """


class BodyTooLarge(Exception):
    """The body exceeds its limit: answer 413 and close."""


class ChunkedBody:
    """Feed it what arrives until ``complete``; then ``body`` is the body and ``rest`` what follows it.

    Trailers are checked and dropped. States: before a chunk's size line (``_to_copy`` is 0), inside a chunk or the CRLF
    that ends it (``_to_copy`` is the number of bytes still to come, those two included), in the trailers
    (``_in_trailers``), complete.
    """

    def __init__(self, *, body_bytes_max: int, framing_bytes_max: int, trailers_max: int) -> None:
        self.complete = False
        self._body_bytes_max = body_bytes_max
        self._framing_bytes_max = framing_bytes_max
        self._trailers_max = trailers_max
        # Not a list of pieces: the client chooses how small they are, and of two bytes each they would take 20 times as much.
        self._body = bytearray()
        self._body_bytes = 0
        self._unread = bytearray()
        self._to_copy = 0
        self._in_trailers = False

    @property
    def body(self) -> bytes:
        assert self.complete
        return bytes(self._body)

    @property
    def rest(self) -> bytes:
        assert self.complete
        return bytes(self._unread)

    def feed(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
          BadChunk, FramingTooLarge, BodyTooLarge: the connection can't be used any more.
        """
        self._unread += data
        while not self.complete and self._step():
            pass
        if not self.complete and self._to_copy == 0 and len(self._unread) > self._framing_bytes_max:
            raise FramingTooLarge

    def _step(self) -> bool:
        """Do one piece of work; False if more bytes are needed for that."""
        if self._in_trailers:
            return self._read_trailers()
        if self._to_copy:
            return self._copy()
        return self._read_chunk_header()

    def _read_chunk_header(self) -> bool:
        end = self._unread.find(b"\r\n")
        if end < 0:
            return False
        header = _CHUNK_HEADER.fullmatch(self._unread, 0, end)
        if header is None:
            raise BadChunk
        size = int(header[1], 16)
        del header  # it holds the buffer, which can't shrink meanwhile
        del self._unread[: end + 2]
        if size == 0:
            self._in_trailers = True
        else:
            self._body_bytes += size
            if self._body_bytes > self._body_bytes_max:
                raise BodyTooLarge
            self._to_copy = size + 2
        return True

    def _copy(self) -> bool:
        content = self._to_copy - 2
        if content > 0 and self._unread:
            piece = self._unread[:content]
            self._body += piece
            del self._unread[: len(piece)]
            self._to_copy -= len(piece)
        if self._to_copy > 2 or not self._unread:
            return False
        # The content is complete, and what follows has to be CRLF. One byte of it may be all there is so far; a wrong
        # first byte is refused now, rather than after a second one that the client may never send.
        if not b"\r\n".startswith(self._unread[:2]):
            raise BadChunk
        if len(self._unread) < 2:
            return False
        del self._unread[:2]
        self._to_copy = 0
        return True

    def _read_trailers(self) -> bool:
        # `END_OF_HEAD` tolerates bare LF, as h11 does when it looks for the end; the lines before it must end with CRLF.
        if self._unread[:1] == b"\n":
            raise BadChunk
        if self._unread[:2] == b"\r\n":
            end = 2
        else:
            match = END_OF_HEAD.search(self._unread)
            if match is None:
                return False
            end = match.end()
            if self._unread.count(b"\n", 0, end) > self._trailers_max + 1:
                raise FramingTooLarge
            lines = bytes(self._unread[:end]).split(b"\r\n")
            if lines[-2:] != [b"", b""] or not all(map(_TRAILER.fullmatch, lines[:-2])):
                raise BadChunk
            del match
        del self._unread[:end]
        self.complete = True
        return True
