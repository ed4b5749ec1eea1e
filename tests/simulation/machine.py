"""A machine that runs a BBS process, and starts it again whenever it ends, as its supervisor does.

Several of them take turns in being master: the one that has Locket's lock.
"""

import re
from collections.abc import Callable
from random import Random
from typing import NoReturn

import trio

from bbs.store.backend import BackendUnavailable, WriterLockLost
from bbs.sync.locket.client import Locket
from bbs.sync.locket.lock import LockLost
from bbs.testing._cell import Tell
from bbs.testing._network import Network
from tests.simulation.server import BBS, Surroundings

REASONS = (LockLost, WriterLockLost, BackendUnavailable)
"""For these a process ends by itself (spec: config.md §6)."""


class Machine:
    """``on_ended`` is told why a process has ended by itself."""

    def __init__(
        self,
        name: str,
        around: Surroundings,
        *,
        locket: Locket,
        network: Network,
        random: Random,
        tell: Tell,
        on_ended: Callable[[str], None],
    ) -> None:
        self.name = name
        self._around = around
        self._locket = locket
        self._network = network
        self._random = random
        self._tell = tell
        self._on_ended = on_ended
        self._power = trio.CancelScope()
        self.bbs = BBS(around, locket=locket, owner=name)  # not yet running

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        while True:
            await self._be_process()
            await trio.sleep(self._random.uniform(0.5, 2))

    def kill(self) -> None:
        """SIGKILL; the supervisor starts another process soon."""
        self._tell(f"{self.name} killed")
        self.bbs.cpu.die()
        self._network.break_connections(to=self.bbs.cpu)
        self._power.cancel()

    def stop(self) -> None:
        """SIGSTOP: it is as if it slept."""
        self._tell(f"{self.name} sleeps")
        self.bbs.cpu.stop()

    def go_on(self) -> None:
        self._tell(f"{self.name} wakes up")
        self.bbs.cpu.go_on()

    async def _be_process(self) -> None:
        self._tell(f"{self.name} starts")
        self.bbs = BBS(self._around, locket=self._locket, owner=self.name)
        self._power = trio.CancelScope()
        try:
            with self._power:
                await self.bbs.run(self._network.listen)
        except BaseExceptionGroup as ended:
            expected, bugs = ended.split(REASONS)
            if bugs is not None:
                raise
            # The uuid of a request to Locket is made by chance, and by no seed.
            reason = re.sub(r"request-uuid \S+:", "request-uuid …:", str(_innermost(expected)))
            self._tell(f"{self.name} ends: {reason}")
            self._on_ended(f"{self.name} ended: {_innermost(expected)}")
        finally:
            self.bbs.cpu.die()
            self._network.break_connections(to=self.bbs.cpu)


def _innermost(failures: BaseException | None) -> BaseException | None:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures
