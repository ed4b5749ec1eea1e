"""etcd and three nodes, each a Patroni with its Postgres, as processes that end with the test."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import trio
from trio_asyncio import aio_as_trio

from bbs.embedded_postgres.postmaster import binaries, postgres_pids_in
from tests.cluster.packages import PATRONI
from tests.cluster.rights import Rights, found
from tests.daemons import free_port
from tests.waiting import wait_until

NAMES: Final = ("pg1", "pg2", "pg3")
PASSWORD: Final = "of-the-tests"
DATABASE: Final = "diego"
START_MAX_S: Final = 120.0
SETTLE_MAX_S: Final = 180.0
END_MAX_S: Final = 20.0
POLL_S: Final = 0.1

PATRONI_SETTINGS: Final[dict[str, Any]] = {
    # The least that Patroni accepts. A primary whose machine is gone is replaced when its key has lived for `ttl`.
    "ttl": 20,
    "loop_wait": 1,
    "retry_timeout": 3,
    "synchronous_mode": True,
    # A primary that crashed is not waited for: its standby takes over.
    "primary_start_timeout": 0,
    "maximum_lag_on_failover": 1024 * 1024,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {
            "max_connections": 60,
            "shared_buffers": "16MB",
            "wal_keep_size": "256MB",
            "wal_level": "logical",
            "wal_sender_timeout": "5s",
            "wal_receiver_timeout": "5s",
            "tcp_user_timeout": "5s",
            # No test cuts the power, and what a killed process has written the kernel still has.
            "fsync": "off",
        },
    },
}


@dataclass
class Node:
    """One Patroni with its Postgres."""

    name: str
    home: Path
    port: int
    rest_port: int
    rights: Rights
    patroni: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Start Patroni, which starts Postgres."""
        self.patroni = self.rights.start(
            [str(PATRONI), str(self.home / "patroni.json")], log=self.home / "patroni.log"
        )

    def postgres_pids(self) -> list[int]:
        return postgres_pids_in(self.home / "data")

    def signal_postgres(self, number: signal.Signals) -> None:
        """To the postmaster and all its children. Those that came meanwhile are seen to as well."""
        seen: set[int] = set()
        while new := [pid for pid in self.postgres_pids() if pid not in seen]:
            for pid in new:
                _signal(pid, number)
            seen.update(new)

    def signal_patroni(self, number: signal.Signals) -> None:
        if self.patroni is not None and self.patroni.poll() is None:
            self.patroni.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Patroni first: it must not see its Postgres stop."""
        self.signal_patroni(number)
        self.signal_postgres(number)

    async def kill(self) -> None:
        self.signal_all(signal.SIGKILL)
        await wait_until(self.has_ended, within_s=END_MAX_S, what="the end of what was killed")

    def has_ended(self) -> bool:
        return (self.patroni is None or self.patroni.poll() is not None) and not self.postgres_pids()


@dataclass
class Cluster:
    http: httpx.AsyncClient
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """What an operator would write into `database_connection_string`."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes.values())
        return f"postgresql://postgres:{PASSWORD}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    async def members(self) -> list[dict[str, Any]]:
        """What the first Patroni that answers says of all; empty if none does."""
        answer = await self._ask()
        return [] if answer is None else list(answer.get("members", []))

    async def primary(self) -> Node:
        found: list[Node] = []

        async def is_known() -> bool:
            found[:] = [self.nodes[each["name"]] for each in await self.members() if each["role"] == "leader"]
            return bool(found)

        await wait_until(is_known, within_s=SETTLE_MAX_S, what="a primary", every_s=POLL_S)
        return found[0]

    async def synchronous_standby(self) -> Node:
        for each in await self.members():
            if each["role"] == "sync_standby":
                return self.nodes[each["name"]]
        raise AssertionError("no standby is synchronous")

    async def wait_settled(self) -> None:
        """Wait until there is a primary, and both others follow it, one of them synchronously."""

        async def is_settled() -> bool:
            members = await self.members()
            roles = sorted(each["role"] for each in members)
            states = sorted(each["state"] for each in members)
            timelines = {each.get("timeline") for each in members}
            return (
                roles == ["leader", "replica", "sync_standby"]
                and states == ["running", "streaming", "streaming"]
                and len(timelines) == 1
            )

        try:
            await wait_until(
                is_settled, within_s=SETTLE_MAX_S, what="a cluster of three that is well", every_s=POLL_S
            )
        except AssertionError as waited:
            raise AssertionError(f"{waited}: {await self.members()}") from waited

    async def switch_over(self, old: Node, new: Node) -> None:
        """Ask Patroni to make ``new`` the primary; it answers when that is done."""
        answer = await self.http.post(
            f"http://127.0.0.1:{old.rest_port}/switchover",
            json={"leader": old.name, "candidate": new.name},
            timeout=SETTLE_MAX_S,
        )
        assert answer.status_code == 200, answer.text

    async def _ask(self) -> dict[str, Any] | None:
        for node in self.nodes.values():
            try:
                answer = await self.http.get(f"http://127.0.0.1:{node.rest_port}/cluster", timeout=2.0)
            except httpx.TransportError:
                continue  # stopped or killed, as nodes here are
            return dict(answer.json())
        return None

    async def make_database(self) -> None:
        primary = await self.primary()

        async def make() -> None:
            connection = await asyncpg.connect(primary.url.replace(f"/{DATABASE}", "/postgres"))
            try:
                await connection.execute(f"CREATE DATABASE {DATABASE}")
            finally:
                await connection.close()

        await aio_as_trio(make)()


