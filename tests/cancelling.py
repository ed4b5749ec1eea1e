"""Cancelling a call at every step of its way."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

STEPS_MAX: Final = 2000
"""A call that is not through by then never ends."""

CALL_MAX_S: Final = 10.0


class CancelAtStep(trio.abc.Instrument):
    """Cancels ``scope`` before the ``number``-th step of any task since it was made."""

    def __init__(self, scope: trio.CancelScope, number: int) -> None:
        self._scope = scope
        self._left = number

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancelled_at(step: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Whether it was cancelled: False once ``step`` is past its end. Step 0 is before the call has begun."""
    with trio.CancelScope() as scope:
        if step == 0:
            scope.cancel()
        instrument = CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            with trio.fail_after(CALL_MAX_S):
                await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def at_every_step(attempt: Callable[[int], Awaitable[bool]], *, first: int = 0, every: int = 1) -> int:
    """Have ``attempt`` cancel one call at step ``first``, and at each ``every``-th after it, until it says that the call was
    not cancelled.

    Returns that step.
    """
    for step in range(first, STEPS_MAX, every):
        if not await attempt(step):
            assert step > first, "nothing was cancelled"
            return step
    raise AssertionError(f"not through after {STEPS_MAX} steps")
