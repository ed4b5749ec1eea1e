"""Who listens where, as the kernel tells it: what ``lsof`` would show, without it."""

import os
from pathlib import Path

LISTEN = "0A"


def listening_sockets(port: int) -> list[tuple[str, str]]:
    """The address, as the kernel writes it, and the inode of every socket that listens on that TCP port."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == LISTEN and int(number, 16) == port:
                found.append((address, line.split()[9]))
    return found


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
