"""Each behaviour of a cell, as a client sees it."""

import math
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from bbs.models import pb
from bbs.testing import (
    CellBehaviour,
    Crash,
    Stage,
    TaskEnd,
    desired_message,
    task_definition,
)

pytest_plugins = ["bbs.testing.pytest_plugin"]

Clock = trio.testing.MockClock


async def lrps_of(stage: Stage, behaviour: CellBehaviour, *, instances: int = 1, after_s: float) -> list[str]:
    """What a client is told of the instances of an app so long after it was desired: index, state, and what went wrong."""
    await stage.add_cell("cell-1", behaviour)
    async with stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app", instances=instances))
        await trio.sleep(after_s)
        return described(await bbs.actual_lrps())


def described(lrps: Sequence[pb.ActualLRP]) -> list[str]:
    return sorted(
        " ".join(
            filter(None, (str(lrp.actual_lrp_key.index), lrp.state, lrp.crash_reason or lrp.placement_error))
        )
        for lrp in lrps
    )


LIVES = {
    "it starts when told": (CellBehaviour(starts_after_s=5), 1, 4.9, ["0 CLAIMED"]),
    "and not later": (CellBehaviour(starts_after_s=5), 1, 6, ["0 RUNNING"]),
    "it never starts": (CellBehaviour(starts_after_s=math.inf), 1, 3600, ["0 CLAIMED"]),
    "one crashes": (
        CellBehaviour(crashes=[Crash(after_s=1, index=1, reason="out of memory")]),
        2,
        4,
        ["0 RUNNING", "1 RUNNING out of memory"],
    ),
    "one crashes again and again": (
        CellBehaviour(crashes=[Crash(after_s=1, process_guid="app", times=None)]),
        1,
        20,
        ["0 CRASHED APP/PROC/WEB: exited with status 1"],
    ),
    "another one crashes": (
        CellBehaviour(crashes=[Crash(after_s=1, process_guid="other")]),
        1,
        20,
        ["0 RUNNING"],
    ),
    "none can be created": (
        CellBehaviour(creation_failure="no space left on device"),
        1,
        20,
        ["0 CRASHED no space left on device"],
    ),
    "there is no room": (CellBehaviour(takes=False), 1, 1, ["0 UNCLAIMED insufficient resources"]),
    "the rep does not answer": (
        CellBehaviour(answers=False),
        1,
        1,
        ["0 UNCLAIMED found no compatible cell"],
    ),
}


@pytest.mark.parametrize(("behaviour", "instances", "after_s", "expected"), LIVES.values(), ids=LIVES)
async def test_instances_live_as_told(
    bbs_stage: Stage,
    autojump_clock: Clock,
    behaviour: CellBehaviour,
    instances: int,
    after_s: float,
    expected: list[str],
) -> None:
    assert await lrps_of(bbs_stage, behaviour, instances=instances, after_s=after_s) == expected


async def test_a_cell_with_room_for_one_takes_one(bbs_stage: Stage, autojump_clock: Clock) -> None:
    await bbs_stage.add_cell("cell-1", containers=1)
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app", instances=2))
        await bbs_stage.until_running("app", 1)

        [cell] = await bbs.cells()
        assert cell.capacity.containers == 1
        states = [lrp.state for lrp in await bbs.actual_lrps()]
        assert sorted(states) == ["RUNNING", "UNCLAIMED"]


