"""`bbs demo` as a newcomer meets it, and its fleet towards a server."""

import os
import re
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from bbs.client import ClientConfig, InternalBBSClient
from bbs.demo import Behaviour, Fleet
from bbs.demo.behaviour import QUIET
from bbs.log import null_logger
from bbs.models.actual_lrp import Presence
from bbs.sync.locket.client import LocketSettings, open_locket
from bbs.tls.contexts import TLSFiles
from bbs.tls.development import DevelopmentCerts
from tests.daemons import free_port
from tests.processes import START_MAX_S, running_bbs, spawn
from tests.waiting import wait_until

PATIENCE_S = 60.0
INSTANCES = 6


async def test_a_newcomer_sees_a_fleet_and_ends_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = await spawn(
        *("demo", "--listen", "127.0.0.1:0", "--locket-listen", "127.0.0.1:0", "--cells", "3"), stderr=log
    )
    assert process.stdout is not None
    text = ""
    try:
        with trio.fail_after(START_MAX_S):
            while "Ctrl-C ends it" not in text and (piece := await process.stdout.receive_some()):
                text += piece.decode()
        assert "Ctrl-C ends it" in text, log.read_text()
        exported = dict(re.findall(r"(\w+)=(\S+)", "".join(re.findall(r"export .*\n", text))))
        assert set(exported) == {
            *("BBS_URL", "LOCKET_API_LOCATION", "CA_CERT_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE")
        }
        for command in ("cells", "presences"):
            result = await trio.run_process(
                [sys.executable, "-m", "bbs", command], env={**os.environ, **exported}, capture_stdout=True
            )
            assert result.stdout.decode().count("cell-") >= 3
            assert len(result.stdout.splitlines()) == 3
        process.send_signal(signal.SIGINT)
        with trio.fail_after(PATIENCE_S):
            async for piece in process.stdout:
                text += piece.decode()
            assert await process.wait() == 0, log.read_text()
    finally:
        with trio.CancelScope(shield=True):  # a killed process ends at once
            process.kill()
            await process.wait()

    assert text.endswith("ending: first the fleet, then the server\nended\n")
    assert not Path(exported["CA_CERT_FILE"]).parent.parent.exists()
    assert log.read_text() == ""


async def test_it_can_be_ended_before_it_has_begun(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bbs",
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--locket-listen",
        "127.0.0.1:0",
    ]
    data = tmp_path / "kept"
    process = await trio.lowlevel.open_process(
        [*command, "--data-dir", str(data)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        # Signals are listened to before the server makes this directory, which it does long before it answers.
        await wait_until((data / "data").exists, within_s=PATIENCE_S, what="the server begins to start")
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


@dataclass
class Stage:
    """A fleet that lives towards a server."""

    fleet: Fleet
    bbs: InternalBBSClient
    told: list[str]

    async def cells_of_running(self) -> Counter[str]:
        """How many instances run on each cell, as the BBS has it; without those that are replaced already."""
        return Counter(
            lrp.actual_lrp_instance_key.cell_id
            for lrp in await self.bbs.actual_lrps()
            if lrp.state == "RUNNING" and int(lrp.presence) == Presence.ORDINARY
        )

    async def until_all_run(self, *, not_on: str = "") -> None:
        async def all_run() -> bool:
            running = await self.cells_of_running()
            return running.total() == INSTANCES and not_on not in running

        await wait_until(all_run, within_s=PATIENCE_S, what="all instances run", every_s=0.1)


@asynccontextmanager
async def a_fleet(
    tmp_path: Path, certs: DevelopmentCerts, server_tls: ssl.SSLContext, behaviour: Behaviour
) -> AsyncIterator[Stage]:
    told: list[str] = []
    fleet = Fleet(
        count=3, apps=[("app", INSTANCES)], behaviour=behaviour, tls=server_tls, seed="7", tell=told.append
    )
    files = TLSFiles(ca_file=certs.ca_cert, cert_file=certs.client_cert, key_file=certs.client_key)
    locket = f"127.0.0.1:{free_port()}"
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(fleet.auctioneer.listen, server_tls)
        server, client = (str(certs.server_cert), str(certs.server_key)), str(certs.ca_cert)
        async with running_bbs(
            tmp_path,
            *("--locket-listen", locket, "--converge-repeat-interval-s", "1", "--auctioneer-require-tls"),
            *("--ca-file", client, "--cert-file", server[0], "--key-file", server[1]),
            *("--auctioneer-address", f"https://127.0.0.1:{port}", "--auctioneer-ca-cert", client),
            *("--auctioneer-client-cert", server[0], "--auctioneer-client-key", server[1]),
        ) as running:
            config = ClientConfig(
                url=running.url,
                is_tls=True,
                ca_file=client,
                cert_file=str(certs.client_cert),
                key_file=str(certs.client_key),
                request_timeout_s=30,
            )
            async with (
                InternalBBSClient.connect(config) as bbs,
                open_locket(LocketSettings(address=locket, tls=files), log=null_logger()) as its_locket,
            ):
                await nursery.start(fleet.run, bbs, its_locket)
                yield Stage(fleet, bbs, told)
                nursery.cancel_scope.cancel()


async def test_instances_move_when_a_cell_is_evacuated_and_when_one_is_lost(
    tmp_path: Path, certs: DevelopmentCerts, server_tls: ssl.SSLContext
) -> None:
    async with a_fleet(tmp_path, certs, server_tls, replace(QUIET, presence_ttl_s=3)) as stage:
        await stage.until_all_run()
        assert set((await stage.cells_of_running()).values()) == {2}
        await wait_until(
            lambda: len(stage.fleet.route_emitter.endpoints.get("app", ())) == INSTANCES,
            within_s=PATIENCE_S,
            what="the route-emitter has heard of all",
        )

        with trio.fail_after(PATIENCE_S):
            await stage.fleet.cells["cell-0"].evacuate()
        await stage.until_all_run(not_on="cell-0")

        stage.fleet.cells["cell-1"].lose_power()
        await stage.until_all_run(not_on="cell-1")

        assert await stage.cells_of_running() == {"cell-2": INSTANCES}
        assert not stage.told


async def test_it_crashes_and_runs_tasks_and_loses_cells_by_itself(
    tmp_path: Path, certs: DevelopmentCerts, server_tls: ssl.SSLContext
) -> None:
    lively = Behaviour(
        creation_s=(0.0, 0.1),
        instance_lifetime_s=2.0,
        evacuation_every_s=1.0,
        evacuated_for_s=0.1,
        loss_every_s=1.0,
        lost_for_s=0.1,
        presence_ttl_s=3,
        task_every_s=0.1,
        task_duration_s=(0.0, 0.1),
    )
    async with a_fleet(tmp_path, certs, server_tls, lively) as stage:

        async def all_was_seen() -> bool:
            text = "\n".join(stage.told)
            done = any(task.result == "done" for task in await stage.bbs.tasks())
            return done and all(
                word in text for word in ("exited with status", "is evacuated", "loses its power", "is back")
            )

        await wait_until(all_was_seen, within_s=PATIENCE_S, what="all was seen once", every_s=0.1)
