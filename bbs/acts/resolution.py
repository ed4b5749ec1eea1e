"""The last two steps of a task's life, as the callback pool takes them, and clients may."""

from collections.abc import Callable

from bbs.acts.change import change
from bbs.lifecycle import tasks as lifecycle
from bbs.models.task import Task
from bbs.store.store import Store


class TaskResolution:
    """``now_ns`` is the wall clock, in Unix nanoseconds."""

    def __init__(self, store: Store, *, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    async def resolving(self, task_guid: str) -> Task:
        """Mark a completed task as being resolved, and return it.

        Raises:
          BBSError: it may not be called back, by this caller or at all: it is gone, or somebody else is about it.
        """
        outcome = await change(
            self._store.task(task_guid),
            lambda scope: lifecycle.resolving(scope.task(), now_ns=self._now_ns()),
        )
        assert not outcome.effects
        [(_, task)] = outcome.rows
        assert isinstance(task, Task)
        return task

    async def delete(self, task_guid: str) -> None:
        """Delete a task that is being resolved.

        Raises:
          BBSError: it is not deleted, and nobody is told so.
        """
        outcome = await change(self._store.task(task_guid), lambda scope: lifecycle.remove(scope.task()))
        assert not outcome.effects
