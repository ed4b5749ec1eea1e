"""Every bound of the HTTP server in one place, with its unit and its reason."""

from dataclasses import dataclass, fields

# How long Go's HTTP client, which every Diego component uses, keeps an idle connection. The server must keep it longer: if
# it closed first, a request that is sent at that very moment would fail.
GO_CLIENT_IDLE_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer, and all peers together, may cost. Upstream has a bound for the header block only.

    Durations are seconds and are never cut short; they may be overrun by up to two of ``tick_s``.
    """

    header_bytes_max: int = 1 << 20
    """Request line and header block: 431 above. Upstream's bound (spec: api.md 1). In the slow lane a block that came whole
    within ``receive_bytes`` more is taken, too, as h11 bounds only what it still waits for; Go has 4 KiB to spare.
    """
    header_lines_max: int = 1_000
    """Lines between a request line and the end of its header block, and trailers behind a body: 431 above. A client of the BBS
    sends ten. 200,000 fit into the bytes above, and h11 and Quart would hold the event loop for half a second over them.
    """
    body_bytes_max: int = 8 << 20
    """Request body after removal of chunk framing: 413 above. No request may have more than half of this
    (`bbs.routes.bodies`), and to take in 64 MiB holds the event loop for 0.3 s.
    """
    header_timeout_s: float = 30.0
    """From the first byte of a request to the end of its header block: 408 after that."""
    body_timeout_s: float = 60.0
    """Longest pause between two pieces of a body: 408 after that."""
    idle_timeout_s: float = 900.0
    """Keep-alive without a request: closed silently."""
    handshake_timeout_s: float = 10.0
    """From accept to the end of the TLS handshake, without the wait for one's turn: closed."""
    handshakes_at_once: int = 1
    """TLS handshakes that are computed in threads at the same time. Others wait for their turn."""
    send_stall_s: float = 60.0
    """How long a peer may take over one slice of an answer: dropped after that."""
    linger_s: float = 1.0
    """How long we read and discard after an error: the kernel resets a connection that is closed with unread bytes, and
    the client would see the reset in place of the answer."""
    stop_grace_s: float = 60.0
    """From stop to the end of the last request in flight: cancelled after that (spec: api.md 1.1)."""
    stop_unfinished_s: float = 5.0
    """From stop to the end of a body that is still coming (408 after that), or of an event stream that is not read."""
    connections_max: int = 10_000
    """Connections open at once: more are answered 503 (plain) or closed (TLS)."""
    receive_bytes: int = 64 << 10
    """One receive. So also the most that pipelined requests can occupy while one of them is served."""
    send_slice_bytes: int = 256 << 10
    """One send. Larger slices gain nothing, smaller ones cost TLS throughput."""
    slow_lane_requests_max: int = 100
    """Requests after which a connection that left the fast lane is closed, so that it can come back to it."""
    accept_backoff_s: float = 0.1
    """Pause after a failed accept (no descriptors left), so that others can free some."""

    def __post_init__(self) -> None:
        for field in fields(self):
            assert getattr(self, field.name) > 0, f"{field.name} must be positive"

    @property
    def tick_s(self) -> float:
        """How often deadlines are looked at."""
        shortest_s = min(self.header_timeout_s, self.body_timeout_s, self.idle_timeout_s, self.send_stall_s)
        return min(1.0, shortest_s / 4)


DEFAULT_LIMITS = Limits()
assert DEFAULT_LIMITS.idle_timeout_s > GO_CLIENT_IDLE_S
assert DEFAULT_LIMITS.header_timeout_s < DEFAULT_LIMITS.idle_timeout_s
assert DEFAULT_LIMITS.receive_bytes <= DEFAULT_LIMITS.header_bytes_max <= DEFAULT_LIMITS.body_bytes_max
