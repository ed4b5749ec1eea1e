"""What leads out of a process, as long as the process runs."""

from collections.abc import Callable
from typing import Any

import trio

from bbs.testing._cpu import CPU


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
