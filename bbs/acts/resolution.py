"""The last two steps of a task's life: being resolved, and deleted. The callback pool takes them, and clients may as well."""

from collections.abc import Callable

from bbs.acts.change import change
from bbs.lifecycle import tasks as lifecycle
from bbs.models.task import Task
from bbs.store.store import Store


class TaskResolution:
    """Two functions for the callback pool, which needs no more of the store. ``now_ns`` is the wall clock, in Unix
    nanoseconds.
    """

    def __init__(self, store: Store, *, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    async def resolving(self, task_guid: str) -> Task:
        """Mark a completed task as being resolved, and return it.

        Raises:
          ResourceNotFound, Deserialize: there is no such task, or its definition cannot be read.
          InvalidStateTransition: it is not completed, or somebody else is resolving it already.
          Failure: the change could not be written, as `bbs.acts.change.change` raises it.
        Cancellation:
          Gives up the wait, not the write: the task may be Resolving afterwards, and convergence then makes it Completed
          again in its time.
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
          ResourceNotFound, Deserialize: there is no such task, or its definition cannot be read.
          InvalidStateTransition: it is not being resolved.
          Failure: the deletion could not be written, as `bbs.acts.change.change` raises it.
        Cancellation:
          Gives up the wait, not the write.
        """
        outcome = await change(self._store.task(task_guid), lambda scope: lifecycle.remove(scope.task()))
        assert not outcome.effects
