"""The whole story, over mutual TLS: an app is desired, runs, and survives the death of the server.

    python -m examples.story

Starts a server of its own in a temporary directory. The cloud controller desires apps, a rep claims and starts their
instances, a route-emitter follows the events. In the middle of a stream of writes the server is killed with SIGKILL and
started again. Then every write that was acknowledged must be there, and no event may have come out of order, or told
of something that the restarted server does not know.
"""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from bbs.client import (
    ActualLRPState,
    BBSClient,
    EndOfStream,
    EventSourceError,
    InternalBBSClient,
    RunningReport,
    TransportError,
)
from bbs.models import pb
from bbs.tls.development import DevelopmentCerts, make_development_certs

DOMAIN: Final = "cf-apps"
ACKNOWLEDGED_BEFORE_THE_KILL: Final = 400
WRITERS: Final = 16
START_MAX_S: Final = 60.0
STORY_MAX_S: Final = 180.0

StateRank: Final = {ActualLRPState.UNCLAIMED: 0, ActualLRPState.CLAIMED: 1, ActualLRPState.RUNNING: 2}


class StoryFailed(Exception):
    """The server broke a promise; the text says which."""


@dataclass
class Ledger:
    """What the server has acknowledged of each app, and what its events have told. Each app has one instance, index 0."""

    desired: set[str] = field(default_factory=set)
    states: dict[str, ActualLRPState] = field(default_factory=dict)
    tags_told: dict[str, list[int]] = field(default_factory=dict)
    acknowledged: int = 0
    enough: trio.Event = field(default_factory=trio.Event)

    def acknowledge(self, process_guid: str, state: ActualLRPState) -> None:
        self.desired.add(process_guid)
        self.states[process_guid] = state
        self.acknowledged += 1
        if self.acknowledged == ACKNOWLEDGED_BEFORE_THE_KILL:
            self.enough.set()


@dataclass
class Server:
    """A server process, and how to reach it."""

    process: trio.Process
    url: str

    async def kill(self) -> None:
        """Kill it with SIGKILL, so that it cannot save anything; does nothing if it has ended already."""
        with trio.CancelScope(shield=True):  # a killed process ends at once
            self.process.kill()
            await self.process.wait()

    async def stop(self) -> None:
        self.process.terminate()
        with trio.fail_after(START_MAX_S):
            if code := await self.process.wait():
                raise StoryFailed(f"the server ended with exit code {code}")


async def start_server(directory: Path, certs: DevelopmentCerts, database_url: str | None) -> Server:
    """Start ``bbs serve`` on a free port and wait until it answers."""
    database = [] if database_url is None else ["--database-url", database_url]
    process = await trio.lowlevel.open_process(
        [
            *(
                sys.executable,
                "-m",
                "bbs",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--locket-listen",
                "127.0.0.1:0",
                "--log-level",
                "error",
            ),
            *("--data-dir", str(directory / "data"), "--ca-file", str(certs.ca_cert)),
            *("--cert-file", str(certs.server_cert), "--key-file", str(certs.server_key)),
            *database,
        ],
        stdout=subprocess.PIPE,
    )
    server = Server(process, "")
    assert process.stdout is not None
    line = b""
    with trio.move_on_after(START_MAX_S):
        while not line.endswith(b"\n") and (piece := await process.stdout.receive_some()):
            line += piece
    if not line.startswith(b"listening on "):
        await server.kill()
        raise StoryFailed("the server did not start")
    server.url = line.removeprefix(b"listening on ").strip().decode()
    return server


@asynccontextmanager
async def client_of(server: Server, certs: DevelopmentCerts) -> AsyncIterator[InternalBBSClient]:
    async with InternalBBSClient.connect(
        server.url,
        ca_file=certs.ca_cert,
        cert_file=certs.client_cert,
        key_file=certs.client_key,
        idle_connections_max=WRITERS + 2,
        attempts=1,
        request_timeout_s=30,
    ) as client:
        yield client


def app(process_guid: str) -> pb.DesiredLRP:
    lrp = pb.DesiredLRP(
        process_guid=process_guid,
        domain=DOMAIN,
        root_fs="preloaded:cflinuxfs4",
        instances=1,
        memory_mb=128,
        disk_mb=512,
        action=pb.Action(run_action=pb.RunAction(path="/bin/app", user="vcap")),
    )
    lrp.metric_tags["source_id"].static = process_guid
    return lrp


