"""A fleet in numbers, from what the tables keep filed: nothing here goes through all rows, and what may be many is gone
through in turns."""

from dataclasses import dataclass
from typing import Final

from bbs.concurrency.turns import in_turns
from bbs.models.actual_lrp import ActualLRPKey, ActualLRPState, Presence
from bbs.models.task import TaskState
from bbs.store.tables import Tables

TASK_STATES: Final = (TaskState.Pending, TaskState.Running, TaskState.Completed, TaskState.Resolving)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """``by_state`` counts the rows of every presence. ``missing`` are indices that are desired and have no ordinary row; ``extra``
    are ordinary rows beyond what is desired, ``orphans`` ordinary and suspect rows of what nobody desires.
    """

    by_state: dict[str, int]
    evacuating: int
    suspect: int
    desired: int
    processes: int
    missing: int
    extra: int
    orphans: int


KEYS_OF_A_TURN: Final = 2_000


async def instances(tables: Tables) -> Instances:
    attention = tables.attention
    suspects = await _orphaned_suspects(tables)
    by_presence = {
        presence: sum(attention.count(presence, state) for state in ActualLRPState) for presence in Presence
    }
    orphans = sum(len(rows) for _, rows in attention.orphans.items())
    extra = sum(attention.beyond.values())
    unwanted = extra + max(0, orphans - suspects)
    return Instances(
        by_state={
            state.value: sum(attention.count(presence, state) for presence in Presence)
            for state in ActualLRPState
        },
        evacuating=by_presence[Presence.EVACUATING],
        suspect=by_presence[Presence.SUSPECT],
        desired=attention.desired_instances,
        processes=len(tables.desired_lrps.rows),
        # What is desired, less the ordinary rows that stand for it.
        missing=max(0, attention.desired_instances - (by_presence[Presence.ORDINARY] - unwanted)),
        extra=extra,
        orphans=orphans,
    )


async def _orphaned_suspects(tables: Tables) -> int:
    """How many of the orphans are suspect. There are seldom both, so this is seldom worth a look at each."""
    if not len(tables.attention.orphans) or not tables.attention.suspects:
        return 0
    desired, found = tables.desired_lrps.rows, 0
    keys: list[ActualLRPKey] = list(tables.attention.suspects)
    async for some in in_turns(keys, KEYS_OF_A_TURN):
        found += sum(key.process_guid not in desired for key in some)
    return found


def tasks(tables: Tables) -> dict[str, int]:
    """By the name of their state."""
    return {state.name: len(tables.tasks.by_state[state.name]) for state in TASK_STATES}
