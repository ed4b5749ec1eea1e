"""Cells that die or are cut off, an auctioneer, a database or a BBS that is away: the fleet comes to rest again."""

from collections import Counter

import pytest
import trio

from bbs.models import pb
from bbs.models.actual_lrp import Presence
from bbs.models.errors import BBSError
from bbs.store.memory_backend import Fault, Outage
from tests.records import desired_message
from tests.simulation.cloud_controller import DOMAIN
from tests.simulation.seeds import simulated
from tests.simulation.watches import NoHoles
from tests.simulation.world import World

NOTICED_S = 15 + 5 + 30
"""A cell's loss: its presence expires, and the next pass of convergence comes round."""


async def desire_apps(world: World, apps: int, *, instances: int) -> None:
    for number in range(apps):
        await world.cloud.desire(f"app-{number}", instances)


@simulated(few=1, slow=True, cells=10, settle_s=None)
async def test_a_thousand_instances_are_rolled_out(world: World) -> None:
    await desire_apps(world, 20, instances=50)

    took_s = await world.settle(within_s=60, lasting_s=0)

    assert took_s < 30
    assert set(Counter(lrp.instance.cell_id for lrp in world.rows()).values()) == {100}


@simulated(few=2, cells=6)
async def test_a_cell_dies(world: World) -> None:
    await desire_apps(world, 6, instances=10)
    await world.settle(within_s=60, lasting_s=0)
    lost = {lrp.key for lrp in world.rows() if lrp.instance.cell_id == "cell-2"}
    await trio.sleep(world.random.uniform(0, 40))

    await world.kill("cell-2")

    await world.until(
        lambda: (
            {lrp.key._replace(presence=Presence.ORDINARY) for lrp in world.rows(presence=Presence.SUSPECT)}
            == lost
        ),
        within_s=NOTICED_S,
        what="suspected",
    )
    await world.settle(within_s=30, lasting_s=0)

    await world.boot("cell-2")


@simulated(few=2, cells=8, zones=2)
async def test_a_zone_dies_and_comes_back(world: World) -> None:
    await desire_apps(world, 10, instances=8)
    await world.settle(within_s=60, lasting_s=0)
    zone = [cell.cell_id for cell in world.cells.values() if cell.zone == "z0"]

    await world.kill(*zone)
    await world.settle(within_s=NOTICED_S + 60)

    assert {lrp.availability_zone for lrp in world.rows()} == {"z1"}
    for cell_id in zone:
        await world.boot(cell_id)


@simulated(few=2, cells=6)
async def test_cells_that_die_and_come_back_before_anybody_notices(world: World) -> None:
    """Their presence never expires, or only just: the rows on them are removed by the reps themselves."""
    await desire_apps(world, 5, instances=10)
    await world.settle(within_s=60, lasting_s=0)

    for cell_id in ("cell-0", "cell-1", "cell-2"):
        await world.kill(cell_id)
        await trio.sleep(world.random.uniform(0.1, 25))
        await world.boot(cell_id)


@simulated(few=2, cells=5)
async def test_all_cells_are_cut_off_from_locket(world: World) -> None:
    """Everything is suspect, nothing can be placed, and nothing is stopped: it all runs on."""
    await desire_apps(world, 5, instances=8)
    await world.settle(within_s=60, lasting_s=0)
    world.watchers.append(NoHoles(world))
    containers = world.container_guids()

    world.cut_from_locket(*world.cells)
    await world.until(
        lambda: len(world.rows(presence=Presence.SUSPECT)) == 40, within_s=NOTICED_S, what="suspected"
    )
    await trio.sleep(world.random.uniform(0, 300))
    assert not world.rows(presence=Presence.ORDINARY, state="RUNNING")
    assert world.container_guids() == containers

    world.reconnect_to_locket(*world.cells)
    await world.settle(within_s=60)

    assert world.container_guids() == containers
    assert world.reps.stops == 0


