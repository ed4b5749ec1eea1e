"""When convergence passes run (spec: convergence.md §1)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import trio


async def repeat_passes(
    passes: Sequence[Callable[[], Awaitable[None]]], *, repeat_interval_s: float
) -> NoReturn:
    """Run all ``passes`` at once, again and again, until cancelled.

    The first time after one interval, then each time one interval after the last of them has ended. A pass deals with
    its own errors; one that raises ends this, and with it the process.

    Cancellation:
      Abandons the passes where they are; what they have committed stands.
    """
    while True:
        await trio.sleep(repeat_interval_s)
        async with trio.open_nursery() as nursery:
            for converge in passes:
                nursery.start_soon(converge)