@asynccontextmanager
async def running_cluster(home: Path) -> AsyncIterator[Cluster]:
    """etcd and three nodes that are well, with an empty database. Everything ends with the context. Needs asyncio's loop
    (`bbs.store.asyncio_loop`).
    """
    # The interpreter of Patroni's environment.
    python = (PATRONI.parent / "python").resolve().parents[1]
    installed = binaries().parents[2] / "embedded_postgres.libs"
    rights = Rights(
        home, trees=[binaries().parent, installed, PATRONI.parents[1], python / "bin", python / "lib"]
    )
    async with AsyncExitStack() as stack:
        etcd_port = await stack.enter_async_context(_running_etcd(home, rights))
        # One for all: to make one takes longer than to ask.
        http = await stack.enter_async_context(httpx.AsyncClient(verify=False, trust_env=False))
        cluster = Cluster(http)
        stack.push_async_callback(_end, cluster)
        for name in NAMES:
            node = Node(
                name=name,
                home=rights.make_folder(home / name),
                port=free_port(),
                rest_port=free_port(),
                rights=rights,
            )
            cluster.nodes[name] = node
            _write_settings(node, etcd_port)
        # One after the other, or all would make a data directory and two would throw theirs away.
        first, *others = cluster.nodes.values()
        first.start()
        await cluster.primary()
        for node in others:
            node.start()
        await cluster.wait_settled()
        await cluster.make_database()
        yield cluster


@asynccontextmanager
async def _running_etcd(home: Path, rights: Rights) -> AsyncIterator[int]:
    client_port, peer_port = free_port(), free_port()
    folder = rights.make_folder(home / "etcd")
    peers = f"http://127.0.0.1:{peer_port}"
    clients = f"http://127.0.0.1:{client_port}"
    process = rights.start(
        [
            found("etcd"), "--name", "one", "--data-dir", str(folder / "data"), "--log-level", "warn",
            "--listen-client-urls", clients, "--advertise-client-urls", clients,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"one={peers}",
        ],
        log=home / "etcd.log",
    )  # fmt: skip
    try:
        yield client_port
    finally:
        process.kill()
        process.wait()


async def _end(cluster: Cluster) -> None:
    with trio.CancelScope(shield=True):
        for node in cluster.nodes.values():
            await node.kill()


def _write_settings(node: Node, etcd_port: int) -> None:
    trust = [
        "local all all trust",
        "host all all 127.0.0.1/32 trust",
        "host replication all 127.0.0.1/32 trust",
    ]
    settings = {
        "scope": "diego",
        "name": node.name,
        "restapi": {
            "listen": f"127.0.0.1:{node.rest_port}",
            "connect_address": f"127.0.0.1:{node.rest_port}",
        },
        "etcd3": {"host": f"127.0.0.1:{etcd_port}"},
        "bootstrap": {"dcs": PATRONI_SETTINGS, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "no-sync"]},
        "postgresql": {
            "listen": f"127.0.0.1:{node.port}",
            "connect_address": f"127.0.0.1:{node.port}",
            "data_dir": str(node.home / "data"),
            "bin_dir": str(binaries()),
            "pgpass": str(node.home / "pgpass"),
            "pg_hba": trust,
            "authentication": {
                "superuser": {"username": "postgres", "password": PASSWORD},
                "replication": {"username": "replicator", "password": PASSWORD},
            },
            # Several clusters may run on one machine, and a socket's path may have 107 bytes at most.
            "parameters": {"unix_socket_directories": ""},
        },
    }
    path = node.home / "patroni.json"
    path.write_text(json.dumps(settings, indent=1))
    path.chmod(0o644)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(pid, number)