@simulated(few=4, cells=6)
async def test_some_cells_are_cut_off_from_locket(world: World) -> None:
    """They run on while they are replaced; whoever is second stops, wherever the heal falls into that."""
    await desire_apps(world, 5, instances=10)
    await world.settle(within_s=60, lasting_s=0)
    world.watchers.append(NoHoles(world))
    cut_off = world.random.sample(sorted(world.cells), world.random.randint(1, 4))

    world.cut_from_locket(*cut_off)
    await trio.sleep(world.random.choice([world.random.uniform(15, 60), world.random.uniform(60, 200)]))
    world.reconnect_to_locket(*cut_off)


@simulated(few=2, cells=4)
async def test_the_server_is_cut_off_from_locket(world: World) -> None:
    """It does not know which cells there are, so it converges nothing; it does not take them for gone."""
    await desire_apps(world, 4, instances=5)
    await world.settle(within_s=60, lasting_s=0)
    world.watchers.append(NoHoles(world))
    before = {lrp.key: lrp.tag for lrp in world.rows()}

    world.cut_from_locket("bbs")
    await trio.sleep(world.random.uniform(30, 300))

    assert {lrp.key: lrp.tag for lrp in world.rows()} == before
    world.reconnect_to_locket("bbs")


@simulated(few=2, cells=6)
async def test_cells_are_cut_off_from_the_server(world: World) -> None:
    """They are present all the while, so nothing is replaced; crashes and stops are made up for afterwards."""
    await desire_apps(world, 5, instances=8)
    await world.settle(within_s=60, lasting_s=0)
    cut_off = world.random.sample(sorted(world.cells), 2)

    world.cut_from_bbs(*cut_off)
    await world.cloud.scale("app-0", 3)
    await world.cloud.scale("app-1", 14)
    await world.cloud.remove("app-2")
    await trio.sleep(world.random.uniform(1, 240))
    world.reconnect_to_bbs(*cut_off)


@simulated(few=2, cells=4)
async def test_an_app_is_removed_while_its_cells_are_missing(world: World) -> None:
    """Its suspects go; when its cells are back, they report what nobody desires, and are told to stop it."""
    await desire_apps(world, 3, instances=6)
    await world.settle(within_s=60, lasting_s=0)
    cut_off = ["cell-0", "cell-1"]
    world.auctioneer.is_away = True
    world.cut_from_locket(*cut_off)
    world.cut_from_bbs(*cut_off)
    await world.until(
        lambda: bool(world.rows("app-1", presence=Presence.SUSPECT)), within_s=NOTICED_S, what="suspected"
    )

    await world.cloud.remove("app-1")
    await world.until(lambda: not world.rows("app-1"), within_s=60, what="removed")
    assert [guid for guid in world.container_guids() if guid.startswith("app-1.")]

    world.reconnect_to_bbs(*cut_off)
    world.reconnect_to_locket(*cut_off)
    world.auctioneer.is_away = False


@simulated(few=1, slow=True, cells=4, settle_s=120)
async def test_the_auctioneer_is_away_for_an_hour(world: World) -> None:
    await desire_apps(world, 2, instances=6)
    await world.settle(within_s=60, lasting_s=0)
    world.auctioneer.is_away = True

    await world.cloud.desire("late", 6)
    await world.cloud.scale("app-0", 8)
    await world.kill("cell-1")
    await trio.sleep(3600)
    assert len(world.rows("late", state="UNCLAIMED")) == 6
    assert len(world.rows(state="RUNNING", presence=Presence.ORDINARY)) < 12

    world.auctioneer.is_away = False


@simulated(few=2, cells=4)
async def test_placements_and_creations_fail_now_and_then(world: World) -> None:
    world.auctioneer.failing_placements = world.cloud.failing_creations = 0.2
    await desire_apps(world, 4, instances=10)
    await trio.sleep(300)
    world.auctioneer.failing_placements = world.cloud.failing_creations = 0.0
    # Some have crashed often by now.
    await world.settle(within_s=20 * 60)


@simulated(few=2, cells=4, capacity=8)
async def test_there_is_not_room_for_everybody(world: World) -> None:
    await desire_apps(world, 5, instances=8)
    await trio.sleep(200)
    assert len(world.rows(state="RUNNING")) == 4 * 8
    assert {lrp.placement_error for lrp in world.rows(state="UNCLAIMED")} == {"insufficient resources"}

    await world.cloud.remove("app-3")


