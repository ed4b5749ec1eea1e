"""What can be read of a running server from outside: /proc, its debug port, its database."""

import asyncio
import os
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perf.beds import Bed
from perf.probe import METRICS_MAX_S
from perf.server import ServerFailed, cpu_of, own_postgres, resident_bytes_of

TABLES: Final = ("desired_lrps", "actual_lrps", "tasks", "domains")

_SESSIONS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_LISTENS: Final = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One reading. The connection that the reading itself needs is in ``tasks`` (always the same number), and in nothing else.

    ``blocks`` and ``objects`` are those of Python's allocator and of its garbage collector; ``uncollectable`` are objects that
    it gave up. ``clients``, ``cells`` and ``peers`` are TCP connections: to the API port, to Locket, and those that the server
    opened itself. ``sessions`` are Postgres', ``requests`` those answered since the start. ``stacks`` says how many tasks wait
    where, ``types`` how many objects there are of each of the most frequent types: for whoever looks for a leak.
    """

    at_s: float
    resident_bytes: int
    blocks: int
    objects: int
    uncollectable: int
    tasks: int
    threads: int
    descriptors: int
    clients: int
    cells: int
    peers: int
    sessions: int
    rows: Mapping[str, int]
    requests: int
    cpu_s: float
    stacks: Mapping[str, int] = field(default_factory=dict, repr=False)
    types: Mapping[str, int] = field(default_factory=dict, repr=False)


def read_vitals(bed: Bed, *, began_s: float, collect: bool = False) -> Vitals:
    """Blocks for some 100 ms. ``began_s`` is the moment on the monotonic clock that ``at_s`` counts from. With
    ``collect`` the server collects its garbage first, which holds it up.

    Raises:
      ServerFailed: the server has ended.
      OSError: its debug port does not answer.
    """
    pid, debug, server = bed.probe.pid, bed.probe.debug, bed.server
    assert pid is not None
    assert debug is not None
    assert server is not None
    locket = bed.cells.locket_port if bed.cells is not None else 0
    metrics = bed.probe.metrics()
    tasks, stacks = read_tasks(_page(debug, "/debug/pprof/goroutine?debug=1"))
    heap = _page(debug, f"/debug/pprof/heap?debug=1&gc={int(collect)}")
    rows, sessions = asyncio.run(_database(server.data_dir))
    try:
        descriptors = _descriptors(pid)
        connections = [
            each
            for table in ("tcp", "tcp6")  # gRPC listens in the second, also for IPv4
            for each in connections_in(Path(f"/proc/{pid}/net/{table}").read_text(), descriptors)
        ]
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        raise ServerFailed("the server has ended") from None
    ports = [local for local, _ in connections]
    asked = int(debug.rpartition(":")[2])
    return Vitals(
        at_s=time.monotonic() - began_s,
        resident_bytes=resident_bytes_of(pid),
        blocks=_number(heap, "allocated blocks:"),
        objects=_number(heap, "gc.objects:"),
        uncollectable=sum(map(int, re.findall(r"'uncollectable': (\d+)", heap))),
        tasks=tasks,
        threads=threads,
        descriptors=len(descriptors) - ports.count(asked),
        clients=ports.count(server.target.port),
        cells=ports.count(locket),
        peers=sum(port not in (asked, server.target.port, locket) for port in ports),
        sessions=sessions,
        rows=rows,
        requests=int(
            sum(
                value
                for name, value in metrics.items()
                if name.startswith("bbs_request_duration_seconds_count")
            )
        ),
        cpu_s=cpu_of(pid).server_s,
        stacks=stacks,
        types=read_types(heap),
    )


def read_tasks(page: str) -> tuple[int, dict[str, int]]:
    """The number of tasks, and how many wait at each place, from the page of all tasks by stack."""
    stacks = {}
    tasks, _, _ = page.partition("\nthreads: total")
    for number, stack in re.findall(r"^(\d+) @\n((?:  .*\n?)+)", tasks, re.MULTILINE):
        stacks[" > ".join(line.split(" (")[0].strip() for line in stack.splitlines())] = int(number)
    return _number(page, "tasks: total"), stacks


def read_types(page: str) -> dict[str, int]:
    """How many objects there are of each type that the page about memory names."""
    return {name: int(number) for number, name in re.findall(r"^ *(\d+) ([\w.<>]+)$", page, re.MULTILINE)}


def _number(page: str, name: str) -> int:
    found = re.search(rf"^{re.escape(name)}\s+(\d+)$", page, re.MULTILINE)
    if found is None:
        raise ServerFailed(f"the debug port does not tell {name!r}")
    return int(found[1])


def _page(debug: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{debug}{path}", timeout=METRICS_MAX_S) as answer:
        text: str = answer.read().decode()
        return text


def _descriptors(pid: int) -> list[str]:
    """What each open descriptor is, as /proc has it: ``socket:[4711]``, or a path."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def connections_in(table: str, descriptors: list[str]) -> list[tuple[int, int]]:
    """Local and remote port of each TCP socket among ``descriptors`` that does not listen, in whatever state it is."""
    inodes = {
        name.removeprefix("socket:[").rstrip("]") for name in descriptors if name.startswith("socket:[")
    }
    found = []
    for line in table.splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if state != _LISTENS and rest[5] in inodes:
            found.append((int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)))
    return found


async def _database(data_dir: Path) -> tuple[dict[str, int], int]:
    """Rows by table, and how many sessions there are beside this one."""
    async with own_postgres((data_dir / "postgres.socket").resolve()) as connection:
        rows = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
        return rows, await connection.fetchval(_SESSIONS)
