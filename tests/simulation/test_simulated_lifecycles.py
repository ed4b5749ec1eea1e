"""What apps do and what is asked of them: crash loops, scaling, new routes, stale domains, draining cells."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import trio

from bbs.models import pb
from bbs.models.actual_lrp import Presence
from bbs.store.memory_backend import Outage
from tests.simulation.seeds import seeds, simulated
from tests.simulation.watches import NoHoles
from tests.simulation.world import World, simulate

PASS_S = 30
PLACED_S = 15
"""From an auction to a running container, at most; with a pass of convergence that was under way."""


def routes(hostname: str) -> pb.ProtoRoutes:
    return pb.ProtoRoutes(routes={"internal-router": json.dumps([{"hostname": hostname}]).encode()})


# Crash loops


@simulated(few=1, slow=True, cells=3, settle_s=30 * 60)
async def test_a_crash_loop_backs_off_and_is_forgiven(world: World) -> None:
    """Twice at once, then after pauses that double up to 16 minutes (spec: actual-lrps.md §3)."""
    await world.cloud.desire("steady", 4)
    lives = [5.0] * 10
    app = await world.cloud.desire("looping", 1)
    app.lifetimes_s = list(lives)
    await world.until(lambda: len(app.starts_s) == len(lives) + 1, within_s=7200, what="restarted ten times")

    # The last pause but one is the longest there is.
    for crashes, pause_s in enumerate([0, 0, 30, 60, 120, 240, 480, 960, 960, 960], start=1):
        down_s = app.starts_s[crashes] - (app.starts_s[crashes - 1] + lives[crashes - 1])
        assert pause_s <= down_s < pause_s + PLACED_S + (PASS_S if pause_s else 0), f"after crash {crashes}"

    # It is up; a crash within five minutes makes things worse, a later one is its first.
    app.lifetimes_s = [301.0]
    world.cells[world.rows("looping")[0].instance.cell_id].crash("looping")
    await world.until(lambda: len(app.starts_s) == len(lives) + 2, within_s=1100, what="restarted")
    await trio.sleep(301 + PLACED_S)

    assert len(app.starts_s) == len(lives) + 3
    assert world.rows("looping")[0].crash_count == 1
    assert {len(other.starts_s) for guid, other in world.cloud.apps.items() if guid == "steady"} == {4}


@simulated(few=2, cells=4, settle_s=20 * 60)
async def test_many_apps_crash_while_cells_die(world: World) -> None:
    for number in range(6):
        app = await world.cloud.desire(f"app-{number}", 5)
        app.lifetimes_s = [world.random.uniform(1, 400) for _ in range(world.random.randint(0, 25))]
    for _ in range(3):
        await trio.sleep(world.random.uniform(10, 200))
        cell_id = world.random.choice(sorted(world.cells))
        await world.kill(cell_id)
        await trio.sleep(world.random.uniform(1, 90))
        await world.boot(cell_id)
    for app in world.cloud.apps.values():
        app.lifetimes_s.clear()
    await trio.sleep(400)  # those that run already have drawn how long they live


# Scaling, routes, domains


@simulated(few=2, cells=5)
async def test_apps_are_scaled_and_rerouted_while_cells_die(world: World) -> None:
    hostnames: dict[str, str] = {}
    for number in range(5):
        await world.cloud.desire(f"app-{number}", 4)
    for step in range(12):
        guid = world.random.choice(sorted(world.cloud.apps))
        cell_id = world.random.choice(sorted(world.cells))
        match world.random.randrange(5):
            case 0 | 1:
                await world.cloud.scale(guid, world.random.randint(0, 9))
            case 2 | 3:
                hostnames[guid] = f"{guid}-{step}.apps.internal"
                await world.cloud.update(guid, pb.DesiredLRPUpdate(routes=routes(hostnames[guid])))
            case _:
                if world.cells[cell_id].is_up:
                    await world.kill(cell_id)
                else:
                    await world.boot(cell_id)
        await trio.sleep(world.random.uniform(0, 25))
    for cell_id, cell in world.cells.items():
        if not cell.is_up:
            await world.boot(cell_id)
    await world.settle(within_s=300)

    for guid, hostname in hostnames.items():
        assert {lrp.internal_routes for lrp in world.rows(guid)} <= {(hostname,)}
    for cell in world.cells.values():
        for container in cell.containers.values():
            guid = container.key.process_guid
            assert container.internal_routes == ((hostnames[guid],) if guid in hostnames else ())


@simulated(few=2, cells=4)
async def test_nothing_is_stopped_while_the_domain_is_stale(world: World) -> None:
    """What is not desired may merely not be known: only a fresh domain says that it is to go (spec: domains.md §5)."""
    await world.cloud.desire("stays", 6)
    await world.cloud.desire("goes", 6)
    await world.settle(within_s=60, lasting_s=0)
    containers = world.container_guids()
    world.cloud.refreshes = False
    await trio.sleep(200)
    assert not await world.cloud.bbs.domains()

    # The cells do not hear of this: only convergence could stop the instances.
    world.cut_from_bbs(*world.cells)
    await world.cloud.scale("stays", 2)
    await world.cloud.remove("goes")
    await trio.sleep(60)
    world.reconnect_to_bbs(*world.cells)
    await trio.sleep(world.random.uniform(100, 300))
    assert world.container_guids() == containers
    assert world.reps.stops == 0

    world.cloud.refreshes = True
    await world.settle(within_s=120)
    assert len(world.container_guids()) == 2


# Evacuation


async def drain(world: World, *cell_ids: str, within_s: float = 300) -> None:
    for cell_id in cell_ids:
        world.cells[cell_id].evacuate()
    await world.until(
        lambda: not any(world.cells[cell_id].is_up for cell_id in cell_ids), within_s=within_s, what="drained"
    )


@simulated(few=2, cells=5)
async def test_the_whole_fleet_is_evacuated_cell_by_cell_and_nobody_notices(world: World) -> None:
    for number in range(5):
        await world.cloud.desire(f"app-{number}", 6)
    await world.settle(within_s=60, lasting_s=0)
    world.watchers.append(NoHoles(world))
    before = world.container_guids()

    for cell_id in world.cells:
        await drain(world, cell_id)
        await world.boot(cell_id)
    await world.settle(within_s=60)

    assert before.isdisjoint(world.container_guids())
    assert world.reps.stops == 0


@simulated(few=2, cells=6)
async def test_several_cells_are_evacuated_at_once(world: World) -> None:
    """What has just been placed anew may have to move on at once: still nobody notices."""
    for number in range(5):
        await world.cloud.desire(f"app-{number}", 6)
    await world.settle(within_s=60, lasting_s=0)
    world.watchers.append(NoHoles(world))
    first, second = ["cell-0", "cell-1"], ["cell-2", "cell-3", "cell-4"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, world, *first)
        await trio.sleep(world.random.uniform(0, 15))
        nursery.start_soon(drain, world, *second)

    assert {lrp.instance.cell_id for lrp in world.rows()} == {"cell-5"}


@simulated(few=2, cells=4, settle_s=None)
async def test_with_recreate_one_instance_of_a_process_moves_at_a_time(world: World) -> None:
    for number in range(3):
        await world.cloud.desire(f"app-{number}", 4, update_strategy=pb.DesiredLRP.RECREATE)
    await world.settle(within_s=60, lasting_s=0)

    def one_is_down_at_most() -> Iterator[str]:
        for app in world.cloud.apps.values():
            running = world.rows(app.process_guid, presence=Presence.ORDINARY, state="RUNNING")
            if len(running) < app.instances - 1:
                yield f"only {len(running)} instances of {app.process_guid} run"
        yield from (f"{lrp.key} evacuates" for lrp in world.rows(presence=Presence.EVACUATING))

    world.watchers.append(one_is_down_at_most)

    for cell_id in world.cells:
        await drain(world, cell_id)
        await world.boot(cell_id)
    await world.settle(within_s=60)


@simulated(few=2, cells=3, capacity=8)
async def test_a_draining_cell_dies_before_there_is_room_elsewhere(world: World) -> None:
    """Until then it is kept up, however long it takes; then its evacuating rows go with it."""
    await world.cloud.desire("app", 18)
    await world.settle(within_s=60, lasting_s=0)
    crowd = world.cells["cell-1"].containers.keys()
    assert len(crowd) == 6

    world.cells["cell-1"].evacuate()
    await trio.sleep(world.random.uniform(200, 500))
    assert len(world.rows(presence=Presence.EVACUATING)) == 2
    assert len(crowd) == 2

    await world.kill("cell-1")
    await world.until(
        lambda: not world.rows(presence=Presence.EVACUATING), within_s=60, what="without evacuating rows"
    )
    await world.boot("cell-1")


@simulated(few=3, cells=5, settle_s=20 * 60)
async def test_evacuations_are_interrupted(world: World) -> None:
    """The draining cell dies, those that take over die, the server is killed, apps crash, apps go."""
    for number in range(4):
        await world.cloud.desire(f"app-{number}", 6, update_strategy=number % 2)
    await world.settle(within_s=60, lasting_s=0)
    for _ in range(3):
        draining = world.random.choice(sorted(world.cells))
        others = sorted(world.cells.keys() - {draining})
        world.cells[draining].evacuate()
        await trio.sleep(world.random.uniform(0, 12))
        match world.random.randrange(5):
            case 0:
                await world.kill(draining)
            case 1:
                await world.kill(world.random.choice(others))
            case 2:
                await world.restart_bbs()
            case 3:
                for cell_id in others:
                    world.cells[cell_id].crash("app-1")
            case 4:
                await world.cloud.scale("app-0", world.random.randint(0, 6))
        await trio.sleep(world.random.uniform(0, 60))
        for cell_id, cell in world.cells.items():
            if not cell.is_up:
                await world.boot(cell_id)


# A bit of everything


CHAOTIC: Final[dict[str, Any]] = {"cells": 6, "emitters": 2, "creation_s": (0.5, 20.0)}
"""Containers that take long to create are claimed for long, so that more can happen to them meanwhile."""


async def chaos(world: World) -> None:
    for number in range(5):
        await world.cloud.desire(f"app-{number}", world.random.randint(1, 8), update_strategy=number % 2)
    for step in range(40):
        await _something_happens(world, step)
        await trio.sleep(world.random.choice([0, world.random.expovariate(1 / 15)]))
    await _all_is_well(world)


async def _something_happens(world: World, step: int) -> None:
    draw = world.random
    cell_id = draw.choice(sorted(world.cells))
    cell = world.cells[cell_id]
    app = draw.choice(sorted(world.cloud.apps))
    match draw.randrange(17):
        case 0:
            await world.kill(cell_id)
        case 1 | 2:
            if not cell.is_up:
                await world.boot(cell_id)
        case 3:
            cell.evacuate()
        case 4:
            world.cut_from_locket(cell_id)
        case 5:
            world.cut_from_bbs(draw.choice([cell_id, "auctioneer", "emitter-0"]))
        case 6:
            for host in [*world.cells, "auctioneer", "emitter-0"]:
                world.reconnect_to_bbs(host)
            world.reconnect_to_locket(*world.lockets)
        case 7:
            await world.cloud.scale(app, draw.randint(0, 10))
        case 8:
            await world.cloud.update(app, pb.DesiredLRPUpdate(routes=routes(f"{app}-{step}.internal")))
        case 9:
            await world.cloud.remove(app)
            await world.cloud.desire(f"app-{step + 100}", draw.randint(1, 8))
        case 10:
            cell.crash(app)
        case 11:
            await world.restart_bbs()
        case 12:
            world.auctioneer.is_away = not world.auctioneer.is_away
        case 13:
            now_s = trio.current_time()
            world.tell("the database goes away")
            world.faults.outages = [Outage(now_s, now_s + draw.choice([5, 45]))]
        case 14:
            tags = {"source_id": pb.MetricTagValue(static=app), "step": pb.MetricTagValue(static=str(step))}
            await world.cloud.update(app, pb.DesiredLRPUpdate(metric_tags=tags))
        case 15:
            await world.kill(*draw.sample(sorted(world.cells), 3))
        case 16:
            world.auctioneer.failing_placements = world.cloud.failing_creations = draw.choice([0, 0.3])


async def _all_is_well(world: World) -> None:
    world.tell("all is well again")
    for host in [*world.cells, "auctioneer", "emitter-0"]:
        world.reconnect_to_bbs(host)
    world.reconnect_to_locket(*world.lockets)
    world.auctioneer.is_away = False
    world.auctioneer.failing_placements = world.cloud.failing_creations = 0.0
    world.faults.outages = []
    for cell_id, cell in world.cells.items():
        if not cell.is_up:
            await world.boot(cell_id)


@pytest.mark.parametrize("seed", seeds(6))
def test_chaos(seed: int) -> None:
    simulate(chaos, seed=seed, settle_s=20 * 60, **CHAOTIC)
