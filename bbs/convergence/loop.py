"""When convergence passes run (spec: convergence.md §1)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import trio

from bbs.concurrency.clearable_event import ClearableEvent
from bbs.log import Logger
from bbs.models.errors import Failure

Converge = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """What is done before the passes if there is nothing to do: a checkpoint."""
    await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Times of Trio's clock, in seconds; None of what has not been. ``begun_at`` and ``ended_at`` are those of the last passes that
    began and that ended, ``next_at`` is when the next ones begin unless they are woken earlier, None while some run.
    """

    begun_at: float | None = None
    ended_at: float | None = None
    next_at: float | None = None

    @property
    def are_running(self) -> bool:
        return self.begun_at is not None and self.next_at is None


class ConvergenceLoop:
    """Runs all passes at once, again and again: the first time after one interval, then each time one interval after
    the last of them has ended.

    ``passes`` are named as the log names them: ``lrps`` and ``tasks``, and ``first`` is done before them each time. A
    Failure that a pass raises is logged; any other error ends `run`, and with it the process.
    """

    def __init__(
        self,
        passes: Mapping[str, Converge],
        *,
        repeat_interval_s: float,
        log: Logger,
        first: Converge = nothing,
    ) -> None:
        self._passes = passes
        self._first = first
        self._repeat_interval_s = repeat_interval_s
        self._log = log
        self._wanted_now = ClearableEvent()
        self.times = PassTimes()
        """When passes ran, and will run."""

    def wake(self) -> None:
        """Run the passes now, or right after those that are running; then wait a whole interval, as after any.

        What happened before the call is seen by passes that begin after it, so however often this is called while they
        run, they run once more.
        """
        self._wanted_now.set()

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Run passes until cancelled.

        Cancellation:
          Abandons the passes where they are; what they have committed stands.
        """
        task_status.started()
        while True:
            pause_s = max(0.0, self._repeat_interval_s)  # a negative one is over, as in Go
            self.times = replace(self.times, next_at=trio.current_time() + pause_s)
            with trio.move_on_after(pause_s):
                await self._wanted_now.wait()
            self.times = replace(self.times, begun_at=trio.current_time(), next_at=None)
            # Cleared before the passes begin, not after: a cell may go while they run, after they have asked for the cells.
            self._wanted_now.clear()
            await self._first()
            log = self._log.session("executing-convergence")
            async with trio.open_nursery() as nursery:
                for name, converge in self._passes.items():
                    nursery.start_soon(_told, log, name, converge)
            self.times = replace(self.times, ended_at=trio.current_time())


async def _told(log: Logger, name: str, converge: Converge) -> None:
    log.info(f"converge-{name}-started")
    try:
        await converge()
    except Failure as error:  # it will be tried again
        log.error(f"failed-to-converge-{name}", error=error)
    log.info(f"converge-{name}-done")
