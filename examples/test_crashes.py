"""Tests of `crashes`, with nothing but what `bbs.testing` brings."""

# --8<-- [start:first]
import pytest
import trio
from trio.testing import MockClock

from bbs.client import UnknownError
from bbs.testing import (
    CellBehaviour,
    Crash,
    FailOver,
    Fault,
    NotReady,
    Refused,
    Stage,
    StreamsCut,
    desired_message,
)
from examples.crashes import Crashes

pytest_plugins = ["bbs.testing.pytest_plugin"]


async def test_a_crash_is_told_with_its_reason(bbs_stage: Stage, autojump_clock: MockClock) -> None:
    crash = Crash(after_s=60, index=1, reason="out of memory")
    await bbs_stage.add_cell("cell-1", CellBehaviour(crashes=[crash]))
    told: list[str] = []
    async with bbs_stage.connect() as bbs, trio.open_nursery() as nursery:
        nursery.start_soon(Crashes(told.append).follow, bbs)
        await bbs.desire_lrp(desired_message("app", instances=2))
        await bbs_stage.until_running("app", 2)
        assert told == []
        await trio.sleep(60)
        assert told == ["app/1 has crashed: out of memory"]
        nursery.cancel_scope.cancel()
        # --8<-- [end:first]


# --8<-- [start:faults]
FAULTS: dict[str, list[Fault]] = {
    "the stream breaks": [StreamsCut(after_s=10)],
    "there is another master": [FailOver(after_s=10, away_s=5, streams_after_s=15)],
    "nobody answers": [StreamsCut(after_s=10), NotReady(route="ActualLRPs", times=9)],
    "the list is refused": [StreamsCut(after_s=10), Refused(route="ActualLRPs", error=UnknownError())],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_crash_is_told_although(
    faults: list[Fault], bbs_stage: Stage, autojump_clock: MockClock
) -> None:
    cell = await bbs_stage.add_cell("cell-1")
    told: list[str] = []
    async with bbs_stage.connect() as bbs, trio.open_nursery() as nursery:
        await bbs.desire_lrp(desired_message("app"))
        await bbs_stage.until_running("app", 1)
        await bbs_stage.inflict(*faults)
        nursery.start_soon(Crashes(told.append).follow, bbs)
        await trio.sleep(20)  # with another master: it is there, and offers no stream yet
        cell.crash("app", reason="segmentation fault")
        await trio.sleep(60)
        assert told == ["app/0 has crashed: segmentation fault"]
        nursery.cancel_scope.cancel()
        # --8<-- [end:faults]


async def test_each_of_three_crashes_is_told_though_the_count_begins_anew(
    bbs_stage: Stage, autojump_clock: MockClock
) -> None:
    await bbs_stage.add_cell("cell-1", CellBehaviour(crashes=[Crash(after_s=3600, times=3)]))
    told: list[str] = []
    async with bbs_stage.connect() as bbs, trio.open_nursery() as nursery:
        nursery.start_soon(Crashes(told.append).follow, bbs)
        await bbs.desire_lrp(desired_message("app"))
        await trio.sleep(3.5 * 3600)
        assert len(told) == 3
        nursery.cancel_scope.cancel()
