"""The LRP pass: what is desired and missing is created, what is not desired goes, what lost its cell is placed anew.

Outline (spec: convergence.md §2): ask which cells there are; prune domains and evacuating rows; find out what needs
attention (`lrp_sets`); work on it (`lrp_pass`); count; ask for all auctions in one request.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import trio

from bbs.acts.effects import Effects
from bbs.convergence.lrp_pass import LRPPass
from bbs.convergence.lrp_sets import Finder, LRPSets, fresh_domains
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.log import Logger
from bbs.models.actual_lrp import ActualLRPState, Presence
from bbs.models.errors import Failure
from bbs.peers.interfaces import PresentCells
from bbs.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class LRPConvergenceStatistics:
    """``passes`` count since the start; the rest is as of the end of the last pass, zeros before (spec: §5).

    ``unclaimed`` to ``crashed`` count ordinary rows after the work, ``crashing_desired`` the processes with a crashed
    one, ``desired`` the instances that should run. ``missing``, ``extra`` (orphans included), the suspects and the
    cells are what the pass found before it. ``duration_s`` goes from asking for the cells to counting, auctions not
    included. A pass that could not learn of the cells leaves all of this as it was.
    """

    passes: int = 0
    duration_s: float = 0.0
    fresh_domains: frozenset[str] = frozenset()
    unclaimed: int = 0
    claimed: int = 0
    running: int = 0
    crashed: int = 0
    crashing_desired: int = 0
    desired: int = 0
    missing: int = 0
    extra: int = 0
    suspects_running: int = 0
    suspects_claimed: int = 0
    present_cells: int = 0
    suspect_cells: int = 0


class LRPConvergence:
    """``present_cells`` gives the ids of the cells that announce themselves, or raises a Failure if nobody can say.

    ``convergence_workers`` is upstream's setting: how many cells are asked at a time. With none there is no work done,
    only counting. ``instances_max`` bounds what a process may lack.
    """

    def __init__(
        self,
        store: Store,
        present_cells: PresentCells,
        *,
        effects: Effects,
        convergence_workers: int,
        log: Logger,
        now_ns: Callable[[], int],
        new_guid: Callable[[], str],
        instances_max: int = INSTANCES_MAX,
    ) -> None:
        self._store = store
        self._present_cells = present_cells
        self._effects = effects
        self._workers = convergence_workers
        self._log = log
        self._now_ns = now_ns
        self._new_guid = new_guid
        self._instances_max = instances_max
        # The processes that had too many instances desired in the last pass, of which the log says so already.
        self._oversized: frozenset[str] = frozenset()
        self._statistics = LRPConvergenceStatistics()

    def statistics(self) -> LRPConvergenceStatistics:
        return self._statistics

    async def converge(self) -> None:
        """One pass. Failures are logged and the pass goes on, except that it ends if nobody can say which cells there are:
        with no cells known, every instance would count as lost.

        Cancellation:
          Abandons the pass where it is; what it has staged will be written.
        """
        log = self._log.session("converge-lrps")
        began = trio.current_time()
        log.debug("listing-cells")
        try:
            cells = await self._present_cells(log=log)
        except Failure as error:
            log.error("failed-listing-cells", error=error)
            return
        log.debug("succeeded-listing-cells")
        db_log = log.session("db-converge-lrps")
        work = LRPPass(
            self._store,
            self._effects,
            cells,
            log=log,
            db_log=db_log,
            now_ns=self._now_ns,
            new_guid=self._new_guid,
        )
        db_log.info("starting")
        # Both before the sets are found. Whether an orphan goes depends on whether its domain is there, so expired ones must
        # be gone; and an evacuating row that is left would make its cell count as missing.
        await work.prune_domains()
        finder = Finder(
            self._store.committed, cells, now_ns=self._now_ns(), instances_max=self._instances_max
        )
        await work.prune_evacuating(await finder.evacuating_to_prune())
        sets = await finder.sets()
        await work.tell_of_found(sets)
        db_log.info("complete")
        self._tell_of_oversized(sets.oversized, log)
        if self._workers < 1:
            log.error(
                "failed-constructing-throttler",
                {"max_workers": self._workers, "num_works": sets.work_items},
                error=f"must provide positive maxWorkers; provided {self._workers}",
            )
        else:
            await work.work_on(sets, workers=self._workers)
        # Before the auctions, which can take as long as the auctioneer likes: the duration is that of our own part.
        self._record(sets, cells, duration_s=trio.current_time() - began)
        await work.request_auctions()

    def _tell_of_oversized(self, process_guids: Sequence[str], log: Logger) -> None:
        """Log each such process once, not in every pass, for as long as it stays so."""
        for process_guid in process_guids:
            if process_guid not in self._oversized:
                log.error(
                    "too-many-instances-desired",
                    process_guid=process_guid,
                    error=f"no more than {self._instances_max} are created; scale it down or remove it",
                )
        self._oversized = frozenset(process_guids)

    def _record(self, sets: LRPSets, cells: Set[str], *, duration_s: float) -> None:
        tables = self._store.committed
        attention = tables.attention
        self._statistics = LRPConvergenceStatistics(
            passes=self._statistics.passes + 1,
            duration_s=duration_s,
            fresh_domains=fresh_domains(tables, now_ns=self._now_ns()),
            unclaimed=attention.count(Presence.ORDINARY, ActualLRPState.UNCLAIMED),
            claimed=attention.count(Presence.ORDINARY, ActualLRPState.CLAIMED),
            running=attention.count(Presence.ORDINARY, ActualLRPState.RUNNING),
            crashed=attention.count(Presence.ORDINARY, ActualLRPState.CRASHED),
            crashing_desired=len(attention.crashing),
            desired=attention.desired_instances,
            missing=len(sets.missing),
            extra=len(sets.extra) + len(sets.orphans),
            suspects_running=sets.suspects_running,
            suspects_claimed=sets.suspects_claimed,
            present_cells=len(cells),
            suspect_cells=len(sets.missing_cells),
        )
