"""A schedule for each seed.

Not every kind of fault is in every schedule: each has a few kinds of its own, and those often. Two faults that meet are
found sooner that way than with a little of everything (known as swarm testing).
"""

from collections.abc import Callable
from random import Random
from typing import Final

from tests.simulation.determinism import generator
from tests.simulation.schedule import (
    AllServersDie,
    AuctioneerAway,
    CallbacksUnanswered,
    CallsDoubled,
    CallsUnanswered,
    CancelTask,
    CellDies,
    CellDrains,
    CellLeaves,
    CommitsFail,
    ConnectionsBreak,
    Crash,
    CutFromBBS,
    CutFromLocket,
    DatabaseAway,
    DatabaseHangs,
    DatabaseSlow,
    Desire,
    DesireTask,
    MasterDies,
    MasterSleeps,
    MessagesDelayed,
    MessagesLost,
    PlacementsFail,
    Remove,
    Reroute,
    Scale,
    Schedule,
    Step,
)

CELLS: Final = 4
MACHINES: Final = 2
APPS: Final = 3
TROUBLED_S: Final = 110.0
"""Within this time everything begins."""
KINDS_MAX: Final = 5
FAULTS_MAX: Final = 9

Draw = Callable[[Random, float], Step]

FAULTS: Final[tuple[Draw, ...]] = (
    lambda draw, at_s: CellDies(at_s=at_s, for_s=_long(draw), cell=_cell(draw)),
    # Always the same one: three are left.
    lambda draw, at_s: CellLeaves(at_s=at_s, cell="cell-3"),
    lambda draw, at_s: CellDrains(at_s=at_s, for_s=_long(draw), cell=_cell(draw)),
    lambda draw, at_s: CutFromBBS(at_s=at_s, for_s=_long(draw), host=_cell(draw)),
    lambda draw, at_s: CutFromBBS(
        at_s=at_s, for_s=_long(draw), host=draw.choice(["auctioneer", "emitter-0", "cloud-controller"])
    ),
    lambda draw, at_s: CutFromLocket(at_s=at_s, for_s=_long(draw), host=_cell(draw)),
    lambda draw, at_s: CutFromLocket(at_s=at_s, for_s=_long(draw), host=f"bbs-{draw.randrange(MACHINES)}"),
    lambda draw, at_s: AuctioneerAway(at_s=at_s, for_s=_long(draw)),
    lambda draw, at_s: CallbacksUnanswered(at_s=at_s, for_s=_long(draw), status=draw.choice([0, 503])),
    lambda draw, at_s: MessagesLost(at_s=at_s, for_s=_long(draw), share=draw.choice([0.01, 0.1, 0.4])),
    lambda draw, at_s: MessagesDelayed(at_s=at_s, for_s=_long(draw), max_s=draw.choice([0.2, 1.0, 4.0])),
    lambda draw, at_s: CallsDoubled(at_s=at_s, for_s=_long(draw), share=draw.choice([0.3, 1.0])),
    lambda draw, at_s: CallsUnanswered(at_s=at_s, for_s=_long(draw), share=draw.choice([0.3, 1.0])),
    lambda draw, at_s: ConnectionsBreak(at_s=at_s, host=draw.choice([_cell(draw), "emitter-0", "reader"])),
    lambda draw, at_s: PlacementsFail(at_s=at_s, for_s=_long(draw), share=draw.choice([0.3, 1.0])),
    lambda draw, at_s: DatabaseAway(at_s=at_s, for_s=_long(draw)),
    lambda draw, at_s: DatabaseHangs(at_s=at_s, for_s=_long(draw)),
    lambda draw, at_s: DatabaseSlow(at_s=at_s, for_s=_long(draw), write_s=draw.choice([0.05, 0.5, 3.0])),
    lambda draw, at_s: CommitsFail(
        at_s=at_s,
        commits=tuple(draw.choices(["lost", "missed", "refused", "ok"], k=draw.randint(1, 6))),
        away_s=draw.choice([0.0, 3.0, 25.0]),
    ),
    lambda draw, at_s: MasterDies(at_s=at_s),
    lambda draw, at_s: AllServersDie(at_s=at_s),
    lambda draw, at_s: MasterSleeps(at_s=at_s, for_s=_long(draw)),
)


def drawn(seed: int) -> Schedule:
    """The schedule of a seed."""
    draw = generator(seed, "schedule")
    steps = _work(draw)
    kinds = draw.sample(FAULTS, draw.randint(1, KINDS_MAX))
    for _ in range(draw.randint(2, FAULTS_MAX)):
        steps.append(draw.choice(kinds)(draw, _moment(draw)))
    steps.sort(key=lambda step: step.at_s)
    return Schedule(seed=seed, cells=CELLS, machines=MACHINES, steps=tuple(steps))


def _work(draw: Random) -> list[Step]:
    apps = [f"app-{number}" for number in range(APPS)]
    steps: list[Step] = [_desire(draw, app, 0.0) for app in apps]
    crashes = 0
    for number in range(draw.randint(4, 10)):
        app, at_s = draw.choice(apps), _moment(draw)
        match draw.randrange(6):
            case 0 | 1:
                steps.append(Scale(at_s=at_s, app=app, instances=draw.randint(0, 5)))
            case 2 | 3:
                steps.append(Reroute(at_s=at_s, app=app, to=f"route-{number}"))
            case 4:
                steps.append(Remove(at_s=at_s, app=app))
                steps.append(_desire(draw, app, _later(draw, at_s)))
            case 5 if crashes < 3:
                # A fourth crash would have everybody wait for minutes.
                steps.append(Crash(at_s=at_s, app=app))
                crashes += 1
            case _:
                pass
    for number in range(draw.randint(1, 4)):
        task, at_s = f"task-{number}", _moment(draw)
        steps.append(DesireTask(at_s=at_s, task=task, duration_s=draw.choice([0.5, 5.0, 40.0])))
        if draw.random() < 0.3:
            steps.append(CancelTask(at_s=_later(draw, at_s), task=task))
    return steps


def _desire(draw: Random, app: str, at_s: float) -> Desire:
    return Desire(at_s=at_s, app=app, instances=draw.randint(1, 4), recreate=draw.random() < 0.25)


def _moment(draw: Random) -> float:
    """Faults that begin together are drawn often: whole tens of seconds, and a moment after."""
    if draw.random() < 0.4:
        return draw.randrange(0, int(TROUBLED_S), 10) + draw.choice([0.0, 0.003, 0.01, 0.1])
    return round(draw.uniform(0, TROUBLED_S), 3)


def _later(draw: Random, at_s: float) -> float:
    return round(at_s + draw.choice([0.005, 1.0, 20.0]), 3)


def _long(draw: Random) -> float:
    return draw.choice([0.5, 4.0, 12.0, 25.0, 50.0])


def _cell(draw: Random) -> str:
    return f"cell-{draw.randrange(CELLS)}"
