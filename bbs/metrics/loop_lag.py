"""How late the event loop is: every task that becomes ready waits about so long for its turn."""

from typing import Final, NoReturn

import trio

from bbs.metrics.histogram import Histogram

LOOK_INTERVAL_S: Final = 0.1


class LoopLag:
    """Wakes up every `LOOK_INTERVAL_S`; ``lateness`` is a histogram of how many seconds too late that was."""

    def __init__(self) -> None:
        self.lateness = Histogram()

    async def run(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + LOOK_INTERVAL_S
            await trio.sleep_until(due)
            self.lateness.observe(max(0.0, trio.current_time() - due))