@simulated(few=2, cells=5)
async def test_the_database_is_away(world: World) -> None:
    """Short outages are waited for, long ones fail what is asked meanwhile, and it is asked again."""
    await desire_apps(world, 3, instances=8)
    await world.settle(within_s=60, lasting_s=0)
    now_s = trio.current_time()
    short_s, long_s = world.random.uniform(1, 15), world.random.uniform(25, 180)
    world.faults.outages = [
        Outage(now_s + 5, now_s + 5 + short_s),
        Outage(now_s + 60, now_s + 60 + long_s),
    ]
    await trio.sleep(4)
    await world.kill("cell-0")

    await world.cloud.desire("during-the-short-one", 4)
    await trio.sleep(world.random.uniform(40, 70))
    await world.boot("cell-0")
    await world.cloud.scale("app-0", 12)
    await world.cloud.desire("during-the-long-one", 4)
    await trio.sleep(long_s)
    await world.settle(within_s=300, lasting_s=0)

    await world.restart_bbs()


@simulated(few=2, cells=3)
async def test_what_was_reported_as_failed_stays_undone(world: World) -> None:
    """The database has it, but its word never came, and then it was away for so long that the request failed."""
    await desire_apps(world, 2, instances=3)
    await world.settle(within_s=60, lasting_s=0)
    ghost = desired_message("ghost")
    ghost.domain, ghost.instances = DOMAIN, 3
    world.faults.next_writes.append(Fault.LOST_AFTER)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_desire_in_vain, world, ghost)
        await world.until(lambda: not world.faults.next_writes, within_s=5, what="written", every_s=0.001)
        await trio.sleep(2 * world.faults.write_s)
        assert world.disk.rows["desired_lrps"].keys() == {("app-0",), ("app-1",), ("ghost",)} | _sentinels(
            world
        )
        world.faults.outages = [Outage(trio.current_time(), trio.current_time() + 90)]
    await trio.sleep(100)

    assert world.tables.desired_lrps.rows.get("ghost") is None
    await world.settle(within_s=60, lasting_s=0)
    await world.restart_bbs()


async def _desire_in_vain(world: World, lrp: pb.DesiredLRP) -> None:
    with pytest.raises(BBSError):
        await world.cloud.bbs.desire_lrp(lrp)


def _sentinels(world: World) -> set[tuple[str]]:
    return {(f"sentinel-{emitter.name}",) for emitter in world.emitters}


@simulated(few=2, cells=5)
async def test_writes_are_lost_and_nobody_knows_whether(world: World) -> None:
    """A connection that breaks in COMMIT, again and again; what was written once is written no second time."""
    faults = [Fault.LOST_BEFORE, Fault.LOST_AFTER, *[Fault.NONE] * 4]
    world.faults.next_writes.extend(world.random.choices(faults, k=400))
    await desire_apps(world, 5, instances=8)
    await trio.sleep(30)
    await world.kill("cell-1")
    world.faults.next_writes.extend(world.random.choices(faults, k=200))
    await world.settle(within_s=300, lasting_s=0)

    await world.restart_bbs()


@simulated(few=2, cells=5)
async def test_the_server_is_killed_again_and_again(world: World) -> None:
    await desire_apps(world, 4, instances=6)
    world.watchers.append(NoHoles(world))
    for _ in range(4):
        await trio.sleep(world.random.uniform(1, 40))
        await world.restart_bbs()
        await world.cloud.scale("app-0", world.random.randint(1, 10))
    await world.settle(within_s=120, lasting_s=0)

    await world.restart_bbs()


@simulated(few=2, cells=4, emitters=2)
async def test_a_route_emitter_is_cut_off(world: World) -> None:
    """It lists anew, and knows what it has missed."""
    await desire_apps(world, 4, instances=5)
    await world.settle(within_s=60, lasting_s=0)
    missed = world.emitters[0]

    world.cut_from_bbs(missed.name)
    await world.cloud.scale("app-0", 12)
    await world.cloud.remove("app-1")
    await world.kill("cell-0")
    await trio.sleep(world.random.uniform(60, 200))
    world.break_connections(missed.name)
    world.reconnect_to_bbs(missed.name)
    await world.settle(within_s=120)

    assert missed.subscriptions == 2
    assert world.emitters[1].subscriptions == 1
