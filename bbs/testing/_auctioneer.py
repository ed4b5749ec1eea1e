"""The auctioneer, and the way from the BBS to the reps: what the server calls, as tasks beside it.

Calls take their time and may fail. The auctioneer accepts what it is asked for, then places each instance on the
present cell that has the fewest of its process, then the fewest at all; where no cell takes it, it tells the BBS so.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final, NoReturn

import trio

from bbs.client import InternalBBSClient, TransportError
from bbs.log import Logger
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP
from bbs.models.errors import BBSError
from bbs.models.task import Task
from bbs.peers.http import NoResponse
from bbs.peers.interfaces import Cell as CellPresence
from bbs.peers.interfaces import LRPStart, PeerUnavailable
from bbs.sync.locket.client import TypeCode
from bbs.sync.locket.table import LocketTable
from bbs.testing._cell import CONFIG, Cell, Tell
from bbs.testing._network import Network

CALL_TIMEOUT_S: Final = 20.0
"""The server's communication timeout."""
BATCH_S: Final = 0.25
STARTS_MAX: Final = 100_000


class Mishaps:
    """What goes wrong with calls that arrive: some are heard twice, of some the answer is lost."""

    def __init__(self, random: Random) -> None:
        self.doubled_share = 0.0
        self.unanswered_share = 0.0
        self._random = random

    def times(self) -> int:
        """How often a call is heard."""
        return 2 if self.doubled_share > 0 and self._random.random() < self.doubled_share else 1

    def answer(self) -> None:
        """Raises: NoResponse: the answer is lost."""
        if self.unanswered_share > 0 and self._random.random() < self.unanswered_share:
            raise NoResponse("connection reset by peer")


class Auctioneer:
    """A `bbs.peers.interfaces.Auctioneer`. While ``is_away`` nobody answers."""

    def __init__(
        self,
        cells: Mapping[str, Cell],
        presences: LocketTable,
        network: Network,
        random: Random,
        tell: Tell,
    ) -> None:
        self._is_away = False
        self.failing_placements = 0.0
        """The share of placements that a cell fails to begin."""
        self._cells = cells
        self._presences = presences
        self._network = network
        self._random = random
        self._tell = tell
        self._waiting: deque[tuple[str, str, int]] = deque(maxlen=STARTS_MAX)
        self._waiting_tasks: deque[str] = deque(maxlen=STARTS_MAX)
        self.mishaps = Mishaps(random)
        self._work = trio.Event()

    @property
    def is_away(self) -> bool:
        return self._is_away

    @is_away.setter
    def is_away(self, is_away: bool) -> None:
        self._is_away = is_away
        self._waiting.clear()
        self._waiting_tasks.clear()  # both are in the memory of a process that ends

    async def request_lrp_auctions(self, starts: Sequence[LRPStart], *, trace_id: str, log: Logger) -> None:
        def heard() -> None:
            for start in starts:
                self._waiting.extend((start.process_guid, start.domain, index) for index in start.indices)

        await self._be_asked(heard)

    async def request_task_auctions(self, tasks: Sequence[Task], *, trace_id: str, log: Logger) -> None:
        await self._be_asked(lambda: self._waiting_tasks.extend(task.task_guid for task in tasks))

    async def _be_asked(self, hear: Callable[[], None]) -> None:
        await trio.sleep(self._random.uniform(0.001, 0.02))
        if self.is_away:
            raise PeerUnavailable("connection refused")
        for _ in range(self.mishaps.times()):
            hear()
        self._work.set()
        self.mishaps.answer()

    async def run(self) -> NoReturn:
        connector = self._network.connector("auctioneer")
        async with (
            InternalBBSClient.connect(CONFIG, connector=connector) as bbs,
            trio.open_nursery() as failing,
        ):
            while True:
                await self._work.wait()
                self._work = trio.Event()
                await trio.sleep(self._random.uniform(0, BATCH_S))
                while self._waiting:
                    if reason := self._place(*self._waiting[0]):
                        failing.start_soon(self._fail, bbs, self._waiting[0], reason)
                    self._waiting.popleft()
                while self._waiting_tasks:
                    task_guid = self._waiting_tasks.popleft()
                    if not self._place_task(task_guid):
                        failing.start_soon(self._reject, bbs, task_guid)

    def _place_task(self, task_guid: str) -> bool:
        for cell in sorted(self._candidates(), key=lambda cell: len(cell.tasks)):
            if cell.take_task(task_guid):
                self._tell(f"placed {task_guid} on {cell.cell_id}")
                return True
        return False

    async def _reject(self, bbs: InternalBBSClient, task_guid: str) -> None:
        try:
            await bbs.reject_task(task_guid, rejection_reason="found no compatible cell")
        except (BBSError, TransportError) as error:
            self._tell(f"reject {task_guid}: {error}")

    def _place(self, process_guid: str, domain: str, index: int) -> str:
        """Place an instance. Returns why it can't be, or ``""``."""
        if self._random.random() < self.failing_placements:
            return "the cell failed to begin"
        candidates = self._candidates()
        if not candidates:
            return "found no compatible cell"

        def crowd(cell: Cell) -> tuple[int, int]:
            mates = sum(c.key.process_guid == process_guid for c in cell.containers.values())
            return mates, len(cell.containers)

        for cell in sorted(candidates, key=crowd):
            if cell.take(process_guid, index, domain):
                self._tell(f"placed {process_guid}.{index} on {cell.cell_id}")
                return ""
        return "insufficient resources"

    def _candidates(self) -> list[Cell]:
        """The cells that are present, and that answer when they are asked what room they have."""
        present = sorted(resource.key for resource in self._presences.fetch_all(TypeCode.PRESENCE))
        cells = (self._cells.get(cell_id) for cell_id in present)
        return [cell for cell in cells if cell is not None and cell.behaviour.answers]

    async def _fail(self, bbs: InternalBBSClient, start: tuple[str, str, int], reason: str) -> None:
        process_guid, domain, index = start
        self._tell(f"not placed {process_guid}.{index}: {reason}")
        key = pb.ActualLRPKey(process_guid=process_guid, index=index, domain=domain)
        try:
            await bbs.fail_actual_lrp(key, error_message=reason)
        except (BBSError, TransportError) as error:
            self._tell(f"fail {process_guid}.{index}: {error}")


