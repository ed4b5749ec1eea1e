"""Whether a process runs: what SIGSTOP, SIGCONT and SIGKILL do to one whose tasks are in this program.

A stopped process goes on computing here, but nothing that it does comes out, and nothing comes in: whatever crosses its
border waits, in both directions. So nobody can tell it from one that does not run, as long as everything that leads out of
a process, and its clock's consequences, pass through `CPU.wait`.
"""

from collections.abc import Callable
from typing import Any, Final

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


class ThroughCPU:
    """``peer`` as a process on ``cpu`` reaches it: each call of an async method waits until the process runs, before it is
    made and before its result is seen.

    The tasks of a process that was killed have still to end here, and some may do so only when their call does. So it fails,
    with what ``no_answer`` makes. ``latency_s`` is drawn for each way.
    """

    def __init__(
        self,
        peer: object,
        cpu: CPU,
        *,
        no_answer: Callable[[], Exception],
        latency_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._peer = peer
        self._cpu = cpu
        self._no_answer = no_answer
        self._latency_s = latency_s

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._peer, name)

        async def gated(*args: object, **kwargs: object) -> Any:
            await self._wait()
            try:
                result = await call(*args, **kwargs)
            except Exception:
                await self._wait()
                raise
            await self._wait()
            return result

        return gated

    async def _wait(self) -> None:
        await self._cpu.wait_or_end()
        if latency_s := self._latency_s():
            await trio.sleep(latency_s)
            await self._cpu.wait_or_end()
        if self._cpu.is_dead:
            raise self._no_answer()
