"""``bbs -config FILE`` as a process, with a Locket in another one and a real Postgres."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import trio

from bbs.client import ClientConfig, InternalBBSClient
from bbs.commands.serve_config import DASHBOARDS_ADDRESS
from bbs.tls.contexts import TLSFiles
from bbs.tls.development import DevelopmentCerts
from tests.databases import SomeDatabase
from tests.forked import Process, start_forked
from tests.forked_starts import ForkedStarts
from tests.made_once import copied_certs
from tests.peers.peer_server import peer_server

WAIT_MAX_S = 60.0

ANOTHER_IS_WRITER = r"another process (was|has become) the writer"
"""What a master says that finds another one in the database. Which of the two depends on who has ended its session."""


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is given before this process has used it.

    Below those that the kernel hands out, and a range for each of the suite's processes: a server may be slow to take it. Never
    the one that any `bbs serve` takes for its dashboard if it is free.
    """
    while True:
        port = next(_ports)
        if DASHBOARDS_ADDRESS.endswith(f":{port}"):
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _own_ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + PORTS_PER_WORKER * (worker % WORKERS_MAX)
    # Not from the beginning each time: what ran before may still hold some.
    offset = os.getpid() % PORTS_PER_WORKER
    return cycle(first + (offset + number) % PORTS_PER_WORKER for number in range(PORTS_PER_WORKER))


FIRST_PORT = 16_000
PORTS_PER_WORKER = 2_000
WORKERS_MAX = 8
_ports = _own_ports()


@dataclass
class Neighbours:
    """Where daemons find the others, and what they show them."""

    tmp_path: Path
    certs: DevelopmentCerts
    database: SomeDatabase
    locket_address: str
    auctioneer_address: str

    @property
    def database_url(self) -> str:
        return self.database.url

    def tls(self) -> TLSFiles:
        """What a peer of the daemons shows them."""
        return TLSFiles(
            ca_file=self.certs.ca_cert, cert_file=self.certs.server_cert, key_file=self.certs.server_key
        )

    def config(self, uuid: str, **changes: Any) -> dict[str, Any]:
        """A configuration that works, with free ports of its own."""
        certs = {name: str(path) for name, path in zip(CERT_NAMES, self.certs.paths(), strict=True)}
        return {
            "session_name": "bbs",
            "uuid": uuid,
            "listen_address": f"127.0.0.1:{free_port()}",
            "health_address": f"127.0.0.1:{free_port()}",
            "ca_file": certs["ca"],
            "cert_file": certs["server"],
            "key_file": certs["server_key"],
            "locket_address": self.locket_address,
            "locket_ca_cert_file": certs["ca"],
            "locket_client_cert_file": certs["client"],
            "locket_client_key_file": certs["client_key"],
            "lock_ttl": "2s",
            "lock_retry_interval": "500ms",
            "database_driver": self.database.driver,
            "database_connection_string": self.database.connection_string,
            "db_connection_timeout": "30s",
            "encryption_keys": {"label": "key"},
            "active_key_label": "label",
            "auctioneer_address": self.auctioneer_address,
            "communication_timeout": "1s",
            "converge_repeat_interval": "30s",
            "kick_task_duration": "30s",
            "expire_pending_task_duration": "30m",
            "expire_completed_task_duration": "2m",
            "convergence_workers": 20,
            "update_workers": 1000,
            "task_callback_workers": 10,
            "max_task_retries": 3,
            "report_interval": "1m",
            "log_level": "debug",
            **changes,
        }


CERT_NAMES = ("ca", "server", "server_key", "client", "client_key")


@dataclass
class Surroundings(Neighbours):
    """Neighbours that are a test's own. ``locket`` is the Locket's process; the auctioneer takes what it is given."""

    locket: Process


