"""Whether a process runs: what SIGSTOP, SIGCONT and SIGKILL do to one whose tasks are in this program.

A stopped process goes on computing here, but nothing that it does comes out, and nothing comes in: whatever crosses its
border waits, in both directions. So nobody can tell it from one that does not run, as long as everything that leads out of
a process, and its clock's consequences, pass through `CPU.wait`.
"""

from typing import Final

import trio


class CPU:
    """What lets one process run."""

    def __init__(self) -> None:
        self._going = trio.Event()
        self._going.set()
        self.is_dead = False

    @property
    def runs(self) -> bool:
        return not self.is_dead and self._going.is_set()

    def stop(self) -> None:
        """SIGSTOP."""
        if self._going.is_set():
            self._going = trio.Event()

    def go_on(self) -> None:
        """SIGCONT."""
        self._going.set()

    def die(self) -> None:
        """SIGKILL."""
        self.is_dead = True
        self._going.set()

    async def wait(self) -> None:
        """Wait until the process runs; if it has been killed, until cancelled. No checkpoint if it runs."""
        await self.wait_or_end()
        if self.is_dead:
            await trio.sleep_forever()

    async def wait_or_end(self) -> None:
        """Wait until the process runs or has been killed."""
        while not self._going.is_set():
            await self._going.wait()


ALWAYS_ON: Final = CPU()
