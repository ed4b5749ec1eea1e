"""The URL at which others find a server, as far as it can say that itself."""

import re
from typing import Final

import trio

from bbs.http.sockets import EVERY_INTERFACE
from bbs.ports.listen import AddressInvalid, PortUnknown, split_address

LOOKUP_S: Final = 2.0

_URL: Final = re.compile(r"https?://[!-~]{1,2000}")


def is_url(text: str) -> bool:
    """Whether others could be told this. Locket has room for 4,096 characters."""
    return _URL.fullmatch(text) is not None


async def advertised_url(listen_address: str, *, tls: bool, seen_by: str) -> str:
    """A URL for those who find ``seen_by``, a ``host:port``, where we find it. '' if that can't be said.

    A server that listens on all interfaces is found at the address from which it would itself connect to ``seen_by``.
    """
    try:
        host, port = split_address(listen_address)
        if host in EVERY_INTERFACE:
            host = await _own_address(*split_address(seen_by))
    except (AddressInvalid, PortUnknown, OSError, trio.TooSlowError):
        return ""
    if not port:
        return ""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


async def _own_address(host: str, port: int) -> str:
    # Nothing is sent: to connect a UDP socket only looks up the way.
    with trio.fail_after(LOOKUP_S):
        for family, kind, protocol, _, address in await trio.socket.getaddrinfo(
            host or "localhost", port, type=trio.socket.SOCK_DGRAM
        ):
            with trio.socket.socket(family, kind, protocol) as probe:
                await probe.connect(address)
                return str(probe.getsockname()[0])
    raise OSError(f"{host} has no address")
