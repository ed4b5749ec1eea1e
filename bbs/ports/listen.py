"""Listening, as Go does it: addresses with named ports, and errors in Go's words (spec: config.md §2.1, §4)."""

import errno
import os
import socket
from dataclasses import dataclass

import trio

from bbs.http.sockets import EVERY_INTERFACE, bind_socket, start_listening


class AddressInvalid(Exception):
    """Not ``host:port``."""


class PortUnknown(Exception):
    """The port is neither a number that ports have nor the name of a service."""


class ListenFailed(Exception):
    """Somebody else listens there, or nobody may; the text is what operators know from Go."""


def split_address(address: str) -> tuple[str, int]:
    """The host, '' for all interfaces, and the port of ``host:port``; ports may go by their service's name.

    Raises:
      AddressInvalid, PortUnknown: with Go's text.
    """
    host, colon, port = address.rpartition(":")
    if any(character <= " " or character == "\x7f" for character in host):
        raise AddressInvalid(f"address {address!r}: invalid character in host name")
    if not colon or "]" in port:
        raise AddressInvalid(f"address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressInvalid(f"address {address}: too many colons in address")
    if not port:
        return host, 0
    if port.isascii() and port.isdecimal():
        if len(port.lstrip("0")) > 5 or int(port) > 0xFFFF:
            raise PortUnknown(f"address {port}: invalid port")
        return host, int(port)
    try:
        return host, socket.getservbyname(port, "tcp")
    except (OSError, ValueError):  # a NUL in it
        raise PortUnknown(f"lookup tcp/{_quoted(port)}: unknown port") from None


def overlap(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether two addresses, host and port each, cannot both be listened on. Port 0 is any free port and never in the way."""
    (host, port), (other_host, other_port) = one, other
    if port != other_port or not port:
        return False
    return host == other_host or not EVERY_INTERFACE.isdisjoint((host, other_host))


def _quoted(text: str) -> str:
    return text if text.isprintable() else repr(text)


async def listen(address: str) -> list[trio.SocketListener]:
    """Listen on ``host:port`` with SO_REUSEADDR; port 0 lets the kernel choose. The caller closes.

    Raises:
      AddressInvalid, PortUnknown: it cannot be understood.
      ListenFailed: it cannot be had.
    """
    taken = await take(address)
    return taken.listen()


@dataclass(frozen=True, slots=True)
class Taken:
    """An address that is ours, and on which nobody listens yet: connections are refused. ``listen`` or ``close`` it."""

    shown: str
    socket: trio.socket.SocketType

    @property
    def port(self) -> int:
        port = self.socket.getsockname()[1]
        assert isinstance(port, int)
        return port

    def listen(self) -> list[trio.SocketListener]:
        """Begin to accept connections.

        Raises:
          ListenFailed: somebody else, with SO_REUSEADDR too, has listened there since; the socket is closed.
        """
        try:
            return [start_listening(self.socket)]
        except OSError as error:
            self.close()
            raise _failed(self.shown, error) from error

    def close(self) -> None:
        self.socket.close()


async def take(address: str) -> Taken:
    """Make ``host:port`` ours, with SO_REUSEADDR; port 0 lets the kernel choose.

    Raises:
      AddressInvalid, PortUnknown: it cannot be understood.
      ListenFailed: it cannot be had.
    """
    host, port = split_address(address)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return Taken(shown, await bind_socket(shown))
    except (socket.gaierror, UnicodeError):  # the latter: a name that IDNA does not know
        raise ListenFailed(f"listen tcp: lookup {host}: no such host") from None
    except OSError as error:
        raise _failed(shown, error) from error


def _failed(shown: str, error: OSError) -> ListenFailed:
    reason = os.strerror(error.errno) if error.errno else str(error)
    # Go writes the kernel's texts without a capital.
    step = "socket" if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAFNOSUPPORT) else "bind"
    return ListenFailed(f"listen tcp {shown}: {step}: {reason[0].lower()}{reason[1:]}")


def port_of(listeners: list[trio.SocketListener]) -> int:
    """The port that was bound, for those who asked for port 0."""
    port = listeners[0].socket.getsockname()[1]
    assert isinstance(port, int)
    return port
