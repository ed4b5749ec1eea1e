"""The header by which a client that has heard from us can hear nothing older from a follower."""

from collections.abc import Callable

from bbs.http.endpoints import AT_LEAST_HEADER
from bbs.store.tokens import Token


def at_least_line(token: Callable[[], Token | None]) -> Callable[[], bytes]:
    """A function that gives the header's line for the present token; nothing without one.

    An answer carries the newest token there is, which may be of a later write than its own: the two are a commit apart, and
    one line for all answers between two commits costs a request next to nothing.
    """
    known: Token | None = None
    line = b""

    def present_line() -> bytes:
        nonlocal known, line
        latest = token()
        if latest is not known:
            known = latest
            line = b"" if latest is None else f"{AT_LEAST_HEADER}: {latest}\r\n".encode("ascii")
        return line

    return present_line