@dataclass(kw_only=True)
class DaemonLog:
    """What a daemon has written. What is no JSON stays as text in ``other``."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        try:
            self.lines.append(json.loads(line))
        except ValueError:
            self.other.append(line.decode(errors="replace"))

    def messages(self) -> list[str]:
        return [line["message"].removeprefix("bbs.") for line in self.lines]

    def data_of(self, message: str) -> dict[str, Any]:
        """The data of the first line with that message."""
        found: dict[str, Any] = next(
            line["data"] for line in self.lines if line["message"].removeprefix("bbs.") == message
        )
        return found


@dataclass
class Daemon(DaemonLog):
    """A process and its log. Lines are read as they come."""

    process: Process
    config: dict[str, Any]
    certs: DevelopmentCerts
    _news: trio.Event = field(default_factory=trio.Event)
    _may_read: trio.Event = field(default_factory=trio.Event)
    ended: bool = False

    async def logs(self, message: str) -> dict[str, Any]:
        """Wait for that message; its data."""
        with trio.fail_after(WAIT_MAX_S):
            while message not in self.messages():
                assert not self.ended, "\n".join([*map(str, self.lines[-20:]), *self.other])
                await self._wait_news()
        return self.data_of(message)

    async def comes_to_log(self, message: str) -> bool:
        """Wait, without a deadline, for that message (true) or the end of the process."""
        while message not in self.messages():
            if self.ended:
                return False
            await self._wait_news()
        return True

    async def wait_ended(self) -> None:
        """Wait, without a deadline, for the end of the process and of its output."""
        while not self.ended:
            await self._wait_news()

    async def exit_code(self) -> int:
        """Wait for the end of the process, and of its output."""
        with trio.fail_after(WAIT_MAX_S):
            await self.wait_ended()
            return await self.process.wait()

    async def stop(self) -> int:
        self.process.terminate()
        return await self.exit_code()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[InternalBBSClient]:
        config = ClientConfig.with_files(
            f"https://{self.config['listen_address']}",
            self.certs.client_files,
            attempts=1,
            idle_connections_max=64,
            request_timeout_s=30,
        )
        async with InternalBBSClient.connect(config) as client:
            yield client

    async def health_status(self) -> int:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(f"http://{self.config['health_address']}/ping")).status_code

    async def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """What the health port answers there."""
        async with httpx.AsyncClient(trust_env=False, timeout=WAIT_MAX_S) as http:
            answer = await http.get(f"http://{self.config['health_address']}{path}")
        return answer.status_code, answer.json()

    def api_is_open(self) -> bool:
        host, port = self.config["listen_address"].split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def stop_reading(self) -> None:
        """Leave the process' output where it is, but for what a read under way may still get."""
        self._may_read = trio.Event()

    def read_on(self) -> None:
        self._may_read.set()

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        while piece := await self.process.stdout.receive_some():
            await self._may_read.wait()
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self.take(line)
            self._tell()
        self.ended = True
        self._tell()

    async def _wait_news(self) -> None:
        await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def surroundings(tmp_path: Path, database: SomeDatabase) -> AsyncIterator[Surroundings]:
    certs = copied_certs(tmp_path / "certs")
    process, address = await start_locket(certs)
    async with peer_server() as auctioneer:
        around = Surroundings(tmp_path, certs, database, address, auctioneer.address, process)
        try:
            yield around
        finally:
            await end(around.locket)


def locket_arguments(certs: DevelopmentCerts, address: str = "127.0.0.1:0") -> list[str]:
    return [*map(str, certs.paths()[:3]), address]


async def start_locket(certs: DevelopmentCerts, address: str = "127.0.0.1:0") -> tuple[Process, str]:
    process = await start_forked("tests.locket_server", *locket_arguments(certs, address))
    assert process.stdout is not None
    line = b""
    with trio.fail_after(WAIT_MAX_S):
        while not line.endswith(b"\n"):
            piece = await process.stdout.receive_some()
            assert piece, "the Locket did not start"
            line += piece
    return process, line.decode().strip()


@asynccontextmanager
async def daemon(
    around: Neighbours,
    config: dict[str, Any],
    *,
    program: Sequence[str] = ("-m", "bbs"),
    environment: Mapping[str, str] | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> AsyncIterator[Daemon]:
    """Killed in the end, if it has not ended by then. ``program`` is what Python is to run, ``environment`` is added to ours,
    and ``preexec_fn`` runs in the process before it is one of ours.
    """
    file = around.tmp_path / f"{config.get('uuid', 'bbs')[:20]}.json"
    file.write_text(json.dumps(config))
    process = await _started([*program, "-config", str(file)], environment, preexec_fn)
    running = Daemon(process, config, around.certs)
    running.read_on()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.read)
            yield running
            nursery.cancel_scope.cancel()
    finally:
        await end(process)


async def _started(
    words: Sequence[str], environment: Mapping[str, str] | None, preexec_fn: Callable[[], None] | None
) -> Process:
    if words[0] == "-m" and not environment and preexec_fn is None:
        return await start_forked(*words[1:], stderr=subprocess.STDOUT)
    return await trio.lowlevel.open_process(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        preexec_fn=preexec_fn,
    )


def start_that_ends(
    starts: ForkedStarts, around: Neighbours, config: dict[str, Any]
) -> tuple[int, DaemonLog]:
    """``bbs -config FILE`` until it has ended by itself: its exit code and its log."""
    file = around.tmp_path / "ends.json"
    file.write_text(json.dumps(config))
    ended = starts.start("-config", str(file))
    log = DaemonLog()
    for line in [*ended.stdout.splitlines(), *ended.stderr.splitlines()]:
        log.take(line.encode())
    return ended.exit_code, log


async def end(process: Process) -> None:
    """Kill it, and let go of what we read of it."""
    with trio.CancelScope(shield=True):  # a killed process ends at once
        process.kill()
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
