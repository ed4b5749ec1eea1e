"""The wall clock of a running server jumps by an hour, forward and back.

What has a duration goes by the clock that counts from the boot, and notices nothing: the lock's renewals, deadlines, the
converger's ticker, events. What is a date in a row goes by the wall clock, as upstream's does: domains expire, a crashed
instance is put off, a pending task gives up. It must only do so sanely.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from bbs.client import InternalBBSClient, RunningReport
from bbs.models import pb
from bbs.sync.locket.client import Resource
from tests.daemons import WAIT_MAX_S, Daemon, Surroundings, daemon, free_port
from tests.debian_packages import faketime
from tests.masters.faked_clock import FakedClock
from tests.masters.locket import ObedientLocket
from tests.records import desired_message, task_definition
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

HOUR_S = 3600
CELL = "cell"
ERROR = 2
PASS = "executing-convergence.converge-lrps-done"


@pytest.fixture
def clock(tmp_path: Path) -> FakedClock:
    found = faketime()
    if found is None:
        pytest.skip("libfaketime is not installed: make test-packages")
    return FakedClock(found, tmp_path / "clock")


@asynccontextmanager
async def started(around: Surroundings, config: dict[str, Any], clock: FakedClock) -> AsyncIterator[Daemon]:
    async with daemon(around, config, environment=clock.environment) as bbs:
        await bbs.logs("started")
        yield bbs


def key(index: int) -> pb.ActualLRPKey:
    return pb.ActualLRPKey(process_guid="p", index=index, domain="d")


def at_cell(index: int) -> pb.ActualLRPInstanceKey:
    return pb.ActualLRPInstanceKey(instance_guid=f"instance-{index}", cell_id=CELL)


async def start(client: InternalBBSClient, index: int) -> None:
    report = RunningReport(net_info=pb.ActualLRPNetInfo(address="10.0.0.1"), routable=True)
    await client.start_actual_lrp(key(index), at_cell(index), report)


async def crash(client: InternalBBSClient, index: int, *, times: int) -> None:
    """After three times it is not started again at once, but some time later, by its row and the wall clock."""
    for _ in range(times):
        await start(client, index)
        await client.crash_actual_lrp(key(index), at_cell(index), error_message="crashed")


async def states(client: InternalBBSClient) -> list[str]:
    lrps = await client.actual_lrps()
    assert {lrp.presence for lrp in lrps} == {pb.ActualLRP.ORDINARY}, "the cell was there all the time"
    return [lrp.state for lrp in sorted(lrps, key=lambda lrp: lrp.actual_lrp_key.index)]


async def test_an_hour_forward_and_back_ends_nothing_that_has_a_duration(
    around: Surroundings, clock: FakedClock
) -> None:
    locket = ObedientLocket(around.tls())
    presence = json.dumps({"cell_id": CELL, "rep_url": "https://127.0.0.1:1"})
    locket.table.lock(Resource.presence(CELL, owner="rep", value=presence), ttl_s=HOUR_S)
    async with locket.served():
        around.locket_address = locket.address
        # A renewal may take long on a busy machine; it is not what this is about.
        lasting = {"lock_ttl": "12s", "lock_retry_interval": "1s", "converge_repeat_interval": "500ms"}
        debug_address = f"127.0.0.1:{free_port()}"
        config = around.config("a", debug_address=debug_address, **lasting)
        async with (
            started(around, config, clock) as bbs,
            bbs.client() as client,
            daemon(around, around.config("b", **lasting)) as standby,
        ):
            await standby.logs("locket-lock.started")
            world = World(bbs, client, locket, clock)
            await world.begin()

            async with await client.subscribe_to_instance_events() as events:
                await world.jump(HOUR_S, events)
                assert list(await client.domains()) == ["for ever"], "the other's time is up"
                assert await states(client) == ["RUNNING", "UNCLAIMED"], "it is time to start it again"
                await crash(client, 1, times=1)

                await world.jump(0, events)
                assert await states(client) == ["RUNNING", "CRASHED"], "it crashes in an hour, by this clock"

                await world.jump(-HOUR_S, events)
                assert await states(client) == ["RUNNING", "CRASHED"]
                await client.upsert_domain("for two minutes", ttl_s=120)

                await world.jump(0, events)
                assert list(await client.domains()) == ["for ever"]
                assert await states(client) == ["RUNNING", "CRASHED"]

                await world.jump(HOUR_S + 600, events)
                assert await states(client) == ["RUNNING", "UNCLAIMED"]

            [task] = await client.tasks()
            assert (task.state, task.cell_id) == (pb.Task.Running, CELL)
            assert locket.grants == ["a"]
            assert "locket-lock.acquired-lock" not in standby.messages()
            async with httpx.AsyncClient(trust_env=False) as http:
                page = (await http.get(f"http://{debug_address}/metrics")).text
            assert negative_samples(page) == []
            assert [line for line in bbs.lines if line["log_level"] >= ERROR] == []
            assert [line for line in bbs.lines if list(negative_numbers(line["data"]))] == []
            assert bbs.other == []
            assert await bbs.stop() == 0


class World:
    """One server, what its clients have, and an hour's jump of its clock."""

    def __init__(
        self, bbs: Daemon, client: InternalBBSClient, locket: ObedientLocket, clock: FakedClock
    ) -> None:
        self._bbs = bbs
        self._client = client
        self._locket = locket
        self._clock = clock
        self._jumps = 0

    async def begin(self) -> None:
        client = self._client
        await client.upsert_domain("for ever", ttl_s=0)
        await client.upsert_domain("for two minutes", ttl_s=120)
        await client.desire_lrp(desired_message("p", instances=2))
        await start(client, 0)
        await crash(client, 1, times=3)
        assert await states(client) == ["RUNNING", "CRASHED"]
        await client.desire_task(task_guid="t", domain="d", definition=task_definition())
        await client.start_task(task_guid="t", cell_id=CELL)

    async def jump(self, offset_s: int, events: Any) -> None:
        """Jump, and see that writes, events, renewals and passes go on as ever."""
        self._clock.jump_to(offset_s)
        self._jumps += 1
        annotation = f"jump {self._jumps}"
        await self._client.update_desired_lrp("p", pb.DesiredLRPUpdate(annotation=annotation))
        with trio.fail_after(WAIT_MAX_S):
            while True:
                message = (await events.next()).message
                if isinstance(message, pb.DesiredLRPChangedEvent) and message.after.annotation == annotation:
                    break
        renewals, passes = self._locket.table.renewals, self._passes()
        # More than one of each: the first may have been under way when the clock jumped.
        await wait_until(
            lambda: self._locket.table.renewals >= renewals + 2 and self._passes() >= passes + 2,
            within_s=WAIT_MAX_S,
            what="the lock is renewed, and passes run",
        )

    def _passes(self) -> int:
        return self._bbs.messages().count(PASS)


def negative_samples(page: str) -> list[str]:
    return [
        sample.name
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.value < 0
    ]


def negative_numbers(data: Any) -> Iterator[float]:
    match data:
        case dict():
            for value in data.values():
                yield from negative_numbers(value)
        case list():
            for value in data:
                yield from negative_numbers(value)
        case int() | float() if data < 0:
            yield data
