"""How faults that are data happen: each where it does in life."""

from collections import Counter
from collections.abc import Iterable

import trio

from bbs.store import memory_backend
from bbs.store.memory_backend import Outage
from bbs.sync.locket.table import LocalLocket
from bbs.testing import _faults as faults
from bbs.testing._auctioneer import Auctioneer
from bbs.testing._faulty_routes import FaultyRoutes, must_make_sense
from bbs.testing._masters import Masters


class Inflicting:
    """Faults of one kind may overlap: what is away is back when the last of them is over."""

    def __init__(
        self, masters: Masters, *, routes: FaultyRoutes, locket: LocalLocket, auctioneer: Auctioneer
    ) -> None:
        self._masters = masters
        self._routes = routes
        self._locket = locket
        self._auctioneer = auctioneer
        self._away = Counter[type[faults.Fault]]()

    def must_make_sense(self, given: Iterable[faults.Fault]) -> None:
        """
        Raises:
          StageMisused: one of them does not.
        """
        for fault in given:
            if isinstance(fault, faults.RouteFault):
                must_make_sense(fault, self._masters.service.routes.routes)

    async def inflict(
        self, fault: faults.Fault, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Return when it is over. Started when it has begun, or at once if that is to be later."""
        if fault.after_s > 0:
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(fault.after_s)
        self._begin(fault)
        task_status.started()
        if isinstance(fault, faults.LocketAway | faults.AuctioneerAway):
            await trio.sleep(fault.for_s)
            self._be_away(fault, -1)

    def _begin(self, fault: faults.Fault) -> None:
        match fault:
            case faults.DatabaseAway(for_s=for_s):
                now_s, database = trio.current_time(), self._masters.database
                database.outages = [*database.outages, Outage(now_s, now_s + for_s)]
            case faults.CommitUnanswered(commits=commits):
                self._masters.database.next_writes += [memory_backend.Fault.LOST_AFTER] * commits
            case faults.LocketAway() | faults.AuctioneerAway():
                self._be_away(fault, 1)
            case faults.StreamsCut():
                self._routes.cut_streams()
            case faults.StreamsStalled(for_s=for_s):
                self._routes.stall_streams(for_s)
            case faults.FailOver(away_s=away_s, streams_after_s=streams_after_s):
                self._masters.kill(back_after_s=away_s)
                self._routes.refuse_streams(for_s=away_s + streams_after_s)
            case _:
                self._routes.befall_next(fault)

    def _be_away(self, fault: faults.LocketAway | faults.AuctioneerAway, more: int) -> None:
        self._away[type(fault)] += more
        is_away = self._away[type(fault)] > 0
        if isinstance(fault, faults.LocketAway):
            self._locket.unreachable = is_away
        else:
            self._auctioneer.is_away = is_away
