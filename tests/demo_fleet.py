"""`bbs serve` and the demo's fleet beside it, all in the test's own process: for whoever needs a server at which something happens.

async def test_something(demo_stage: DemoStage) -> None:
    async with demo_stage(replace(QUIET, presence_ttl_s=3)) as stage:
        await stage.until_all_run()
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import trio

from bbs.client import ClientConfig, InternalBBSClient
from bbs.commands.serve import serve
from bbs.commands.serve_config import ServeConfig
from bbs.demo import Behaviour, Fleet, running_by_cell
from bbs.log import LagerSink, Level, LineWriters, null_logger, root_logger
from bbs.peers.opened import AuctioneerSettings
from bbs.process.settings import Settings, TaskSettings
from bbs.sync.locket.client import LocketSettings, open_locket
from bbs.tls.contexts import server_context
from bbs.tls.development import DevelopmentCerts
from tests.daemons import free_port
from tests.log_lines import Lines
from tests.waiting import wait_until

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """``health_address`` and ``debug_address`` are as flags have them, and ``log`` is what the server has logged."""

    url: str
    locket_address: str
    health_address: str
    debug_address: str
    log: Lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A fleet that lives towards a server. ``told`` is what it has said of itself, and ``apps`` what it runs."""

    server: Serving
    client: ClientConfig
    bbs: InternalBBSClient
    fleet: Fleet
    apps: Sequence[tuple[str, int]]
    told: list[str]

    async def cells_of_running(self) -> Counter[str]:
        """How many instances run on each cell, as the BBS has it; without those that are replaced already."""
        return running_by_cell(await self.bbs.actual_lrps())

    async def until_all_run(self, *, not_on: str = "") -> None:
        wanted = sum(instances for _, instances in self.apps)

        async def all_run() -> bool:
            running = await self.cells_of_running()
            return running.total() == wanted and not_on not in running

        await wait_until(all_run, within_s=PATIENCE_S, what="all instances run", every_s=0.1)


class DemoStage(Protocol):
    """The fixture ``demo_stage``: a server and a fleet that behaves so."""

    def __call__(
        self, behaviour: Behaviour, *, cells: int = 3, apps: Sequence[tuple[str, int]] = (("app", 6),)
    ) -> AbstractAsyncContextManager[Stage]: ...


@asynccontextmanager
async def serving(
    directory: Path,
    database_url: str,
    *,
    certs: DevelopmentCerts | None = None,
    auctioneer_address: str = "",
    converge_every_s: float = 30.0,
) -> AsyncIterator[Serving]:
    """``bbs serve`` in this process, until the block ends. With ``certs`` it wants TLS of everybody."""
    tls = certs.server_files if certs is not None else None
    health, debug = (f"127.0.0.1:{free_port()}" for _ in range(2))
    config = ServeConfig(
        settings=Settings(
            listen_address="127.0.0.1:0",
            health_address=health,
            debug_address=debug,
            tasks=replace(TaskSettings(), converge_repeat_interval_s=converge_every_s),
        ),
        locket_listen_address="127.0.0.1:0",
        data_dir=directory,
        database_url=database_url,
        tls=tls,
        auctioneer=AuctioneerSettings(address=auctioneer_address, tls=tls, require_tls=True)
        if auctioneer_address
        else None,
    )
    lines, until_stopped = Lines(), trio.CancelScope()
    sink = LagerSink(lines, min_level=Level.INFO)
    is_up, send_up = trio.Event(), list[tuple[str, str]]()

    def ready(url: str, locket: str) -> None:
        send_up.append((url, locket))
        is_up.set()

    with LineWriters() as writers:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await serve(
                    config,
                    log=root_logger("bbs", sink),
                    sink=sink,
                    writers=writers,
                    until_stopped=until_stopped,
                    ready=ready,
                )
                assert is_up.is_set(), lines.lines

            nursery.start_soon(run)
            try:
                with trio.fail_after(PATIENCE_S):
                    await is_up.wait()
                [(url, locket)] = send_up
                yield Serving(
                    url=url, locket_address=locket, health_address=health, debug_address=debug, log=lines
                )
            finally:
                until_stopped.cancel()


@asynccontextmanager
async def a_fleet(
    directory: Path,
    database_url: str,
    certs: DevelopmentCerts,
    behaviour: Behaviour,
    *,
    cells: int,
    apps: Sequence[tuple[str, int]],
) -> AsyncIterator[Stage]:
    told: list[str] = []
    tls = server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)
    fleet = Fleet(count=cells, apps=apps, behaviour=behaviour, tls=tls, seed="7", tell=told.append)
    files = certs.client_files
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(fleet.auctioneer.listen, tls)
        auctioneer = f"https://127.0.0.1:{port}"
        async with serving(
            directory, database_url, certs=certs, auctioneer_address=auctioneer, converge_every_s=1
        ) as server:
            client = ClientConfig.with_files(server.url, files, request_timeout_s=30)
            async with (
                InternalBBSClient.connect(client) as bbs,
                open_locket(
                    LocketSettings(address=server.locket_address, tls=files), log=null_logger()
                ) as locket,
            ):
                await nursery.start(fleet.run, bbs, locket)
                yield Stage(server=server, client=client, bbs=bbs, fleet=fleet, apps=apps, told=told)
                nursery.cancel_scope.cancel()
