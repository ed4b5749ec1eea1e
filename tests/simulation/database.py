"""A process' way to the database: it can be stopped between two steps, killed in a COMMIT, and wait for a database that hangs."""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from random import Random
from typing import Final

import trio

from bbs.models.outcome import Row, RowKey
from bbs.store.backend import BackendUnavailable, DroppedRow, ReadBack, Seen
from bbs.store.crypto import Keyring
from bbs.store.memory_backend import Disk, Faults, MemoryBackend
from bbs.testing._cpu import CPU

STATEMENT_S: Final = 10.0
"""How long a statement may take, as with Postgres."""

Unknown = Callable[[MemoryBackend, Sequence[Row]], None]


class Hang:
    """Until when statements that are sent have no answer, in Trio's time."""

    def __init__(self) -> None:
        self.until_s = -math.inf


class SimulatedDatabase(MemoryBackend):
    """``on_unknown`` hears of each write whose outcome its writer does not know; ``random`` says what became of it."""

    def __init__(
        self,
        disk: Disk,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None],
        faults: Faults,
        hang: Hang,
        cpu: CPU,
        random: Random,
        on_unknown: Unknown,
    ) -> None:
        super().__init__(disk, keyring, on_dropped=on_dropped, faults=faults)
        self._hang = hang
        self._cpu = cpu
        self._random = random
        self._on_unknown = on_unknown

    async def load(self, seen: Seen) -> AsyncGenerator[list[Row], None]:
        async for rows in super().load(seen):
            await self._cpu.wait()
            yield rows

    async def write(self, rows: Sequence[Row]) -> int:
        await self._cpu.wait()
        try:
            await self._wait_while_it_hangs()
            transaction = await super().write(rows)
        except BackendUnavailable:
            self._on_unknown(self, rows)
            await self._cpu.wait()
            raise
        except trio.Cancelled:
            # A process that dies leaves its statement with the database, which may carry it out all the same.
            if self._cpu.is_dead and self._disk.holder is self and self._random.random() < 0.5:
                self._apply(rows)
            raise
        await self._cpu.wait()
        return transaction

    async def read(self, keys: Sequence[RowKey]) -> ReadBack:
        await self._cpu.wait()
        await self._wait_while_it_hangs()
        found = await super().read(keys)
        await self._cpu.wait()
        return found

    async def hold(self) -> None:
        await self._cpu.wait()
        await self._wait_while_it_hangs()
        await super().hold()

    async def _wait_while_it_hangs(self) -> None:
        """Raises: BackendUnavailable: the statement had no answer in time."""
        left_s = self._hang.until_s - trio.current_time()
        if left_s <= 0:
            return
        await trio.sleep(min(left_s, STATEMENT_S))
        if left_s > STATEMENT_S:
            self.lose_session()
            raise BackendUnavailable("the statement had no answer in time")
