"""A watch of a server that is a process, over mutual TLS: it is killed and started anew, another one takes over, and one side
does not accept the other's certificate.
"""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio

from bbs.client import BBSClient, Change, ClientConfig, Fleet, InternalBBSClient, RunningReport, WatchFailed
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPKey, Presence
from bbs.tls.development import DevelopmentCerts, make_development_certs
from tests.daemons import WAIT_MAX_S, Surroundings, daemon
from tests.records import desired_message
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

Key = tuple[str, object]
Record = pb.DesiredLRP | pb.ActualLRP | pb.Task


def config(
    address: object,
    certs: DevelopmentCerts,
    *,
    ca: DevelopmentCerts | None = None,
    own: DevelopmentCerts | None = None,
) -> ClientConfig:
    """``ca`` and ``own`` are where the client has other files from than the server's."""
    files = replace((own or certs).client_files, ca_file=(ca or certs).ca_cert)
    return ClientConfig.with_files(f"https://{address}", files, request_timeout_s=30)


def key_of(record: Record) -> Key:
    match record:
        case pb.DesiredLRP():
            return "desired", record.process_guid
        case pb.ActualLRP(actual_lrp_key=key):
            return "actual", ActualLRPKey(key.process_guid, key.index, Presence(record.presence))
        case pb.Task():
            return "task", record.task_guid


class Mirror:
    """What the snapshot and the changes add up to. Each change has to follow from that."""

    def __init__(self, fleet: Fleet) -> None:
        records: list[Record] = [*fleet.desired_lrps.values(), *fleet.actual_lrps.values()]
        self.rows = {key_of(record): record for record in records}
        self.fleet = fleet

    async def follow(self) -> None:
        async for change in self.fleet:
            self._take(change)

    def _take(self, change: Change) -> None:
        before: Record | None = getattr(change, "before", None)
        after: Record | None = getattr(change, "after", None)
        some = after if after is not None else before
        assert some is not None
        assert self.rows.get(key_of(some)) == before, f"a gap, or a duplicate: {change}"
        if after is None:
            del self.rows[key_of(some)]
        else:
            self.rows[key_of(some)] = after

    async def becomes(self, client: InternalBBSClient) -> None:
        """Wait until it is what the server lists."""
        listed: list[Record] = [*await client.desired_lrp_routing_infos()]
        for row in await client.actual_lrps():
            row.ClearField("actual_lrp_internal_routes")
            row.ClearField("metric_tags")
            listed.append(row)
        there = {key_of(record): record for record in listed}
        await wait_until(
            lambda: self.rows == there and self.fleet.is_current,
            within_s=WAIT_MAX_S,
            what=f"the watch has {self.rows}, the server {there}; {self.fleet.trouble}",
        )


async def run_instance(client: InternalBBSClient, guid: str, index: int) -> None:
    key = pb.ActualLRPKey(process_guid=guid, index=index, domain="d")
    instance = pb.ActualLRPInstanceKey(instance_guid=f"{guid}-{index}", cell_id="cell")
    await client.claim_actual_lrp(key, instance)
    net_info = pb.ActualLRPNetInfo(address="10.0.0.1", instance_address="10.1.0.1")
    report = RunningReport(
        net_info=net_info, internal_routes=["a.internal"], metric_tags={"k": "v"}, routable=True
    )
    await client.start_actual_lrp(key, instance, report)


async def test_a_server_that_is_killed_and_one_that_takes_over(around: Surroundings) -> None:
    """Both listen on the same address, as behind a name that is the master's."""
    one, two = around.config("a"), around.config("b")
    two["listen_address"] = one["listen_address"]
    watcher = BBSClient.connect(config(one["listen_address"], around.certs))
    async with AsyncExitStack() as stack:
        client_of_watch = await stack.enter_async_context(watcher)
        first = await stack.enter_async_context(daemon(around, one))
        await first.logs("started")
        async with first.client() as client:
            await client.desire_lrp(desired_message("p", instances=3))
        fleet = await stack.enter_async_context(client_of_watch.watch(start_within_s=WAIT_MAX_S))
        nursery = await stack.enter_async_context(trio.open_nursery())
        mirror = Mirror(fleet)
        assert ("desired", "p") in mirror.rows
        nursery.start_soon(mirror.follow)
        async with first.client() as client:
            await client.desire_lrp(desired_message("q", instances=2))
            await run_instance(client, "q", 1)
            await mirror.becomes(client)

        first.process.kill()
        await first.wait_ended()
        second = await stack.enter_async_context(daemon(around, two))
        await second.logs("started")
        async with second.client() as client:
            await client.remove_desired_lrp("p")
            await run_instance(client, "q", 0)
            await client.desire_lrp(desired_message("r", instances=1))
            await mirror.becomes(client)

        assert fleet.statistics().connections >= 2
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_is_not_accepted_ends_a_watch(around: Surroundings) -> None:
    others = make_development_certs(around.tmp_path / "others")
    async with daemon(around, around.config("a")) as bbs:
        await bbs.logs("started")
        address = bbs.config["listen_address"]
        for stranger in (
            config(address, around.certs, ca=others),
            config(address, around.certs, own=others),
        ):
            async with BBSClient.connect(stranger) as client:
                with pytest.raises(WatchFailed, match="tls: "):
                    async with client.watch(start_within_s=WAIT_MAX_S):
                        raise AssertionError("it was entered")
