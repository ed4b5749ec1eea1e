"""How late the event loop is: what everything that waits for its turn waits for."""

from typing import Final, NoReturn

import trio

from bbs.metrics.histogram import Histogram

LOOK_INTERVAL_S: Final = 0.1


class LoopLag:
    """``lateness`` counts how many seconds after its time each wake-up came."""

    def __init__(self) -> None:
        self.lateness = Histogram()

    async def run(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + LOOK_INTERVAL_S
            await trio.sleep_until(due)
            self.lateness.observe(max(0.0, trio.current_time() - due))
