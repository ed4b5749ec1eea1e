"""Listening sockets, keep-alive, addresses, and how a connection is ended so that the last answer arrives."""

import socket
from typing import Any, Final

import trio

from bbs.http.tls_stream import TLSStream

# Go's default for accepted connections (spec: api.md 1).
TCP_KEEP_ALIVE_S: Final = 180
# The kernel cuts it down to its own limit (net.core.somaxconn).
BACKLOG: Final = 0xFFFF
IPV4_IN_IPV6: Final = "::ffff:"
EVERY_INTERFACE: Final = frozenset(("", "0.0.0.0", "::"))


async def open_listeners(address: str) -> list[trio.SocketListener]:
    """Listen on ``host:port`` with SO_REUSEADDR. Port 0 lets the kernel choose.

    As in Go it is one socket, whatever the host: none, ``0.0.0.0`` or ``[::]`` is every interface in both families, and a
    name is its first IPv4 address, or else its first.

    Raises:
      ValueError: not an address.
      OSError: it cannot be listened on.
    """
    return [start_listening(await bind_socket(address))]


async def bind_socket(address: str) -> trio.socket.SocketType:
    """Take ``host:port`` as `open_listeners` does, without listening on it: connections are still refused."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError(f"listen address {address!r} is not host:port")
    host = host.strip("[]")
    if host in EVERY_INTERFACE and socket.has_dualstack_ipv6():
        return await _bound(socket.AF_INET6, ("::", int(port)), v6_only=False)
    found = await trio.socket.getaddrinfo(
        host or "0.0.0.0", int(port), type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    family, *_, at = next((each for each in found if each[0] == socket.AF_INET), found[0])
    return await _bound(family, at, v6_only=True)


def start_listening(bound: trio.socket.SocketType) -> trio.SocketListener:
    """Begin to accept connections on a socket that `bind_socket` made.

    Raises:
      OSError: somebody else, with SO_REUSEADDR too, listens there by now.
    """
    bound.listen(BACKLOG)
    return trio.SocketListener(bound)


async def _bound(family: int, at: Any, *, v6_only: bool) -> trio.socket.SocketType:
    made = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        await made.bind(at)
    except BaseException:
        made.close()
        raise
    return made


def keep_alive(stream: trio.SocketStream) -> None:
    """Have the kernel probe silent peers. On a quiet event stream nothing else would notice that the peer has vanished."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, TCP_KEEP_ALIVE_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, TCP_KEEP_ALIVE_S)


def remote_addr(stream: trio.SocketStream) -> str:
    """The peer as ``ip:port``, spelt as Go spells it.

    Raises:
      OSError: the peer is gone already.
    """
    host, port = stream.socket.getpeername()[:2]
    host = host.removeprefix(IPV4_IN_IPV6)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def transport_of(stream: trio.abc.Stream) -> trio.abc.Stream:
    """The stream beneath the TLS; the stream itself if there is no TLS."""
    return stream.transport_stream if isinstance(stream, TLSStream) else stream


async def linger(stream: trio.abc.Stream, receive_bytes: int) -> None:
    """End our side and read until the peer ends its own; the caller bounds the time.

    Closing a socket with unread bytes makes the kernel send a reset, and that can overtake our last answer.
    """
    transport = transport_of(stream)
    if isinstance(transport, trio.abc.HalfCloseableStream):
        await transport.send_eof()
    while await transport.receive_some(receive_bytes):
        pass