class Reps:
    """A `bbs.peers.interfaces.Reps`: all cells. One that is dead or cut off holds a call until its timeout."""

    def __init__(self, cells: Mapping[str, Cell], network: Network, random: Random, tell: Tell) -> None:
        self.stops = 0
        self.mishaps = Mishaps(random)
        self._cells = cells
        self._network = network
        self._random = random
        self._tell = tell

    async def stop_lrp_instance(
        self, cell: CellPresence, lrp: ActualLRP, *, trace_id: str, log: Logger
    ) -> None:
        rep = await self._reach(cell)
        self.stops += 1
        found = [rep.stop(lrp.instance.instance_guid) for _ in range(self.mishaps.times())][-1]
        self._tell(f"stop {lrp.instance.instance_guid}: {'ok' if found else 'not found'}")
        if not found:
            raise PeerUnavailable("http error: status code 500 (Internal Server Error)")
        self.mishaps.answer()

    async def update_lrp_instance(
        self,
        cell: CellPresence,
        lrp: ActualLRP,
        *,
        internal_routes: tuple[str, ...] | None,
        metric_tags: tuple[tuple[str, str], ...] | None,
        trace_id: str,
        log: Logger,
    ) -> None:
        rep = await self._reach(cell)
        found = rep.update(
            lrp.instance.instance_guid, internal_routes=internal_routes, metric_tags=metric_tags
        )
        self._tell(f"update {lrp.instance.instance_guid}: {'ok' if found else 'not found'}")
        self.mishaps.answer()

    async def cancel_task(self, cell: CellPresence, task_guid: str, *, trace_id: str, log: Logger) -> None:
        rep = await self._reach(cell)
        rep.cancel_task(task_guid)
        self.mishaps.answer()

    async def _reach(self, cell: CellPresence) -> Cell:
        cell.require_https()
        with trio.move_on_after(CALL_TIMEOUT_S):
            await self._network.pass_through(cell.cell_id)
            rep = self._cells[cell.cell_id]
            if rep.is_up and rep.behaviour.answers:
                return rep
            await trio.sleep_forever()
        raise NoResponse("context deadline exceeded")
