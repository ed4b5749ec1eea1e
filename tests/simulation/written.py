"""Schedules written by hand: for mutants that few drawn ones would break, and for faults that some seed has found."""

from collections.abc import Mapping
from typing import Final

from tests.simulation.schedule import (
    AuctioneerAway,
    CallsDoubled,
    CancelTask,
    CellDrains,
    CellLeaves,
    CommitsFail,
    Crash,
    CutFromBBS,
    DatabaseAway,
    DatabaseSlow,
    Desire,
    DesireTask,
    MasterDies,
    MasterSleeps,
    Remove,
    Reroute,
    Scale,
    Schedule,
    Step,
)


def _written(*steps: Step) -> Schedule:
    apps = (Desire(at_s=0.0, app="app-0", instances=4), Desire(at_s=0.0, app="app-1", instances=2))
    return Schedule(seed=1, cells=3, machines=2, steps=(*apps, *steps))


WRITTEN: Final[Mapping[str, Schedule]] = {
    "long run": _written(Crash(at_s=30, app="app-0"), Crash(at_s=400, app="app-0")),
    "slow database": _written(
        DatabaseSlow(at_s=20, for_s=20, write_s=0.5),
        Reroute(at_s=21, app="app-0", to="slowly"),
        Scale(at_s=25, app="app-1", instances=4),
        DesireTask(at_s=22, task="task-0", duration_s=3),
    ),
    "database away": _written(
        DatabaseAway(at_s=20, for_s=50),
        Desire(at_s=21, app="late", instances=2),
        Scale(at_s=22, app="app-0", instances=1),
        Crash(at_s=30, app="app-1"),
    ),
    "commit unknown of a cancel": _written(
        DesireTask(at_s=10, task="task-0", duration_s=90),
        CommitsFail(at_s=20, commits=("lost",), away_s=45),
        CancelTask(at_s=20.1, task="task-0"),
    ),
    "cell leaves": _written(
        *(DesireTask(at_s=10, task=f"task-{number}", duration_s=60) for number in range(3)),
        CellLeaves(at_s=20, cell="cell-0"),
    ),
    "cell leaves, app is removed": _written(
        AuctioneerAway(at_s=15, for_s=100),
        CellLeaves(at_s=20, cell="cell-0"),
        Remove(at_s=80, app="app-0"),
        Remove(at_s=80, app="app-1"),
    ),
    "cell drains and leaves": _written(
        AuctioneerAway(at_s=19, for_s=80),
        CellDrains(at_s=20, for_s=100, cell="cell-0"),
        CellLeaves(at_s=45, cell="cell-0"),
        Remove(at_s=60, app="app-0"),
    ),
    "scaled down unheard": _written(
        CutFromBBS(at_s=20, for_s=60, host="cell-0"),
        CutFromBBS(at_s=20, for_s=60, host="cell-1"),
        CutFromBBS(at_s=20, for_s=60, host="cell-2"),
        Scale(at_s=25, app="app-0", instances=1),
        Remove(at_s=25, app="app-1"),
    ),
    "calls doubled": _written(
        CallsDoubled(at_s=0, for_s=100, share=1.0),
        Scale(at_s=20, app="app-1", instances=5),
        DesireTask(at_s=20, task="task-0", duration_s=0.5),
        DesireTask(at_s=30, task="task-1", duration_s=20),
    ),
    "auctioneer away": _written(AuctioneerAway(at_s=20, for_s=30), Scale(at_s=25, app="app-1", instances=5)),
    "master dies": _written(MasterDies(at_s=20), DesireTask(at_s=30, task="task-0", duration_s=3)),
    "master sleeps": _written(
        # It goes to sleep with one transaction under way and another one waiting.
        DatabaseSlow(at_s=19, for_s=20, write_s=1.0),
        *(Scale(at_s=20 + 0.2 * n, app=f"app-{n % 2}", instances=5 - n) for n in range(4)),
        MasterSleeps(at_s=20.9, for_s=60),
        *(Reroute(at_s=42.0 + n, app="app-0", to=f"route-{n}") for n in range(20)),
    ),
    "tasks": _written(
        DesireTask(at_s=10, task="task-0", duration_s=3),
        DesireTask(at_s=11, task="task-1", duration_s=12),
        CutFromBBS(at_s=12, for_s=30, host="cell-1"),
    ),
}
