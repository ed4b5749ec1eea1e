"""What only the fake can do: fail as it is told to."""

import contextlib
from collections import deque

import pytest
import trio
import trio.testing

from bbs.models.actual_lrp import (
    ActualLRP,
    ActualLRPKey,
    Presence,
)
from bbs.models.errors import InvalidRequest
from bbs.models.outcome import RowKey, put
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.memory_backend import Fault, Faults, Outage
from tests.records import actual_lrp
from tests.store.worlds import (
    RUNNING,
    MemoryWorld,
    by_key,
    load,
)


@pytest.mark.parametrize(("fault", "written"), [(Fault.LOST_BEFORE, False), (Fault.LOST_AFTER, True)])
async def test_a_lost_connection_hides_whether_it_wrote(
    memory: MemoryWorld, fault: Fault, written: bool
) -> None:
    writer = await memory.open_writer(faults=Faults(next_writes=deque([fault])))

    with pytest.raises(BackendUnavailable):
        await writer.write([put(actual_lrp())])

    assert await memory.count(ActualLRP) == written
    await writer.write([put(actual_lrp())])
    assert await load(writer) == [actual_lrp()]


async def test_a_fault_can_be_a_refusal_or_nothing(memory: MemoryWorld) -> None:
    faults = Faults(next_writes=deque([Fault.NONE, Fault.REJECTED]), rejection=InvalidRequest)
    writer = await memory.open_writer(faults=faults)
    await writer.write([put(actual_lrp("a"))])

    with pytest.raises(StatementRejected) as refused:
        await writer.write([put(actual_lrp("b"))])

    assert isinstance(refused.value.error, InvalidRequest)
    assert await load(writer) == [actual_lrp("a")]


async def test_writes_take_their_time_and_outages_end(
    memory: MemoryWorld, autojump_clock: trio.testing.MockClock
) -> None:
    began_s = trio.current_time()
    faults = Faults(write_s=2.0, outages=[Outage(began_s + 3, began_s + 10)])
    writer = await memory.open_writer(faults=faults)
    await writer.write([put(actual_lrp("a"))])
    assert trio.current_time() == began_s + 2

    with pytest.raises(BackendUnavailable):
        await writer.write([put(actual_lrp("b"))])
    await trio.sleep_until(began_s + 9)
    await writer.write([put(actual_lrp("c"))])

    assert by_key(await load(writer)).keys() == {
        RowKey(ActualLRP, ActualLRPKey(guid, 0, Presence.ORDINARY)) for guid in ("a", "c")
    }


async def test_rows_lie_sealed_on_the_fakes_disk(memory: MemoryWorld) -> None:
    writer = await memory.open_writer()
    await writer.write([put(RUNNING)])

    assert b"apps.internal" not in repr(memory.disk.rows).encode()


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.LOST_AFTER, Fault.LOST_BEFORE])
async def test_the_disk_tells_of_what_is_durable_whether_or_not_its_writer_knows(
    memory: MemoryWorld, fault: Fault
) -> None:
    told: list[object] = []
    memory.disk.on_commit = lambda writer, rows: told.append((writer, list(rows)))
    writer = await memory.open_writer(faults=Faults(next_writes=deque([fault])))

    with contextlib.suppress(BackendUnavailable):
        await writer.write([put(actual_lrp())])

    assert told == ([] if fault is Fault.LOST_BEFORE else [(writer, [put(actual_lrp())])])


async def test_a_write_that_is_under_way_when_its_process_is_fenced_is_not_made(
    memory: MemoryWorld, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await memory.open_writer(faults=Faults(write_s=2.0))

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(WriterLockLost, match="not master"):
                await writer.write([put(actual_lrp())])

        await trio.sleep(1)
        writer.fence("this process is not master")

    assert await memory.count(ActualLRP) == 0
