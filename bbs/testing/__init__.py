"""A BBS for the tests of those who write its clients: the assembled service in memory, cells that behave as told, faults as data.

    async with open_stage() as stage, stage.connect() as bbs:
        await stage.add_cell("cell-1", CellBehaviour(crashes=[Crash(after_s=5, index=0)]))
        await bbs.desire_lrp(desired_message("app", instances=2))
        await stage.until_running("app", 2)
        await stage.inflict(DatabaseAway(for_s=10))

It is the service that ships, behind the HTTP server that ships, and `bbs.client` talks to it; what it does without is a process,
a real database, and, unless it is given a port, real sockets and real time. With pytest use the fixtures of
`bbs.testing.pytest_plugin`.
"""

from bbs.testing._behaviour import CellBehaviour, Crash, StageCell, TaskEnd
from bbs.testing._callbacks import CalledBack
from bbs.testing._faults import (
    AuctioneerAway,
    CommitUnanswered,
    ConnectionCut,
    DatabaseAway,
    FailOver,
    Fault,
    LocketAway,
    NoAnswer,
    NotReady,
    Refused,
    StreamsCut,
    StreamsStalled,
)
from bbs.testing._messages import desired_message, task_definition
from bbs.testing._misuse import StageMisused
from bbs.testing._stage import Stage, open_stage

__all__ = [
    "AuctioneerAway",
    "CalledBack",
    "CellBehaviour",
    "CommitUnanswered",
    "ConnectionCut",
    "Crash",
    "DatabaseAway",
    "FailOver",
    "Fault",
    "LocketAway",
    "NoAnswer",
    "NotReady",
    "Refused",
    "Stage",
    "StageCell",
    "StageMisused",
    "StreamsCut",
    "StreamsStalled",
    "TaskEnd",
    "desired_message",
    "open_stage",
    "task_definition",
]
