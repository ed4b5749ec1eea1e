"""One seed, one run.

What a run depends on: the clock, which is Trio's mock clock; the order in which Trio runs tasks, which is drawn from a
`Random` of Trio's own; and the draws of the simulated components, each from a `Random` of its own made from the seed and its
name. The server looks at Trio's clock, too, to give others a turn (`bbs.concurrency.turns`).
"""

import random
from collections.abc import Awaitable, Callable

import hypothesis
import trio
import trio._core._run as trio_run  # its scheduler can't be seeded otherwise
import trio.testing

RUN_S_MAX = 48 * 3600.0
"""Virtual. A run that takes longer is one that hangs."""

assert hypothesis  # importing it makes Trio's scheduling depend on `trio_run._r` alone


def generator(seed: int, name: str) -> random.Random:
    """The chance that ``name`` has in the run of this seed, whatever the others draw."""
    return random.Random(f"{seed}/{name}")


def run_in_virtual_time(main: Callable[[], Awaitable[None]], *, seed: int) -> None:
    """Run ``main`` so that it does the same again the next time."""
    assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING, "this Trio shuffles tasks in a way that can't be seeded"

    async def bounded() -> None:
        with trio.fail_after(RUN_S_MAX):
            await main()

    state = trio_run._r.getstate()
    trio_run._r.seed(seed)
    try:
        trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        trio_run._r.setstate(state)
