"""How long an operator waits for a fleet: until what is desired runs, until a cell is evacuated, until a lost cell is made up for.

The fleet is the demo's, simulated cells with an auctioneer and a route-emitter, in this process; the server is one of its own, over
mutual TLS. So the seconds have in them what cells wait for (a container is created in no time here) and, for a lost cell, the time
to live of its presence.
"""

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from bbs.client import ClientConfig, InternalBBSClient
from bbs.demo import Fleet, running_by_cell
from bbs.demo.behaviour import QUIET
from bbs.log import null_logger
from bbs.sync.locket.client import LocketSettings, open_locket
from bbs.tls.contexts import server_context
from bbs.tls.development import DevelopmentCerts
from perf.beds import free_port
from perf.figures import JSON, number, table
from perf.server import Server, ServerFailed, fresh_home, spawned_server, tree_cpu_s

INSTANCES: Final = 10
"""Of each app."""
PRESENCE_TTL_S: Final = 5
STEP_MAX_S: Final = 300.0
POLL_S: Final = 0.1
CONNECTIONS: Final = 64

BEHAVIOUR: Final = replace(
    QUIET, creation_s=(0.0, 0.0), presence_ttl_s=PRESENCE_TTL_S, containers=1_000_000, bulk_every_s=30.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``instances`` were waited for. ``server_cpu_s`` includes the database's."""

    name: str
    instances: int
    seconds: float
    server_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAccount:
    cells: int
    steps: tuple[Step, ...]

    def report(self) -> str:
        rows = [
            [
                step.name,
                number(step.instances),
                number(step.seconds, digits=2),
                number(step.instances / step.seconds),
                number(1e3 * step.server_cpu_s / max(step.instances, 1), digits=2),
            ]
            for step in self.steps
        ]
        header = ["step", "instances", "seconds", "instances/s", "server and database CPU ms each"]
        return "\n".join([f"a simulated fleet of {self.cells} cells", "", table(header, rows)])

    def as_json(self) -> dict[str, JSON]:
        return {
            "cells": self.cells,
            "steps": [
                {
                    "step": step.name,
                    "instances": step.instances,
                    "seconds": step.seconds,
                    "server_cpu_s": step.server_cpu_s,
                }
                for step in self.steps
            ],
        }


def measure_fleet(*, lrps: int, cells: int, say: Callable[[str], None]) -> FleetAccount:
    """Have ``lrps`` instances placed on so many cells, evacuate one of these, and lose another.

    Raises:
      ServerFailed: the server does not start, or not everything runs within `STEP_MAX_S`.
    """
    if cells < 3:
        raise ValueError("--cells: at least 3 are wanted, of which one is left in the end")
    with fresh_home() as home:
        return trio.run(_measure, home, lrps, cells, say)


async def _measure(home: Path, lrps: int, cells: int, say: Callable[[str], None]) -> FleetAccount:
    certs = DevelopmentCerts.within(home / "certs")
    tls = server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)
    apps = [(f"app-{at}", min(INSTANCES, lrps - at)) for at in range(0, lrps, INSTANCES)]
    fleet = Fleet(count=cells, apps=apps, behaviour=BEHAVIOUR, tls=tls, seed="perf", tell=say)
    async with _served(home, fleet, tls) as (server, locket_address):
        files = certs.client_files
        client = ClientConfig.with_files(server.url, files, idle_connections_max=CONNECTIONS)
        async with (
            InternalBBSClient.connect(client) as bbs,
            open_locket(LocketSettings(address=locket_address, tls=files), log=null_logger()) as locket,
            trio.open_nursery() as nursery,
        ):
            first, second = "cell-0", "cell-1"

            async def deploy() -> None:
                await nursery.start(fleet.run, bbs, locket)

            async def lose() -> None:
                fleet.cells[second].lose_power()

            async def evacuate() -> None:
                nursery.start_soon(fleet.cells[first].evacuate)

            steps = []
            for name, act, left in (
                ("all are placed and run", deploy, ()),
                ("a cell is evacuated", evacuate, (first,)),
                (f"a cell is lost (its presence lasts {PRESENCE_TTL_S} s)", lose, (first, second)),
            ):
                say(name)
                moving = len(fleet.cells[left[-1]].containers) if left else lrps
                steps.append(await _step(name, act, bbs, server, wanted=lrps, moving=moving, not_on=left))
            nursery.cancel_scope.cancel()
    return FleetAccount(cells=cells, steps=tuple(steps))


async def _step(
    name: str,
    act: Callable[[], Awaitable[None]],
    bbs: InternalBBSClient,
    server: Server,
    *,
    wanted: int,
    moving: int,
    not_on: tuple[str, ...],
) -> Step:
    """Do it, and wait until all that is wanted runs elsewhere than ``not_on``."""
    cpu_s, began_s = tree_cpu_s(server.pid), time.monotonic()
    with trio.move_on_after(STEP_MAX_S):
        await act()
        while True:
            running = running_by_cell(await bbs.actual_lrps())
            if running.total() == wanted and not running.keys() & set(not_on):
                return Step(
                    name=name,
                    instances=moving,
                    seconds=time.monotonic() - began_s,
                    server_cpu_s=tree_cpu_s(server.pid) - cpu_s,
                )
            await trio.sleep(POLL_S)
    raise ServerFailed(f"{name}: not within {STEP_MAX_S:.0f} s")


@asynccontextmanager
async def _served(home: Path, fleet: Fleet, tls: ssl.SSLContext) -> AsyncIterator[tuple[Server, str]]:
    """A server whose auctioneer is the fleet's, and the address of its Locket."""
    certs, locket_address = home / "certs", f"127.0.0.1:{free_port()}"
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(fleet.auctioneer.listen, tls)
        arguments = [
            *("--locket-listen", locket_address, "--auctioneer-address", f"https://127.0.0.1:{port}"),
            "--auctioneer-require-tls",
            *("--auctioneer-ca-cert", str(certs / "ca.crt")),
            *("--auctioneer-client-cert", str(certs / "client.crt")),
            *("--auctioneer-client-key", str(certs / "client.key")),
        ]
        with ExitStack() as running:
            spawned = running.enter_context(spawned_server(home, *arguments))
            yield await trio.to_thread.run_sync(spawned.running), locket_address
        nursery.cancel_scope.cancel()
