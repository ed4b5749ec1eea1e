"""How full cells are, by what is on them."""

import pytest
import trio
from trio.testing import MockClock

from bbs.dashboard.cell_use import ASK_INTERVAL_S, ASK_S, CellUses, Use
from bbs.models.actual_lrp import ActualLRPState, InstanceKey
from bbs.models.outcome import delete
from bbs.models.task import TaskState
from tests.dashboard.watched import Watched, presence
from tests.records import actual_lrp, desired_lrp, task


def on(cell_id: str, index: int = 0, guid: str = "p", state: ActualLRPState = ActualLRPState.RUNNING):  # type: ignore[no-untyped-def]  # an ActualLRP
    return actual_lrp(
        guid, index, state=state, instance=InstanceKey(instance_guid=f"i{index}", cell_id=cell_id)
    )


async def test_instances_and_tasks_are_added_up_by_what_their_definitions_say() -> None:
    watched = Watched()
    watched.announce([presence("c1"), presence("c2")])
    watched.put(desired_lrp(instances=3, memory_mb=100, disk_mb=10))
    watched.put(on("c1"), on("c1", 1, state=ActualLRPState.CLAIMED), on("c1", guid="nobody desires it"))
    watched.put(task(state=TaskState.Running, cell_id="c1"), task("t2", TaskState.Pending))
    uses = CellUses(watched.tables, watched.registry)
    await uses.ask()

    await uses.look()

    assert uses.of("c1") == Use(instances=3, running=2, tasks=1, memory_mb=328, disk_mb=532)
    assert uses.of("c1").containers == 4
    assert (uses.of("c2"), uses.known(), uses.missing()) == (Use(), {"c1", "c2"}, [])


async def test_a_cell_whose_rows_come_and_go_is_right_at_the_next_look(autojump_clock: MockClock) -> None:
    watched = Watched()
    watched.put(desired_lrp(instances=2, memory_mb=100), on("gone"))
    uses = CellUses(watched.tables, watched.registry)
    await uses.ask()
    await uses.look()
    assert uses.missing() == ["gone"]

    watched.tables.apply([delete(on("gone"))])
    watched.put(on("other", 1))
    await uses.look()

    assert (uses.missing(), uses.known(), uses.of("other").memory_mb) == (["other"], {"other"}, 100)


async def test_others_are_added_up_by_turns_however_many_there_are(monkeypatch) -> None:  # type: ignore[no-untyped-def]  # pytest's
    monkeypatch.setattr("bbs.dashboard.cell_use.ROWS_AT_A_LOOK", 4)
    watched = Watched()
    watched.put(desired_lrp(instances=40, memory_mb=100))
    watched.put(*(on(f"c{number:02}", number) for number in range(20)))
    uses = CellUses(watched.tables, watched.registry)
    await uses.ask()
    for _ in range(15):
        await uses.look()
    assert {uses.of(f"c{number:02}").memory_mb for number in range(20)} == {100}

    # As many rows on each, but none needs memory any more: nothing but a round can find that.
    watched.tables.apply([delete(desired_lrp())])
    for _ in range(15):
        await uses.look()

    assert {uses.of(f"c{number:02}").memory_mb for number in range(20)} == {0}


async def test_cells_are_asked_for_every_few_seconds_as_long_as_somebody_looks(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    watched = Watched()
    uses = CellUses(watched.tables, watched.registry)
    nursery.start_soon(uses.run)
    for _ in range(5):
        await uses.look()
    assert watched.registry.asked == 1

    await trio.sleep(ASK_INTERVAL_S + 1)
    asked = watched.registry.asked
    assert asked == 2

    await trio.sleep(60)
    assert watched.registry.asked == asked


async def test_a_registry_that_hangs_holds_up_the_first_look_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    watched = Watched()
    watched.registry.hangs = True
    uses = CellUses(watched.tables, watched.registry)
    nursery.start_soon(uses.run)

    began = trio.current_time()
    await uses.look()
    assert trio.current_time() - began == pytest.approx(ASK_S)
    assert uses.trouble == f"no answer within {ASK_S:g} s"

    await trio.sleep(ASK_INTERVAL_S)
    await uses.look()
    await trio.sleep(1)
    assert watched.registry.asked == 2  # and hangs again
    began = trio.current_time()
    await uses.look()
    assert trio.current_time() == began
