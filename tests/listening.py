"""Who listens where and what lies in sockets, as the kernel tells it: what ``lsof`` and ``ss`` would show, without them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ESTABLISHED = "01"
LISTEN = "0A"


@dataclass(frozen=True)
class TCPSocket:
    """One end of a connection, or a listener. ``address`` is as the kernel writes it, and the counts are bytes.

    The inode is 0 when no process has it: its connection has not been accepted yet, or it has been closed.
    """

    address: str
    port: int
    peer_port: int
    state: str
    unacknowledged: int
    unread: int
    inode: str

    @property
    def is_not_accepted(self) -> bool:
        return self.inode == "0" and self.state == ESTABLISHED


def tcp_sockets() -> Iterator[TCPSocket]:
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, peer, state, queues, *rest = line.split()
            address, _, port = local.partition(":")
            unacknowledged, _, unread = queues.partition(":")
            yield TCPSocket(
                address,
                int(port, 16),
                int(peer.partition(":")[2], 16),
                state,
                int(unacknowledged, 16),
                int(unread, 16),
                rest[4],
            )


def listening_sockets(port: int) -> list[tuple[str, str]]:
    """The address, as the kernel writes it, and the inode of every socket that listens on that TCP port."""
    return [
        (each.address, each.inode) for each in tcp_sockets() if each.port == port and each.state == LISTEN
    ]


def is_all_read(port: int) -> bool:
    """Whether whoever listens on that port has accepted each connection and read all that was sent through it."""
    ends = [each for each in tcp_sockets() if each.state != LISTEN]
    return not (
        any(each.unacknowledged for each in ends if each.peer_port == port)
        or any(each.unread or each.is_not_accepted for each in ends if each.port == port)
    )


def connections_with_something_unread(port: int) -> int:
    """Those to that port of which the listener has not read all that has arrived."""
    return sum(each.port == port and each.state == ESTABLISHED and each.unread > 0 for each in tcp_sockets())


def holders_of(inode: str) -> list[tuple[int, str]]:
    """The process and its command for every descriptor of the socket, a line of lsof each. Root sees other users' too."""
    holders = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                descriptors = [os.readlink(entry) for entry in (process / "fd").iterdir()]
                command = (process / "comm").read_text().strip()
            except OSError:  # it ended meanwhile, or is not ours
                continue
            holders += [(int(process.name), command)] * descriptors.count(f"socket:[{inode}]")
    return holders