async def test_an_instance_crashes_when_its_cell_is_asked_to_have_it_crash(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    cell = await bbs_stage.add_cell("cell-1")
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app", instances=2))
        await bbs_stage.until_running("app", 2)
        async with await bbs.subscribe_to_instance_events() as events:
            cell.crash("app", 1, reason="segmentation fault")
            event = await events.next()

    assert isinstance(event.message, pb.ActualLRPCrashedEvent)
    assert (event.message.actual_lrp_key.index, event.message.crash_reason) == (1, "segmentation fault")


async def test_a_cell_that_does_not_answer_keeps_what_it_is_told_to_stop(
    bbs_stage: Stage, autojump_clock: Clock
) -> None:
    cell = await bbs_stage.add_cell("cell-1")
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        await bbs_stage.until_running("app", 1)
        cell.behave(CellBehaviour(answers=False))
        await bbs.remove_desired_lrp("app")
        await trio.sleep(60)
        assert described(await bbs.actual_lrps()) == ["0 RUNNING"]

        cell.behave(CellBehaviour())
        await bbs.upsert_domain("d", ttl_s=600)  # extras are removed only from domains that are fresh
        await bbs_stage.until_running("app", 0)
        assert not await bbs.actual_lrps()


@pytest.mark.parametrize("how", ["as data", "by hand"])
async def test_a_cell_vanishes_and_its_instances_go_elsewhere(
    bbs_stage: Stage, autojump_clock: Clock, how: str
) -> None:
    told = CellBehaviour(vanishes_after_s=10) if how == "as data" else CellBehaviour()
    cell = await bbs_stage.add_cell("cell-1", told, zone="z1")
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        await bbs_stage.until_running("app", 1)
        await bbs_stage.add_cell("cell-2", zone="z2")
        if how == "by hand":
            cell.vanish()
        await trio.sleep(60)

        [lrp] = await bbs.actual_lrps()
        assert (lrp.actual_lrp_instance_key.cell_id, lrp.availability_zone) == ("cell-2", "z2")
        assert [each.cell_id for each in await bbs.cells()] == ["cell-2"]
        await bbs_stage.boot("cell-1")
        assert len(await bbs.cells()) == 2


@pytest.mark.parametrize("how", ["as data", "by hand"])
async def test_a_cell_evacuates(bbs_stage: Stage, autojump_clock: Clock, how: str) -> None:
    told = CellBehaviour(evacuates_after_s=10) if how == "as data" else CellBehaviour()
    cell = await bbs_stage.add_cell("cell-1", told)
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        await bbs_stage.until_running("app", 1)
        await bbs_stage.add_cell("cell-2", CellBehaviour(starts_after_s=5))
        if how == "by hand":
            cell.evacuate()
        with trio.fail_after(60):
            async with await bbs.subscribe_to_instance_events(cell_id="cell-1") as events:
                while (await events.next()).name != "actual_lrp_instance_removed":
                    pass
        await trio.sleep(30)

        [lrp] = await bbs.actual_lrps()
        assert lrp.actual_lrp_instance_key.cell_id == "cell-2"
        assert [each.cell_id for each in await bbs.cells()] == ["cell-2"]


async def test_a_cell_that_evacuates_lets_its_tasks_end(bbs_stage: Stage, autojump_clock: Clock) -> None:
    cell = await bbs_stage.add_cell("cell-1", CellBehaviour(tasks=[TaskEnd(after_s=120, result="42")]))
    async with bbs_stage.connect() as bbs:
        await bbs.desire_task(task_guid="task", domain="d", definition=task_definition())
        await trio.sleep(5)
        cell.evacuate()
        await trio.sleep(60)
        assert len(await bbs.cells()) == 1
        await trio.sleep(90)
        assert not await bbs.cells()
        assert (await bbs.task_by_guid("task")).result == "42"


TASKS = {
    "by itself": (CellBehaviour(), False, (False, "", "")),
    "with a result": (CellBehaviour(tasks=[TaskEnd(after_s=3, result="42")]), False, (False, "", "42")),
    "in failure": (
        CellBehaviour(tasks=[TaskEnd(task_guid="other"), TaskEnd(failure_reason="exit 1", task_guid="task")]),
        None,
        (True, "exit 1", ""),
    ),
    "for want of a cell": (CellBehaviour(takes=False), False, (True, "found no compatible cell", "")),
    "cancelled": (
        CellBehaviour(tasks=[TaskEnd(after_s=math.inf)]),
        True,
        (True, "task was cancelled", ""),
    ),
}
"""How a task ends: what its cell does, whether its client cancels it after five seconds; whether it failed, why, and its result."""


@pytest.mark.parametrize(("behaviour", "is_cancelled", "expected"), TASKS.values(), ids=TASKS)
async def test_a_task_ends_as_told(
    bbs_stage: Stage,
    autojump_clock: Clock,
    behaviour: CellBehaviour,
    is_cancelled: bool,
    expected: tuple[bool, str, str],
) -> None:
    await bbs_stage.add_cell("cell-1", behaviour)
    definition = task_definition(completion_callback_url="https://client/done")
    async with bbs_stage.connect() as bbs:
        await bbs.desire_task(task_guid="task", domain="d", definition=definition)
        await trio.sleep(5)
        if is_cancelled:
            await bbs.cancel_task("task")
        await trio.sleep(600)

        assert not await bbs.tasks()  # it was deleted, since somebody was told
    [told] = bbs_stage.called_back
    assert told.url == "https://client/done"
    assert (told.task["failed"], told.task["failure_reason"], told.task["result"]) == expected


async def test_when_a_cell_leaves_may_be_told_while_it_is_up(bbs_stage: Stage, autojump_clock: Clock) -> None:
    goes = await bbs_stage.add_cell("goes")
    stays = await bbs_stage.add_cell("stays", CellBehaviour(evacuates_after_s=120))
    await trio.sleep(100)
    goes.behave(CellBehaviour(vanishes_after_s=30))
    stays.behave(CellBehaviour())
    await trio.sleep(29)
    assert (goes.is_up, stays.is_up) == (True, True)
    await trio.sleep(2)
    assert (goes.is_up, stays.is_up) == (False, True)
    await trio.sleep(600)
    assert stays.is_up


async def test_a_cell_may_come_back_at_once(bbs_stage: Stage, autojump_clock: Clock) -> None:
    cell = await bbs_stage.add_cell("cell-1")
    cell.vanish()
    await bbs_stage.boot("cell-1")
    async with bbs_stage.connect() as bbs:
        await bbs.desire_lrp(desired_message("app"))
        await bbs_stage.until_running("app", 1)
