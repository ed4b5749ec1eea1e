"""h11's connection, where it is stricter or more lenient than the fast lane: so that both make the same of the same bytes.

What would leave two opinions about where a request ends is refused, whatever h11 thinks of it:

- Chunk framing is read a second time, by the fast lane's `ChunkedBody`. h11 takes control characters in extensions and
  trailers, and bare LF and folded lines between trailers.
- A header block over the limit of bytes is refused also if it came whole, and one over the limit of lines, which h11 has not.

And what follows a request that is the last of its connection is not looked at (RFC 9112, 9.6). h11 takes it for a breach of
the protocol, and Hypercorn would answer that with a 400 while the request's handler runs.
"""

from typing import Any, Final

import h11

from bbs.http.chunked import BadChunk, BodyTooLarge, ChunkedBody, FramingTooLarge
from bbs.http.limits import Limits
from bbs.http.request_head import END_OF_HEAD


class StrictConnection(h11.Connection):
    """The server's side of a connection."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=limits.header_bytes_max)
        self._limits: Final = limits
        self._chunks: ChunkedBody | None = None
        self._refusal: h11.RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        if data and self._is_over:
            return
        super().receive_data(data)
        if self._chunks is not None:
            self._check_chunks(self._chunks, data)

    def next_event(self) -> Any:
        if self._is_over and self.trailing_data[0]:
            return h11.NEED_DATA
        event = super().next_event()
        if type(event) is h11.Request:
            self._begin_body(event)
        return event

    def _extract_next_receive_event(self) -> Any:
        """Part of h11's `next_event`, and not public: only what is raised in here has h11 close the connection, as for a
        breach of its own rules.
        """
        if self.their_state is h11.IDLE:
            self._check_head()
        if self._refusal is not None:
            raise self._refusal
        return super()._extract_next_receive_event()

    @property
    def _is_over(self) -> bool:
        """Whether the client has sent its last request."""
        return self.their_state in (h11.MUST_CLOSE, h11.CLOSED)

    def _check_head(self) -> None:
        unread = self.trailing_data[0]
        match = END_OF_HEAD.search(unread)
        end = len(unread) if match is None else match.end()
        if end > self._limits.header_bytes_max:
            self._refuse("the header block is too large", 431)
        # Once it is whole, as in the fast lane. The request line and the empty one are none of those that are counted.
        elif match is not None and unread.count(b"\n", 0, end) > self._limits.header_lines_max + 2:
            self._refuse("the header block has too many lines", 431)

    def _begin_body(self, request: h11.Request) -> None:
        # h11 has refused every coding but this one, and has `Transfer-Encoding` outweigh `Content-Length`.
        if any(name == b"transfer-encoding" for name, _ in request.headers):
            self._chunks = ChunkedBody(
                body_bytes_max=self._limits.body_bytes_max,
                framing_bytes_max=self._limits.header_bytes_max,
                trailers_max=self._limits.header_lines_max,
            )
            self._check_chunks(self._chunks, self.trailing_data[0])

    def _check_chunks(self, chunks: ChunkedBody, data: bytes) -> None:
        try:
            chunks.feed(data)
        except BadChunk:
            self._refuse("the chunk framing is broken", 400)
        except FramingTooLarge:
            self._refuse("the chunk framing is too large", 431)
        except BodyTooLarge:
            self._refuse("the body is too large", 413)
        if self._refusal is not None or chunks.complete:
            self._chunks = None

    def _refuse(self, reason: str, status: int) -> None:
        """From the next event on."""
        self._refusal = h11.RemoteProtocolError(reason, error_status_hint=status)