async def run_app(client: InternalBBSClient, process_guid: str, ledger: Ledger) -> None:
    """What the cloud controller and a rep do for one app, noting what was acknowledged."""
    key = pb.ActualLRPKey(process_guid=process_guid, index=0, domain=DOMAIN)
    instance = pb.ActualLRPInstanceKey(instance_guid=f"{process_guid}-i", cell_id="cell-1")
    net_info = pb.ActualLRPNetInfo(address="10.0.0.1", instance_address="10.255.0.1")
    await client.desire_lrp(app(process_guid))
    ledger.acknowledge(process_guid, ActualLRPState.UNCLAIMED)
    await client.claim_actual_lrp(key, instance)
    ledger.acknowledge(process_guid, ActualLRPState.CLAIMED)
    await client.start_actual_lrp(key, instance, RunningReport(net_info=net_info, routable=True))
    ledger.acknowledge(process_guid, ActualLRPState.RUNNING)


async def follow_events(
    client: BBSClient, ledger: Ledger, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    """What a route-emitter does: keep the last version of every instance, by its modification tag."""
    async with await client.subscribe_to_instance_events() as events:
        task_status.started()
        while True:
            try:
                message = (await events.next()).message
            except (EndOfStream, EventSourceError):
                return
            match message:
                case pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp):
                    ledger.tags_told.setdefault(lrp.actual_lrp_key.process_guid, []).append(
                        lrp.modification_tag.index
                    )
                case pb.ActualLRPInstanceChangedEvent(actual_lrp_key=key, after=after):
                    ledger.tags_told.setdefault(key.process_guid, []).append(after.modification_tag.index)


async def write_until_killed(client: InternalBBSClient, writer: int, ledger: Ledger) -> None:
    """Desire, claim and start one app after the other until the server is gone."""
    number = 0
    while True:
        try:
            await run_app(client, f"app-{writer}-{number}", ledger)
        except TransportError:
            return
        number += 1


async def live_and_die(server: Server, certs: DevelopmentCerts, ledger: Ledger) -> None:
    async with client_of(server, certs) as client, trio.open_nursery() as nursery:
        await client.upsert_domain(DOMAIN, ttl_s=0)
        await nursery.start(follow_events, client, ledger)
        async with trio.open_nursery() as writers:
            for writer in range(WRITERS):
                writers.start_soon(write_until_killed, client, writer, ledger)
            await ledger.enough.wait()
            await server.kill()
        nursery.cancel_scope.cancel()


async def check(client: BBSClient, ledger: Ledger) -> None:
    """Compare what the restarted server knows with what its predecessor acknowledged and told."""
    if list(await client.domains()) != [DOMAIN]:
        raise StoryFailed("the domain is gone")
    desired = {lrp.desired_lrp_key.process_guid for lrp in await client.desired_lrp_scheduling_infos()}
    if missing := ledger.desired - desired:
        raise StoryFailed(f"acknowledged apps are gone: {sorted(missing)}")
    actual = {lrp.actual_lrp_key.process_guid: lrp for lrp in await client.actual_lrps()}
    for process_guid, state in ledger.states.items():
        found = actual.get(process_guid)
        if found is None or StateRank[ActualLRPState(found.state)] < StateRank[state]:
            raise StoryFailed(f"{process_guid} was acknowledged as {state} and is {found and found.state}")
    for process_guid, tags in ledger.tags_told.items():
        if tags != list(range(len(tags))):
            raise StoryFailed(f"events of {process_guid} came as versions {tags}")
        if actual[process_guid].modification_tag.index < tags[-1]:
            raise StoryFailed(f"{process_guid} was told as version {tags[-1]}, which was not durable")


async def tell(directory: Path, database_url: str | None = None) -> Ledger:
    """The story, in ``directory``: on an empty database, or on a Postgres that the server brings.

    Raises:
      StoryFailed: a promise was broken.
    """
    certs = make_development_certs(directory / "certs")
    ledger = Ledger()
    server = await start_server(directory, certs, database_url)
    try:
        await live_and_die(server, certs, ledger)
    finally:
        await server.kill()
    server = await start_server(directory, certs, database_url)
    try:
        async with client_of(server, certs) as client:
            await check(client, ledger)
            await run_app(client, "app-after-the-restart", ledger)
        await server.stop()
    finally:
        await server.kill()
    return ledger


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bbs-story-") as directory, trio.fail_after(STORY_MAX_S):
        ledger = await tell(Path(directory))
    events = sum(map(len, ledger.tags_told.values()))
    print(
        f"{ledger.acknowledged} writes acknowledged, {len(ledger.desired)} apps, {events} instance events:"
        " all there after the kill, all in order"
    )


if __name__ == "__main__":
    trio.run(main)
