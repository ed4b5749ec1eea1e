"""How a cell is to behave, as data, and a cell that does."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from bbs.testing._cell import CRASHED, Cell, Life, TaskRun
from bbs.testing._misuse import StageMisused, must_be_possible


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """An instance that has just started crashes ``after_s`` seconds later, ``times`` times in all (``None``: always).

    ``process_guid`` and ``index`` say which; without them it is any that the cell runs.
    """

    after_s: float
    reason: str = CRASHED
    process_guid: str | None = None
    index: int | None = None
    times: int | None = 1

    def __post_init__(self) -> None:
        must_be_possible(self)

    def concerns(self, process_guid: str, index: int) -> bool:
        return self.process_guid in (None, process_guid) and self.index in (None, index)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """A task ends ``after_s`` seconds after its start: it completes with ``result``, or fails if there is a ``failure_reason``.

    ``task_guid`` says which; without it it is any.
    """

    after_s: float = 1.0
    result: str = ""
    failure_reason: str = ""
    task_guid: str | None = None

    def __post_init__(self) -> None:
        must_be_possible(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellBehaviour:
    """What a cell does. Times are seconds; ``math.inf`` is never.

    Attributes:
      starts_after_s: from the claim of an instance to its start. With ``math.inf`` it stays claimed.
      creation_failure: why no container can be created; '' if they can. Such an instance crashes instead of starting.
      crashes: the first that concerns an instance, and is not used up, befalls it when it starts.
      tasks: how tasks end; the first that concerns one. One that none concerns runs for a second and has no result.
      takes: whether the cell has room. Instances that no cell takes are not placed: ``insufficient resources``.
      answers: whether the cell's rep answers those who call it. One that does not is given nothing to run, and a call of the
        BBS, to stop an instance, say, waits for its timeout; what runs there goes on, and is reported as ever.
      vanishes_after_s: until it is gone without a word: from the cell's boot, or from when it was told so (`StageCell.behave`).
      evacuates_after_s: likewise, until it begins to move away what it runs, and then ends.
    """

    starts_after_s: float = 1.0
    creation_failure: str = ""
    crashes: Sequence[Crash] = ()
    tasks: Sequence[TaskEnd] = ()
    takes: bool = True
    answers: bool = True
    vanishes_after_s: float = math.inf
    evacuates_after_s: float = math.inf

    def __post_init__(self) -> None:
        must_be_possible(self)


class _AsTold:
    """A `bbs.testing._cell.Behaviour`, and a `TaskBehaviour`: what a `CellBehaviour` says."""

    def __init__(self, told: CellBehaviour) -> None:
        self.told = told
        self.answers = told.answers
        self.takes = told.takes
        self._befallen = Counter[int]()
        """How often each of the crashes has, by its place."""

    def creation_s(self, random: Random) -> float:
        return self.told.starts_after_s

    def creation_failure(self, process_guid: str) -> str:
        return self.told.creation_failure

    def life(self, process_guid: str, index: int) -> Life:
        for place, crash in enumerate(self.told.crashes):
            is_left = crash.times is None or self._befallen[place] < crash.times
            if is_left and crash.concerns(process_guid, index):
                self._befallen[place] += 1
                return Life(crash.after_s, crash.reason)
        return Life()

    def run(self, task_guid: str, cell_id: str) -> TaskRun:
        ends = (end for end in self.told.tasks if end.task_guid in (None, task_guid))
        end = next(ends, TaskEnd())
        return TaskRun(end.after_s, end.result, end.failure_reason)

    def completed(self, task_guid: str, *, failed: bool, result: str) -> None:
        pass


class StageCell(Cell):
    """A cell that behaves as told. Made, and booted, by `Stage.add_cell`.

    ``containers`` has what runs there, by instance guid, and ``tasks`` the guids of its tasks.
    """

    def __init__(self, cell_id: str, told: CellBehaviour, **around: Any) -> None:
        """``around`` is what a `Cell` wants besides."""
        behaviour = _AsTold(told)
        super().__init__(cell_id, behaviour=behaviour, task_behaviour=behaviour, **around)
        self._told = told
        self._until_told = trio.CancelScope()
        self._one_boot = trio.Lock()

    def behave(self, told: CellBehaviour) -> None:
        """Behave so from now on, and leave at the times that this says, counted from now. What has begun already, such as an
        instance that is to crash later, or an evacuation, takes its course.
        """
        self._told = told
        self.behaviour = self._task_behaviour = _AsTold(told)
        self._until_told.cancel()

    def crash(self, process_guid: str, index: int | None = None, *, reason: str = CRASHED) -> None:
        """Have the instances of a process crash that this cell runs, or the one with this index.

        Raises:
          StageMisused: it runs none; the text has those that it runs.
        """
        here = sorted(container.at for container in self.containers.values())
        if not any(guid == process_guid and index in (None, each) for guid, each in here):
            names = ", ".join(f"{guid}/{each}" for guid, each in here) or "nothing"
            raise StageMisused(
                f"{self.cell_id} does not run {process_guid}{'' if index is None else f'/{index}'}, but {names}: wait until"
                " it runs there (`await stage.until_running(...)`), or have it crash on its own cell"
            )
        super().crash(process_guid, index, reason=reason)

    def vanish(self) -> None:
        """Lose the power: everything on it ends at once, and nobody is told. The BBS notices when the cell's presence expires."""
        self.die()
        self._network.break_connections(self.cell_id)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As `Cell.run`, once what is left of the last boot has ended."""
        async with self._one_boot, trio.open_nursery() as nursery:
            nursery.start_soon(self._leave)
            await super().run(task_status=task_status)
            nursery.cancel_scope.cancel()

    async def _leave(self) -> None:
        while True:
            with trio.CancelScope() as self._until_told:
                await self._leave_as_told(self._told)
                return

    async def _leave_as_told(self, told: CellBehaviour) -> None:
        await trio.sleep(min(told.vanishes_after_s, told.evacuates_after_s))
        if told.vanishes_after_s <= told.evacuates_after_s:
            self.vanish()
        else:
            self.evacuate()
            await trio.sleep(told.vanishes_after_s - told.evacuates_after_s)
            self.vanish()
